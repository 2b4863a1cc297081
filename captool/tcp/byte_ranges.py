"""What packets take of the sequence space of one direction: ranges of bytes, counted and compared as sets."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from captool.tcp.layout import FIN, SYN

MASK32: Final = 0xFFFFFFFF


class Crossing(NamedTuple):
    """A packet as one capture recorded it; `at_ns` is its time on the clock on which both are compared, within `slack_ns`."""

    ts_ns: int
    packet: int
    seq: int
    ack: int
    flags: int
    length: int
    mark: int
    hop_limit: int
    at_ns: int = 0
    slack_ns: int = 0


class Union:
    """Bytes that are covered by at least one of several ranges."""

    def __init__(self, ranges: Iterable[tuple[int, int]]) -> None:
        self._begins: list[int] = []
        self._ends: list[int] = []
        self._before: list[int] = []
        for begin, end in sorted(ranges):
            if self._ends and begin <= self._ends[-1]:
                self._ends[-1] = max(self._ends[-1], end)
            else:
                self._before.append(self._before[-1] + self._ends[-1] - self._begins[-1] if self._ends else 0)
                self._begins.append(begin)
                self._ends.append(end)

    def covered(self, begin: int, end: int) -> int:
        """How many bytes of a range are covered."""
        return self._up_to(end) - self._up_to(begin)

    def _up_to(self, place: int) -> int:
        index = bisect_right(self._begins, place) - 1
        return 0 if index < 0 else self._before[index] + min(place, self._ends[index]) - self._begins[index]


def spans(packet: Crossing, base: int) -> Iterator[tuple[int, int]]:
    """What a packet takes of the sequence space, counted from `base`: one range, or two where it crosses the end of the count."""
    begin = packet.seq - base & MASK32
    end = begin + sequence_length(packet)
    if end <= 1 << 32:
        yield begin, end
    else:
        yield begin, 1 << 32
        yield 0, end - (1 << 32)


def sequence_length(packet: Crossing) -> int:
    """SYN and FIN take a sequence number each (RFC 9293 3.4)."""
    return packet.length + bool(packet.flags & SYN) + bool(packet.flags & FIN)


def sent_again(sent: Sequence[Crossing], base: int) -> Iterator[tuple[int, int]]:
    """What was sent more than once."""
    top = 0
    for begin, end in sorted(span for packet in sent for span in spans(packet, base)):
        if begin < top:
            yield begin, min(end, top)
        top = max(top, end)


def profile(sent: list[tuple[int, int]], seen: list[tuple[int, int]]) -> tuple[list[int], list[int], list[int]]:
    """Places at which something begins or ends; and up to each, bytes never recorded, and bytes recorded less often than sent."""
    changes: dict[int, list[int]] = defaultdict(lambda: [0, 0])
    for which, ranges in enumerate((sent, seen)):
        for begin, end in ranges:
            changes[begin][which] += 1
            changes[end][which] -= 1
    places = sorted(changes)
    lost, unclear = [0], [0]
    times_sent = times_seen = 0
    for place, following in pairwise(places):
        times_sent += changes[place][0]
        times_seen += changes[place][1]
        lost.append(lost[-1] + (following - place if times_sent and not times_seen else 0))
        unclear.append(unclear[-1] + (following - place if 0 < times_seen < times_sent else 0))
    return places, lost, unclear


def overlap(one: Crossing, other: Crossing, base: int) -> bool:
    """Whether two packets have bytes in common."""
    return any(a < d and c < b for a, b in spans(one, base) for c, d in spans(other, base))


def covers(ranges: Union, packet: Crossing, base: int) -> bool:
    """Whether the ranges hold all of a packet."""
    return all(ranges.covered(*span) == span[1] - span[0] for span in spans(packet, base))
