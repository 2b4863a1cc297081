"""Connections that a host does not know: what is sent on them, without a SYN, is answered by a reset.

After an idle time a NAT that has forgotten a connection may give it another port (or address): then the server's host sees a stranger, and
its own capture shows that the numbers are those of a connection that it does know.
"""

from collections.abc import Iterator

from captool.findings.finding import Finding
from captool.findings.openings import by_server, shown
from captool.findings.remedies import KEEPALIVE_REMEDY
from captool.findings.tables import Connection, Tables
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


def is_stranger(tcp: TcpConnection) -> bool:
    """Whether the server's first word in the capture is a RST, in answer to a segment of a connection that no SYN opened."""
    reset = tcp.reset
    if reset is None or reset.sender != "server" or reset.own_last is not None or not tcp.packets.to_server:
        return False
    return tcp.closed_by == "server" and not {"S", "H"} & set(tcp.history.upper())


def _moved(stranger: Connection, before: Connection) -> Finding:
    tcp, old = stranger.tcp, before.tcp
    idle_ns = tcp.start_ns - old.last_packet.ts_ns
    return Finding(
        code="connection-unknown",
        severity="error",
        confidence="high",
        connection=stranger.id,
        packets=_packets(tcp),
        message=f"Packet {tcp.first_packet} goes on where connection {before.id} ({shown(old.client)}) had ended, with the same sequence "
        f"numbers, but comes from {shown(tcp.client)}, {seconds(idle_ns)} after the last packet of that: a NAT on the way had forgotten "
        f"the connection and gave it another {'port' if old.client.ip == tcp.client.ip else 'address'}. The server's host does not know "
        "it, and answered with a reset.",
        remedy=KEEPALIVE_REMEDY,
        evidence={
            "server": shown(tcp.server),
            "connections": 1,
            "continues": before.id,
            "idle_s": idle_ns / SECOND_NS,
            "proof_needs": None,
        },
    )


def _before(tcp: TcpConnection, known: Known) -> Connection | None:
    """The connection to the same server of which this one sends the next byte, or a probe one below it, and awaits the next byte."""
    first = tcp.next_sequence.to_server - tcp.payload_bytes.to_server
    for number in (first, first + 1):
        for one in known.get((tcp.server, number & MASK32), ()):
            unheard = one.tcp.next_sequence.to_client - tcp.next_sequence.to_client & MASK32
            if one.tcp.start_ns < tcp.start_ns and one.tcp.client != tcp.client and unheard <= one.tcp.unacknowledged_bytes.to_client:
                return one
    return None


def _packets(tcp: TcpConnection) -> tuple[int, ...]:
    return (tcp.first_packet,) if tcp.reset is None else (tcp.first_packet, tcp.reset.moment.packet)
