"""What two captures of the same connection prove: where packets were lost, who never sent a reset, and that a silent drop was one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from captool.direction import DIRECTIONS, Direction, Moment
from captool.findings.finding import Confidence, Finding
from captool.findings.gaps import timeouts
from captool.findings.icmp import said_so
from captool.findings.remedies import KEEPALIVE_REMEDY
from captool.findings.resets import RULES_CHANGED, in_use
from captool.findings.tables import Connection, Tables, capture_name
from captool.tcp.connection import SILENT_NS
from captool.tcp.layout import FIN, RST
from captool.units import SECOND_NS, counted, seconds, size

if TYPE_CHECKING:  # imported only where a second capture is given
    from captool.other_side import Counterpart, OtherSide
    from captool.tcp.pairs import Side
    from captool.tcp.passage import DeadPath, NotSent, PacketRange, Passage

SHOWN: Final = 4
BETWEEN: Final = "Look at what lies between the two places of recording: "
NOT_ARRIVED: Final = BETWEEN + "the packets left the one and did not reach the other."


def path_dead(tables: Tables) -> Iterator[Finding]:
    """From some packet on nothing that one side sent reached the other any more."""
    for connection, counterpart, direction, passage in _passages(tables):
        dead = passage.dead
        if dead is None:
            continue
        side = counterpart.sender_side(direction)
        forgotten = _forgotten(tables, dead.idle_ns)
        yield Finding(
            code="path-dead",
            severity="error",
            confidence="medium" if passage.lacking else confidence(tables),
            connection=connection.id,
            packets=(dead.first.packet, dead.last.packet) if side == "trace" else _on_the_trace(passage),
            message=f"The {_sent(tables, counterpart, direction, dead)}{_heard(tables, counterpart, direction, passage)} "
            f"{_other_way(direction, dead)}{_idle_before(dead, forgotten=forgotten)}{said_so(connection, direction)}",
            remedy=KEEPALIVE_REMEDY if forgotten else NOT_ARRIVED,
            evidence={
                "direction": direction.name.lower(),
                "sender_side": side,
                "first_lost_packet": dead.first.packet,
                "last_lost_packet": dead.last.packet,
                "lost_packets": dead.packets,
                "lost_payload_bytes": dead.payload_bytes,
                "not_judged_packets": dead.not_judged,
                "last_arrived_packet": passage.last_arrived[0].packet if passage.last_arrived else None,
                "last_arrived_packet_at_receiver": passage.last_arrived[1].packet if passage.last_arrived else None,
                "idle_before_s": dead.idle_ns / SECOND_NS,
                "other_direction_sent": dead.other_way,
                "other_direction_arrived": dead.other_way_arrived,
            },
        )


def reset_injected(tables: Tables) -> Iterator[Finding]:
    """A RST or FIN that one side received and that the other's capture does not have: something between them made it.

    That it did shows where it came from: the recorder at the sender may have lost what looks like the sender's packets.
    """
    for connection, counterpart, direction, passage in _passages(tables):
        closing = [packet for packet in passage.not_sent if packet.flags & (RST | FIN)]
        if not closing or (counterpart.moved and not any(packet.foreign for packet in closing)):
            continue
        receiver = _opposite(counterpart.sender_side(direction))
        first = next((packet for packet in closing if packet.foreign), closing[0])
        name = "RST" if first.flags & RST else "FIN"
        yield Finding(
            code="reset-injected",
            severity="error" if first.foreign else "info",
            confidence=confidence(tables) if first.foreign else "low",
            connection=connection.id,
            packets=(first.moment.packet,) if receiver == "trace" else _on_the_trace(passage),
            message=f"The {direction.opposite.sender}'s side received a {name} that claims to come from "
            f"the {direction.sender} (packet {first.moment.packet} of {capture_name(tables, receiver)}), and "
            + (
                f"the {direction.sender}'s side never sent it: something between the two places of recording made it."
                f"{_hops(direction, first)}"
                if first.foreign
                else f"the capture of the {direction.sender}'s side does not have it: its recorder lost it, or something between the two "
                "places of recording made it, which its TTL or hop limit does not show."
            ),
            remedy=RULES_CHANGED
            if first.foreign and in_use(connection)
            else f"{KEEPALIVE_REMEDY} {BETWEEN}a firewall or load balancer there resets connections that it does not know any more."
            if first.foreign
            else "Record again with a larger buffer (tcpdump -B) at the sender's side.",
            evidence={
                "direction": direction.name.lower(),
                "receiver_side": receiver,
                "packets": [packet.moment.packet for packet in closing],
                "hop_limit": first.hop_limit or None,
                "usual_hop_limit": first.usual_hop_limit or None,
            },
        )


def packets_lost(tables: Tables) -> Iterator[Finding]:
    """Packets that did not arrive, on a path that was not dead."""
    for connection, counterpart, direction, passage in _passages(tables):
        lost = passage.lost - (passage.dead.packets if passage.dead else passage.too_large.packets if passage.too_large else 0)
        if lost <= 0 or counterpart.moved:
            continue  # connection-unknown tells where they went
        side = counterpart.sender_side(direction)
        recovered = passage.last_arrived is not None and passage.last_arrived[0].packet > passage.lost_ranges[-1].last.packet
        longest = max(passage.lost_ranges, key=_lasted_ns)
        lasted_ns = 0 if passage.dead and longest.first == passage.dead.first else _lasted_ns(longest)
        told = lasted_ns >= SILENT_NS and passage.lost_payload_bytes and not passage.lacking
        cut_off = f" For {seconds(lasted_ns)} ({numbers((longest,))}) nothing of this direction arrived." if told else ""
        receiver = f"the {direction.opposite.sender}'s side"
        if passage.lacking:
            gone = f"are not in the capture of {receiver}, which lacks {counted(passage.lacking, 'packet')} known to have crossed"
        else:
            gone = f"did not reach {receiver}" + (", or its recorder lost them" if not passage.lost_payload_bytes else "")
        yield Finding(
            code="packets-lost",
            severity="warning" if cut_off else "info",
            confidence="low" if passage.lacking else confidence(tables) if passage.lost_payload_bytes else "medium",
            connection=connection.id,
            packets=(passage.lost_ranges[0].first.packet,) if side == "trace" else (),
            message=f"{lost} of {counted(passage.sent, 'packet')} that the {direction.sender} sent {gone} "
            f"({numbers(passage.lost_ranges)} of {capture_name(tables, side)})"
            f"{', others after them did' if recovered else ''}.{cut_off}",
            remedy=NOT_ARRIVED
            if cut_off
            else "TCP sends lost data again; where many are lost, look for an overloaded link or an MTU too large.",
            evidence={
                "direction": direction.name.lower(),
                "sender_side": side,
                "lost_packets": lost,
                "sent_packets": passage.sent,
                "longest_loss_s": lasted_ns / SECOND_NS if cut_off else 0,
            },
        )


def other_side_unmatched(tables: Tables) -> Iterator[Finding]:
    """The other capture has none of the connections, so it says nothing about them."""
    other = tables.other_side
    if other is None or other.counterparts:
        return
    if not other.connections:
        reason, remedy = "it holds no TCP connection", "Record the same connections at the other end, at the same time."
    elif other.indistinct:
        reason = f"the packets of connection {other.indistinct[0]} are in it, but each of them more than once in one of the captures"
        remedy = "Give the files of one place of recording as the trace, those of the other with --other-side."
    elif other.opposite:
        reason = f"of connection {other.opposite[0]} each of them holds one direction only, and not the same: no packet is in both"
        remedy = "Record both directions at each place (a filter without src or dst); where they take different ways, at the hosts."
    elif other.renumbered:
        reason = (
            f"it holds the addresses and ports of connection {other.renumbered[0]}, with other sequence numbers: something between the two "
            "places terminates TCP or numbers it anew (a transparent proxy, a firewall), or the captures are of different times"
        )
        remedy = "Record on both sides of that device, and compare each half with the capture on its own side."
    else:
        reason = (
            "none has the same sequence numbers: something between the two places terminates TCP (a proxy, a load balancer), "
            "or the captures are of different times or hosts"
        )
        remedy = "Make sure that both were recorded at the same time; behind a proxy, compare each half with the capture on its own side."
    yield Finding(
        code="other-side-unmatched",
        severity="warning",
        confidence="high",
        connection=None,
        packets=(),
        message=f"No connection of the other side ({capture_name(tables, 'other-side')}) matches one of the trace; {reason}.",
        remedy=remedy,
        evidence={"connections": other.connections, "renumbered": list(other.renumbered)},
    )


def proven(tables: Tables) -> list[tuple[int, str, str]]:
    """For the verdict: connection, finding, sentence of each path that is proven to be dead and of the resets that nobody sent."""
    told = []
    for connection in tables.eventful:
        if connection.counterpart is None:
            continue
        dead = [way for way in _passages(tables, connection) if way[3].dead]
        if len(dead) == len(DIRECTIONS) and not any(way[3].lacking for way in dead):
            lost = " nor ".join(
                f"the {direction.sender}'s {_packets(passage.dead)} ({capture_name(tables, counterpart.sender_side(direction))})"
                for _, counterpart, direction, passage in dead
                if passage.dead
            )
            said = f"on connection {connection.id} the path died in both directions: neither {lost} reached the other side."
            told.append((connection.id, "path-dead", f"Proven by both captures: {said}"))
        for _, counterpart, direction, passage in _passages(tables, connection):
            if passage.dead and len(dead) == 1 and not passage.lacking:
                sent = _sent(tables, counterpart, direction, passage.dead)
                refused = said_so(connection, direction)
                said = f"on connection {connection.id} the {sent}{_heard(tables, counterpart, direction, passage)}"
                told.append((connection.id, "path-dead", f"Proven by both captures: {said} {_other_way(direction, passage.dead)}{refused}"))
            if any(packet.flags & (RST | FIN) and packet.foreign for packet in passage.not_sent):
                said = f"something on the path closed connection {connection.id} in the {direction.sender}'s name."
                told.append((connection.id, "reset-injected", f"Proven by both captures: {said}"))
    return told


def numbers(ranges: tuple[PacketRange, ...]) -> str:
    """`packets 103 to 111, 120`."""
    named = [f"{one.first.packet} to {one.last.packet}" if one.packets > 1 else str(one.first.packet) for one in ranges[:SHOWN]]
    more = ", ..." if len(ranges) > SHOWN else ""
    return f"packet{'s' * (len(ranges) > 1 or any(one.packets > 1 for one in ranges))} {', '.join(named)}{more}"


def _passages(tables: Tables, only: Connection | None = None) -> Iterator[tuple[Connection, Counterpart, Direction, Passage]]:
    for connection in (only,) if only else tables.eventful:
        if connection.counterpart:
            for direction in DIRECTIONS:
                yield connection, connection.counterpart, direction, connection.counterpart.passage[direction]


def _lasted_ns(lost: PacketRange) -> int:
    return lost.last.ts_ns - lost.first.ts_ns


def _packets(dead: DeadPath) -> str:
    return f"packets {dead.first.packet} to {dead.last.packet}" if dead.packets > 1 else f"packet {dead.first.packet}"


def _sent(tables: Tables, counterpart: Counterpart, direction: Direction, dead: DeadPath) -> str:
    capture = capture_name(tables, counterpart.sender_side(direction))
    return (
        f"{direction.sender} sent {_packets(dead)} ({capture}; {counted(dead.packets, 'packet')}, "
        f"{size(dead.payload_bytes)}) and none of them reached the {direction.opposite.sender}'s side"
    )


def _heard(tables: Tables, counterpart: Counterpart, direction: Direction, passage: Passage) -> str:
    if passage.last_arrived is None:
        return f", which received nothing of this direction in {capture_name(tables, _opposite(counterpart.sender_side(direction)))}."
    receiver = capture_name(tables, _opposite(counterpart.sender_side(direction)))
    return f", which received nothing from the {direction.sender} after packet {passage.last_arrived[1].packet} ({receiver})."


def _other_way(direction: Direction, dead: DeadPath) -> str:
    peer, sender = direction.opposite.sender, direction.sender
    if not dead.other_way:
        return f"The {peer} sent nothing meanwhile, so nothing tells whether the other direction still worked."
    if dead.other_way_arrived == dead.other_way:
        return f"The other direction still worked: {counted(dead.other_way, 'packet')} from the {peer} did reach the {sender}'s side."
    if not dead.other_way_arrived:
        return f"Nor did any of the {counted(dead.other_way, 'packet')} that the {peer} sent meanwhile reach the {sender}'s side."
    return f"Of {counted(dead.other_way, 'packet')} that the {peer} sent meanwhile, {dead.other_way_arrived} reached the {sender}'s side."


def _idle_before(dead: DeadPath, *, forgotten: bool) -> str:
    later = f" {counted(dead.not_judged, 'packet')} more followed after the last packet of the other capture." if dead.not_judged else ""
    if not forgotten:
        return later
    return f"{later} The loss began after {seconds(dead.idle_ns)} without a packet, as when a middlebox forgets an idle connection."


def _hops(direction: Direction, packet: NotSent) -> str:
    if not packet.hop_limit or not packet.usual_hop_limit or packet.hop_limit == packet.usual_hop_limit:
        return ""
    return f" Its TTL is {packet.hop_limit}, that of the {direction.sender}'s packets {packet.usual_hop_limit}."


def _forgotten(tables: Tables, idle_ns: int) -> bool:
    return any(idle_ns >= entry.timeout_ns and entry.on_expiry in ("silent-drop", "unknown") for entry in timeouts(tables))


def confidence(tables: Tables) -> Confidence:
    """A capture that lost packets, or clocks that were set, leave a doubt."""
    other: OtherSide | None = tables.other_side
    dropped = tables.capture.dropped_packets or (other.capture.dropped_packets if other else 0)
    return "medium" if dropped or (other and other.clock and not other.clock.consistent) else "high"


def _on_the_trace(passage: Passage) -> tuple[int, ...]:
    """The last packet of a direction that crossed, as the trace numbers it, where the trace is the receiver's."""
    heard: Moment | None = passage.last_arrived[1] if passage.last_arrived else None
    return (heard.packet,) if heard else ()


def _opposite(side: Side) -> Side:
    return "other-side" if side == "trace" else "trace"
