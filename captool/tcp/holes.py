"""Ranges of a stream that were not captured (yet), in order of appearance, without overlap.

Each is (begin, end, mark, time): its offsets, and the mark and time of the segment above it that showed it. What comes late and fills it
was either sent again, or sent before that segment and overtaken by it (reordering, RFC 4737).
"""

from collections import deque
from collections.abc import Iterable
from typing import Final

MAX_HOLES: Final = 1024
MAX_FILLED: Final = 64
Hole = tuple[int, int, int, int]
Holes = list[Hole]
# Identifications of packets that are under way at the same time differ by less; those of a sender that draws them at random seldom do.
NEAR: Final = 1024
# Without anything that tells: as Wireshark takes it, what was sent again comes a round trip later, at least so much.
LATE_NS: Final = 3_000_000


def add_hole(holes: Holes, begin: int, end: int, mark: int, ts: int) -> int:
    """Note a hole. Returns the bytes of the oldest one where there are too many to list: it counts as lost for good."""
    holes.append((begin, end, mark, ts))
    if len(holes) <= MAX_HOLES:
        return 0
    begin, end, _, _ = holes.pop(0)
    return end - begin


def fill_holes(holes: Holes, begin: int, end: int) -> Holes:
    """What is left of the holes when the bytes from `begin` to `end` came."""
    left = []
    for hole in holes:
        hole_begin, hole_end, mark, ts = hole
        if hole_end <= begin or hole_begin >= end:
            left.append(hole)
            continue
        if hole_begin < begin:
            left.append((hole_begin, begin, mark, ts))
        if hole_end > end:
            left.append((end, hole_end, mark, ts))
    return left


def overtaken(holes: Iterable[Hole], begin: int, end: int, mark: int, ts: int) -> bool:
    """Whether the bytes from `begin` to `end`, which came late, were sent before the segment that showed the hole in which they are.

    Told by the marks: a sender numbers its packets (IPv4 identification), or says the time (TCP timestamp, in 33 bits).
    """
    for hole_begin, hole_end, above, since_ns in holes:
        if hole_begin <= begin and end <= hole_end:
            if 0 < mark < 0x10000 and 0 < above < 0x10000:
                return 0 < (above - mark) & 0xFFFF <= NEAR
            if mark >= 0x10000 and above >= 0x10000 and mark != above:
                return (above - mark) & 0xFFFFFFFF < 0x80000000
            return ts - since_ns <= LATE_NS
    return False


class Overtaken:
    """How many segments of one side others had overtaken.

    `filled` are the last holes that were filled by what it sent again: what it had sent first may still come.
    """

    __slots__ = ("count", "filled")

    def __init__(self) -> None:
        self.count = 0
        self.filled: deque[Hole] = deque(maxlen=MAX_FILLED)

    def sent_again(self, holes: Holes, begin: int, end: int) -> None:
        """What is sent again from `begin` to `end` fills of these holes what lies there."""
        for hole_begin, hole_end, mark, ts in holes:
            if hole_begin < end and begin < hole_end:
                self.filled.append((max(begin, hole_begin), min(end, hole_end), mark, ts))
