"""Connections that a host does not know: what is sent on them, without a SYN, is answered by a reset.

After an idle time a NAT that has forgotten a connection may give it another port (or address): then the server's host sees a stranger, and
its own capture shows that the numbers are those of a connection that it does know.
"""

from collections.abc import Iterator

from captool.direction import Direction
from captool.findings.finding import Finding
from captool.findings.openings import by_server, shown
from captool.findings.remedies import KEEPALIVE_REMEDY
from captool.findings.tables import Connection, Tables, capture_name
from captool.tcp.connection import Endpoint, TcpConnection
from captool.units import SECOND_NS, counted, seconds

MASK32 = 0xFFFFFFFF
# Which connections to one server were to send which number next.
Known = dict[tuple[Endpoint, int], list[Connection]]


def connection_unknown(tables: Tables) -> Iterator[Finding]:
    """A segment without a SYN that opened nothing here, and a RST in answer to it: one finding for each that is known by its numbers."""
    strangers = [one for one in tables.connections if is_stranger(one.tcp)]
    known: Known = {}
    for one in tables.connections if strangers else ():
        if not is_stranger(one.tcp):
            known.setdefault((one.tcp.server, one.tcp.next_sequence.to_server), []).append(one)
    unexplained = []
    for stranger in strangers:
        before = _before(stranger.tcp, known)
        if before is None:
            unexplained.append(stranger)
        else:
            yield _moved(stranger, before)
    yield from _moved_on_the_way(tables)
    for server, unknown in by_server(unexplained):
        first = unknown[0].tcp
        yield Finding(
            code="connection-unknown",
            severity="warning",
            confidence="low",
            connection=unknown[0].id,
            packets=_packets(first),
            message=f"{shown(server)} answered what was sent on {counted(len(unknown), 'connection')} with nothing but a reset, and no SYN "
            f"of it was captured (first in packet {first.first_packet}): it does not know the connection, or a firewall answered in its "
            "name. It was forgotten or closed there, or a NAT on the way gave it another port.",
            remedy="Record from before the connection is opened, and at both hosts; see what their connections had been before "
            "(ss, conntrack -L).",
            evidence={"server": shown(server), "connections": len(unknown), "continues": None, "proof_needs": None},
        )


def _moved_on_the_way(tables: Tables) -> Iterator[Finding]:
    """Connections of the client's side that go on under another port or address at the server's, where the other capture shows them."""
    for connection in tables.eventful:
        counterpart = connection.counterpart
        moved = counterpart.moved if counterpart else None
        if counterpart is None or moved is None or counterpart.sender_side(Direction.TO_SERVER) != "trace":
            continue
        yield Finding(
            code="connection-unknown",
            severity="error",
            confidence="high",
            connection=connection.id,
            packets=(sent.packet,) if (sent := connection.tcp.last_sent.to_server) else (),
            message=f"What the client sent last reached the server's side as connection {moved.id} of "
            f"{capture_name(tables, 'other-side')}, from {shown(moved.client)} (packet {moved.first_packet} there), and no longer as "
            f"connection {counterpart.other}, from {shown(counterpart.client)}: a NAT on the way had forgotten the connection and gave it "
            f"another {'port' if moved.client.ip == counterpart.client.ip else 'address'}."
            + (" The server's host does not know it, and answered with a reset." if is_stranger(moved) else ""),
            remedy=KEEPALIVE_REMEDY,
            evidence={
                "server": shown(moved.server),
                "connections": 1,
                "continues": counterpart.other,
                "first_at_server": moved.first_packet,
                "idle_s": None,
                "proof_needs": None,
            },
        )


def is_stranger(tcp: TcpConnection) -> bool:
    """Whether the server's first word in the capture is a RST, in answer to a segment of a connection that no SYN opened."""
    reset = tcp.reset
    if reset is None or reset.sender != "server" or reset.own_last is not None or not tcp.packets.to_server:
        return False
    return tcp.closed_by == "server" and not {"S", "H"} & set(tcp.history.upper())


def _moved(stranger: Connection, before: Connection) -> Finding:
    tcp, old = stranger.tcp, before.tcp
    idle_ns = _silence_ns(tcp, old)
    after = f"{seconds(idle_ns)} after the last packet of that" if idle_ns is not None else "while that was idle"
    return Finding(
        code="connection-unknown",
        severity="error",
        confidence="high",
        connection=stranger.id,
        packets=_packets(tcp),
        message=f"Packet {tcp.first_packet} goes on where connection {before.id} ({shown(old.client)}) had ended, with the same sequence "
        f"numbers, but comes from {shown(tcp.client)}, {after}: a NAT on the way had forgotten "
        f"the connection and gave it another {'port' if old.client.ip == tcp.client.ip else 'address'}. The server's host does not know "
        "it, and answered with a reset.",
        remedy=KEEPALIVE_REMEDY,
        evidence={
            "server": shown(tcp.server),
            "connections": 1,
            "continues": before.id,
            "idle_s": None if idle_ns is None else idle_ns / SECOND_NS,
            "proof_needs": None,
        },
    )


def _before(tcp: TcpConnection, known: Known) -> Connection | None:
    """The connection to the same server of which this one sends the next byte, or a probe one below it, and awaits the next byte."""
    first = tcp.next_sequence.to_server - tcp.payload_bytes.to_server
    for number in (first, first + 1):
        for one in known.get((tcp.server, number & MASK32), ()):
            unheard = one.tcp.next_sequence.to_client - tcp.next_sequence.to_client & MASK32
            unknown = one.tcp.unacknowledged_bytes.to_client + ("f" in one.tcp.history)  # a FIN takes a number, too
            if one.tcp.start_ns < tcp.start_ns and one.tcp.client != tcp.client and unheard <= unknown:
                return one
    return None


def _silence_ns(tcp: TcpConnection, old: TcpConnection) -> int | None:
    """Nanoseconds without a packet of `old` before this one began; None where that is not known. The server may close it later."""
    if old.last_packet.packet < tcp.first_packet:
        return tcp.start_ns - old.last_packet.ts_ns
    for gap in old.gaps:
        if gap.after_packet < tcp.first_packet and (gap.ended_by_packet is None or gap.ended_by_packet > tcp.first_packet):
            return tcp.start_ns - gap.start_ns if gap.longest_silence_ns == gap.duration_ns else None
    return None


def _packets(tcp: TcpConnection) -> tuple[int, ...]:
    return (tcp.first_packet,) if tcp.reset is None else (tcp.first_packet, tcp.reset.moment.packet)
