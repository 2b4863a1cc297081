"""RSA keys of the system's libcrypto decrypt what cryptography encrypts; what its ciphers do is in test_record_reader.py."""

import os

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from captool.analysis import hot_path_compiled
from captool.keys.rsa_key import RsaKey, parse_rsa_key
from captool.tls import libcrypto
from tests.conftest import without

KEYS = [rsa.generate_private_key(exponent, bits) for exponent, bits in ((65537, 2048), (3, 2048), (65537, 1024), (65537, 4096))]


@pytest.fixture(scope="module", autouse=True)
def direct():
    if not hot_path_compiled() or libcrypto.loaded() is None:
        without("captool is installed without its compiled modules, or there is no libcrypto, so that cryptography decrypts")


def numbers(key) -> RsaKey:
    return parse_rsa_key(key.private_bytes(Encoding.DER, PrivateFormat.TraditionalOpenSSL, NoEncryption()))


@pytest.mark.parametrize("key", KEYS)
def test_the_key_as_der(key):
    assert key.private_bytes(Encoding.DER, PrivateFormat.TraditionalOpenSSL, NoEncryption()) == numbers(key).der


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("length", [0, 1, 48, 100])
def test_what_was_encrypted_to_it(key, length):
    secret = os.urandom(length)
    direct = libcrypto.private_key(numbers(key).der)
    for _ in range(2):
        assert secret == direct.decrypt(key.public_key().encrypt(secret, PKCS1v15()))


@pytest.mark.parametrize("length", [0, 1, 255, 256, 257, 1 << 16])
def test_what_was_not_is_no_premaster_secret(length):
    direct = libcrypto.private_key(numbers(KEYS[0]).der)
    for encrypted in (bytes(length), b"\x01" * length, b"\xff" * length):
        assert 48 != len(direct.decrypt(encrypted) or b"")
    secret = os.urandom(48)
    assert secret == direct.decrypt(KEYS[0].public_key().encrypt(secret, PKCS1v15()))  # nothing is left of the faults


def test_numbers_of_no_key_harm_nothing():
    good = numbers(KEYS[0])
    encrypted = KEYS[0].public_key().encrypt(os.urandom(48), PKCS1v15())
    for place in range(len(good)):
        for value in (0, 1, 2, good[place] - 1, good[place] + 1, 1 << 2047):
            direct = libcrypto.private_key(RsaKey(*good[:place], value, *good[place + 1 :]).der)
            if direct is not None:
                direct.decrypt(encrypted)
    for der in (b"", b"\x30", good.der[:-1], bytes(1000)):
        assert libcrypto.private_key(der) is None
