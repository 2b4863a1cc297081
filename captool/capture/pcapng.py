"""The pcapng file format (draft-ietf-opsawg-pcapng): sections, interfaces, statistics, secrets; packets are walked in walk.py."""

import struct
from collections.abc import Iterator
from typing import Final

from captool.capture.frames import Frames
from captool.capture.walk import CORRUPT, LAST_NS, OTHER_BLOCK, Interfaces, PcapngWalk

SECTION_HEADER: Final = 0x0A0D0D0A
INTERFACE_DESCRIPTION: Final = 1
INTERFACE_STATISTICS: Final = 5
DECRYPTION_SECRETS: Final = 0x0A
TLS_KEY_LOG: Final = 0x544C534B

IF_TSRESOL: Final = 9
IF_TSOFFSET: Final = 14
ISB_IFDROP: Final = 5
ISB_OSDROP: Final = 7

MAX_BLOCK: Final = 16 << 20  # of the blocks that are read; others are skipped at any length
MAX_INTERFACES: Final = 1 << 16
BYTE_ORDERS: Final = {b"\x1a\x2b\x3c\x4d": ">", b"\x4d\x3c\x2b\x1a": "<"}
MAX_OFFSET_NS: Final = 1 << 61


class PcapngFile:
    """One pcapng file: the state of the section being read, and the walk over its blocks."""

    format = "pcapng"

    def __init__(self) -> None:
        self.order = "<"
        self.interfaces = Interfaces()
        self.link_types: dict[int, int] = {}
        self.secrets: list[bytes] = []
        self.fault = ""
        self.untimed_packets = 0  # those of simple packet blocks
        self._skip = 0
        self._earlier_drops: int | None = None
        self._drops: dict[int, int] = {}

    @property
    def dropped_packets(self) -> int | None:
        """Packets that the interface or the system dropped, as the last statistics of each interface say; None without any."""
        if not self._drops:
            return self._earlier_drops
        return (self._earlier_drops or 0) + sum(self._drops.values())

    def walker(self) -> PcapngWalk:
        """What walks the packet blocks of the present section; while it exists, no other block may be taken in."""
        return PcapngWalk(self.order == ">", self.interfaces, MAX_BLOCK)

    def walk(self, frames: Frames) -> None:
        """Fill the columns from `frames.buffer[frames.reached : frames.fill]` and take in the other blocks between the packets.

        `frames.needed` is `COLUMNS_FULL`, `CORRUPT` (reason in `fault`) or the bytes that the next block needs.
        """
        while True:
            if self._skip:
                step = min(self._skip, frames.fill - frames.reached)
                self._skip -= step
                frames.reached += step
                if self._skip:
                    frames.needed = 1
                    break
            self.walker().walk(frames)
            if frames.needed != OTHER_BLOCK:
                if frames.needed == CORRUPT:
                    self.fault = self.fault or "a packet block contradicts itself"
                break
            whole = self._other_block(frames.buffer, frames.reached, frames.fill)
            if whole <= 0:
                frames.needed = -whole if whole else CORRUPT
                break
            frames.reached += whole
        self._count_packets()

    def count(self, _frames: Frames) -> None:
        """Count the packets of a chunk that another walked; the walk itself counts them for each interface."""

    def _other_block(self, buffer: bytearray, at: int, end: int) -> int:  # noqa: PLR0911 - one return for each kind of fault
        """Length of the block that was taken in; 0 for a corrupt one (sets `fault`); minus the bytes it needs if not whole."""
        order = self.order
        (kind,) = struct.unpack_from(order + "I", buffer, at)
        if kind == SECTION_HEADER:
            found = BYTE_ORDERS.get(bytes(buffer[at + 8 : at + 12]))
            if found is None:
                self.fault = "a section header has no byte order"
                return 0
            order = found
        total = int(struct.unpack_from(order + "I", buffer, at + 4)[0])
        if total < 12 or (kind == SECTION_HEADER and total < 28):
            self.fault = f"a block of type {kind:#x} claims a length of {total} bytes"
            return 0
        total = (total + 3) & ~3
        if kind not in {SECTION_HEADER, INTERFACE_DESCRIPTION, INTERFACE_STATISTICS, DECRYPTION_SECRETS}:
            if end - at < total:
                self._skip = total
                return -1
            return total
        if total > MAX_BLOCK:
            self.fault = f"a block of type {kind:#x} claims a length of {total} bytes"
            return 0
        if end - at < total:
            return -total
        (trailer,) = struct.unpack_from(order + "I", buffer, at + total - 4)
        if (trailer + 3) & ~3 != total:
            self.fault = "a block's two lengths differ"
            return 0
        body = bytes(buffer[at + 8 : at + total - 4])
        if kind == SECTION_HEADER:
            return total if self._section_header(order, body) else 0
        if kind == INTERFACE_DESCRIPTION:
            return total if self._interface_description(body) else 0
        if kind == INTERFACE_STATISTICS:
            self._interface_statistics(body)
        else:
            self._decryption_secrets(body)
        return total

    def _section_header(self, order: str, body: bytes) -> bool:
        major, minor = struct.unpack_from(order + "HH", body, 4)
        if major != 1:
            self.fault = f"a section has the unknown version {major}.{minor}"
            return False
        self._count_packets()
        self._earlier_drops, self._drops = self.dropped_packets, {}
        self.order = order
        self.interfaces = Interfaces()
        return True

    def _interface_description(self, body: bytes) -> bool:
        table = self.interfaces
        if len(body) < 8 or len(table.link_type) >= MAX_INTERFACES:
            self.fault = "an interface description is too short" if len(body) < 8 else f"more than {MAX_INTERFACES} interfaces"
            return False
        link_type, _, snap_length = struct.unpack_from(self.order + "HHI", body)
        multiplier, divisor, shift, offset_ns = 1000, 1, -1, 0
        for code, value in options(body, 8, self.order):
            if code == IF_TSRESOL and len(value) >= 1:
                multiplier, divisor, shift = time_unit(value[0])
            elif code == IF_TSOFFSET and len(value) >= 8:
                (seconds,) = struct.unpack_from(self.order + "q", value)
                offset_ns = max(-MAX_OFFSET_NS, min(MAX_OFFSET_NS, seconds * 1_000_000_000))
        table.link_type.append(link_type)
        table.snap_length.append(snap_length)
        table.multiplier.append(multiplier)
        table.divisor.append(divisor)
        table.shift.append(shift)
        table.last_tick.append(last_tick(multiplier, divisor, shift))
        table.offset_ns.append(offset_ns)
        table.packets.append(0)
        return True

    def _interface_statistics(self, body: bytes) -> None:
        if len(body) < 12:
            return
        (interface,) = struct.unpack_from(self.order + "I", body)
        drops = [
            struct.unpack_from(self.order + "Q", value)[0]
            for code, value in options(body, 12, self.order)
            if code in {ISB_IFDROP, ISB_OSDROP} and len(value) >= 8
        ]
        if drops and interface < len(self.interfaces.link_type):
            self._drops[interface] = sum(drops)

    def _decryption_secrets(self, body: bytes) -> None:
        if len(body) < 8:
            return
        kind, length = struct.unpack_from(self.order + "II", body)
        if kind == TLS_KEY_LOG:
            self.secrets.append(body[8 : 8 + length])

    def _count_packets(self) -> None:
        table = self.interfaces
        for interface, packets in enumerate(table.packets):
            if packets:
                link_type = table.link_type[interface]
                self.link_types[link_type] = self.link_types.get(link_type, 0) + packets
                table.packets[interface] = 0
        self.untimed_packets += table.untimed[0]
        table.untimed[0] = 0


def options(body: bytes, start: int, order: str) -> Iterator[tuple[int, bytes]]:
    """The options of a block as (code, value); ends quietly where a length does not fit."""
    at = start
    while at + 4 <= len(body):
        code, length = struct.unpack_from(order + "HH", body, at)
        at += 4
        if code == 0 or at + length > len(body):
            return
        yield code, body[at : at + length]
        at += (length + 3) & ~3


def time_unit(resolution: int) -> tuple[int, int, int]:
    """An if_tsresol byte as (multiplier, divisor, shift): 10**-n seconds, or 2**-n where the highest bit is set."""
    exponent = resolution & 0x7F
    if resolution & 0x80:
        return 1, 1, exponent
    if exponent <= 9:
        return int(10 ** (9 - exponent)), 1, -1
    return 1, int(10 ** min(exponent - 9, 18)), -1


def last_tick(multiplier: int, divisor: int, shift: int) -> int:
    """The last tick whose time is not beyond `LAST_NS`."""
    if shift >= 0:
        return min((LAST_NS // 1_000_000_000 << shift), (1 << 63) - 1)
    return min(LAST_NS // multiplier * divisor, (1 << 63) - 1)
