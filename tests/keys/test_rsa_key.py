"""RSA keys as plain numbers are the keys that cryptography reads."""

import math
import os

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

from captool.errors import DecodeError
from captool.keys.openssl_key import der_private_key, rsa_numbers
from captool.keys.rsa_key import RsaKey, decrypt, parse_rsa_key

KEYS = [rsa.generate_private_key(exponent, bits) for exponent, bits in ((65537, 2048), (3, 2048), (65537, 1024), (65537, 2056))]
FORMS = [PrivateFormat.TraditionalOpenSSL, PrivateFormat.PKCS8]


def der(key, form=FORMS[0]):
    return key.private_bytes(Encoding.DER, form, NoEncryption())


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("form", FORMS)
def test_numbers_and_fingerprint(key, form):
    found = parse_rsa_key(der(key, form))
    assert found.agrees
    assert rsa_numbers(key) == found
    assert der_private_key(der(key), "key.der").spki_sha256 == found.spki_sha256


@pytest.mark.parametrize("key", KEYS)
def test_what_was_encrypted_to_it(key):
    secret = os.urandom(48)
    encrypted = key.public_key().encrypt(secret, PKCS1v15())
    assert secret == decrypt(parse_rsa_key(der(key)), encrypted)


def test_numbers_that_contradict_each_other():
    good = parse_rsa_key(der(KEYS[0]))
    for place in range(len(good)):
        assert not RsaKey(*good[:place], good[place] + 2, *good[place + 1 :]).agrees


def of(p, q, e=65537):
    d = pow(e, -1, math.lcm(p - 1, q - 1))
    return RsaKey(p * q, e, d, p, q, d % (p - 1), d % (q - 1), pow(q, -1, p))


def test_no_time_is_spent_on_numbers_that_nobody_could_use():
    assert of(2**4253 - 1, 2**4423 - 1).agrees
    assert not of(2**9689 - 1, 2**9941 - 1).agrees  # Mersenne primes: they fit together


def test_nothing_of_it_is_shown():
    good = parse_rsa_key(der(KEYS[0]))
    assert "RsaKey(2048 bits)" == repr(good) == str(good)


@pytest.mark.parametrize("form", FORMS)
def test_a_key_of_another_kind_is_none(form):
    with pytest.raises(DecodeError):
        parse_rsa_key(der(ec.generate_private_key(ec.SECP256R1()), form))


@given(st.data())
def test_damaged_ones_are_refused_or_contradict_themselves(data):
    good = bytearray(der(KEYS[2], data.draw(st.sampled_from(FORMS))))
    good[data.draw(st.integers(0, len(good) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        found = parse_rsa_key(bytes(good))
    except DecodeError:
        return
    assert not found.agrees or found == parse_rsa_key(der(KEYS[2]))  # of the version of PKCS#8 both values are right
