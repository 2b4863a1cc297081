"""Keys and certificates in PEM and DER (RFC 7468, PKCS#1, PKCS#8, SEC 1, X.509)."""

import hashlib
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_private_key, load_pem_private_key
from cryptography.hazmat.primitives.serialization.pkcs12 import load_key_and_certificates
from cryptography.x509.oid import NameOID

from captool.errors import DecodeError
from captool.keys.material import KeyKind, PrivateKey

BOUNDARY: Final = re.compile(rb"-----(BEGIN|END) ([A-Z0-9 ]{1,40})-----")
PRIVATE_KEY_LABELS: Final = frozenset({"PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "ENCRYPTED PRIVATE KEY"})
PFX_VERSION: Final = b"\x02\x01\x03"
CERTIFICATE_LABELS: Final = frozenset({"CERTIFICATE", "X509 CERTIFICATE", "TRUSTED CERTIFICATE"})
# What cryptography raises on keys and certificates that do not parse; hostile certificates bring more than ValueError.
PARSE_FAULTS: Final = (ValueError, TypeError, KeyError, OverflowError, UnsupportedAlgorithm, x509.InvalidVersion, x509.DuplicateExtension)


class CertificateIdentity(NamedTuple):
    """What ties a certificate to a key and to a machine: SHA-256 of its public key (lower-case hex), first O of its subject."""

    spki_sha256: str
    organization: str | None


@dataclass(frozen=True, slots=True)
class PemBlock:
    """One block of a PEM file: its label and the text with its armour."""

    label: str
    text: bytes = field(repr=False)

    @property
    def is_encrypted(self) -> bool:
        """Whether a password is needed (PKCS#8, or the old OpenSSL form of RFC 1421)."""
        return self.label == "ENCRYPTED PRIVATE KEY" or b"Proc-Type: 4,ENCRYPTED" in self.text


def pem_blocks(data: bytes) -> Iterator[PemBlock]:
    """The blocks of a PEM file, text around them ignored. A block whose end is not the next boundary is none (half written)."""
    begin = None
    for boundary in BOUNDARY.finditer(data):
        if boundary[1] == b"BEGIN":
            begin = boundary
        elif begin is not None:
            if begin[2] == boundary[2]:
                yield PemBlock(begin[2].decode(), data[begin.start() : boundary.end()])
            begin = None


def private_key(block: PemBlock, origin: str, machine: str | None = None, password: bytes | None = None) -> PrivateKey | None:
    """The key in a block; None for a kind that TLS servers use but that is neither RSA nor EC. Raises DecodeError."""
    try:
        key = load_pem_private_key(block.text, password if block.is_encrypted else None, unsafe_skip_rsa_key_validation=True)
    except PARSE_FAULTS as fault:
        raise DecodeError("not a private key that can be read") from fault
    if isinstance(key, RSAPrivateKey) and not numbers_agree(key):
        raise DecodeError("the numbers of the RSA key contradict each other; the file is damaged")
    return _described(key, origin, machine)


def numbers_agree(key: RSAPrivateKey) -> bool:
    """Whether the numbers of an RSA key fit together (RFC 8017 section 3.2).

    That finds a damaged file. cryptography would test the primes as well, which takes 70 ms for each key and says nothing here: what a
    key opens is believed only when the TLS Finished verifies.
    """
    numbers = key.private_numbers()
    p, q, d = numbers.p, numbers.q, numbers.d
    if p < 3 or q < 3 or p * q != numbers.public_numbers.n:
        return False
    e = numbers.public_numbers.e
    exponents = d * e % (p - 1) == 1 == d * e % (q - 1) and numbers.dmp1 == d % (p - 1) and numbers.dmq1 == d % (q - 1)
    return exponents and numbers.iqmp * q % p == 1


def is_pkcs12(data: bytes) -> bool:
    """Whether DER bytes begin like a PFX of PKCS#12 (RFC 7292 section 4): a sequence with version 3."""
    return data[:1] == b"\x30" and data[4:7] == PFX_VERSION


def pkcs12_private_key(data: bytes, origin: str, machine: str | None = None, password: bytes | None = None) -> PrivateKey | None:
    """The key in a PKCS#12 file; None where it holds none of a known kind. Raises DecodeError, for a wrong password as well."""
    try:
        key, _, _ = load_key_and_certificates(data, password)
    except PARSE_FAULTS as fault:
        raise DecodeError("not a PKCS#12 file that this password opens") from fault
    return _described(key, origin, machine)


def der_private_key(data: bytes, origin: str, machine: str | None = None) -> PrivateKey | None:
    """The key in a DER file; None where it holds no key of a known kind."""
    try:
        key = load_der_private_key(data, None, unsafe_skip_rsa_key_validation=True)
    except PARSE_FAULTS:
        return None
    if isinstance(key, RSAPrivateKey) and not numbers_agree(key):
        return None
    return _described(key, origin, machine)


def certificate_identity(der: bytes) -> CertificateIdentity:
    """Public key and organisation of a DER certificate; raises DecodeError."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a stranger's certificate may break rules that do not matter here
            certificate = x509.load_der_x509_certificate(der)
            spki = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
            organization = _organization(certificate)
    except PARSE_FAULTS as fault:
        raise DecodeError("not a certificate that can be read") from fault
    return CertificateIdentity(hashlib.sha256(spki).hexdigest(), organization)


def _organization(certificate: x509.Certificate) -> str | None:
    for attribute in certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME):
        value = attribute.value
        return value if isinstance(value, str) else value.decode("utf-8", "backslashreplace")
    return None


def _described(key: object, origin: str, machine: str | None) -> PrivateKey | None:
    if not isinstance(key, RSAPrivateKey | EllipticCurvePrivateKey | Ed25519PrivateKey | Ed448PrivateKey):
        return None
    spki = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    rsa = key if isinstance(key, RSAPrivateKey) else None
    kind: KeyKind = "rsa-private-key" if rsa else "ec-private-key"
    return PrivateKey(kind, origin, machine, hashlib.sha256(spki).hexdigest(), rsa)
