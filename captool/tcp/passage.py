"""The fates of the packets of one direction -> how it crossed, in numbers: what was lost, where the path died, what was never sent."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from captool.direction import Moment
from captool.tcp.byte_ranges import Crossing, sequence_length
from captool.tcp.connection import LARGE
from captool.tcp.fates import Fate, Fates
from captool.tcp.layout import FIN, RST, SYN
from captool.units import SECOND_NS

# A path is called dead when this many packets or this much time brought nothing to the other side any more.
DEAD_PACKETS: Final = 3
DEAD_NS: Final = 3 * SECOND_NS
MAX_RANGES: Final = 32


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
    `not_judged` counts packets that followed when the other capture was over, as far as is known. `idle_ns` is the time before `first` in
    which neither side sent a packet. `other_way` counts what was sent after `first` in the other direction, and `other_way_arrived` what of
    it crossed.
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
class TooLarge:
    """From `first` on what was large was lost, and what was smaller arrived.

    Of `packets` that were lost, `last` being the last, the smallest had `smallest_lost` bytes of data; of `arrived` that arrived since, the
    largest had `largest_arrived`. `between`: some of these came when several had been lost already, so that the path was not dead.
    """

    first: Moment
    last: Moment
    packets: int
    smallest_lost: int
    arrived: int
    largest_arrived: int
    between: bool


@dataclass(frozen=True, slots=True)
class NotSent:
    """A packet that one side recorded and the other never sent; hop limits are of it and of packets that truly came from there."""

    moment: Moment
    flags: int
    length: int
    hop_limit: int
    usual_hop_limit: int

    @property
    def foreign(self) -> bool:
        """Whether it came from elsewhere: else the recorder at the sender may have lost it."""
        return self.hop_limit != self.usual_hop_limit and self.hop_limit > 0 and self.usual_hop_limit > 0


@dataclass(frozen=True, slots=True)
class Passage:
    """How the packets of one direction crossed. Packet numbers are those of the sending side's capture.

    `sent` = `arrived` + `lost` + `unrecorded` + `not_judged`; a packet of which a part was lost counts as lost. `lost_payload_bytes` counts
    each transmission. `lost_ranges` are the first and the last of them where there are many. `last_arrived` is the last packet that
    crossed, as sent and as recorded by the receiving side. A direction is not called dead where only packets `too_large` were lost.
    `lacking` counts packets that the receiving side's recorder lost: what arrived (`unrecorded`), and what the sender's side has of the
    receiver's packets.
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
    too_large: TooLarge | None = None
    lacking: int = 0


def passage(
    sent: Sequence[Crossing],
    seen: Sequence[Crossing],
    found: Fates,
    back_sent: Sequence[Crossing],
    back_seen: Sequence[Crossing],
    back: Fates,
) -> Passage:
    """The sum of the fates of one direction; `back_sent`, `back_seen` and `back` are those of the other."""
    unheard = [back_seen[j] for j in back.not_sent if not back_seen[j].flags & (RST | FIN)]  # a middlebox makes those
    lost = [i for i, fate in enumerate(found.sent) if fate in (Fate.LOST, Fate.PARTLY)]
    arrived = [i for i, fate in enumerate(found.sent) if fate is Fate.ARRIVED]
    last = arrived[-1] if arrived else None
    ranges = list(_ranges(sent, found.sent))
    too_large = _too_large(sent, found.sent, lost)
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
        dead=None if too_large else _dead(sent, found, back_sent, back, unheard),
        not_sent=tuple(
            NotSent(moment(seen[j]), seen[j].flags, seen[j].length, seen[j].hop_limit, usual) for j in _telling(seen, found.not_sent)
        ),
        not_sent_packets=len(found.not_sent),
        too_large=too_large,
        lacking=found.sent.count(Fate.UNRECORDED) + len(unheard),
    )


def all_arrived(packets: int, last: tuple[Moment, Moment]) -> Passage:
    """The passage of packets that are the same on both sides; `last` is the last of them as sent and as recorded by the receiver."""
    return Passage(packets, packets, 0, 0, 0, 0, (), last if packets else None, None, (), 0)


def moment(packet: Crossing) -> Moment:
    """Packet number and time as its own capture has them."""
    return Moment(packet.packet, packet.ts_ns)


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


def _too_large(sent: Sequence[Crossing], fate: list[Fate], lost: list[int]) -> TooLarge | None:
    """Whether size alone decided what arrived, since a large one did for the last time: three were lost, in three seconds."""
    crossed = [i for i, one in enumerate(fate) if one in (Fate.ARRIVED, Fate.UNRECORDED)]
    large = max((i for i in crossed if sent[i].length >= LARGE), default=-1)
    gone = [i for i in lost if i > large]
    if len(gone) < DEAD_PACKETS or sent[gone[-1]].at_ns - sent[gone[0]].at_ns < DEAD_NS:
        return None
    smaller, smallest = [i for i in crossed if i > gone[0]], min(sent[i].length for i in gone)
    if smallest < LARGE or not smaller:
        return None
    return TooLarge(
        first=moment(sent[gone[0]]),
        last=moment(sent[gone[-1]]),
        packets=len(gone),
        smallest_lost=smallest,
        arrived=len(smaller),
        largest_arrived=max(sent[i].length for i in smaller),
        between=smaller[-1] > gone[DEAD_PACKETS - 1],
    )


def _dead(
    sent: Sequence[Crossing], found: Fates, back_sent: Sequence[Crossing], back: Fates, unheard: Sequence[Crossing]
) -> DeadPath | None:
    """The end of a direction: nothing arrives any more, of three packets, with data among them, or for three seconds at least.

    `unheard` are packets that the receiver sent and its recorder lost: after one of them nothing says what else that lost.
    """
    crossed = max((i for i, fate in enumerate(found.sent) if fate in (Fate.ARRIVED, Fate.PARTLY, Fate.UNRECORDED)), default=-1)
    gone = [i for i in range(crossed + 1, len(sent)) if found.sent[i] is Fate.LOST]
    if not gone:
        return None
    first = sent[gone[0]]
    many = len(gone) >= DEAD_PACKETS and any(sequence_length(sent[i]) for i in gone)
    if not many and sent[gone[-1]].at_ns - first.at_ns < DEAD_NS:
        return None
    if any(packet.at_ns + packet.slack_ns > first.at_ns - first.slack_ns for packet in unheard):
        return None
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
