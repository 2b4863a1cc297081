"""Connections that never came to be: a SYN that nothing answered, or a RST did. One finding for each server."""

from collections.abc import Iterable, Iterator

from captool.direction import Direction
from captool.findings.finding import Finding
from captool.findings.icmp import refusal
from captool.findings.tables import Connection, Tables
from captool.tcp.connection import Endpoint
from captool.units import SECOND_NS, counted, seconds

# Linux sends a SYN again after 1 s and after 3 s (RFC 6298 section 2): an answer that has not come by then is not on its way.
ANSWER_NS = 3 * SECOND_NS


def connection_unanswered(tables: Tables) -> Iterator[Finding]:
    """SYNs without a SYN-ACK or a RST: what a firewall that drops them, or a host that is not there, looks like."""
    end_ns = tables.capture.end_ns or 0
    silent = (
        one
        for one in tables.connections
        if one.tcp.history == "S" and (one.tcp.packets.to_server > 1 or end_ns - one.tcp.start_ns >= ANSWER_NS)
        and refusal(one, Direction.TO_SERVER) is None  # icmp-error says more
    )
    for server, tried in by_server(silent):
        first = tried[0].tcp
        again = sum(one.tcp.packets.to_server - 1 for one in tried)
        lasted = f", the longest try for {seconds(longest)}" if (longest := max(one.tcp.end_ns - one.tcp.start_ns for one in tried)) else ""
        yield Finding(
            code="connection-unanswered",
            severity="warning",
            confidence="high" if again else "medium",
            connection=tried[0].id,
            packets=(first.first_packet,),
            message=f"{shown(server)} was not heard: {counted(len(tried), 'connection')} to it got neither a SYN-ACK nor a "
            f"RST (first tried in packet {first.first_packet}; {counted(again, 'SYN')} sent again{lasted}).",
            remedy=f"Look whether {server.ip} is up and whether a firewall on the way drops port {server.port}; a capture at the server "
            "shows whether the SYNs arrive there.",
            evidence={
                "server": shown(server),
                "connections": len(tried),
                "what": "syn",
                "syns_sent_again": again,
                "proof_needs": "server",
            },
        )
    yield from _half_open(tables)


def _half_open(tables: Tables) -> Iterator[Finding]:
    """SYN-ACKs that were sent again and that nothing answered: the way back does not work, or nobody had asked."""
    unheard = (
        one
        for one in tables.connections
        if one.tcp.history == "Sh" and one.tcp.syns.to_client and refusal(one, Direction.TO_CLIENT) is None
    )
    for server, tried in by_server(unheard):
        syn_acks = [one.tcp.syns.to_client for one in tried if one.tcp.syns.to_client]
        first, again = syn_acks[0], sum(one.times for one in syn_acks)
        lasted = seconds(max(one.last.ts_ns - one.first.ts_ns for one in syn_acks))
        yield Finding(
            code="connection-unanswered",
            severity="warning",
            confidence="high",
            connection=tried[0].id,
            packets=(first.first.packet, first.last.packet),
            message=f"{shown(server)} answered {counted(len(tried), 'connection')} with a SYN-ACK, and nothing came after it (first in "
            f"packet {first.first.packet}; {counted(again, 'SYN-ACK')} sent again, the longest try for {lasted}).",
            remedy="Record at the client as well: if the SYN-ACKs do not arrive there, look for asymmetric routes and for a firewall that "
            "sees one direction only. From many addresses that never answer it is a flood of SYNs.",
            evidence={
                "server": shown(server),
                "connections": len(tried),
                "what": "syn-ack",
                "syn_acks_sent_again": again,
                "proof_needs": "client",
            },
        )


def connection_refused(tables: Tables) -> Iterator[Finding]:
    """A RST in answer to the SYN."""
    for server, tried in by_server(one for one in tables.connections if one.tcp.conn_state == "REJ"):
        reset = tried[0].tcp.reset
        yield Finding(
            code="connection-refused",
            severity="warning",
            confidence="high",
            connection=tried[0].id,
            packets=(tried[0].tcp.first_packet,) if reset is None else (tried[0].tcp.first_packet, reset.moment.packet),
            message=f"{shown(server)} refused {counted(len(tried), 'connection')}: a RST answered the SYN.",
            remedy=f"Look whether the daemon runs and listens on port {server.port} there; a firewall that rejects looks the same.",
            evidence={"server": shown(server), "connections": len(tried), "proof_needs": None},
        )


def by_server(connections: Iterable[Connection]) -> Iterator[tuple[Endpoint, list[Connection]]]:
    """The connections to each server, in the order of their first."""
    servers: dict[Endpoint, list[Connection]] = {}
    for connection in connections:
        servers.setdefault(connection.tcp.server, []).append(connection)
    yield from servers.items()


def shown(server: Endpoint) -> str:
    """Address and port as one word."""
    return f"[{server.ip}]:{server.port}" if ":" in server.ip else f"{server.ip}:{server.port}"
