"""Record headers of a capture file -> one row of columns for each packet; the packet bytes stay where they are.

Compiled by Cython (pure-Python mode) and runs unchanged without it. Formats: pcap (libpcap's savefile manual page) and
pcapng (draft-ietf-opsawg-pcapng). A walk ends at the last whole record; the reader carries the rest into the next chunk.
"""

# ruff: noqa: D103, PLR0912, PLR0915, PLR1714, PLR1730
# (the compiler makes plain comparisons of chained ones, Python calls of min, max and `in`)

import array

import cython

# What a walk returns beside its position, where that is not the size of the record that did not fit:
COLUMNS_FULL = 0
CORRUPT = -1
OTHER_BLOCK = -2  # a pcapng block that is no packet stands at the position, whole

# Far from the ends of 64 bits, so that differences and offsets of hostile timestamps cannot overflow.
LAST_NS = (1 << 62) - 1


@cython.cclass
class Frames:
    """The packets of one chunk: columns over `buffer`, valid until the next chunk is asked for.

    Row i, 0 <= i < `count`, is packet number `first_packet + i`: its bytes are
    `buffer[offset[i] : offset[i] + captured[i]]`, `original[i]` is its length on the wire, `link_type[i]` a LINKTYPE number,
    `ts_ns[i]` nanoseconds since 1970. The bytes from `spare` to the buffer's end belong to the decoder (reassembled datagrams).
    `data` is the buffer as the compiled modules see it.
    """

    def __init__(self, buffer: bytearray, spare: int, rows: int) -> None:
        self.use(buffer)
        self.spare = spare
        self.count = 0
        self.first_packet = 1
        self.last_ts_ns = 0
        self.ts_ns = array.array("q", [0]) * rows
        self.offset = array.array("i", [0]) * rows
        self.captured = array.array("i", [0]) * rows
        self.original = array.array("I", [0]) * rows
        self.link_type = array.array("i", [0]) * rows

    @cython.ccall
    def use(self, buffer: bytearray) -> object:
        """Take another buffer (a bytearray); the columns refer to it from now on."""
        self.buffer = buffer
        self.data = memoryview(buffer)
        return None


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


@cython.cfunc
@cython.inline
@cython.boundscheck(False)  # the walkers check once a header
@cython.exceptval(check=False)
def u32(data: cython.uchar[::1], at: cython.Py_ssize_t, big_endian: cython.bint) -> cython.longlong:
    if big_endian:
        return (
            cython.cast(cython.uint, data[at]) << 24
            | cython.cast(cython.uint, data[at + 1]) << 16
            | cython.cast(cython.uint, data[at + 2]) << 8
            | cython.cast(cython.uint, data[at + 3])
        )
    return (
        cython.cast(cython.uint, data[at + 3]) << 24
        | cython.cast(cython.uint, data[at + 2]) << 16
        | cython.cast(cython.uint, data[at + 1]) << 8
        | cython.cast(cython.uint, data[at])
    )


@cython.boundscheck(False)
def walk_pcap(
    frames: Frames,
    start: cython.Py_ssize_t,
    end: cython.Py_ssize_t,
    big_endian: cython.bint,
    fraction_ns: cython.longlong,
    header_length: cython.Py_ssize_t,
    link_type: cython.int,
    max_captured: cython.longlong,
) -> tuple:
    """Walk the records of `frames.buffer[start:end]` into the columns, from row `frames.count` on.

    `fraction_ns` is the unit of the second timestamp word (1000 or 1), `header_length` 16 (24 in the modified format).
    Returns the position after the last whole record, and `COLUMNS_FULL`, `CORRUPT` (a record at that position claims
    more than `max_captured` bytes) or the size of the record that is not whole (the header's size if that is cut).
    """
    data: cython.uchar[::1] = frames.data
    ts_ns: cython.longlong[::1] = frames.ts_ns
    offset: cython.int[::1] = frames.offset
    captured: cython.int[::1] = frames.captured
    original: cython.uint[::1] = frames.original
    link: cython.int[::1] = frames.link_type
    row: cython.Py_ssize_t = frames.count
    rows: cython.Py_ssize_t = len(frames.ts_ns)
    at: cython.Py_ssize_t = start
    length: cython.longlong
    needed: cython.longlong = COLUMNS_FULL
    if start < 0 or end > len(data):
        raise IndexError("outside of the buffer")
    while row < rows:
        if end - at < header_length:
            needed = header_length
            break
        length = u32(data, at + 8, big_endian)
        if length > max_captured:
            needed = CORRUPT
            break
        if end - at < header_length + length:
            needed = header_length + length
            break
        ts_ns[row] = u32(data, at, big_endian) * 1000000000 + u32(data, at + 4, big_endian) * fraction_ns
        original[row] = cython.cast(cython.uint, u32(data, at + 12, big_endian))
        captured[row] = cython.cast(cython.int, length)
        at += header_length
        offset[row] = cython.cast(cython.int, at)
        link[row] = link_type
        at += length
        row += 1
    if row:
        frames.last_ts_ns = ts_ns[row - 1]
    frames.count = row
    return at, needed


@cython.boundscheck(False)
def walk_pcapng(
    frames: Frames,
    start: cython.Py_ssize_t,
    end: cython.Py_ssize_t,
    big_endian: cython.bint,
    interfaces: Interfaces,
    max_block: cython.longlong,
) -> tuple:
    """Walk the packet blocks (enhanced, simple, obsolete) of `frames.buffer[start:end]` into the columns.

    Returns the position and `COLUMNS_FULL`, `CORRUPT` (the block at the position contradicts itself, names an unknown
    interface, or is a packet above `max_block` bytes), `OTHER_BLOCK` (a block of another type stands there; only its
    first 12 bytes are sure to be in the buffer), or the size of the packet block that is not whole.
    """
    data: cython.uchar[::1] = frames.data
    ts_ns: cython.longlong[::1] = frames.ts_ns
    offset: cython.int[::1] = frames.offset
    captured: cython.int[::1] = frames.captured
    original: cython.uint[::1] = frames.original
    link: cython.int[::1] = frames.link_type
    count: cython.Py_ssize_t = len(interfaces.link_type)
    row: cython.Py_ssize_t = frames.count
    rows: cython.Py_ssize_t = len(frames.ts_ns)
    at: cython.Py_ssize_t = start
    kind: cython.longlong
    total: cython.longlong
    length: cython.longlong
    wire: cython.longlong
    interface: cython.longlong
    last_ns: cython.longlong = frames.last_ts_ns
    needed: cython.longlong = COLUMNS_FULL
    if start < 0 or end > len(data):
        raise IndexError("outside of the buffer")
    if not count:  # memoryviews of empty arrays are not wanted below; without an interface no packet block is valid
        if end - at < 12:
            return at, 12
        kind = u32(data, at, big_endian)
        return at, CORRUPT if kind == 6 or kind == 3 or kind == 2 else OTHER_BLOCK
    if_link: cython.int[::1] = interfaces.link_type
    snap_length: cython.longlong[::1] = interfaces.snap_length
    multiplier: cython.longlong[::1] = interfaces.multiplier
    divisor: cython.longlong[::1] = interfaces.divisor
    shift: cython.int[::1] = interfaces.shift
    last_tick: cython.longlong[::1] = interfaces.last_tick
    offset_ns: cython.longlong[::1] = interfaces.offset_ns
    packets: cython.longlong[::1] = interfaces.packets
    while row < rows:
        if end - at < 12:
            needed = 12
            break
        kind = u32(data, at, big_endian)
        if kind != 6 and kind != 3 and kind != 2:
            needed = OTHER_BLOCK
            break
        total = u32(data, at + 4, big_endian)
        if total > max_block or total < (16 if kind == 3 else 32):
            needed = CORRUPT
            break
        total = (total + 3) & ~3  # some writers leave the padding out of the length
        if end - at < total:
            needed = total
            break
        if (u32(data, at + total - 4, big_endian) + 3) & ~3 != total:
            needed = CORRUPT
            break
        if kind == 3:
            interface = 0
            wire = u32(data, at + 8, big_endian)
            length = wire
            if snap_length[0] and length > snap_length[0]:
                length = snap_length[0]
            if length > total - 16:
                length = total - 16
        else:
            interface = u32(data, at + 8, big_endian)
            if kind == 2:  # 16 bits of interface, 16 bits of drop count
                interface = interface >> 16 if big_endian else interface & 0xFFFF
            length = u32(data, at + 20, big_endian)
            wire = u32(data, at + 24, big_endian)
            if interface >= count or length > total - 32:
                needed = CORRUPT
                break
            last_ns = nanoseconds(
                u32(data, at + 12, big_endian),
                u32(data, at + 16, big_endian),
                multiplier[interface],
                divisor[interface],
                shift[interface],
                last_tick[interface],
            )
            last_ns += offset_ns[interface]
        ts_ns[row] = last_ns  # a simple packet block has no time: that of the packet before it
        original[row] = cython.cast(cython.uint, wire)
        captured[row] = cython.cast(cython.int, length)
        offset[row] = cython.cast(cython.int, at + (12 if kind == 3 else 28))
        link[row] = if_link[interface]
        packets[interface] += 1
        at += total
        row += 1
    frames.last_ts_ns = last_ns
    frames.count = row
    return at, needed


@cython.cfunc
@cython.inline
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


LATEST = cython.declare(cython.longlong, LAST_NS)
MAX_HIGH = cython.declare(cython.longlong, 0x80000000)
ONE = cython.declare(cython.longlong, 1)
