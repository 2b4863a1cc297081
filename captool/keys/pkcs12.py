"""PKCS#12 files (RFC 7292): where the private keys stand in them.

cryptography gives the first key of a file only; keystores of Java hold one for each alias. Key bags are encrypted one by one, so what
finds them needs no password, as long as the contents around them are not encrypted once more (nobody does that with keys).
"""

from collections.abc import Iterator
from itertools import islice
from typing import Final

from captool.errors import DecodeError
from captool.keys.der import INTEGER, OBJECT_IDENTIFIER, OCTET_STRING, SEQUENCE, elements, object_identifier, sequence, sole

DATA: Final = "1.2.840.113549.1.7.1"
KEY_BAG: Final = "1.2.840.113549.1.12.10.1.1"
SHROUDED_KEY_BAG: Final = "1.2.840.113549.1.12.10.1.2"
EXPLICIT: Final = 0xA0
MAX_KEY_BAGS: Final = 64  # opening one takes thousands of rounds of its key derivation


def key_bags(pfx: bytes) -> list[tuple[bytes, bool]]:
    """The private keys of a file in DER, and whether each is encrypted; none where the file cannot be read."""
    try:
        safes = _data(sequence(pfx, INTEGER, SEQUENCE)[1].encoded)
        found = (bag for safe in elements(sole(safes, SEQUENCE).content) for bag in _bags(safe.encoded)) if safes is not None else iter(())
        return list(islice(found, MAX_KEY_BAGS))
    except DecodeError:
        return []


def _bags(content: bytes) -> Iterator[tuple[bytes, bool]]:
    safe = _data(content)
    for bag in elements(sole(safe, SEQUENCE).content) if safe is not None else ():
        kind, value = sequence(bag.encoded, OBJECT_IDENTIFIER, EXPLICIT)[:2]
        name = object_identifier(kind)
        if name in {KEY_BAG, SHROUDED_KEY_BAG}:
            yield value.content, name == SHROUDED_KEY_BAG


def _data(content_info: bytes) -> bytes | None:
    """What a ContentInfo (RFC 5652 section 3) of plain data holds; None for one that is encrypted."""
    kind, value = sequence(content_info, OBJECT_IDENTIFIER, EXPLICIT)[:2]
    return sole(value.content, OCTET_STRING).content if object_identifier(kind) == DATA else None
