"""Fingerprints of hellos, by which programs that negotiate alike are told from others. Alike is not the same: no proof of a program.

JA3 and JA3S (https://github.com/salesforce/ja3), JA4 (https://github.com/FoxIO-LLC/ja4/blob/main/technical_details/JA4.md, BSD licence;
the other fingerprints of its family are not free to use, so there is no JA4S here).
"""

import hashlib
from typing import Final

from captool.errors import DecodeError
from captool.tls.hello import SSL_3_0, TLS_1_0, TLS_1_1, TLS_1_2, TLS_1_3, ClientHello, Extension, ServerHello
from captool.tls.octets import Octets

JA4_VERSIONS: Final = {TLS_1_3: "13", TLS_1_2: "12", TLS_1_1: "11", TLS_1_0: "10", SSL_3_0: "s3"}
MAX_COUNT: Final = 99
NOTHING: Final = "000000000000"


def is_grease(number: int) -> bool:
    """Whether a number is one of those that clients send at random so that servers stay tolerant (RFC 8701)."""
    return number & 0x0F0F == 0x0A0A and number >> 8 == number & 0xFF


def ja3(hello: ClientHello) -> str:
    """JA3: MD5 over version, suites, extensions in their order, groups and point formats."""
    groups = _list(hello, Extension.SUPPORTED_GROUPS, width=2)
    formats = _list(hello, Extension.EC_POINT_FORMATS, width=1)
    return _md5(hello.legacy_version, _known(hello.cipher_suites), _known(hello.extensions), groups, formats)


def ja3s(hello: ServerHello) -> str:
    """JA3S: MD5 over version, suite, and extensions in their order."""
    return _md5(hello.legacy_version, [hello.cipher_suite], list(hello.extensions))


def ja4(hello: ClientHello) -> str:
    """JA4: readable counts, then SHA-256 over the sorted suites and over the sorted extensions with the signature algorithms."""
    suites, extensions = _known(hello.cipher_suites), _known(hello.extensions)
    versions = _list(hello, Extension.SUPPORTED_VERSIONS, width=2, length_width=1)
    version = max(versions, default=hello.legacy_version)
    counts = f"{min(len(suites), MAX_COUNT):02}{min(len(extensions), MAX_COUNT):02}"
    to = "d" if Extension.SERVER_NAME in hello.extensions else "i"
    about = f"t{JA4_VERSIONS.get(version, '00')}{to}{counts}{_protocol(hello)}"
    hashed = sorted(f"{one:04x}" for one in extensions if one not in {Extension.SERVER_NAME, Extension.APPLICATION_PROTOCOLS})
    algorithms = [f"{one:04x}" for one in _list(hello, Extension.SIGNATURE_ALGORITHMS, width=2)]
    extended = ",".join(hashed) + ("_" + ",".join(algorithms) if algorithms else "")
    return f"{about}_{_sha256(','.join(sorted(f'{one:04x}' for one in suites)))}_{_sha256(extended) if hashed else NOTHING}"


def _known(numbers: "tuple[int, ...] | dict[int, bytes] | list[int]") -> list[int]:
    return [number for number in numbers if not is_grease(number)]


def _list(hello: ClientHello, extension: Extension, *, width: int, length_width: int | None = None) -> list[int]:
    """The numbers that an extension lists, without GREASE; none where it is missing or does not parse."""
    body = hello.extensions.get(extension)
    if not body:
        return []
    try:
        numbers = Octets(body).numbers(length_width or width, width)
    except DecodeError:
        return []
    return _known(numbers) if width == 2 else list(numbers)


def _protocol(hello: ClientHello) -> str:
    """First and last character of the first ALPN value (RFC 7301), of its hex form where one is not alphanumeric; `00` without any."""
    try:
        first = Octets(Octets(hello.extensions.get(Extension.APPLICATION_PROTOCOLS, b"")).vector(2)).vector(1)
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
