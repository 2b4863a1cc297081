"""Packets too large for the path that vanish while smaller ones pass: a tunnel with a smaller MTU, and no ICMP that says so (RFC 2923)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from captool.direction import DIRECTIONS, Direction
from captool.findings.finding import Finding
from captool.findings.icmp import last_of, size_limit
from captool.findings.passage import confidence
from captool.findings.tables import NEITHER, Connection, Tables, capture_name
from captool.tcp.connection import LARGE, TcpConnection, Unanswered
from captool.units import SECOND_NS, counted, seconds

if TYPE_CHECKING:  # imported only where a second capture is given
    from captool.tcp.passage import TooLarge

TRIES: Final = 3
TRIED_NS: Final = 3 * SECOND_NS
# After this time nothing that acknowledges what was sent earlier is still on its way.
HEARD_NS: Final = SECOND_NS
REMEDY: Final = (
    "Look for a tunnel or VPN on the path: lower the MTU of the interface behind it or clamp the MSS there (TCPMSS "
    "--clamp-mss-to-pmtu), and let ICMP `fragmentation needed` and ICMPv6 `packet too big` pass. `ping -M do -s SIZE` finds the size that "
    "passes; on the sender, net.ipv4.tcp_mtu_probing=1 gets around it."
)


def mtu_black_hole(tables: Tables) -> Iterator[Finding]:
    """The same large segment sent again and again in vain, on a path that carries smaller ones; or what never came of it."""
    yield from _seen_by_both(tables)
    yield from _sent_in_vain(tables)
    yield from _never_came(tables)


def _proof(connection: Connection, direction: Direction) -> TooLarge | None:
    return connection.counterpart.passage[direction].too_large if connection.counterpart else None


def _seen_by_both(tables: Tables) -> Iterator[Finding]:
    """Where the other side was recorded too: which packets arrived."""
    if tables.other_side is None:
        return
    for connection in tables.eventful:
        for direction in DIRECTIONS:
            proof, counterpart = _proof(connection, direction), connection.counterpart
            if proof is None or counterpart is None:
                continue
            side, last = counterpart.sender_side(direction), counterpart.passage[direction].last_arrived
            so = "the path drops" if proof.between else "so does a path that drops"
            yield Finding(
                code="mtu-black-hole",
                severity="error",
                confidence=confidence(tables) if proof.between else "medium",
                connection=connection.id,
                packets=(proof.first.packet, proof.last.packet) if side == "trace" else (last[1].packet,) if last else (),
                message=f"Of what the {direction.sender} sent from packet {proof.first.packet} of {capture_name(tables, side)} on, all "
                f"{proof.packets} packets with {proof.smallest_lost:,} bytes of data or more were lost, in "
                f"{seconds(proof.last.ts_ns - proof.first.ts_ns)}, and {_smaller(proof)} did arrive: {so} large "
                "packets without saying so (an MTU black hole).",
                remedy=REMEDY,
                evidence={
                    "direction": direction.name.lower(),
                    "segment_bytes": proof.smallest_lost,
                    "lost_packets": proof.packets,
                    "arrived_packets": proof.arrived,
                    "largest_arrived_bytes": proof.largest_arrived,
                    "sender_side": side,
                    "proven_by_other_side": True,
                    "proof_needs": None,
                },
            )


def _smaller(proof: TooLarge) -> str:
    size = f"{proof.largest_arrived:,} bytes" if proof.largest_arrived else "none"
    return f"the only smaller one, with {size}," if proof.arrived == 1 else f"the {proof.arrived} smaller ones, with {size} at most,"


def _sent_in_vain(tables: Tables) -> Iterator[Finding]:
    for connection in tables.eventful:
        if connection.tcp.unanswered == NEITHER:
            continue
        for direction in DIRECTIONS:
            sent = too_large(connection.tcp, direction)
            if sent is None or _proof(connection, direction):
                continue
            sender, peer, limit = direction.sender, direction.opposite.sender, size_limit(connection, direction)
            yield Finding(
                code="mtu-black-hole",
                severity="error",
                confidence="medium" if sent.duplicate_acks else "low",
                connection=connection.id,
                packets=(sent.first.packet, sent.last.packet),
                message=f"The {sender} sent the same {sent.head_bytes:,} bytes again {counted(sent.head_sent_again, 'time')} in "
                f"{seconds(sent.last.ts_ns - sent.first.ts_ns)} (packets {sent.first.packet} to {sent.last.packet}), always in vain, "
                "although "
                + (
                    f"what it sent after them did reach the {peer}, which asked for them again"
                    if sent.duplicate_acks
                    else f"the {peer} is still heard"
                )
                + (
                    ": so does a path that drops large packets without saying so (an MTU black hole)."
                    if limit is None
                    else f". {limit.reporter} did say that they are too big (ICMP, {last_of(limit)}"
                    f"{f': at most {limit.mtu} bytes' if limit.mtu else ''}): the {sender} does not get that, or does not heed it."
                ),
                remedy=REMEDY,
                evidence={
                    "direction": direction.name.lower(),
                    "segment_bytes": sent.head_bytes,
                    "sent_again": sent.head_sent_again,
                    "duplicate_acks": sent.duplicate_acks,
                    "unacknowledged_bytes": sent.bytes,
                    "sent_for_s": (sent.last.ts_ns - sent.first.ts_ns) / SECOND_NS,
                    "proof_needs": peer,
                },
            )


def _never_came(tables: Tables) -> Iterator[Finding]:
    """What the capture nearer to the receiver shows of it."""
    until_ns = tables.capture.watched_until_ns or 0
    for connection in tables.eventful:
        if connection.tcp.awaited == NEITHER:
            continue
        for direction in DIRECTIONS:
            awaited = connection.tcp.awaited[direction]
            if awaited is None or awaited.bytes < LARGE or until_ns - awaited.later.ts_ns < TRIED_NS or _proof(connection, direction):
                continue
            sender, peer = direction.sender, direction.opposite.sender
            yield Finding(
                code="mtu-black-hole",
                severity="warning",
                confidence="low",
                connection=connection.id,
                packets=(awaited.later.packet,),
                message=f"{awaited.bytes:,} bytes of the {sender} never came, although what it sent after them did (packet "
                f"{awaited.later.packet}) and the {peer} asked for them: so does a path that drops large packets without saying so (an MTU "
                "black hole); or they were lost, and the rest of the connection with them.",
                remedy=REMEDY,
                evidence={
                    "direction": direction.name.lower(),
                    "segment_bytes": None,
                    "missing_bytes": awaited.bytes,
                    "duplicate_acks": awaited.requests,
                    "proof_needs": sender,
                },
            )


def too_large(tcp: TcpConnection, direction: Direction) -> Unanswered | None:
    """What was sent again in vain in this direction, if it was large segments alone while the path carried something; else None."""
    sent = tcp.unanswered[direction]
    if sent is None or sent.head_bytes < LARGE or sent.head_sent_again < TRIES or sent.last.ts_ns - sent.first.ts_ns < TRIED_NS:
        return None
    heard = sent.peer_last_heard
    if heard is None or heard.packet < sent.first.packet:
        return None
    # A peer that sends its own data again hears nothing either: then the path is dead.
    alive = heard.ts_ns - sent.first.ts_ns >= HEARD_NS and not tcp.retransmissions[direction.opposite]
    return sent if sent.duplicate_acks or alive else None
