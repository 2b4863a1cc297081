"""Connections that died without a word, and what was lost on them."""

import re
from codecs import getincrementaldecoder
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from captool.direction import DIRECTIONS, Direction
from captool.findings.finding import Confidence, Finding
from captool.findings.gaps import gap_ended_by, timeouts, tripped
from captool.findings.icmp import said_so
from captool.findings.path_mtu import too_large
from captool.findings.remedies import KEEPALIVE_REMEDY
from captool.findings.tables import Connection, Tables
from captool.tcp.connection import TcpConnection, Unanswered
from captool.units import SECOND_NS, counted, seconds, size

if TYPE_CHECKING:
    from captool.dockerapi.exchange import DockerExchange, LostOutput
    from captool.http.exchange import HttpExchange

API_VERSION: Final = r"^/v\d+\.\d+/"
WENT_AWAY: Final = "The path or the {} went away."
LONG_ID: Final = r"\b[0-9a-f]{64}\b"


def silent_drop(tables: Tables) -> Iterator[Finding]:
    """Data sent again and again into nothing: no acknowledgement, no FIN, no RST, the peer not heard any more."""
    entries = timeouts(tables)
    for connection in tables.eventful:
        if connection.tcp.close != "silent-drop":
            continue
        for direction in DIRECTIONS:
            sent = connection.tcp.unanswered[direction]
            if sent is None or too_large(connection.tcp, direction):
                continue
            gap = gap_ended_by(connection, sent.first.packet)
            if gap is not None and sent.peer_last_heard is not None:  # a probe that was answered ends a silence
                silence = min(gap.longest_silence_ns, max(0, sent.first.ts_ns - sent.peer_last_heard.ts_ns))
                gap = gap._replace(longest_silence_ns=silence)
            forgotten = gap is not None and bool(tripped(entries, gap, silent=True))
            yield Finding(
                code="silent-drop",
                severity="error",
                confidence=_confidence(tables, connection, sent, direction, forgotten=forgotten),
                connection=connection.id,
                packets=(sent.first.packet, sent.last.packet),
                message=_sent_into_nothing(sent, direction)
                + (
                    f" It came after {seconds(gap.longest_silence_ns)} without a packet, as when a middlebox forgets an idle connection."
                    if gap is not None and forgotten
                    else _went_away(connection, direction)
                ),
                remedy=KEEPALIVE_REMEDY
                if forgotten
                else f"Record at the {direction.opposite.sender}'s side as well: it shows whether these packets arrived there.",
                evidence={
                    "direction": direction.name.lower(),
                    "unacknowledged_bytes": sent.bytes,
                    "retransmissions": sent.retransmissions,
                    "sent_for_s": (sent.last.ts_ns - sent.first.ts_ns) / SECOND_NS,
                    "idle_before_s": gap.duration_ns / SECOND_NS if gap else None,
                    "after_timeout": forgotten,
                    "peer_last_heard_packet": sent.peer_last_heard.packet if sent.peer_last_heard else None,
                },
            )


def _went_away(connection: Connection, direction: Direction) -> str:
    """Who or what is gone, as far as anything tells."""
    return said_so(connection, direction) or f" {WENT_AWAY.format(direction.opposite.sender)}"


def output_lost(tables: Tables) -> Iterator[Finding]:
    """Container output that was on the wire and that the client never acknowledged before the connection was given up."""
    for connection in tables.eventful:
        sent = connection.tcp.unanswered.to_client
        if not output_given_up(connection.tcp):
            continue
        for exchange in connection.exchanges:
            if exchange.stream is None or exchange.stream.lost is None:
                continue
            lost = exchange.stream.lost
            total = lost.stdout_bytes + lost.stderr_bytes
            doubt = acknowledged_by_reset(connection.tcp)
            left = None if doubt else _client_had_closed(connection, lost.first.packet)
            container = exchange.container[:12] if exchange.container else None
            yield Finding(
                code="output-lost",
                severity="warning" if doubt or left else "error",
                confidence="low" if doubt else "high",
                connection=connection.id,
                packets=(lost.first.packet,) if sent is None else (lost.first.packet, sent.last.packet),
                message=f"At least {size(total)} of container output ({streams(lost)}) of {request(exchange)} were {sent_for(sent)}"
                f"never acknowledged{doubt or left or ': the client did not get them, nor anything that was to follow.'}",
                remedy=(
                    f"Fetch what is missing with `docker logs {container}` while the container exists"
                    if container
                    else "Fetch what is missing from the container's log while it exists"
                )
                + (
                    "; and look why the client's program ended."
                    if left
                    else "; to keep it from happening again, see the other findings of this connection."
                ),
                evidence={
                    "stdout_bytes": lost.stdout_bytes,
                    "stderr_bytes": lost.stderr_bytes,
                    "container": exchange.container,
                    "text": _beginning(lost.text),
                    "client_had_closed": left is not None,
                },
            )


def output_given_up(tcp: TcpConnection) -> bool:
    """Whether what the client has not acknowledged by now is not merely on its way: sent again and again, or cut off by a reset.

    Behind a reset, it may be acknowledged in packets of the client that the capture lacks.
    """
    sent = tcp.unanswered.to_client
    cut_off = tcp.close == "rst" and not tcp.lacking.to_server and not _acknowledged_all(tcp)
    return cut_off or (sent is not None and sent.persistent)


def _acknowledged_all(tcp: TcpConnection) -> bool:
    """Whether the server's RST answers a packet that acknowledges all, and that the capture lacks: it stands where that acknowledges."""
    reset = tcp.reset
    return reset is not None and reset.sender == "server" and not reset.acknowledges and reset.sequence_distance >= 0


def sent_for(sent: Unanswered | None) -> str:
    """`sent 9 times in 13.10 s and `; empty where nothing was sent again."""
    return f"sent {_times(sent.retransmissions + 1)} in {seconds(sent.last.ts_ns - sent.first.ts_ns)} and " if sent else ""


def acknowledged_by_reset(tcp: TcpConnection) -> str | None:
    """What to say of a RST in the client's name that acknowledges more, and does not look as if the client sent it; None without one."""
    reset = tcp.reset
    if reset is None or reset.sender != "client" or not reset.newly_acknowledged or not tcp.unacknowledged_bytes.to_client:
        return None
    return (
        f", but by a reset in the client's name (packet {reset.moment.packet}) that does not look like the client's packets: if the client "
        "sent it, it did get some of them."
    )


def _client_had_closed(connection: Connection, packet: int) -> str | None:
    """What to say of output that a client's host refused because its program had closed before `packet`; None where it had not.

    A client that is done with sending alone (RFC 9293 3.6) still acknowledges what comes.
    """
    tcp = connection.tcp
    reset, closing = tcp.reset, tcp.closing
    if reset is None or closing is None or reset.sender != "client" or tcp.closed_by != "client" or not closing.packet < packet:
        return None
    if reset.own_last is not None and reset.own_last.packet > closing.packet:
        return None
    return (
        f": the client had closed before they were sent (FIN, packet {closing.packet}), and its host refused them (RST, packet "
        f"{reset.moment.packet}). Its program ended, or was done."
    )


def unanswered_request(tables: Tables) -> Iterator[Finding]:
    """A request whose response never came although the connection was given up or closed."""
    for connection in tables.eventful:
        if connection.tcp.close == "open" or (connection.tcp.close == "fin" and connection.tcp.conn_state == "S2"):
            continue  # a server whose client said no more than that it is done may still answer
        for exchange in connection.exchanges:
            if exchange.http.response is None and followed(connection, exchange):
                yield Finding(
                    code="unanswered-request",
                    severity="warning",
                    confidence="high",
                    connection=connection.id,
                    packets=(exchange.http.request.packet,),
                    message=f"{request(exchange)} got no response before the connection ended ({connection.tcp.close}).",
                    remedy="Look at the daemon's log at that time; if the connection was dropped, see its other findings.",
                    evidence={"method": exchange.http.method, "target": exchange.http.target},
                )


def followed(connection: Connection, exchange: "DockerExchange") -> bool:
    """Whether the capture would show a response: one that was acknowledged and not recorded is none that the server did not give."""
    tcp, http = connection.tcp, exchange.http
    by_reset = tcp.reset is not None and tcp.reset.sender == "client" and tcp.reset.acknowledged_unseen > 0
    whole = tcp.packets.to_client > 0 and not any(tcp.lacking) and not by_reset
    return http.response_followed and (whole or http.hijack is not None)


def request(exchange: "DockerExchange") -> str:
    """`POST /containers/327f82b7b055/attach`: method and path, without API version and query, ids as docker shortens them."""
    return request_line(exchange.http)


def request_line(http: "HttpExchange") -> str:
    """Method and path as `request` shows them."""
    path = http.target.partition("?")[0]
    return f"{http.method} {shortened(re.sub(API_VERSION, '/', path, count=1))}"


def shortened(target: str) -> str:
    """A request target with its container ids cut to the 12 digits that docker shows."""
    return re.sub(LONG_ID, lambda long_id: long_id[0][:12], target)


def _sent_into_nothing(sent: Unanswered, direction: Direction) -> str:
    peer = direction.opposite.sender
    heard = f"last heard in packet {sent.peer_last_heard.packet}" if sent.peer_last_heard else "not heard at all"
    return (
        f"From packet {sent.first.packet} on the {direction.sender} sent {size(sent.bytes)} of data again and again "
        f"({counted(sent.retransmissions, 'retransmission')} in {seconds(sent.last.ts_ns - sent.first.ts_ns)}); "
        f"the {peer} never acknowledged them, was {heard}, and no FIN or RST came from it."
    )


def _confidence(tables: Tables, connection: Connection, sent: Unanswered, direction: Direction, *, forgotten: bool) -> Confidence:
    if sent.peer_last_heard is None:
        return "low"  # a one-sided capture cannot show an answer
    if forgotten:
        return "high"
    peer = connection.tcp.client.ip if direction is Direction.TO_CLIENT else connection.tcp.server.ip
    alive_elsewhere = any(
        last is not None and last.ts_ns > sent.first.ts_ns and other.tcp.close != "silent-drop" and end.ip == peer
        for other in tables.connections
        if other.id != connection.id
        for end, last in zip((other.tcp.client, other.tcp.server), other.tcp.last_sent, strict=True)
    )
    return "high" if alive_elsewhere else "medium"


def _times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count} times")


def streams(lost: "LostOutput") -> str:
    """`stdout 201, stderr 25`."""
    parts = [("stdout", lost.stdout_bytes), ("stderr", lost.stderr_bytes)]
    return ", ".join(f"{name} {count:,}" for name, count in parts if count)


def _beginning(text: bytes) -> str:
    """Text that was cut off at a number of bytes, without the character that was cut through."""
    return getincrementaldecoder("utf-8")("backslashreplace").decode(text)
