"""Copies of packets that carry no IP identification, told by where they were captured.

A TCP timestamp does not name a packet: what is sent again after a round trip of microseconds, and duplicate acknowledgements, bear the
same one. But where `-i any` or a mirror port records a packet at each interface that it passes, what was sent again passes the same places
again. So of the packets that look alike within a millisecond, as many were sent as were captured at the place that has the most
of them, and a copy is one of which another place has more. The place is what the link layer of `-i any` says, else the hop limit.
"""

# ruff: noqa: D103, PLR1730
# (the compiler makes plain comparisons of chained ones, Python calls of min, max and `in`)

import array

import cython

if not cython.compiled:  # compiled, they come from copies.pxd
    from captool.capture.literals import MASK31, MASK32, MASK33, SPREAD

NONE = cython.declare(cython.longlong, -1)
SETS = cython.declare(cython.longlong, 1 << 11)
WAYS = cython.declare(cython.longlong, 8)


@cython.cfunc
@cython.inline
@cython.exceptval(check=False)
def plain_mark(mark: cython.longlong) -> cython.longlong:
    """A mark (of Segments) without the place of capture."""
    if mark < 0 or mark & MASK33 == 0:
        return NONE
    return mark & MASK33


@cython.cfunc
@cython.inline
@cython.exceptval(check=False)
def place_of(mark: cython.longlong, hops: cython.longlong) -> cython.longlong:
    """Where a packet with this mark was captured: above 0 what the link layer says, below what the hop limit says."""
    return mark >> 33 if mark >> 33 > 0 else -hops


@cython.final
@cython.cclass
class PlacedPackets:
    """The last such packets of all connections: sets of identity << 32 | time, and beside each where it was captured."""

    def __init__(self) -> None:
        self.packets = array.array("q", bytes(8 * SETS * WAYS))
        self.places = array.array("q", bytes(8 * SETS * WAYS))

    @cython.cfunc
    def is_copy(
        self,
        sender: cython.longlong,
        identity: cython.longlong,
        where: cython.longlong,
        ticks: cython.longlong,
        within: cython.longlong,
    ) -> cython.bint:
        """Take in a packet of `sender` (a number of one side of one connection) captured at `where`; whether another place had it before.

        `identity` (31 bits) tells what the sender's packets say, `ticks` is the time in units of 1024 ns, copies are up to `within` apart.
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
            if not alike(self.packets[at], key, ticks, within):
                continue
            if self.places[at] == where:
                here += 1
                continue
            count = 0
            for other in range(first, first + WAYS):
                if self.places[other] == self.places[at] and alike(self.packets[other], key, ticks, within):
                    count += 1
            if count > elsewhere:
                elsewhere = count
        self.packets[oldest] = key << 32 | ticks
        self.places[oldest] = where
        return here < elsewhere


@cython.cfunc
@cython.inline
@cython.exceptval(check=False)
def alike(kept: cython.longlong, key: cython.longlong, ticks: cython.longlong, within: cython.longlong) -> cython.bint:
    return kept >> 32 == key and (ticks - kept + within) & MASK32 <= 2 * within
