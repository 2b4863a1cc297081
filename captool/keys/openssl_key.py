"""Private keys that are read through cryptography: encrypted ones, those on elliptic curves, PKCS#12, and forms that are hardly met."""

import hashlib
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_private_key, load_pem_private_key
from cryptography.hazmat.primitives.serialization.pkcs12 import load_key_and_certificates

from captool.errors import DecodeError
from captool.keys.material import PrivateKey
from captool.keys.pkcs12 import key_bags
from captool.keys.rsa_key import RsaKey

# What cryptography raises on keys that do not parse; hostile ones bring more than ValueError.
PARSE_FAULTS: Final = (ValueError, TypeError, KeyError, OverflowError, UnsupportedAlgorithm)


def private_key(pem: bytes, origin: str, machine: str | None = None, password: bytes | None = None) -> PrivateKey | None:
    """The key in a PEM block; None for a kind that TLS servers use but that is neither RSA nor EC. Raises DecodeError."""
    try:
        key = load_pem_private_key(pem, password, unsafe_skip_rsa_key_validation=True)
    except PARSE_FAULTS as fault:
        raise DecodeError("not a private key that can be read") from fault
    return _described(key, origin, machine)


def pkcs12_private_keys(data: bytes, origin: str, machine: str | None = None, password: bytes | None = None) -> list[PrivateKey]:
    """The keys of known kinds in a PKCS#12 file. Raises DecodeError, for a wrong password as well."""
    try:
        first, _, _ = load_key_and_certificates(data, password)
        bags = key_bags(data)
        others = bags if len(bags) > 1 else ()  # the first one among them
        keys = [first, *(load_der_private_key(der, password if shrouded else None) for der, shrouded in others)]
    except PARSE_FAULTS as fault:
        raise DecodeError("not a PKCS#12 file that this password opens") from fault
    described = (_described(key, origin, machine) for key in keys)
    return list({key.spki_sha256: key for key in described if key is not None}.values())


def der_private_key(data: bytes, origin: str, machine: str | None = None) -> PrivateKey | None:
    """The key in a DER file; None where it holds no key of a known kind."""
    try:
        return _described(load_der_private_key(data, None, unsafe_skip_rsa_key_validation=True), origin, machine)
    except (DecodeError, *PARSE_FAULTS):
        return None


def rsa_numbers(key: RSAPrivateKey) -> RsaKey:
    """The numbers of a key."""
    numbers = key.private_numbers()
    public = numbers.public_numbers
    return RsaKey(public.n, public.e, numbers.d, numbers.p, numbers.q, numbers.dmp1, numbers.dmq1, numbers.iqmp)


def _described(key: object, origin: str, machine: str | None) -> PrivateKey | None:
    if isinstance(key, RSAPrivateKey):
        numbers = rsa_numbers(key)
        if not numbers.agrees:
            raise DecodeError("the numbers of the RSA key contradict each other; the file is damaged")
        return PrivateKey("rsa-private-key", origin, machine, numbers.spki_sha256, numbers)
    if not isinstance(key, EllipticCurvePrivateKey | Ed25519PrivateKey | Ed448PrivateKey):
        return None
    spki = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return PrivateKey("ec-private-key", origin, machine, hashlib.sha256(spki).hexdigest(), None)
