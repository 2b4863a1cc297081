"""Fingerprints of hellos, by which programs that negotiate alike are told from others. Alike is not the same: no proof of a program.

JA3 and JA3S (https://github.com/salesforce/ja3), JA4 (https://github.com/FoxIO-LLC/ja4/blob/main/technical_details/JA4.md, BSD licence;
the other fingerprints of its family are not free to use, so there is no JA4S here).
"""

import hashlib
from collections.abc import Iterable
from functools import lru_cache
from typing import Final, NamedTuple

from captool.errors import DecodeError
from captool.tls.hello import SSL_3_0, TLS_1_0, TLS_1_1, TLS_1_2, TLS_1_3, ClientHello, Extension, ServerHello
from captool.tls.octets import Octets

JA4_VERSIONS: Final = {TLS_1_3: "13", TLS_1_2: "12", TLS_1_1: "11", TLS_1_0: "10", SSL_3_0: "s3"}
MAX_COUNT: Final = 99
NOTHING: Final = "000000000000"
# What clients send at random so that servers stay tolerant (RFC 8701)
GREASE: Final = frozenset(number << 12 | 0xA00 | number << 4 | 0xA for number in range(16))
REMEMBERED: Final = 256
MAX_REMEMBERED: Final = 2048


class Shape(NamedTuple):
    """What the fingerprints of a ClientHello are made from: programs send the same again and again."""

    version: int
    suites: tuple[int, ...]
    extensions: tuple[int, ...]
    groups: bytes
    formats: bytes
    algorithms: bytes
    versions: bytes
    protocols: bytes


class ClientFingerprints(NamedTuple):
    """JA3: MD5 over version, suites, extensions in their order, groups and point formats.

    JA4: readable counts, then SHA-256 over the sorted suites and over the sorted extensions with the signature algorithms.
    """

    ja3: str
    ja4: str


def client_fingerprints(hello: ClientHello) -> ClientFingerprints:
    """The fingerprints of a ClientHello."""
    bodies = [
        hello.extensions.get(extension, b"")
        for extension in (
            Extension.SUPPORTED_GROUPS,
            Extension.EC_POINT_FORMATS,
            Extension.SIGNATURE_ALGORITHMS,
            Extension.SUPPORTED_VERSIONS,
            Extension.APPLICATION_PROTOCOLS,
        )
    ]
    shape = Shape(hello.legacy_version, hello.cipher_suites, tuple(hello.extensions), *bodies)
    if len(shape.suites) + len(shape.extensions) + sum(map(len, bodies)) > MAX_REMEMBERED:
        return _fingerprints(shape)
    return _remembered(shape)


def ja3s(hello: ServerHello) -> str:
    """JA3S: MD5 over version, suite, and extensions in their order."""
    return _md5(hello.legacy_version, [hello.cipher_suite], list(hello.extensions))


@lru_cache(maxsize=REMEMBERED)
def _remembered(shape: Shape) -> ClientFingerprints:
    return _fingerprints(shape)


def _fingerprints(shape: Shape) -> ClientFingerprints:
    suites, extensions = _known(shape.suites), _known(shape.extensions)
    ja3 = _md5(shape.version, suites, extensions, _known(_numbers(shape.groups, 2, 2)), list(_numbers(shape.formats, 1, 1)))
    version = max(_known(_numbers(shape.versions, 1, 2)), default=shape.version)
    counts = f"{min(len(suites), MAX_COUNT):02}{min(len(extensions), MAX_COUNT):02}"
    to = "d" if Extension.SERVER_NAME in extensions else "i"
    about = f"t{JA4_VERSIONS.get(version, '00')}{to}{counts}{_protocol(shape.protocols)}"
    hashed = _in_hex(sorted(one for one in extensions if one not in {Extension.SERVER_NAME, Extension.APPLICATION_PROTOCOLS}))
    algorithms = _in_hex(_known(_numbers(shape.algorithms, 2, 2)))
    extended = f"{hashed}_{algorithms}" if algorithms else hashed
    return ClientFingerprints(ja3, f"{about}_{_sha256(_in_hex(sorted(suites)))}_{_sha256(extended) if hashed else NOTHING}")


def _known(numbers: Iterable[int]) -> list[int]:
    return [number for number in numbers if number not in GREASE]


def _in_hex(numbers: list[int]) -> str:
    return ",".join([f"{number:04x}" for number in numbers])


def _numbers(body: bytes, length_bytes: int, size: int) -> tuple[int, ...]:
    """The numbers that an extension lists; none where it is missing or does not parse."""
    try:
        return Octets(body).numbers(length_bytes, size) if body else ()
    except DecodeError:
        return ()


def _protocol(body: bytes) -> str:
    """First and last character of the first ALPN value (RFC 7301), of its hex form where one is not alphanumeric; `00` without any."""
    try:
        first = Octets(Octets(body).vector(2)).vector(1)
    except DecodeError:
        return "00"
    if not first:
        return "00"
    ends = bytes((first[0], first[len(first) - 1]))
    return ends.decode("ascii") if ends.isalnum() else first.hex()[0] + first.hex()[-1]


def _md5(version: int, *fields: list[int]) -> str:
    text = ",".join([str(version), *("-".join(map(str, field)) for field in fields)])
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[: len(NOTHING)] if text else NOTHING
