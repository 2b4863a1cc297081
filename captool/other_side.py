"""The same connections as a second capture recorded them, at the other end of the path: what was sent, and what of it arrived.

Each capture is read once. Connections are recognised by their sequence numbers, so a NAT between the two may have changed addresses and
ports; a proxy that ends TCP begins new sequence numbers, and nothing matches then.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from captool.capture.reader import CaptureReader
from captool.capture.summary import CaptureSummary
from captool.direction import Direction, Moment, PerDirection
from captool.packets.decode import Decoder
from captool.packets.icmp import IcmpErrors
from captool.tcp.byte_ranges import Crossing
from captool.tcp.clock_offset import ClockBounds, ClockOffset
from captool.tcp.connection import Endpoint, TcpConnection
from captool.tcp.fates import Fates, Watch, fates
from captool.tcp.layout import ACK, RST
from captool.tcp.packet_log import PacketLog
from captool.tcp.pairs import Pair, Side, client_sides, match, recognised_in_both
from captool.tcp.passage import Passage, all_arrived, passage
from captool.tcp.recorded import Conversations, Recorded
from captool.tcp.tracker import Tracker

MASK32 = 0xFFFFFFFF
Strangers = dict[tuple[Endpoint, int], TcpConnection]


@dataclass(frozen=True, slots=True)
class Counterpart:
    """A connection of the trace, and how its packets crossed between the two captures.

    `other` is its number in the other capture, `client` and `server` its ends there: `translated` says that they are others, because a NAT
    lies between. `client_side` is the capture that was recorded nearer to the client, None where the packets do not tell.
    `passage` has for each direction what its sender's side recorded and what of it the receiver's did. `not_compared` counts packets in the
    middle of a long conversation that were not kept, in either capture. `moved` is the connection, in the capture nearer to the server,
    that goes on with the client's sequence numbers under another port or address: a NAT between the two had forgotten this one.
    """

    connection: int
    other: int
    client: Endpoint
    server: Endpoint
    translated: bool
    client_side: Side | None
    passage: PerDirection[Passage]
    not_compared: int
    moved: TcpConnection | None = None

    def sender_side(self, direction: Direction) -> Side:
        """The capture nearer to the sender."""
        return "trace" if (self.client_side != "other-side") == (direction is Direction.TO_SERVER) else "other-side"


@dataclass(frozen=True, slots=True)
class OtherSide:
    """What the other capture shows.

    `clock` is its clock against the trace's, None where no packet is in both. `unmatched` are the connections of the trace of which the
    other capture has no packet, `renumbered` those of them of which it has the addresses and ports with other sequence numbers.
    `opposite` are those of which each capture has the packets of one direction, and the two not of the same one.
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
    opposite: tuple[int, ...] = ()


def read_other_side(paths: Iterable[Path], service_ports: tuple[int, ...]) -> Recorded:
    """Read a capture for its connections and packets alone. Raises CaptureError."""
    decoder, tracker, log = Decoder(), Tracker(service_ports=service_ports, streams=False), PacketLog()
    refusals = IcmpErrors()
    connections: list[TcpConnection] = []
    with CaptureReader(paths) as capture:
        for frames in capture.chunks(decoder):
            segments = decoder.decode(frames)
            tracker.add(frames, segments)
            refusals.add(frames, segments, decoder.other_packets)
            log.add(frames, segments)
            connections += tracker.take_closed()
        tracker.finish()
        connections += tracker.take_closed()
        return Recorded(capture.summary(decoder, tracker)._replace(icmp_errors=refusals.found()), connections, log)


def compare(trace: Recorded, other: Recorded) -> OtherSide:
    """Match the connections of two captures, put their clocks together, and see which packets crossed."""
    here, there = Conversations(trace), Conversations(other)
    pairs = match(here, there)
    bounds, near = ClockBounds(), client_sides(here, there, pairs)
    for pair in pairs:
        for direction, packet, became in recognised_in_both(here, there, pair):
            trace_first = (near.get(pair.hosts) != "other-side") == (direction is Direction.TO_SERVER)
            bounds.add(packet.ts_ns, became.ts_ns - packet.ts_ns, first_first=trace_first)
    clock = bounds.offset()
    strangers = _strangers(trace), _strangers(other)
    matched = {pair.trace.id for pair in pairs}
    ends: dict[frozenset[Endpoint], frozenset[Endpoint]] = {}  # of whose packets it has any, for each pair of ends
    for connection in other.connections:
        ends[_ends(connection)] = ends.get(_ends(connection), frozenset()) | _senders(connection)
    unmatched = [connection for connection in trace.connections if connection.id not in matched]
    opposite = tuple(one.id for one in unmatched if not all(one.packets) and ends.get(_ends(one)) == _senders(one, other_way=True))
    return OtherSide(
        capture=other.capture,
        connections=len(other.connections),
        clock=clock,
        counterparts=tuple(_counterpart(here, there, pair, clock, near.get(pair.hosts), strangers) for pair in pairs) if clock else (),
        unmatched=tuple(connection.id for connection in unmatched),
        renumbered=tuple(one.id for one in unmatched if _ends(one) in ends and one.id not in opposite),
        opposite=opposite,
        indistinct=() if clock else tuple(pair.trace.id for pair in pairs),
        unlogged_packets=trace.log.unlogged_packets + other.log.unlogged_packets,
    )


def _ends(connection: TcpConnection) -> frozenset[Endpoint]:
    return frozenset((connection.client, connection.server))


def _senders(connection: TcpConnection, *, other_way: bool = False) -> frozenset[Endpoint]:
    """The ends that sent any packet of those captured; or those that sent none."""
    sent = zip((connection.client, connection.server), connection.packets, strict=True)
    return frozenset(end for end, packets in sent if (packets == 0) is other_way)


def _counterpart(
    here: Conversations, there: Conversations, pair: Pair, clock: ClockOffset, near: Side | None, strangers: tuple[Strangers, Strangers]
) -> Counterpart:
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
        moved=None if pair.flipped or near is None else _moved(strangers[0], pair.other, pair.trace)
        if near == "other-side"
        else _moved(strangers[1], pair.trace, pair.other),
    )


def _strangers(recorded: Recorded) -> Strangers:
    """The connections that no SYN opened, by their server and the number that their client sends next."""
    return {
        (one.server, one.next_sequence.to_server): one for one in recorded.connections if not {"S", "H"} & set(one.history.upper())
    }


def _moved(strangers: Strangers, at_client: TcpConnection, known: TcpConnection) -> TcpConnection | None:
    """The connection at the server that ends with what the client sent last, or a probe one below it, and is not the one known there."""
    for number in (at_client.next_sequence.to_server, at_client.next_sequence.to_server - 1 & MASK32):
        one = strangers.get((known.server, number))
        if one is not None and one.client != known.client and one.first_packet > known.first_packet:
            return one
    return None


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
        # A RST that only the sender's side has may be a firewall's, which acknowledges in the name of a host what never arrived there.
        came = (packet for packet in sender[direction.opposite] if not packet.flags & RST)
        answers = (packet.ack for packet in chain(receiver[direction.opposite], came) if packet.flags & ACK)
        sent.append(sender[direction])
        seen.append(receiver[direction])
        judged.append(fates(sender[direction], receiver[direction], answers, sending, receiving))
    ways = ((way, way.opposite) for way in Direction)
    return PerDirection(
        *(passage(sent[way], seen[way], judged[way], sent[back], seen[back], judged[back]) for way, back in ways)
    )


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
