"""The packets of one direction as two captures recorded them -> which of them crossed from the one to the other.

A packet is recognised by its numbers (and its mark where nothing on the way changes it). What offload put together or took apart on one
side is recognised by its bytes: a range was sent, and arrived if the other side recorded all of it. What cannot be known is not
judged: packets sent while the other capture was not running, or while what it recorded was not kept.
"""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import pairwise
from typing import Final, NamedTuple

from captool.direction import Moment
from captool.tcp.layout import ACK, FIN, RST, SYN
from captool.units import SECOND_NS

# A packet that is later than this does not count as still under way when a capture ends.
LATE_NS: Final = SECOND_NS
# A path is called dead when this many packets or this much time brought nothing to the other side any more.
DEAD_PACKETS: Final = 3
DEAD_NS: Final = 3 * SECOND_NS
# Comparisons spent on telling the transmissions of the same bytes apart, for one direction.
MAX_COMPARISONS: Final = 1_000_000
MAX_RANGES: Final = 32
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


@dataclass(frozen=True, slots=True)
class PacketRange:
    """Consecutive packets of one direction, as numbered on the sending side, that were all lost."""

    first: Moment
    last: Moment
    packets: int


@dataclass(frozen=True, slots=True)
class DeadPath:
    """From `first` on nothing that was sent arrived any more.

    `packets` and `payload_bytes` count what was sent from there and is known to have been lost, `last` being the last of it;
    `not_judged` counts packets that followed when the other capture was over. `idle_ns` is the time before `first` in which neither side
    sent a packet. `other_way` counts what was sent after `first` in the other direction, and `other_way_arrived` what of it crossed.
    """

    first: Moment
    last: Moment
    packets: int
    payload_bytes: int
    not_judged: int
    idle_ns: int
    other_way: int
    other_way_arrived: int


@dataclass(frozen=True, slots=True)
class NotSent:
    """A packet that one side recorded and the other never sent; hop limits are of it and of packets that truly came from there."""

    moment: Moment
    flags: int
    length: int
    hop_limit: int
    usual_hop_limit: int


@dataclass(frozen=True, slots=True)
class Passage:
    """How the packets of one direction crossed. Packet numbers are those of the sending side's capture.

    `sent` = `arrived` + `lost` + `unrecorded` + `not_judged`; a packet of which a part was lost counts as lost. `lost_payload_bytes` counts
    each transmission. `lost_ranges` are the first and the last of them where there are many. `last_arrived` is the last packet that
    crossed, as sent and as recorded by the receiving side.
    """

    sent: int
    arrived: int
    lost: int
    lost_payload_bytes: int
    unrecorded: int
    not_judged: int
    lost_ranges: tuple[PacketRange, ...]
    last_arrived: tuple[Moment, Moment] | None
    dead: DeadPath | None
    not_sent: tuple[NotSent, ...]
    not_sent_packets: int


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
    for here, there in _same(sent, seen, marked=_marks_kept(sent, seen)):
        for i, j in _in_time([(i, sent[i]) for i in here], [(j, seen[j]) for j in there]):
            fate[i], missing[i], became[i] = Fate.ARRIVED, 0, j
            taken.add(j)
    base = (sent[0].seq if sent else seen[0].seq if seen else 0) - (1 << 31)
    left = [(i, packet) for i, packet in enumerate(sent) if fate[i] is Fate.LOST and _length(packet)]
    rest = [(j, packet) for j, packet in enumerate(seen) if j not in taken and _length(packet)]
    if left and rest:
        _by_bytes(left, rest, base, fate, missing, became)
    recorded, highest = Union(span for packet in seen for span in spans(packet, base)), _highest(acknowledged)
    for i, packet in enumerate(sent):
        if fate[i] is not Fate.LOST and fate[i] is not Fate.PARTLY:
            continue
        if highest is not None and _acknowledged(packet, highest) and not _covers(recorded, packet, base):
            fate[i], missing[i] = Fate.UNRECORDED, 0
        elif not receiving.saw(packet.at_ns - packet.slack_ns, packet.at_ns + packet.slack_ns + LATE_NS):
            fate[i], missing[i] = Fate.NOT_JUDGED, 0
    return Fates(fate, missing, became, list(_not_sent(sent, seen, became, base, sending)))


def passage(
    sent: Sequence[Crossing], seen: Sequence[Crossing], found: Fates, back_sent: Sequence[Crossing], back: Fates
) -> Passage:
    """The sum of the fates of one direction; `back_sent` and `back` are those of the other."""
    lost = [i for i, fate in enumerate(found.sent) if fate in (Fate.LOST, Fate.PARTLY)]
    arrived = [i for i, fate in enumerate(found.sent) if fate is Fate.ARRIVED]
    last = arrived[-1] if arrived else None
    ranges = list(_ranges(sent, found.sent))
    usual = next((seen[found.became[i]].hop_limit for i in arrived if seen[found.became[i]].hop_limit), 0)
    return Passage(
        sent=len(sent),
        arrived=len(arrived),
        lost=len(lost),
        lost_payload_bytes=sum(min(found.missing[i], sent[i].length) for i in lost),
        unrecorded=found.sent.count(Fate.UNRECORDED),
        not_judged=found.sent.count(Fate.NOT_JUDGED),
        lost_ranges=tuple(ranges if len(ranges) <= MAX_RANGES else ranges[: MAX_RANGES // 2] + ranges[-MAX_RANGES // 2 :]),
        last_arrived=None if last is None else (moment(sent[last]), moment(seen[found.became[last]])),
        dead=_dead(sent, found, back_sent, back),
        not_sent=tuple(
            NotSent(moment(seen[j]), seen[j].flags, seen[j].length, seen[j].hop_limit, usual) for j in _telling(seen, found.not_sent)
        ),
        not_sent_packets=len(found.not_sent),
    )


def moment(packet: Crossing) -> Moment:
    """Packet number and time as its own capture has them."""
    return Moment(packet.packet, packet.ts_ns)


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
    end = begin + _length(packet)
    if end <= 1 << 32:
        yield begin, end
    else:
        yield begin, 1 << 32
        yield 0, end - (1 << 32)


def _length(packet: Crossing) -> int:
    """SYN and FIN take a sequence number each (RFC 9293 3.4)."""
    return packet.length + bool(packet.flags & SYN) + bool(packet.flags & FIN)


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
    if len(sent) == len(seen):
        yield from ((i, j) for (i, _), (j, _) in zip(sent, seen, strict=True))
        return
    at = len(sent) - 1
    for j, packet in reversed(seen):
        while at >= 0 and sent[at][1].at_ns - sent[at][1].slack_ns > packet.at_ns + packet.slack_ns:
            at -= 1
        if at < 0:
            return
        yield sent[at][0], j
        at -= 1


def _by_bytes(
    sent: list[tuple[int, Crossing]],
    seen: list[tuple[int, Crossing]],
    base: int,
    fate: list[Fate],
    missing: list[int],
    became: list[int],
) -> None:
    """Judge what was put together or taken apart: by how often each byte was sent, and how often it was recorded."""
    places, lost, unclear = _profile([span for _, p in sent for span in spans(p, base)], [span for _, p in seen for span in spans(p, base)])
    begins = sorted((begin, j) for j, packet in seen for begin, _ in spans(packet, base))
    comparisons = 0
    for position, (i, packet) in enumerate(sent):
        gone, doubt = 0, 0
        for begin, end in spans(packet, base):
            first, last = bisect_left(places, begin), bisect_left(places, end)
            gone += lost[last] - lost[first]
            doubt += unclear[last] - unclear[first]
        if gone >= _length(packet):
            continue
        if doubt:
            comparisons += len(seen) + len(sent)
            if comparisons > MAX_COMPARISONS:
                fate[i], missing[i] = Fate.NOT_JUDGED, 0
                continue
            gone = _length(packet) - _arrived_in_time(position, sent, seen, base)
            if gone >= _length(packet):
                continue
        fate[i], missing[i] = (Fate.PARTLY, gone) if gone else (Fate.ARRIVED, 0)
        became[i] = begins[max(bisect_left(begins, (end, 0)) - 1, 0)][1]


def _profile(sent: list[tuple[int, int]], seen: list[tuple[int, int]]) -> tuple[list[int], list[int], list[int]]:
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


def _arrived_in_time(position: int, sent: list[tuple[int, Crossing]], seen: list[tuple[int, Crossing]], base: int) -> int:
    """Bytes of a transmission that were recorded after it and before the next transmission of any of them."""
    packet = sent[position][1]
    following = next((other for _, other in sent[position + 1 :] if _overlap(packet, other, base)), None)
    until = None if following is None else following.at_ns - following.slack_ns
    parts = Union(
        span
        for _, other in seen
        if other.at_ns + other.slack_ns >= packet.at_ns - packet.slack_ns and (until is None or other.at_ns + other.slack_ns < until)
        for span in spans(other, base)
    )
    return sum(parts.covered(*span) for span in spans(packet, base))


def _overlap(one: Crossing, other: Crossing, base: int) -> bool:
    return any(a < d and c < b for a, b in spans(one, base) for c, d in spans(other, base))


def _acknowledged(packet: Crossing, number: int) -> bool:
    return _length(packet) > 0 and (number - packet.seq - _length(packet) & MASK32) < 1 << 31


def _covers(ranges: Union, packet: Crossing, base: int) -> bool:
    return all(ranges.covered(*span) == span[1] - span[0] for span in spans(packet, base))


def _highest(acknowledged: Iterable[int]) -> int | None:
    highest: int | None = None
    for number in acknowledged:
        if highest is None or 0 < (number - highest & MASK32) < 1 << 31:
            highest = number
    return highest


def _not_sent(
    sent: Sequence[Crossing], seen: Sequence[Crossing], became: list[int], base: int, sending: Watch
) -> Iterator[int]:
    """Packets of which the sending side knows nothing, though it was recording when they must have left it: after those that came before."""
    names = {key(packet) for packet in sent}
    bytes_sent = Union(span for packet in sent for span in spans(packet, base))
    left_at = {j: sent[i].at_ns - sent[i].slack_ns for i, j in enumerate(became)}
    after: int | None = None
    for j, packet in enumerate(seen):
        after = max(after or left_at[j], left_at[j]) if j in left_at else after
        begin, end = packet.at_ns - packet.slack_ns - LATE_NS, packet.at_ns + packet.slack_ns
        if key(packet) in names or not sending.saw(begin if after is None else min(max(begin, after), end), end):
            continue
        if packet.flags & RST or not _length(packet) or not _covers(bytes_sent, packet, base):
            yield j


def _telling(seen: Sequence[Crossing], not_sent: list[int]) -> list[int]:
    """Those to name: resets and closes before anything else."""
    return sorted(sorted(not_sent, key=lambda j: not seen[j].flags & (RST | FIN | SYN))[:MAX_RANGES])


def _ranges(sent: Sequence[Crossing], fate: list[Fate]) -> Iterator[PacketRange]:
    begin: int | None = None
    for i in range(len(sent) + 1):
        gone = i < len(sent) and fate[i] in (Fate.LOST, Fate.PARTLY)
        if gone and begin is None:
            begin = i
        elif not gone and begin is not None:
            yield PacketRange(moment(sent[begin]), moment(sent[i - 1]), i - begin)
            begin = None


def _dead(sent: Sequence[Crossing], found: Fates, back_sent: Sequence[Crossing], back: Fates) -> DeadPath | None:
    """The end of a direction: nothing arrives any more, of three packets or for three seconds at least."""
    crossed = max((i for i, fate in enumerate(found.sent) if fate in (Fate.ARRIVED, Fate.PARTLY, Fate.UNRECORDED)), default=-1)
    gone = [i for i in range(crossed + 1, len(sent)) if found.sent[i] is Fate.LOST]
    if not gone or (len(gone) < DEAD_PACKETS and sent[gone[-1]].at_ns - sent[gone[0]].at_ns < DEAD_NS):
        return None
    first = sent[gone[0]]
    later = [i for i, packet in enumerate(back_sent) if packet.at_ns - packet.slack_ns > first.at_ns + first.slack_ns]
    before = [packet.at_ns for packet in sent[: gone[0]]] + [packet.at_ns for packet in back_sent if packet.at_ns < first.at_ns]
    return DeadPath(
        first=moment(first),
        last=moment(sent[gone[-1]]),
        packets=len(gone),
        payload_bytes=sum(sent[i].length for i in gone),
        not_judged=sum(found.sent[i] is Fate.NOT_JUDGED for i in range(gone[0], len(sent))),
        idle_ns=max(0, first.at_ns - max(before)) if before else 0,
        other_way=len(later),
        other_way_arrived=sum(back.sent[i] in (Fate.ARRIVED, Fate.UNRECORDED) for i in later),
    )
