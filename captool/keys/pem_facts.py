"""What a PEM file of docker-machine is: the fingerprint that ties a key to its certificate, validity, names. No secret leaves here."""

import hashlib
import warnings
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from cryptography.utils import CryptographyDeprecationWarning

from captool.keys import openssl_key
from captool.keys.openssl_key import rsa_numbers
from captool.keys.pem import PRIVATE_KEY_LABELS, pem_blocks

_NS = 1_000_000_000
PARSE_FAULTS: Final = (*openssl_key.PARSE_FAULTS, x509.InvalidVersion, x509.DuplicateExtension)


class PemError(Exception):
    """The bytes are not the PEM file that they should be; the message says what is wrong, without the file's name."""


@dataclass(frozen=True, slots=True)
class CertificateFacts:
    """A certificate: its public key's fingerprint, validity in nanoseconds since the epoch, subject and names."""

    spki_sha256: str
    not_before_ns: int
    not_after_ns: int
    subject: str
    names: tuple[str, ...]
    ip: str | None
    certificate: x509.Certificate = field(repr=False, compare=False)

    def issued_by(self, authority: "CertificateFacts") -> bool:
        """Whether the other certificate's key signed this one."""
        try:
            self.certificate.verify_directly_issued_by(authority.certificate)
        except (InvalidSignature, *PARSE_FAULTS):
            return False
        return True


class PrivateKeyFacts(NamedTuple):
    """A private key: what it is for, not what it is. Only RSA keys can decrypt a session afterwards.

    Of an encrypted one nothing is known without its password: fingerprint and size are None then.
    """

    spki_sha256: str | None
    kind: str
    bits: int | None

    def belongs_to(self, certificate: CertificateFacts) -> bool | None:
        """Whether the certificate is for this key, None where that cannot be known."""
        return None if self.spki_sha256 is None else self.spki_sha256 == certificate.spki_sha256


ENCRYPTED_KEY: Final = PrivateKeyFacts(None, "encrypted-private-key", None)


def read_certificate(data: bytes) -> CertificateFacts:
    """The first certificate of a PEM file; raises PemError."""
    if b"-----BEGIN CERTIFICATE-----" not in data:
        raise PemError(_not_pem(data, "certificate"))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CryptographyDeprecationWarning)  # odd serial numbers of old tools are nobody's concern here
            certificate = x509.load_pem_x509_certificate(data)
        spki = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        names, ip = _alternative_names(certificate)
        return CertificateFacts(
            spki_sha256=hashlib.sha256(spki).hexdigest(),
            not_before_ns=int(certificate.not_valid_before_utc.timestamp()) * _NS,
            not_after_ns=int(certificate.not_valid_after_utc.timestamp()) * _NS,
            subject=certificate.subject.rfc4514_string(),
            names=names,
            ip=ip,
            certificate=certificate,
        )
    except PARSE_FAULTS as error:
        raise PemError(f"no usable certificate (half written?): {_first_line(error)}") from None


def read_private_key(data: bytes) -> PrivateKeyFacts:
    """The first private key of a PEM file; raises PemError."""
    if b"PRIVATE KEY-----" not in data:
        raise PemError(_not_pem(data, "private key"))
    block = next((block for block in pem_blocks(data) if block.label in PRIVATE_KEY_LABELS), None)
    if block is not None and block.is_encrypted:
        return ENCRYPTED_KEY
    try:
        key = load_pem_private_key(data, password=None, unsafe_skip_rsa_key_validation=True)
    except PARSE_FAULTS as error:
        raise PemError(f"no usable private key (half written?): {_first_line(error)}") from None
    if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        raise PemError(f"a key of type {type(key).__name__}, which no docker-machine makes")
    if isinstance(key, rsa.RSAPrivateKey) and not rsa_numbers(key).agrees:
        raise PemError("no usable private key (damaged?): its numbers contradict each other")
    spki = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    kind = "rsa-private-key" if isinstance(key, rsa.RSAPrivateKey) else "ec-private-key"
    return PrivateKeyFacts(hashlib.sha256(spki).hexdigest(), kind, key.key_size)


def _alternative_names(certificate: x509.Certificate) -> tuple[tuple[str, ...], str | None]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, *PARSE_FAULTS):
        return (), None
    addresses = [str(address) for address in names.get_values_for_type(x509.IPAddress)]
    return (*addresses, *names.get_values_for_type(x509.DNSName)), addresses[0] if addresses else None


def _not_pem(data: bytes, wanted: str) -> str:
    return f"empty; a {wanted} was to be here (half written?)" if not data.strip() else f"holds no PEM {wanted}"


def _first_line(error: Exception) -> str:
    lines = str(error).splitlines()
    return lines[0][:120] if lines else type(error).__name__
