"""The TCP segments of one chunk of packets, as columns. Compiled by Cython (pure-Python mode) and runs unchanged without it."""

import array

import cython

from captool.capture.frames import INTS, LONGS, WORDS

if not cython.compiled:  # compiled, they come from segments.pxd
    from captool.capture.frames import column
    from captool.capture.literals import BEYOND_IPV4, MAPPED_IPV4, MASK32
    from captool.packets.datagram import Datagram

SHORTS = array.array("H")


@cython.cclass
class Segments:
    """The TCP segments of one chunk: columns, row i for 0 <= i < `count`.

    `frame` is the row in the chunk's Frames. Addresses are two signed 64-bit words each (IPv4 as ::ffff:a.b.c.d), `ports` is
    source << 16 | destination: both are there once `tell_ends` was called for the row. `payload_length` is what the IP header says,
    `payload_captured` what of it is in `Frames.buffer` from `payload_offset` on. `mark` tells the sender's packets apart: the IPv4
    identification, or 2**32 + TSval where that is 0 or absent, -1 where there is neither. Where it is no identification and the link layer
    tells the place of capture, the place stands above the lower 33 bits, which are then 0 instead of -1. `hops` is the TTL or hop limit.
    Padding of the link layer is never payload.
    `identity` is a hash of what tells a sender's packets apart. `key` is 31 bits of a hash of the two ends, the same for both directions,
    and below them 1 where the destination is the first of them. `ends` are the lower halves of both addresses, `end_ports` both ports, the
    first of the two above the second. `shape` tells what most segments are: `PLAIN`, an acknowledgement, perhaps with data that was
    captured whole, without SYN, FIN or RST and with an open window; `BEYOND_IPV4` where an address is not IPv4; `SELECTIVE` where a segment
    without data says that something above what it acknowledges arrived. `slot` is room for the tracker. `latest_ns` is the latest time of
    all packets so far, TCP or not.

    `row` is the first packet that was not looked at yet. Of those before it, `size` is the sum of their lengths on the wire, `snapped` how
    many a snap length cut, `other` how many are no TCP, `undecodable` how many are damaged, `elsewhere` how many belong to another shard.
    What stands at `row`, if that is not the end, is in `fragment_at` and those below it (`captool.packets.headers.read_headers`).
    `datagram` is the one that was last found by more than a look at where most are.
    """

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self.latest_ns = 0
        self.begin()
        self.frame = column(INTS, rows)
        self.source_high = column(LONGS, rows)
        self.source_low = column(LONGS, rows)
        self.destination_high = column(LONGS, rows)
        self.destination_low = column(LONGS, rows)
        self.ports = column(WORDS, rows)
        self.seq = column(WORDS, rows)
        self.ack = column(WORDS, rows)
        self.flags = column(SHORTS, rows)
        self.window = column(SHORTS, rows)
        self.hops = bytearray(rows)
        self.mark = column(LONGS, rows)
        self.identity = column(INTS, rows)
        self.payload_offset = column(INTS, rows)
        self.payload_length = column(INTS, rows)
        self.payload_captured = column(INTS, rows)
        self.key = column(LONGS, rows)
        self.ends = column(LONGS, rows)
        self.end_ports = column(WORDS, rows)
        self.shape = bytearray(rows)
        self.slot = column(INTS, rows)
        self.datagram = Datagram()

    @cython.ccall
    def tell_ends(self, row: cython.Py_ssize_t) -> object:
        """Make sure that addresses and ports of a segment are in their columns: most are asked for by `ends` alone."""
        swapped: cython.bint = self.key[row] & 1 != 0
        first: cython.longlong = self.ends[row] >> 32 & MASK32
        second: cython.longlong = self.ends[row] & MASK32
        ports: cython.longlong = self.end_ports[row]
        self.ports[row] = cython.cast(cython.uint, (ports & 0xFFFF) << 16 | ports >> 16 if swapped else ports)
        if not self.shape[row] & BEYOND_IPV4:
            self.source_high[row] = self.destination_high[row] = 0
            self.source_low[row] = MAPPED_IPV4 | (second if swapped else first)
            self.destination_low[row] = MAPPED_IPV4 | (first if swapped else second)
        return None

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def begin(self) -> cython.int:
        """Nothing of the chunk was looked at yet."""
        self.count = 0
        self.row = 0
        self.size = 0
        self.snapped = 0
        self.other = 0
        self.undecodable = 0
        self.elsewhere = 0
        self.fragment_at = 0
        self.fragment_end = 0
        self.fragment_header = 0
        self.whole_length = 0
        return 0
