"""Record headers of a capture file -> one row of columns for each packet.

Compiled by Cython (pure-Python mode) and runs unchanged without it. Formats: pcap (libpcap's savefile manual page) and
pcapng (draft-ietf-opsawg-pcapng). A walk ends at the last whole record; the reader carries the rest into the next chunk.
"""

# ruff: noqa: ARG002, D102, D103, FBT003, PLR0912, PLR0915, PLR1714, PLR1730, SIM109
# (the compiler makes plain comparisons of chained ones, Python calls of min, max and `in`)

import array

import cython

if not cython.compiled:  # compiled, they come from walk.pxd
    from captool.capture.columns import octets
    from captool.capture.frames import Frames

# What a walk leaves in `Frames.needed`, where that is not the size of the record that did not fit:
COLUMNS_FULL = 0
CORRUPT = -1
OTHER_BLOCK = -2  # a pcapng block that is no packet stands at the position, whole

FULL = cython.declare(cython.longlong, COLUMNS_FULL)
BROKEN = cython.declare(cython.longlong, CORRUPT)
OTHER = cython.declare(cython.longlong, OTHER_BLOCK)

# Far from the ends of 64 bits, so that differences and offsets of hostile timestamps cannot overflow.
LAST_NS = (1 << 62) - 1
LATEST = cython.declare(cython.longlong, LAST_NS)
MAX_HIGH = cython.declare(cython.longlong, 0x80000000)
ONE = cython.declare(cython.longlong, 1)

# The first four bytes of a pcap file.
PCAP = cython.declare(cython.longlong, 0xA1B2C3D4)
PCAP_SWAPPED = cython.declare(cython.longlong, 0xD4C3B2A1)
NANO = cython.declare(cython.longlong, 0xA1B23C4D)
NANO_SWAPPED = cython.declare(cython.longlong, 0x4D3CB2A1)
MODIFIED = cython.declare(cython.longlong, 0xA1B2CD34)
MODIFIED_SWAPPED = cython.declare(cython.longlong, 0x34CDB2A1)


class Interfaces:
    """The interfaces of one pcapng section as columns; row = interface id.

    Ticks become nanoseconds by `ticks * multiplier // divisor` or, where `shift` >= 0, as units of 2**-shift seconds.
    Ticks above `last_tick` are later than `LAST_NS` and become that.
    """

    def __init__(self) -> None:
        self.link_type = array.array("i")
        self.snap_length = array.array("q")
        self.multiplier = array.array("q")
        self.divisor = array.array("q")
        self.shift = array.array("i")
        self.last_tick = array.array("q")
        self.offset_ns = array.array("q")
        self.packets = array.array("q")
        self.untimed = array.array("q", [0])  # simple packet blocks


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def u32(data: cython.p_uchar, at: cython.Py_ssize_t, big_endian: cython.bint) -> cython.longlong:
    """Four bytes in the order of whoever wrote the file. Of both expressions the compiler makes one instruction."""
    number: cython.uint = (
        cython.cast(cython.uint, data[at + 3]) << 24
        | cython.cast(cython.uint, data[at + 2]) << 16
        | cython.cast(cython.uint, data[at + 1]) << 8
        | cython.cast(cython.uint, data[at])
    )
    if big_endian:
        number = number >> 24 | number >> 8 & 0xFF00 | (number & 0xFF00) << 8 | (number & 0xFF) << 24
    return number


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def begins_capture(word: cython.longlong) -> cython.bint:
    """Whether these four bytes begin a pcap file: in place of a record, where files were put together with cat."""
    return word == PCAP or word == PCAP_SWAPPED or word == NANO or word == NANO_SWAPPED or word == MODIFIED or word == MODIFIED_SWAPPED


@cython.cclass
class Walk:
    """Goes over the records of one file, chunk by chunk, without Python's objects."""

    def walk(self, frames: Frames) -> None:
        """Put the records of `frames.buffer[frames.reached : frames.fill]` into the columns, from row `frames.count` on.

        `frames.reached` is the place behind the last whole one then, `frames.needed` what stands there.
        """
        if frames.reached < 0 or frames.fill > len(frames.data):
            raise IndexError("outside of the buffer")
        frames.staged = False
        frames.ordered = frames.ordered or frames.count == 0
        self.step(frames)

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def step(self, frames: Frames) -> cython.int:
        return 0


@cython.final
@cython.cclass
class PcapWalk(Walk):
    """The records of a pcap file.

    `fraction_ns` is the unit of the second timestamp word (1000 or 1), `header_length` 16 (24 in the modified format). A record that
    claims more than `max_captured` bytes is `CORRUPT`, and so is another file's header.
    """

    big_endian: cython.bint
    fraction_ns: cython.longlong
    header_length: cython.Py_ssize_t
    link_type: cython.int
    max_captured: cython.longlong

    def __init__(self, big_endian: bool, fraction_ns: int, header_length: int, link_type: int, max_captured: int) -> None:  # noqa: FBT001
        self.big_endian = big_endian
        self.fraction_ns = fraction_ns
        self.header_length = header_length
        self.link_type = link_type
        self.max_captured = max_captured

    @cython.cfunc
    @cython.nogil
    @cython.boundscheck(False)
    @cython.exceptval(check=False)
    def step(self, frames: Frames) -> cython.int:
        data: cython.uchar[::1] = frames.data
        ts_ns: cython.longlong[::1] = frames.ts_ns
        offset: cython.int[::1] = frames.offset
        captured: cython.int[::1] = frames.captured
        original: cython.uint[::1] = frames.original
        link: cython.int[::1] = frames.link_type
        big_endian: cython.bint = self.big_endian
        header_length: cython.Py_ssize_t = self.header_length
        fraction_ns: cython.longlong = self.fraction_ns
        max_captured: cython.longlong = self.max_captured
        link_type: cython.int = self.link_type
        head: cython.p_uchar
        row: cython.Py_ssize_t = frames.count
        rows: cython.Py_ssize_t = ts_ns.shape[0] if cython.compiled else len(ts_ns)
        at: cython.Py_ssize_t = frames.reached
        end: cython.Py_ssize_t = frames.fill
        length: cython.longlong
        time_ns: cython.longlong
        latest: cython.longlong = ts_ns[row - 1] if row else 0
        ordered: cython.bint = frames.ordered
        needed: cython.longlong = FULL
        while row < rows:
            if end - at < header_length:
                needed = header_length
                break
            head = octets(data, at)
            length = u32(head, 8, big_endian)
            if length > max_captured or (length == 0 and begins_capture(u32(head, 0, False))):
                needed = BROKEN
                break
            if end - at < header_length + length:
                needed = header_length + length
                break
            time_ns = u32(head, 0, big_endian) * 1000000000 + u32(head, 4, big_endian) * fraction_ns
            ts_ns[row] = time_ns
            if time_ns < latest:
                ordered = False
            latest = time_ns
            original[row] = cython.cast(cython.uint, u32(head, 12, big_endian))
            captured[row] = cython.cast(cython.int, length)
            at += header_length
            offset[row] = cython.cast(cython.int, at)
            link[row] = link_type
            at += length
            row += 1
        if row:
            frames.last_ts_ns = ts_ns[row - 1]
        frames.ordered = ordered
        frames.count = row
        frames.reached = at
        frames.needed = needed
        return 0


@cython.final
@cython.cclass
class PcapngWalk(Walk):
    """The packet blocks (enhanced, simple, obsolete) of a pcapng section.

    A block is `CORRUPT` if it contradicts itself, names an unknown interface, or is a packet above `max_block` bytes; `OTHER_BLOCK` is
    a block of another type, of which only the first 12 bytes are sure to be in the buffer. While a walk exists, no interface can be added.
    """

    big_endian: cython.bint
    max_block: cython.longlong
    interfaces: cython.Py_ssize_t
    if_link: cython.int[::1]
    snap_length: cython.longlong[::1]
    multiplier: cython.longlong[::1]
    divisor: cython.longlong[::1]
    shift: cython.int[::1]
    last_tick: cython.longlong[::1]
    offset_ns: cython.longlong[::1]
    packets: cython.longlong[::1]
    untimed: cython.longlong[::1]

    def __init__(self, big_endian: bool, interfaces: Interfaces, max_block: int) -> None:  # noqa: FBT001
        self.big_endian = big_endian
        self.max_block = max_block
        self.interfaces = len(interfaces.link_type)
        if self.interfaces:  # memoryviews of empty arrays are not wanted; without an interface no packet block is valid
            self.if_link = interfaces.link_type
            self.snap_length = interfaces.snap_length
            self.multiplier = interfaces.multiplier
            self.divisor = interfaces.divisor
            self.shift = interfaces.shift
            self.last_tick = interfaces.last_tick
            self.offset_ns = interfaces.offset_ns
            self.packets = interfaces.packets
            self.untimed = interfaces.untimed

    @cython.cfunc
    @cython.nogil
    @cython.boundscheck(False)
    @cython.exceptval(check=False)
    def step(self, frames: Frames) -> cython.int:
        data: cython.uchar[::1] = frames.data
        ts_ns: cython.longlong[::1] = frames.ts_ns
        offset: cython.int[::1] = frames.offset
        captured: cython.int[::1] = frames.captured
        original: cython.uint[::1] = frames.original
        link: cython.int[::1] = frames.link_type
        big_endian: cython.bint = self.big_endian
        row: cython.Py_ssize_t = frames.count
        rows: cython.Py_ssize_t = ts_ns.shape[0] if cython.compiled else len(ts_ns)
        at: cython.Py_ssize_t = frames.reached
        end: cython.Py_ssize_t = frames.fill
        head: cython.p_uchar
        kind: cython.longlong
        total: cython.longlong
        length: cython.longlong
        wire: cython.longlong
        interface: cython.longlong
        last_ns: cython.longlong = frames.last_ts_ns
        latest: cython.longlong = ts_ns[row - 1] if row else 0
        ordered: cython.bint = frames.ordered
        needed: cython.longlong = FULL
        while row < rows:
            if end - at < 12:
                needed = 12
                break
            head = octets(data, at)
            kind = u32(head, 0, big_endian)
            if kind != 6 and kind != 3 and kind != 2:
                needed = OTHER
                break
            total = u32(head, 4, big_endian)
            if self.interfaces == 0 or total > self.max_block or total < (16 if kind == 3 else 32):
                needed = BROKEN
                break
            total = (total + 3) & ~3  # some writers leave the padding out of the length
            if end - at < total:
                needed = total
                break
            if (u32(head, total - 4, big_endian) + 3) & ~3 != total:
                needed = BROKEN
                break
            if kind == 3:
                interface = 0
                self.untimed[0] += 1
                wire = u32(head, 8, big_endian)
                length = wire
                if self.snap_length[0] and length > self.snap_length[0]:
                    length = self.snap_length[0]
                if length > total - 16:
                    length = total - 16
            else:
                interface = u32(head, 8, big_endian)
                if kind == 2:  # 16 bits of interface, 16 bits of drop count
                    interface = interface >> 16 if big_endian else interface & 0xFFFF
                length = u32(head, 20, big_endian)
                wire = u32(head, 24, big_endian)
                if interface >= self.interfaces or length > total - 32:
                    needed = BROKEN
                    break
                last_ns = nanoseconds(
                    u32(head, 12, big_endian),
                    u32(head, 16, big_endian),
                    self.multiplier[interface],
                    self.divisor[interface],
                    self.shift[interface],
                    self.last_tick[interface],
                )
                last_ns += self.offset_ns[interface]
            ts_ns[row] = last_ns  # a simple packet block has no time: that of the packet before it
            if last_ns < latest:
                ordered = False
            latest = last_ns
            original[row] = cython.cast(cython.uint, wire)
            captured[row] = cython.cast(cython.int, length)
            offset[row] = cython.cast(cython.int, at + (12 if kind == 3 else 28))
            link[row] = self.if_link[interface]
            self.packets[interface] += 1
            at += total
            row += 1
        frames.last_ts_ns = last_ns
        frames.ordered = ordered
        frames.count = row
        frames.reached = at
        frames.needed = needed
        return 0


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def nanoseconds(
    high: cython.longlong,
    low: cython.longlong,
    multiplier: cython.longlong,
    divisor: cython.longlong,
    shift: cython.int,
    last_tick: cython.longlong,
) -> cython.longlong:
    ticks: cython.longlong
    fraction: cython.longlong
    if high >= MAX_HIGH:
        return LATEST
    ticks = high << 32 | low
    if ticks > last_tick:
        return LATEST
    if shift < 0:
        return ticks * multiplier // divisor
    if shift > 62:
        return 0
    fraction = ticks & ((ONE << shift) - 1)
    if shift > 32:
        return (ticks >> shift) * 1000000000 + ((fraction >> (shift - 32)) * 1000000000 >> 32)
    return (ticks >> shift) * 1000000000 + (fraction * 1000000000 >> shift)
