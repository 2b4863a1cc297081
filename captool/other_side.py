"""The same connections as a second capture recorded them, at the other end of the path: what was sent, and what of it arrived.

Each capture is read once. Connections are recognised by their sequence numbers, so a NAT between the two may have changed addresses and
ports; a proxy that ends TCP begins new sequence numbers, and nothing matches then.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Final, Literal, NamedTuple

from captool.capture.reader import CaptureReader
from captool.capture.summary import CaptureSummary
from captool.direction import Direction, Moment, PerDirection
from captool.packets.decode import Decoder
from captool.tcp.byte_ranges import Crossing
from captool.tcp.clock_offset import ClockBounds, ClockOffset
from captool.tcp.connection import Endpoint, TcpConnection
from captool.tcp.fates import Fates, Watch, fates, key, recognised
from captool.tcp.layout import ACK
from captool.tcp.packet_log import PacketLog
from captool.tcp.passage import Passage, all_arrived, passage
from captool.tcp.tracker import Tracker

Side = Literal["trace", "other-side"]

# Marks below this are identifications of IPv4: no sender gives the same packet the same one again. The others are timestamps, which
# packets may share; the copies that -i any makes come within COPY_NS, and no TCP timer is that short.
IDENTIFICATIONS: Final = 1 << 16
COPY_NS: Final = 5_000_000
# How many packets from each end of a conversation name it where its addresses do not, and how many must agree.
NAMING: Final = 4
AGREEING: Final = 2
# By how many packets in all the connections are recognised and the clocks are put together, in blocks of 16 from each end.
SAMPLE: Final = 200_000
TRIES: Final = 16
MAX_ROUND_TRIPS: Final = 1024


class Recorded(NamedTuple):
    """A capture that was read: what it was, its connections, and its packets as far as they are kept."""

    capture: CaptureSummary
    connections: Sequence[TcpConnection]
    log: PacketLog


@dataclass(frozen=True, slots=True)
class Counterpart:
    """A connection of the trace, and how its packets crossed between the two captures.

    `other` is its number in the other capture, `client` and `server` its ends there: `translated` says that they are others, because a NAT
    lies between. `client_side` is the capture that was recorded nearer to the client, None where the packets do not tell.
    `passage` has for each direction what its sender's side recorded and what of it the receiver's did. `not_compared` counts packets in the
    middle of a long conversation that were not kept, in either capture.
    """

    connection: int
    other: int
    client: Endpoint
    server: Endpoint
    translated: bool
    client_side: Side | None
    passage: PerDirection[Passage]
    not_compared: int

    def sender_side(self, direction: Direction) -> Side:
        """The capture nearer to the sender."""
        return "trace" if (self.client_side != "other-side") == (direction is Direction.TO_SERVER) else "other-side"


@dataclass(frozen=True, slots=True)
class OtherSide:
    """What the other capture shows.

    `clock` is its clock against the trace's, None where no packet is in both. `unmatched` are the connections of the trace of which the
    other capture has no packet, `renumbered` those of them of which it has the addresses and ports with other sequence numbers.
    `indistinct` are in both, but no packet of them is exactly once in each, so that nothing puts the clocks together.
    `unlogged_packets` found no room in memory and were not compared.
    """

    capture: CaptureSummary
    connections: int
    clock: ClockOffset | None
    counterparts: tuple[Counterpart, ...]
    unmatched: tuple[int, ...]
    renumbered: tuple[int, ...]
    indistinct: tuple[int, ...]
    unlogged_packets: int


class Pair(NamedTuple):
    """A connection in both captures; `flipped` says that the other one took the server for the client."""

    trace: TcpConnection
    other: TcpConnection
    flipped: bool


def read_other_side(paths: Iterable[Path], service_ports: tuple[int, ...]) -> Recorded:
    """Read a capture for its connections and packets alone. Raises CaptureError."""
    decoder, tracker, log = Decoder(), Tracker(service_ports=service_ports, streams=False), PacketLog()
    connections: list[TcpConnection] = []
    with CaptureReader(paths) as capture:
        for frames in capture.chunks():
            segments = decoder.decode(frames)
            tracker.add(frames, segments)
            log.add(frames, segments)
            connections += tracker.take_closed()
        tracker.finish()
        connections += tracker.take_closed()
        return Recorded(capture.summary(decoder, tracker), connections, log)


def compare(trace: Recorded, other: Recorded) -> OtherSide:
    """Match the connections of two captures, put their clocks together, and see which packets crossed."""
    here, there = Conversations(trace), Conversations(other)
    pairs = match(here, there)
    bounds, near = ClockBounds(), client_sides(here, there, pairs)
    for pair in pairs:
        for direction, packet, became in _recognised(here, there, pair):
            trace_first = (near.get(_hosts(pair)) != "other-side") == (direction is Direction.TO_SERVER)
            bounds.add(packet.ts_ns, became.ts_ns - packet.ts_ns, first_first=trace_first)
    clock = bounds.offset()
    matched = {pair.trace.id for pair in pairs}
    ends = {frozenset((connection.client, connection.server)) for connection in other.connections}
    unmatched = [connection for connection in trace.connections if connection.id not in matched]
    return OtherSide(
        capture=other.capture,
        connections=len(other.connections),
        clock=clock,
        counterparts=tuple(_counterpart(here, there, pair, clock, near.get(_hosts(pair))) for pair in pairs) if clock else (),
        unmatched=tuple(connection.id for connection in unmatched),
        renumbered=tuple(connection.id for connection in unmatched if frozenset((connection.client, connection.server)) in ends),
        indistinct=() if clock else tuple(pair.trace.id for pair in pairs),
        unlogged_packets=trace.log.unlogged_packets + other.log.unlogged_packets,
    )


class Conversations:
    """The packets of each connection of a capture: the log knows pairs of ends, which connections share one after the other."""

    def __init__(self, recorded: Recorded) -> None:
        self.recorded = recorded
        self.by_ends: dict[frozenset[Endpoint], list[TcpConnection]] = defaultdict(list)
        for connection in sorted(recorded.connections, key=lambda one: one.last_packet.packet):
            self.by_ends[frozenset((connection.client, connection.server))].append(connection)
        self._after = {
            later.id: earlier.last_packet.packet
            for sharing in self.by_ends.values()
            for earlier, later in pairwise(sharing)
        }

    @property
    def sampled_blocks(self) -> int:
        """How many blocks of packets of each end of a conversation stand for it."""
        return min(max(SAMPLE // 32 // max(len(self.recorded.connections), 1), 1), 64)

    def digest(self, connection: TcpConnection) -> list[tuple[int, int, int, int]]:
        """What the log says of each direction in short."""
        after, until = self._after.get(connection.id, 0), connection.last_packet.packet
        return self.recorded.log.digest(connection.client, connection.server, after, until)

    def packets(self, connection: TcpConnection, ends: int = 0) -> tuple[list[Crossing], list[Crossing]]:
        """The packets to the server and to the client, without copies; with `ends` only the first and the last ones."""
        directions: tuple[list[Crossing], list[Crossing]] = ([], [])
        named: tuple[set[tuple[int, ...]], set[tuple[int, ...]]] = (set(), set())
        after, until = self._after.get(connection.id, 0), connection.last_packet.packet
        for from_client, ts, number, *rest in self.recorded.log.rows(connection.client, connection.server, ends):
            if after < number <= until:
                packet, packets = Crossing(ts, number, *rest), directions[not from_client]
                if 0 <= packet.mark < IDENTIFICATIONS:
                    copy = packet[2:7] in named[not from_client]
                    named[not from_client].add(packet[2:7])
                else:
                    copy = any(packet[2:7] == known[2:7] and ts - known.ts_ns <= COPY_NS for known in packets[-4:])
                if not copy:
                    packets.append(packet)
        return directions


def match(here: Conversations, there: Conversations) -> list[Pair]:
    """The connections that are in both captures: between the same ends, else by the sequence numbers of their packets."""
    pairs = list(_by_ends(here, there))
    matched = {pair.trace.id for pair in pairs}, {pair.other.id for pair in pairs}
    left = [
        [connection for connection in conversations.recorded.connections if connection.id not in known]
        for conversations, known in zip((here, there), matched, strict=True)
    ]
    if left[0] and left[1]:
        pairs += _by_numbers(here, there, *left)
    return sorted(pairs, key=lambda pair: pair.trace.id)


def _by_ends(here: Conversations, there: Conversations) -> Iterator[Pair]:
    for ends, connections in here.by_ends.items():
        candidates, position = there.by_ends.get(ends, []), 0
        for connection in connections if candidates else ():
            for index, candidate in enumerate(candidates[position : position + TRIES], position):
                if _in_common(here, there, connection, candidate, 1) or _in_common(here, there, connection, candidate, 0):
                    yield Pair(connection, candidate, flipped=candidate.client != connection.client)
                    position = index + 1
                    break


def _in_common(here: Conversations, there: Conversations, one: TcpConnection, other: TcpConnection, ends: int) -> bool:
    known = {key(packet) for packets in here.packets(one, ends) for packet in packets}
    return any(key(packet) in known for packets in there.packets(other, ends) for packet in packets)


def _by_numbers(here: Conversations, there: Conversations, some: list[TcpConnection], others: list[TcpConnection]) -> list[Pair]:
    """Connections whose ends were translated; a connection's first and last packets are looked for in the other capture, both ways."""
    votes: Counter[tuple[int, int, bool]] = Counter()
    for swapped, (naming, named, searched, looking) in enumerate(((there, others, here, some), (here, some, there, others))):
        names: dict[tuple[int, int], list[tuple[int, bool]]] = defaultdict(list)
        for connection in named:
            for direction, packets in enumerate(naming.packets(connection)):
                for packet in {*packets[:NAMING], *packets[-NAMING:]}:
                    if packet.flags & ACK:
                        names[packet.seq, packet.ack].append((connection.id, direction == Direction.TO_CLIENT))
        for connection in looking:
            for direction, packets in enumerate(searched.packets(connection)):
                for numbers in {(packet.seq, packet.ack) for packet in packets if packet.flags & ACK}:
                    for name, to_client in names.get(numbers, ())[:TRIES]:
                        ids = (name, connection.id) if swapped else (connection.id, name)
                        votes[*ids, to_client != (direction == Direction.TO_CLIENT)] += 1
    known = ({connection.id: connection for connection in some}, {connection.id: connection for connection in others})
    pairs = []
    for (one, other, flipped), count in votes.most_common():
        if count >= AGREEING and one in known[0] and other in known[1]:
            pairs.append(Pair(known[0].pop(one), known[1].pop(other), flipped))
    return pairs


def client_sides(here: Conversations, there: Conversations, pairs: list[Pair]) -> dict[tuple[str, str], Side]:
    """Which capture is nearer to the client, for each pair of hosts.

    Whatever the clocks say: from a packet to the server until the next one to the client more time passes at the capture that is nearer
    to the client, by the way to the other and back. Where times do not tell, hop limits do: they fall on the way.
    """
    longer: dict[tuple[str, str], list[int]] = defaultdict(list)
    hops: dict[tuple[str, str], int] = defaultdict(int)
    for pair in pairs:
        asked: tuple[Crossing, Crossing] | None = None
        found = longer[_hosts(pair)]
        for direction, packet, became in _recognised(here, there, pair):
            sign = 1 if direction is Direction.TO_SERVER else -1
            hops[_hosts(pair)] += sign * ((packet.hop_limit > became.hop_limit) - (packet.hop_limit < became.hop_limit))
            if direction is Direction.TO_SERVER:
                asked = packet, became
            elif asked and len(found) < MAX_ROUND_TRIPS:
                found.append((packet.ts_ns - asked[0].ts_ns) - (became.ts_ns - asked[1].ts_ns))
    sides: dict[tuple[str, str], Side] = {}
    for hosts, differences in longer.items():
        told = (median(differences) if differences else 0) or hops[hosts]
        if told:
            sides[hosts] = "trace" if told > 0 else "other-side"
    return sides


def _hosts(pair: Pair) -> tuple[str, str]:
    return pair.trace.client.ip, pair.trace.server.ip


def _recognised(here: Conversations, there: Conversations, pair: Pair) -> Iterator[tuple[Direction, Crossing, Crossing]]:
    """Packets that are once in each capture, in the order of the trace.

    Of the first and the last packets those that their mark confirms are enough; without them all packets are looked at.
    """
    for ends in (here.sampled_blocks, 0):
        ours, theirs = here.packets(pair.trace, ends), there.packets(pair.other, ends)
        found = [
            (direction, packet, became)
            for direction in Direction
            for packet, became in recognised(ours[direction], theirs[direction ^ pair.flipped])
            if not ends or packet.mark == became.mark >= 0
        ]
        if len({direction for direction, _, _ in found}) == len(Direction):
            break
    yield from sorted(found, key=lambda one: one[1].packet)


def _counterpart(here: Conversations, there: Conversations, pair: Pair, clock: ClockOffset, near: Side | None) -> Counterpart:
    client, server = (pair.other.server, pair.other.client) if pair.flipped else (pair.other.client, pair.other.server)
    return Counterpart(
        connection=pair.trace.id,
        other=pair.other.id,
        client=client,
        server=server,
        translated=(client, server) != (pair.trace.client, pair.trace.server),
        client_side=near,
        passage=_all_arrived(here, there, pair, near) or _judged(here, there, pair, clock, near),
        not_compared=here.recorded.log.given_back(pair.trace.client, pair.trace.server)
        + there.recorded.log.given_back(pair.other.client, pair.other.server),
    )


def _all_arrived(here: Conversations, there: Conversations, pair: Pair, near: Side | None) -> PerDirection[Passage] | None:
    """The passages where both captures have the very same packets of each direction in the same order; None otherwise."""
    ours, theirs = here.digest(pair.trace), there.digest(pair.other)
    if pair.flipped:
        theirs.reverse()
    if [one[:2] for one in ours] != [one[:2] for one in theirs]:
        return None
    ways = []
    for direction in Direction:
        ends = Moment(*ours[direction][2:]), Moment(*theirs[direction][2:])
        from_trace = (near != "other-side") == (direction is Direction.TO_SERVER)
        ways.append(all_arrived(ours[direction][0], ends if from_trace else ends[::-1]))
    return PerDirection(*ways)


def _judged(here: Conversations, there: Conversations, pair: Pair, clock: ClockOffset, near: Side | None) -> PerDirection[Passage]:
    ours = here.packets(pair.trace)
    theirs = there.packets(pair.other)
    on_clock = [[packet._replace(at_ns=packet.ts_ns) for packet in packets] for packets in ours]
    converted = [_converted(theirs[direction ^ pair.flipped], clock) for direction in Direction]
    watches = (_watch(here, pair.trace), _converted_watch(_watch(there, pair.other), clock))
    trace_at_client = near != "other-side"
    sent: list[list[Crossing]] = []
    seen: list[list[Crossing]] = []
    judged: list[Fates] = []
    for direction in Direction:
        from_trace = trace_at_client == (direction is Direction.TO_SERVER)
        sender, receiver = (on_clock, converted) if from_trace else (converted, on_clock)
        sending, receiving = watches if from_trace else watches[::-1]
        answers = (packet.ack for packet in receiver[direction.opposite] if packet.flags & ACK)
        sent.append(sender[direction])
        seen.append(receiver[direction])
        judged.append(fates(sender[direction], receiver[direction], answers, sending, receiving))
    return PerDirection(*(passage(sent[way], seen[way], judged[way], sent[way.opposite], judged[way.opposite]) for way in Direction))


def _converted(packets: list[Crossing], clock: ClockOffset) -> list[Crossing]:
    placed = []
    for packet in packets:
        at_ns, slack_ns = clock.first_clock(packet.ts_ns)
        placed.append(packet._replace(at_ns=at_ns, slack_ns=slack_ns))
    return placed


def _watch(conversations: Conversations, connection: TcpConnection) -> Watch:
    capture, hole = conversations.recorded.capture, conversations.recorded.log.hole(connection.client, connection.server)
    return Watch(capture.start_ns or 0, capture.watched_until_ns or 0, hole)


def _converted_watch(watch: Watch, clock: ClockOffset) -> Watch:
    """On the other clock; what is uncertain counts as not watched."""
    (start, after_start), (end, before_end) = clock.first_clock(watch.start_ns), clock.first_clock(watch.end_ns)
    hole = None
    if watch.hole is not None:
        (begin, early), (until, late) = clock.first_clock(watch.hole[0]), clock.first_clock(watch.hole[1])
        hole = (begin - early, until + late)
    return Watch(start + after_start, end - before_end, hole)
