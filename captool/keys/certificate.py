"""X.509 certificates (RFC 5280), read as far as reports tell of them. Nothing is verified here.

cryptography would verify as well, and takes longer to import than a small capture takes to analyze; tests compare what both read.
"""

import hashlib
from contextlib import suppress
from typing import Final, NamedTuple

from captool.errors import DecodeError
from captool.keys.der import (
    BIT_STRING,
    INTEGER,
    OBJECT_IDENTIFIER,
    OCTET_STRING,
    SEQUENCE,
    SET,
    Element,
    elements,
    number,
    object_identifier,
    sequence,
    sole,
)

SECOND_NS: Final = 1_000_000_000
SIGNED_PARTS: Final = 3  # the body, the signature's algorithm, the signature
VERSION: Final = 0xA0
EXTENSIONS: Final = 0xA3
BEHIND_THE_KEY: Final = frozenset({0x81, 0x82, EXTENSIONS})  # unique identifiers of issuer and subject, as no one has them
MAX_VERSION: Final = 2  # written one less than it is called
FIELDS: Final = (INTEGER, SEQUENCE, SEQUENCE, SEQUENCE, SEQUENCE, SEQUENCE)  # serial, algorithm, issuer, validity, subject, public key
UTC_TIME: Final = 0x17
GENERALIZED_TIME: Final = 0x18
SUBJECT_ALTERNATIVE_NAME: Final = "2.5.29.17"
EXTENDED_KEY_USAGE: Final = "2.5.29.37"
SERVER_AUTH: Final = "1.3.6.1.5.5.7.3.1"
CLIENT_AUTH: Final = "1.3.6.1.5.5.7.3.2"
DNS_NAME: Final = 0x82
IP_ADDRESS: Final = 0x87
IP_LENGTHS: Final = frozenset({4, 16})
ORGANIZATION: Final = "O"
# RFC 4514 section 3; other attributes are called by their numbers.
ATTRIBUTES: Final = {
    "2.5.4.3": "CN", "2.5.4.7": "L", "2.5.4.8": "ST", "2.5.4.10": ORGANIZATION, "2.5.4.11": "OU", "2.5.4.6": "C", "2.5.4.9": "STREET",
    "0.9.2342.19200300.100.1.25": "DC", "0.9.2342.19200300.100.1.1": "UID",
}  # fmt: skip
UTF_8: Final = "utf-8"
# UTF8String, NumericString, PrintableString, T61String, IA5String, VisibleString, UniversalString, BMPString
ENCODINGS: Final = {12: UTF_8, 18: UTF_8, 19: UTF_8, 20: UTF_8, 22: UTF_8, 26: UTF_8, 28: "utf-32-be", 30: "utf-16-be"}
ESCAPES: Final = str.maketrans({**{sign: f"\\{sign}" for sign in '\\"+,;<>'}, "\0": "\\00"})


class CertificateFields(NamedTuple):
    """What a certificate says. `spki_sha256` is the lower-case hex SHA-256 of its public key.

    `subject` and `issuer` are RFC 4514 strings, empty where they cannot be read; `organization` is the first O of the subject. `names`
    are DNS names and addresses, in their order; `ip` is the first address. `purposes` are the object identifiers of what the key may be
    used for, none where the certificate does not restrict it. Validity is nanoseconds since 1970, None where it is not known.
    """

    spki_sha256: str
    organization: str | None
    subject: str
    issuer: str
    names: tuple[str, ...]
    ip: str | None
    purposes: frozenset[str]
    not_before_ns: int | None
    not_after_ns: int | None


def parse_certificate(der: bytes) -> CertificateFields:
    """What a DER certificate says. Raises DecodeError."""
    whole = sequence(der, SEQUENCE, SEQUENCE, BIT_STRING)
    if len(whole) != SIGNED_PARTS:
        raise DecodeError("not a certificate")
    fields = elements(whole[0].content)
    if fields and fields[0].tag == VERSION and not 0 <= number(sole(fields.pop(0).content, INTEGER)) <= MAX_VERSION:
        raise DecodeError("a certificate of a version that is not known")
    _, _, issued_by, validity, issued_for, spki = _to_the_key(fields)
    sequence(spki.encoded, SEQUENCE, BIT_STRING)
    subject = issuer = ""
    organization = ip = not_before_ns = not_after_ns = None
    names: tuple[str, ...] = ()
    purposes: frozenset[str] = frozenset()
    with suppress(DecodeError, ValueError):
        (subject, organization), (issuer, _) = _name(issued_for), _name(issued_by)
    with suppress(DecodeError, ValueError):
        names, ip = _alternative_names(_extension(fields, SUBJECT_ALTERNATIVE_NAME))
    with suppress(DecodeError, ValueError):
        purposes = frozenset(map(object_identifier, _extension(fields, EXTENDED_KEY_USAGE)))
    with suppress(DecodeError, ValueError):
        not_before_ns, not_after_ns = map(_time_ns, elements(validity.content))
    return CertificateFields(
        hashlib.sha256(spki.encoded).hexdigest(), organization, subject, issuer, names, ip, purposes, not_before_ns, not_after_ns
    )


def _to_the_key(fields: list[Element]) -> list[Element]:
    known, others = fields[: len(FIELDS)], fields[len(FIELDS) :]
    if tuple(one.tag for one in known) != FIELDS or not BEHIND_THE_KEY.issuperset(one.tag for one in others):
        raise DecodeError("not a certificate")
    return known


def _name(element: Element) -> tuple[str, str | None]:
    """A name as RFC 4514 writes it, the last part first, and the organization in it."""
    organization = None
    parts = []
    for part in elements(element.content):
        attributes = []
        for attribute in elements(part.content):
            kind, value = _attribute(attribute)
            if kind == ORGANIZATION and organization is None:
                organization = value
            attributes.append(f"{kind}={_escaped(value)}")
        if part.tag != SET or not attributes:
            raise DecodeError("not a name")
        parts.append("+".join(attributes))
    return ",".join(reversed(parts)), organization


def _attribute(element: Element) -> tuple[str, str]:
    kind, value = sequence(element.encoded, OBJECT_IDENTIFIER)
    if value.tag not in ENCODINGS:
        raise DecodeError("not a text")
    identifier = object_identifier(kind)
    return ATTRIBUTES.get(identifier, identifier), value.content.decode(ENCODINGS[value.tag])


def _escaped(value: str) -> str:
    """RFC 4514 section 2.4."""
    text = value.translate(ESCAPES)
    if text.startswith("#") or (text.startswith(" ") and len(text) > 1):
        text = "\\" + text
    return f"{text[:-1]}\\ " if text.endswith(" ") else text


def _extension(fields: list[Element], wanted: str) -> list[Element]:
    """The elements of an extension that is a sequence; none where the certificate does not have it."""
    for extension in (one for field in fields if field.tag == EXTENSIONS for one in sequence(field.content)):
        kind, *_, value = sequence(extension.encoded, OBJECT_IDENTIFIER)
        if object_identifier(kind) == wanted:
            if value.tag != OCTET_STRING:
                raise DecodeError("not an extension")
            return sequence(value.content)
    return []


def _alternative_names(general_names: list[Element]) -> tuple[tuple[str, ...], str | None]:
    """The DNS names and addresses among them, and the first address."""
    names: list[str] = []
    ip = None
    for name in general_names:
        if name.tag == DNS_NAME:
            names.append(name.content.decode("ascii"))
        elif name.tag == IP_ADDRESS:
            if len(name.content) not in IP_LENGTHS:
                raise DecodeError("not an address")
            from ipaddress import ip_address

            names.append(str(ip_address(name.content)))
            ip = ip or names[-1]
    return tuple(names), ip


def _time_ns(element: Element) -> int:
    """UTCTime, whose years are those from 1950 to 2049, or GeneralizedTime; both to the second (RFC 5280 section 4.1.2.5)."""
    from datetime import UTC, datetime

    digits = element.content.decode("ascii")
    if element.tag == UTC_TIME:
        digits = f"{'19' if digits >= '50' else '20'}{digits}"
    elif element.tag != GENERALIZED_TIME:
        raise DecodeError("not a time")
    if len(digits) != 15 or digits[-1] != "Z" or not digits[:-1].isdigit():
        raise DecodeError("not a time")
    month, day, hour, minute, second = (int(digits[at : at + 2]) for at in range(4, 14, 2))
    return int(datetime(int(digits[:4]), month, day, hour, minute, second, tzinfo=UTC).timestamp()) * SECOND_NS
