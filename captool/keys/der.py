"""Distinguished encoding rules (X.690 10) as far as keys and certificates need them: elements of definite length, one behind the other."""

from typing import Final, NamedTuple

from captool.errors import DecodeError

INTEGER: Final = 0x02
BIT_STRING: Final = 0x03
OCTET_STRING: Final = 0x04
NULL: Final = 0x05
OBJECT_IDENTIFIER: Final = 0x06
SEQUENCE: Final = 0x30
SET: Final = 0x31
MAX_LENGTH_BYTES: Final = 4
MAX_IDENTIFIER: Final = 63  # bytes; no registry comes near it


class Element(NamedTuple):
    """One element: its tag, its content, and both with the length between them as they stand in the file."""

    tag: int
    content: bytes
    encoded: bytes


def elements(data: bytes) -> list[Element]:
    """The elements that `data` consists of. Raises DecodeError for what is no such row, or not encoded in the one way that there is."""
    found = []
    at = 0
    while at < len(data):
        head = data[at : at + 2]
        if len(head) < 2 or head[0] & 0x1F == 0x1F:
            raise DecodeError("no element begins here")
        begin, length = at + 2, head[1]
        if length & 0x80:
            begin += length & 0x7F
            length = int.from_bytes(data[at + 2 : begin])
            if not 0 < begin - at - 2 <= MAX_LENGTH_BYTES or length < 0x80 or not data[at + 2]:
                raise DecodeError("a length that is not written in the shortest way")
        end = begin + length
        if end > len(data):
            raise DecodeError(f"{length} bytes wanted, {max(0, len(data) - begin)} left")
        found.append(Element(head[0], data[begin:end], data[at:end]))
        at = end
    return found


def sole(data: bytes, tag: int) -> Element:
    """The one element, with this tag, that `data` is. Raises DecodeError."""
    found = elements(data)
    if [one.tag for one in found] != [tag]:
        raise DecodeError("another structure")
    return found[0]


def sequence(data: bytes, *tags: int) -> list[Element]:
    """The elements of the one sequence that `data` is; its first ones must have these tags. Raises DecodeError."""
    inner = elements(sole(data, SEQUENCE).content)
    if tuple(one.tag for one in inner[: len(tags)]) != tags:
        raise DecodeError("another structure")
    return inner


def number(element: Element) -> int:
    """The value of an INTEGER. Raises DecodeError."""
    content = element.content
    if element.tag != INTEGER or not content or (len(content) > 1 and content[0] in {0, 0xFF} and content[0] >> 7 == content[1] >> 7):
        raise DecodeError("not an integer")
    return int.from_bytes(content, signed=True)


def object_identifier(element: Element) -> str:
    """The dotted numbers of an OBJECT IDENTIFIER. Raises DecodeError."""
    content = element.content
    if element.tag != OBJECT_IDENTIFIER or not 0 < len(content) <= MAX_IDENTIFIER or content[-1] & 0x80:
        raise DecodeError("not an object identifier")
    numbers, value = [], 0
    for at, byte in enumerate(content):
        if byte == 0x80 and not value and (at == 0 or not content[at - 1] & 0x80):
            raise DecodeError("a number with a zero in front")
        value = value << 7 | byte & 0x7F
        if not byte & 0x80:
            numbers.append(value)
            value = 0
    first = min(numbers[0] // 40, 2)
    return ".".join(map(str, (first, numbers[0] - 40 * first, *numbers[1:])))


def encoded(tag: int, content: bytes) -> bytes:
    """An element as bytes."""
    length = len(content)
    if length < 0x80:
        return bytes((tag, length)) + content
    size = length.to_bytes((length.bit_length() + 7) // 8)
    return bytes((tag, 0x80 | len(size))) + size + content


def encoded_number(value: int) -> bytes:
    """A number that is not negative, as INTEGER."""
    return encoded(INTEGER, value.to_bytes(value.bit_length() // 8 + 1))
