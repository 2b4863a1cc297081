"""Connections that came to be, and took long: a SYN or a SYN-ACK had to be sent again (RFC 9293 3.8.1)."""

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from captool.direction import Moment
from captool.findings.finding import Finding
from captool.findings.openings import by_server, shown
from captool.findings.tables import NEITHER, Tables
from captool.tcp.connection import SynAgain, TcpConnection
from captool.units import SECOND_NS, counted, seconds

# Linux sends a SYN again after 1 s: one that is lost costs so much, two cost 3 s.
SLOW_NS: Final = SECOND_NS
LONG_NS: Final = 3 * SECOND_NS
NO_ROOM: Final = (
    "nstat -az TcpExtListenOverflows TcpExtListenDrops counts what a full accept queue drops (ss -ltn: Recv-Q above Send-Q; then the "
    "program does not accept, or its backlog is too short)"
)

NOBODY_KNOWS: Final = (
    "Those before it, or the answers to them, were lost or dropped without a word; a port on which nothing listens yet would have answered "
    "with a RST."
)
DROPPED_THERE: Final = f"{NO_ROOM}, or a firewall of its own limits new connections (nft list ruleset; conntrack -S: insert_failed, drop)"


class Wait(NamedTuple):
    """What was sent `again` so often, in vain, from its first transmission to `end`."""

    syn: SynAgain
    end: Moment
    again: int

    @property
    def took_ns(self) -> int:
        """How long it took."""
        return self.end.ts_ns - self.syn.first.ts_ns


class Way(NamedTuple):
    """One of the ways in which opening a connection takes long; `proof_needs` says where to record to know more."""

    what: str
    direction: str
    wait: Callable[[TcpConnection], Wait | None]
    message: Callable[[TcpConnection, Wait], str]
    remedy: str
    proof_needs: str


def slow_connect(tables: Tables) -> Iterator[Finding]:
    """One finding for each way and each server; the slowest connection is named."""
    repeated = [one for one in tables.eventful if one.tcp.syns != NEITHER]
    for way in WAYS if repeated else ():
        waits = {one.id: wait for one in repeated if (wait := way.wait(one.tcp)) and wait.took_ns >= SLOW_NS}
        for server, slow in by_server(one for one in repeated if one.id in waits):
            worst = max(slow, key=lambda one: waits[one.id].took_ns)
            wait, others = waits[worst.id], len(slow) - 1
            yield Finding(
                code="slow-connect",
                severity="warning" if wait.took_ns >= LONG_NS else "info",
                confidence="high",
                connection=worst.id,
                packets=tuple(sorted({wait.syn.first.packet, wait.syn.last.packet, wait.end.packet})),
                message=way.message(worst.tcp, wait) + (f" So it was with {counted(others, 'other connection')}." if others else ""),
                remedy=way.remedy,
                evidence={
                    "direction": way.direction,
                    "what": way.what,
                    "server": shown(server),
                    "connections": len(slow),
                    "sent_again": wait.again,
                    "took_s": wait.took_ns / SECOND_NS,
                    "proof_needs": way.proof_needs,
                },
            )


def _syn_unanswered(tcp: TcpConnection) -> Wait | None:
    syn = tcp.syns.to_server
    if "s" in tcp.history:
        return None  # both sides opened it at once (RFC 9293 3.5): none answered the other
    return Wait(syn, syn.answer, syn.early) if syn and syn.answer else None


def _syn_ack_unanswered(tcp: TcpConnection) -> Wait | None:
    syn_ack = None if "s" in tcp.history else tcp.syns.to_client
    return Wait(syn_ack, syn_ack.answer, syn_ack.early) if syn_ack and syn_ack.answer else None


def _ack_unheard(tcp: TcpConnection) -> Wait | None:
    syn_ack = tcp.syns.to_client
    return Wait(syn_ack, syn_ack.last, syn_ack.times - syn_ack.early) if syn_ack and syn_ack.times > syn_ack.early else None


def _said_of_syns(tcp: TcpConnection, wait: Wait) -> str:
    return (
        f"{shown(tcp.server)} answered the client's SYN (packet {wait.syn.first.packet}) after {seconds(wait.took_ns)} only: it was sent "
        f"again {counted(wait.again, 'time')} before a SYN-ACK came (packet {wait.end.packet}). {NOBODY_KNOWS}"
    )


def _said_of_syn_acks(tcp: TcpConnection, wait: Wait) -> str:
    return (
        f"{shown(tcp.client)} answered the server's SYN-ACK (packet {wait.syn.first.packet}) after {seconds(wait.took_ns)} only: it was "
        f"sent again {counted(wait.again, 'time')} before the client went on (packet {wait.end.packet}). The SYN-ACKs did not reach the "
        "client, or what it answered was lost."
    )


def _said_of_acks(tcp: TcpConnection, wait: Wait) -> str:
    return (
        f"{shown(tcp.server)} sent its SYN-ACK again {counted(wait.again, 'time')} (the last in packet {wait.end.packet}, "
        f"{seconds(wait.took_ns)} after the first) although the client had acknowledged it: for the client the connection was open, for "
        "the server not yet. The client's ACK was lost, or the accept queue of the server's program was full, which makes Linux drop that "
        "ACK."
    )


WAYS: Final = (
    Way(
        "syn-unanswered",
        "to_server",
        _syn_unanswered,
        _said_of_syns,
        "Record at the server as well: it shows whether the first SYNs arrived there. If they did (as they did where this capture is the "
        f"server's), that host dropped them: {DROPPED_THERE}. If not, look for such a limit on the way.",
        "server",
    ),
    Way(
        "syn-ack-unanswered",
        "to_client",
        _syn_ack_unanswered,
        _said_of_syn_acks,
        "Record at the client as well: it shows whether the SYN-ACKs arrive there; look for asymmetric routes and for a firewall that sees "
        "one direction only.",
        "client",
    ),
    Way(
        "ack-unheard",
        "to_client",
        _ack_unheard,
        _said_of_acks,
        f"At the server: {NO_ROOM}. If it counts none, the client's ACKs do not arrive there: look for a firewall that sees one direction "
        "only.",
        "server",
    ),
)
