"""Keys and certificates in PEM and DER (RFC 7468, PKCS#1, PKCS#8, SEC 1): the blocks of a file, and the private keys in them.

Plain RSA keys are read here; what else there is, cryptography reads (openssl_key.py), which is imported where such a one is met.
"""

import binascii
import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Final, NamedTuple

from captool.errors import DecodeError
from captool.keys.certificate import CertificateFields, parse_certificate
from captool.keys.material import PrivateKey
from captool.keys.rsa_key import parse_rsa_key

BOUNDARY: Final = re.compile(rb"-----(BEGIN|END) ([A-Z0-9 ]{1,40})-----")
PRIVATE_KEY_LABELS: Final = frozenset({"PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "ENCRYPTED PRIVATE KEY"})
PFX_VERSION: Final = b"\x02\x01\x03"
CERTIFICATE_LABELS: Final = frozenset({"CERTIFICATE", "X509 CERTIFICATE", "TRUSTED CERTIFICATE"})


class PemBlock(NamedTuple):
    """One block of a PEM file: its label and the text with its armour."""

    label: str
    text: bytes

    def __repr__(self) -> str:
        return f"PemBlock(label={self.label!r})"

    @property
    def is_encrypted(self) -> bool:
        """Whether a password is needed (PKCS#8, or the old OpenSSL form of RFC 1421)."""
        return self.label == "ENCRYPTED PRIVATE KEY" or b"Proc-Type: 4,ENCRYPTED" in self.text

    @property
    def der(self) -> bytes:
        """What the armour holds. Raises DecodeError."""
        lines = self.text.split(b"\n")
        try:
            return binascii.a2b_base64(b"".join(map(bytes.strip, lines[1:-1])), strict_mode=True)
        except binascii.Error as fault:
            raise DecodeError("not base64") from fault


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


def first_certificate(data: bytes) -> CertificateFields | None:
    """What the first certificate of a PEM file says; None where there is none, or none that can be read."""
    with suppress(DecodeError):
        return next((parse_certificate(block.der) for block in pem_blocks(data) if block.label == "CERTIFICATE"), None)
    return None


def private_key(block: PemBlock, origin: str, machine: str | None = None, password: bytes | None = None) -> PrivateKey | None:
    """The key in a block; None for a kind that TLS servers use but that is neither RSA nor EC. Raises DecodeError."""
    try:
        return rsa_private_key(block.der, origin, machine)
    except DecodeError:  # encrypted, another kind, another form, or no key at all
        from captool.keys import openssl_key

        return openssl_key.private_key(block.text, origin, machine, password if block.is_encrypted else None)


def rsa_private_key(der: bytes, origin: str, machine: str | None = None) -> PrivateKey:
    """The RSA key in DER. Raises DecodeError where there is none, or none that can be right."""
    key = parse_rsa_key(der)
    if not key.agrees:
        raise DecodeError("numbers that contradict each other")
    return PrivateKey("rsa-private-key", origin, machine, key.spki_sha256, key)


def is_pkcs12(data: bytes) -> bool:
    """Whether DER bytes begin like a PFX of PKCS#12 (RFC 7292 section 4): a sequence with version 3."""
    return data[:1] == b"\x30" and data[4:7] == PFX_VERSION


def der_private_key(data: bytes, origin: str, machine: str | None = None) -> PrivateKey | None:
    """The key in a DER file; None where it holds no key of a known kind."""
    try:
        return rsa_private_key(data, origin, machine)
    except DecodeError:
        from captool.keys import openssl_key

        return openssl_key.der_private_key(data, origin, machine)
