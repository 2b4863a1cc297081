"""What suites' names say, against what OpenSSL knows of the same numbers."""

import importlib.util
import subprocess
from pathlib import Path

import pytest

from captool.tls.cipher_suite_names import CIPHER_SUITE_NAMES
from captool.tls.cipher_suites import cipher_suite

SCRIPT = Path(__file__).parents[2] / "scripts" / "generate_cipher_suites.py"

# OpenSSL's word -> (our algorithm, modes)
ENCRYPTION = {
    "AESGCM": ("AES", {"gcm"}),
    "AESCCM": ("AES", {"ccm"}),
    "AESCCM8": ("AES", {"ccm_8"}),
    "AES": ("AES", {"cbc"}),
    "Camellia": ("Camellia", {"cbc"}),
    "CHACHA20/POLY1305": ("ChaCha20", {"chacha20"}),
    "3DES": ("3DES", {"cbc"}),
    "SEED": ("SEED", {"cbc"}),
    "IDEA": ("IDEA", {"cbc"}),
    "RC4": ("RC4", {"stream"}),
    "None": ("null", {"null"}),
}
MACS = {"AEAD": None, "SHA1": "sha1", "SHA256": "sha256", "SHA384": "sha384", "MD5": "md5"}
EXCHANGES = {
    "RSA": {"RSA"},
    "DH": {"DHE", "DH_anon"},
    "ECDH": {"ECDHE", "ECDH_anon"},
    "PSK": {"PSK"},
    "RSAPSK": {"RSA_PSK"},
    "DHEPSK": {"DHE_PSK"},
    "ECDHEPSK": {"ECDHE_PSK"},
    "SRP": {"SRP"},
    "any": {None},
}


@pytest.mark.needs("openssl")
def test_names_say_what_openssl_says():
    arguments = ["openssl", "ciphers", "-V", "-stdname", "ALL:COMPLEMENTOFALL:@SECLEVEL=0"]
    lines = subprocess.run(arguments, check=True, capture_output=True, text=True).stdout.splitlines()
    assert len(lines) > 100
    for line in lines:
        number, _, name, _, _, _, *facts = line.split()
        high, low = number.split(",")
        suite = cipher_suite(int(high, 16) << 8 | int(low, 16))
        fact = dict(fact.split("=") for fact in facts)
        assert name == suite.name
        assert suite.key_exchange in EXCHANGES[fact["Kx"]], line
        encryption, _, bits = fact["Enc"].rstrip(")").partition("(")
        if encryption.startswith("ARIA"):
            assert suite.bulk is None
            continue
        algorithm, modes = ENCRYPTION[encryption]
        assert algorithm == suite.bulk.algorithm, line
        assert suite.bulk.mode in modes, line
        assert int(bits or 0) in {8 * suite.bulk.key_length, 168}, line
        assert MACS[fact["Mac"]] == suite.mac, line
        assert suite.forward_secret == (fact["Kx"] not in {"RSA", "PSK", "RSAPSK"}), line


@pytest.mark.parametrize("number", [0x0A0A, 0xFAFA, 0x00FF, 0x5600, 0xFFFF])
def test_grease_and_signals_are_no_suites(number):
    assert cipher_suite(number) is None


def test_every_registered_name_is_understood():
    for number, name in CIPHER_SUITE_NAMES.items():
        suite = cipher_suite(number)
        assert suite is None or suite.name == name


@pytest.mark.parametrize(
    ("number", "exchange", "forward_secret"),
    [(0x0003, "RSA", False), (0x0031, "DH", False), (0x0034, "DH_anon", True), (0xC00E, "ECDH", False), (0xC0AA, "DHE_PSK", True)],
)
def test_key_exchanges_that_openssl_has_no_more(number, exchange, forward_secret):
    suite = cipher_suite(number)
    assert (exchange, forward_secret) == (suite.key_exchange, suite.forward_secret)
    assert number != 0x0003 or suite.bulk is None  # 40 bits for export


def test_module_is_the_one_that_the_table_gives():
    spec = importlib.util.spec_from_file_location("generate_cipher_suites", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    assert script.MODULE.read_text() == script.generate()
