"""PEM and DER: keys of every form that docker-machine, openssl and Go write."""

import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given
from hypothesis import strategies as st

from captool.errors import DecodeError
from captool.keys.certificate import parse_certificate
from captool.keys.pem import der_private_key, pem_blocks, private_key
from tests.growth import PROPORTIONATE, growth
from tests.tls.stacks import identity

RSA_KEY = rsa.generate_private_key(65537, 2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())
PKCS1, PKCS8 = PrivateFormat.TraditionalOpenSSL, PrivateFormat.PKCS8


def pem(key, form=PKCS8, encryption=None):
    return key.private_bytes(Encoding.PEM, form, encryption or NoEncryption())


def fingerprint(key):
    return hashlib.sha256(key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


@pytest.mark.parametrize("form", [PKCS1, PKCS8])
@pytest.mark.parametrize(("key", "kind"), [(RSA_KEY, "rsa-private-key"), (EC_KEY, "ec-private-key")])
def test_private_keys(key, kind, form):
    (block,) = pem_blocks(b"Bag Attributes\n" + pem(key, form) + b"\nmore text")
    found = private_key(block, "server-key.pem", "runner-1")
    assert (kind, "server-key.pem", "runner-1", fingerprint(key)) == (found.kind, found.origin, found.machine, found.spki_sha256)
    assert (kind == "rsa-private-key") == (found.rsa is not None)


def test_ed25519_key_cannot_decrypt():
    (block,) = pem_blocks(pem(ed25519.Ed25519PrivateKey.generate()))
    assert private_key(block, "key.pem").rsa is None


def test_dsa_key_is_of_no_use():
    (block,) = pem_blocks(pem(dsa.generate_private_key(1024)))
    assert private_key(block, "key.pem") is None


@pytest.mark.parametrize("form", [PKCS1, PKCS8])
def test_encrypted_keys_are_recognised(form):
    (block,) = pem_blocks(pem(RSA_KEY, form, BestAvailableEncryption(b"secret")))
    assert block.is_encrypted


def test_der_key():
    data = RSA_KEY.private_bytes(Encoding.DER, PKCS8, NoEncryption())
    assert fingerprint(RSA_KEY) == der_private_key(data, "key.der").spki_sha256
    assert der_private_key(b"\x30\x82garbage", "key.der") is None


def test_key_is_never_shown():
    (block,) = pem_blocks(pem(RSA_KEY))
    found = private_key(block, "key.pem")
    assert "PRIVATE" not in repr(found)
    assert "rsa=" not in repr(found)
    assert "text" not in repr(block)


def test_certificate_is_tied_to_its_key():
    one = identity()
    (certificate,) = pem_blocks(one.certificate_file.read_bytes())
    found = parse_certificate(certificate.der)
    (key_block,) = pem_blocks(one.key_pem)
    assert private_key(key_block, "key.pem").spki_sha256 == found.spki_sha256
    assert "root.runner-1" == found.organization


@given(st.binary(max_size=400))
def test_garbage_raises_decode_error_only(data):
    with pytest.raises(DecodeError):
        parse_certificate(data)
    armoured = b"-----BEGIN PRIVATE KEY-----\n" + data + b"\n-----END PRIVATE KEY-----"
    for block in pem_blocks(armoured):
        with pytest.raises(DecodeError):
            private_key(block, "key.pem")


def test_truncated_key_has_no_block():
    assert not list(pem_blocks(pem(RSA_KEY)[:-40]))


def test_a_half_written_block_does_not_swallow_the_whole_one_behind_it():
    whole = pem(RSA_KEY)
    for before in (whole[:-40], b"-----BEGIN CERTIFICATE-----\n", b"-----END PRIVATE KEY-----\n"):
        assert [whole.strip()] == [block.text for block in pem_blocks(before + whole)]


@pytest.mark.parametrize("text", [b"-----BEGIN A-----", b"-----BEGIN A-----x-----END B-----", b"-----BEGIN ", b"-----"])
def test_blocks_that_never_end_take_time_in_proportion(text):
    def search(count):
        data = text * count
        return lambda: list(pem_blocks(data))

    assert growth(search, 5000) < PROPORTIONATE
