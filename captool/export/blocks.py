"""Blocks of pcapng as they are written (draft-ietf-opsawg-pcapng): 32-bit aligned, their length at both ends."""

import struct
from collections.abc import Iterable, Iterator
from typing import Final

from captool.capture.pcapng import (
    DECRYPTION_SECRETS,
    IF_TSRESOL,
    INTERFACE_DESCRIPTION,
    INTERFACE_STATISTICS,
    ISB_IFDROP,
    ISB_OSDROP,
    SECTION_HEADER,
    TLS_KEY_LOG,
)

ENHANCED_PACKET: Final = 6
SHB_USERAPPL: Final = 4
IF_NAME: Final = 2
ISB_IFRECV: Final = 4
BYTE_ORDER_MAGIC: Final = 0x1A2B3C4D
NANOSECONDS: Final = b"\x09"  # 10**-9 s
MAX_SECRETS_BLOCK: Final = 1 << 20  # readers bound the length of a block
_PACKET: Final = struct.Struct("<IIIIIII")

Options = Iterable[tuple[int, bytes]]


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    """A whole block; `body` is filled up to 32 bits."""
    padding = bytes(-len(body) % 4)
    total = struct.pack(order + "I", 12 + len(body) + len(padding))
    return struct.pack(order + "I", kind) + total + body + padding + total


def section_header(application: str) -> bytes:
    """The beginning of a little-endian section of unknown length."""
    body = struct.pack("<IHHq", BYTE_ORDER_MAGIC, 1, 0, -1)
    return block(SECTION_HEADER, body + _options([(SHB_USERAPPL, application.encode())]))


def interface_description(link_type: int, snap_length: int, name: str | None) -> bytes:
    """An interface whose packets have their times in nanoseconds."""
    wanted = [(IF_TSRESOL, NANOSECONDS)] if name is None else [(IF_NAME, name.encode("utf-8", "replace")[:255]), (IF_TSRESOL, NANOSECONDS)]
    return block(INTERFACE_DESCRIPTION, struct.pack("<HHI", link_type, 0, snap_length) + _options(wanted))


def enhanced_packet(interface: int, time_ns: int, data: bytes | memoryview, original: int) -> bytes:
    """A packet; a time before 1970 is written as 1970."""
    ticks = max(time_ns, 0)
    padding = -len(data) % 4
    total = 32 + len(data) + padding
    head = _PACKET.pack(ENHANCED_PACKET, total, interface, ticks >> 32, ticks & 0xFFFFFFFF, len(data), original)
    return b"".join((head, data, bytes(padding), head[4:8]))


def interface_statistics(interface: int, time_ns: int, received: int | None, dropped: int | None, by_interface: int | None) -> bytes:
    """Counters of an interface, as far as they are known: received by the filter, dropped by the kernel and by the interface."""
    ticks = max(time_ns, 0)
    known = ((ISB_IFRECV, received), (ISB_IFDROP, by_interface), (ISB_OSDROP, dropped))
    counters = [(code, struct.pack("<Q", value)) for code, value in known if value is not None]
    return block(INTERFACE_STATISTICS, struct.pack("<III", interface, ticks >> 32, ticks & 0xFFFFFFFF) + _options(counters))


def decryption_secrets(lines: Iterable[str], order: str = "<") -> Iterator[bytes]:
    """Blocks with a key log, as many as it needs."""
    text: list[str] = []
    size = 0
    for line in lines:
        if size + len(line) + 1 > MAX_SECRETS_BLOCK:
            yield _secrets(text, order)
            text, size = [], 0
        text.append(line)
        size += len(line) + 1
    if text:
        yield _secrets(text, order)


def _secrets(lines: list[str], order: str) -> bytes:
    data = "".join(f"{line}\n" for line in lines).encode("ascii")
    return block(DECRYPTION_SECRETS, struct.pack(order + "II", TLS_KEY_LOG, len(data)) + data, order)


def _options(options: Options) -> bytes:
    found = b"".join(struct.pack("<HH", code, len(value)) + value + bytes(-len(value) % 4) for code, value in options)
    return found + bytes(4) if found else b""
