"""Copies of packets that carry nothing to tell them apart (no IP identification, no TCP timestamp), told by where they were captured.

`-i any` records a packet at each interface that it passes. Where a packet was sent again it passes the same places again: so of the
packets that look alike within a millisecond, as many were sent as were captured at the place that has the most of them, and a
copy is one of which another place has more. RFC 6298 waits a second before it sends anything again (Linux 200 ms); what is sent again
sooner, after a round trip, is counted by its place.
"""

# ruff: noqa: D103, PLR1730
# (the compiler makes plain comparisons of chained ones, Python calls of min, max and `in`)

import array

import cython

MASK31 = cython.declare(cython.longlong, 0x7FFFFFFF)
MASK32 = cython.declare(cython.longlong, 0xFFFFFFFF)
SPREAD = cython.declare(cython.longlong, 0x9E3779B1)
SETS = cython.declare(cython.longlong, 1 << 11)
WAYS = cython.declare(cython.longlong, 8)
WITHIN_TICKS = cython.declare(cython.longlong, 1_000_000 >> 10)  # a millisecond in units of 1024 ns


@cython.final
@cython.cclass
class PlacedPackets:
    """The last such packets of all connections: sets of identity << 32 | time, and beside each where it was captured."""

    def __init__(self) -> None:
        self.packets = array.array("q", bytes(8 * SETS * WAYS))
        self.places = array.array("q", bytes(8 * SETS * WAYS))

    @cython.cfunc
    def is_copy(
        self, sender: cython.longlong, identity: cython.longlong, where: cython.longlong, ticks: cython.longlong
    ) -> cython.bint:
        """Take in a packet of `sender` (a number of one side of one connection) captured at `where`; whether another place had it before.

        `identity` (31 bits) tells what the sender's packets say, `ticks` is the time in units of 1024 ns.
        """
        key: cython.longlong = (identity ^ sender * SPREAD) & MASK31 | 1
        first: cython.longlong = (key >> 1 & (SETS - 1)) * WAYS
        oldest: cython.longlong = first
        here: cython.longlong = 0
        elsewhere: cython.longlong = 0
        count: cython.longlong
        at: cython.longlong
        other: cython.longlong
        for at in range(first, first + WAYS):
            if (ticks - self.packets[at]) & MASK32 > (ticks - self.packets[oldest]) & MASK32:
                oldest = at
            if not alike(self.packets[at], key, ticks):
                continue
            if self.places[at] == where:
                here += 1
                continue
            count = 0
            for other in range(first, first + WAYS):
                if self.places[other] == self.places[at] and alike(self.packets[other], key, ticks):
                    count += 1
            if count > elsewhere:
                elsewhere = count
        self.packets[oldest] = key << 32 | ticks
        self.places[oldest] = where
        return here < elsewhere


@cython.cfunc
@cython.inline
@cython.exceptval(check=False)
def alike(kept: cython.longlong, key: cython.longlong, ticks: cython.longlong) -> cython.bint:
    return kept >> 32 == key and (ticks - kept + WITHIN_TICKS) & MASK32 <= 2 * WITHIN_TICKS
