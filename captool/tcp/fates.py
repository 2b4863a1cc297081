"""The packets of one direction as two captures recorded them -> which of them crossed from the one to the other.

A packet is recognised by its numbers (and its mark where nothing on the way changes it). What offload put together or took apart on one
side is recognised by its bytes: a range was sent, and arrived if the other side recorded all of it. What cannot be known is not
judged: packets sent while the other capture was not running, while what it recorded was not kept, or in a direction that it did not record.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from captool.tcp.byte_ranges import MASK32, Crossing, Union, covers, overlap, profile, sent_again, sequence_length, spans
from captool.tcp.layout import ACK, FIN, RST, SYN
from captool.units import SECOND_NS

# A packet that is later than this does not count as still under way when a capture ends.
LATE_NS: Final = SECOND_NS
# Comparisons spent on telling the transmissions of the same bytes apart, for one direction.
MAX_COMPARISONS: Final = 1_000_000


class Fate(IntEnum):
    """What became of a packet that one side sent."""

    ARRIVED = 0
    PARTLY = 1
    LOST = 2
    UNRECORDED = 3  # the receiver acknowledged it, so it arrived, though its capture does not have it
    NOT_JUDGED = 4


@dataclass(frozen=True, slots=True)
class Watch:
    """When a capture was running, on the common clock, and the time in which what it recorded of a conversation was not kept."""

    start_ns: int
    end_ns: int
    hole: tuple[int, int] | None = None

    def saw(self, begin_ns: int, end_ns: int) -> bool:
        """Whether the capture would have recorded a packet at any time between these two."""
        if begin_ns < self.start_ns or end_ns > self.end_ns:
            return False
        return self.hole is None or end_ns < self.hole[0] or begin_ns > self.hole[1]


@dataclass(frozen=True, slots=True)
class Fates:
    """For each packet sent its fate, how many of its bytes are missing, and the packet that it became (-1); packets that none sent."""

    sent: list[Fate]
    missing: list[int]
    became: list[int]
    not_sent: list[int]


def key(packet: Crossing) -> tuple[int, int, int, int]:
    """What no honest device on the way changes in a packet; PSH comes and goes with offload."""
    return packet.seq, packet.ack if packet.flags & ACK else 0, packet.flags & (FIN | SYN | RST | ACK), packet.length


def recognised(sent: Sequence[Crossing], seen: Sequence[Crossing]) -> list[tuple[Crossing, Crossing]]:
    """The packets that each side recorded exactly once, with what they became; the mark tells those apart that are sent again."""
    pairs: dict[int, tuple[Crossing, Crossing]] = {}
    for marked in (False, True):
        once = [_once(sent, marked=marked), _once(seen, marked=marked)]
        pairs |= {packet.packet: (packet, once[1][name]) for name, packet in once[0].items() if name in once[1]}
    return list(pairs.values())


def fates(sent: Sequence[Crossing], seen: Sequence[Crossing], acknowledged: Iterable[int], sending: Watch, receiving: Watch) -> Fates:
    """What became of the packets that one side sent, given what the other recorded.

    `acknowledged` are the acknowledgement numbers that the receiver sent, as its own side recorded them.
    """
    fate = [Fate.LOST] * len(sent)
    missing = [packet.length for packet in sent]
    became = [-1] * len(sent)
    taken: set[int] = set()
    base = (sent[0].seq if sent else seen[0].seq if seen else 0) - (1 << 31)
    marked = _marks_kept(sent, seen)
    again = Union(sent_again(sent, base))
    for here, there in _same(sent, seen, marked=marked):
        if not marked and any(again.covered(*span) for span in spans(sent[here[0]], base)):
            continue  # the arrival may be a piece of another transmission of these bytes
        for i, j in _in_time([(i, sent[i]) for i in here], [(j, seen[j]) for j in there]):
            fate[i], missing[i], became[i] = Fate.ARRIVED, 0, j
            taken.add(j)
    left = [(i, packet) for i, packet in enumerate(sent) if fate[i] is Fate.LOST and sequence_length(packet)]
    rest = [(j, packet) for j, packet in enumerate(seen) if j not in taken and sequence_length(packet)]
    if left and rest:
        _by_bytes(left, rest, base, fate, missing, became)
    recorded, highest = Union(span for packet in seen for span in spans(packet, base)), _highest(acknowledged)
    for i, packet in enumerate(sent):
        if fate[i] is not Fate.LOST and fate[i] is not Fate.PARTLY:
            continue
        if highest is not None and _acknowledged(packet, highest) and not covers(recorded, packet, base):
            fate[i], missing[i] = Fate.UNRECORDED, 0
        elif not receiving.saw(packet.at_ns - packet.slack_ns, packet.at_ns + packet.slack_ns + LATE_NS):
            fate[i], missing[i] = Fate.NOT_JUDGED, 0
    if not seen and (Fate.UNRECORDED in fate or not any(map(sequence_length, sent))):
        # A capture of the other direction only: that it has none of these says nothing. Data that it never saw acknowledged would.
        for i, one in enumerate(fate):
            if one is Fate.LOST:
                fate[i], missing[i] = Fate.NOT_JUDGED, 0
    return Fates(fate, missing, became, list(_not_sent(sent, seen, became, base, sending)))


def _once(packets: Sequence[Crossing], *, marked: bool) -> dict[tuple[int, ...], Crossing]:
    named: dict[tuple[int, ...], Crossing | None] = {}
    for packet in packets:
        name = (*key(packet), packet.mark if marked else 0)
        named[name] = None if name in named else packet
    return {name: packet for name, packet in named.items() if packet is not None}


def _marks_kept(sent: Sequence[Crossing], seen: Sequence[Crossing]) -> bool:
    """Whether nothing on the way changes the identification: what packets show that are known without it, or all if there are none."""
    known, other = _once(sent, marked=False), _once(seen, marked=False)
    pairs = [(packet, other[name]) for name, packet in known.items() if name in other]
    if not pairs:
        return any(name in _once(seen, marked=True) for name in _once(sent, marked=True))
    return sum(here.mark == there.mark for here, there in pairs) * 2 > len(pairs)


def _same(sent: Sequence[Crossing], seen: Sequence[Crossing], *, marked: bool) -> Iterator[tuple[list[int], list[int]]]:
    """Packets that cannot be told apart by what they are: those sent, and those that the other side recorded."""
    groups: dict[tuple[int, ...], tuple[list[int], list[int]]] = defaultdict(lambda: ([], []))
    for side, packets in enumerate((sent, seen)):
        for index, packet in enumerate(packets):
            groups[(*key(packet), packet.mark if marked else 0)][side].append(index)
    yield from (group for group in groups.values() if group[0] and group[1])


def _in_time(sent: list[tuple[int, Crossing]], seen: list[tuple[int, Crossing]]) -> Iterator[tuple[int, int]]:
    """Transmissions of the same thing and their arrivals: as many as can be, each arrival with the latest that can be meant."""
    if len(sent) == len(seen) and not any(_before(there, here) for (_, here), (_, there) in zip(sent, seen, strict=True)):
        yield from ((i, j) for (i, _), (j, _) in zip(sent, seen, strict=True))
        return
    at = len(sent) - 1
    for j, packet in reversed(seen):
        while at >= 0 and _before(packet, sent[at][1]):
            at -= 1
        if at < 0:
            return
        yield sent[at][0], j
        at -= 1


def _before(one: Crossing, other: Crossing) -> bool:
    """Whether a packet was recorded before another, whatever the clocks."""
    return one.at_ns + one.slack_ns < other.at_ns - other.slack_ns


def _by_bytes(
    sent: list[tuple[int, Crossing]],
    seen: list[tuple[int, Crossing]],
    base: int,
    fate: list[Fate],
    missing: list[int],
    became: list[int],
) -> None:
    """Judge what was put together or taken apart: by how often each byte was sent, and how often it was recorded."""
    places, lost, unclear = profile([span for _, p in sent for span in spans(p, base)], [span for _, p in seen for span in spans(p, base)])
    begins = sorted((begin, j) for j, packet in seen for begin, _ in spans(packet, base))
    comparisons = 0
    for position, (i, packet) in enumerate(sent):
        gone, doubt = 0, 0
        for begin, end in spans(packet, base):
            first, last = bisect_left(places, begin), bisect_left(places, end)
            gone += lost[last] - lost[first]
            doubt += unclear[last] - unclear[first]
        if gone >= sequence_length(packet):
            continue
        if doubt:
            comparisons += len(seen) + len(sent)
            if comparisons > MAX_COMPARISONS:
                fate[i], missing[i] = Fate.NOT_JUDGED, 0
                continue
            gone = sequence_length(packet) - _arrived_in_time(position, sent, seen, base)
            if gone >= sequence_length(packet):
                continue
        fate[i], missing[i] = (Fate.PARTLY, gone) if gone else (Fate.ARRIVED, 0)
        became[i] = begins[max(bisect_left(begins, (end, 0)) - 1, 0)][1]


def _arrived_in_time(position: int, sent: list[tuple[int, Crossing]], seen: list[tuple[int, Crossing]], base: int) -> int:
    """Bytes of a transmission that were recorded after it and before the next transmission of any of them."""
    packet = sent[position][1]
    following = next((other for _, other in sent[position + 1 :] if overlap(packet, other, base)), None)
    until = None if following is None else following.at_ns - following.slack_ns
    parts = Union(
        span
        for _, other in seen
        if other.at_ns + other.slack_ns >= packet.at_ns - packet.slack_ns and (until is None or other.at_ns + other.slack_ns < until)
        for span in spans(other, base)
    )
    return sum(parts.covered(*span) for span in spans(packet, base))


def _acknowledged(packet: Crossing, number: int) -> bool:
    return sequence_length(packet) > 0 and (number - packet.seq - sequence_length(packet) & MASK32) < 1 << 31


def _highest(acknowledged: Iterable[int]) -> int | None:
    highest: int | None = None
    for number in acknowledged:
        if highest is None or 0 < (number - highest & MASK32) < 1 << 31:
            highest = number
    return highest


def _not_sent(
    sent: Sequence[Crossing], seen: Sequence[Crossing], became: list[int], base: int, sending: Watch
) -> Iterator[int]:
    """Packets of which the sending side knows nothing, though it was recording when they must have left it.

    That was after the packets that arrived before them, and not longer before than a packet is under way. Where the side has no packet
    of this direction at all, it recorded the other one only.
    """
    if not sent:
        return
    names = {key(packet) for packet in sent}
    bytes_sent = Union(span for packet in sent for span in spans(packet, base))
    left_at = {j: sent[i].at_ns - sent[i].slack_ns for i, j in enumerate(became)}
    after: int | None = None
    for j, packet in enumerate(seen):
        after = max(after or left_at[j], left_at[j]) if j in left_at else after
        begin, end = packet.at_ns - packet.slack_ns - LATE_NS, packet.at_ns + packet.slack_ns
        if key(packet) in names or not sending.saw(begin if after is None else min(max(begin, after), end), end):
            continue
        if packet.flags & RST or not sequence_length(packet) or not covers(bytes_sent, packet, base):
            yield j
