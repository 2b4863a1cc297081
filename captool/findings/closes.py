"""Which side closed, and whether the other still waited: half-closed and forgotten, given up by the client, broken off by the server.

A capture of one direction does not show who closed first.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from typing import Final

from captool.direction import Direction
from captool.findings.finding import Confidence, Finding, Severity
from captool.findings.gaps import forgets, gap_ended_by, half_closed_timeouts, timeouts, tripped
from captool.findings.resets import gap_before, in_use
from captool.findings.silence import followed, request
from captool.findings.strangers import is_stranger
from captool.findings.tables import Connection, Tables
from captool.tcp.connection import Endpoint, Gap
from captool.units import SECOND_NS, counted, seconds, size

# Timeouts that people configure, in seconds. The shorter one is, the more often another time happens to be near it.
ROUND: Final = (5, 10, 15, 20, 30, 60, 120, 300, 600)
LONG: Final = 30
# The idle time begins with an acknowledgement, which may be delayed by as much.
NEAR_NS: Final = 250_000_000
AT_ONCE_NS: Final = 50_000_000
# A close_notify in a record: 5 bytes before it, and at most an IV, a MAC and padding (TLS 1.0 to 1.3).
LARGEST_ALERT: Final = 5 + 16 + 2 + 48 + 16

# What was left unfinished, in many words and in few.
Cut = tuple[str, str, Severity, Confidence]
LATE_REQUEST: Final = "before a request was sent on it"
LATE_DATA: Final = "before something was sent on it"
REMEDY_CLOSED: Final = (
    "Look at the log of the daemon, and of any proxy or load balancer in front of it, at that time: was it stopped or restarted, or did it "
    "close idle connections?"
)
REMEDY_LATE: Final = (
    "Let the client drop its idle connections sooner than the server, or a proxy in front of it, closes them, and try again what a closed "
    "connection lost."
)


def half_close_idle(tables: Tables) -> Iterator[Finding]:
    """One FIN, then idle for longer than middleboxes remember half-closed connections."""
    entries = half_closed_timeouts(tables)
    for connection in tables.eventful:
        tcp = connection.tcp
        if tcp.closing is None or tcp.closed_by is None or _by_reset(connection) or not all(tcp.packets):
            continue
        closing = tcp.closing
        after = [gap for gap in tcp.gaps if gap.after_packet >= closing.packet and gap.start_ns >= closing.ts_ns]
        # A peer that closed its own side is not called vanished (close is `fin`), so the data itself is looked at.
        lost = tcp.unanswered[Direction.TO_CLIENT if tcp.closed_by == "client" else Direction.TO_SERVER]
        fatal = next((one for one in after if lost is not None and lost.persistent and one.ended_by_packet == lost.first.packet), None)
        gap, dropped = fatal or max(after, key=lambda one: one.longest_silence_ns, default=None), fatal is not None
        if gap is None:
            continue
        over = tripped(entries, gap, silent=True)
        if not over and not dropped:
            continue
        longer = f" ({forgets(over[0], 'half-closed connections')})" if over else ""
        undecided = gap.ended_by in ("end-of-capture", "rst") and tcp.closed_by == "client" and _awaited(connection)
        severity: Severity = "error" if dropped else "warning" if undecided else "info"
        yield Finding(
            code="half-close-idle",
            severity=severity,
            confidence="high" if dropped and over else "medium",
            connection=connection.id,
            packets=(closing.packet, gap.after_packet) if gap.ended_by_packet is None else (closing.packet, gap.ended_by_packet),
            message=f"The {tcp.closed_by} closed its side (FIN, packet {closing.packet}); after that, {seconds(gap.longest_silence_ns)} "
            f"passed without a packet{longer}"
            + (
                "; what was sent after it was never acknowledged, as when a middlebox forgets a half-closed connection." if dropped else "."
            ),
            remedy="Let the program keep its side open until the answer is complete (under TLS: close_notify alone, as Go does), "
            "or raise the middlebox's timeout for half-closed connections.",
            evidence={
                "idle_s": gap.longest_silence_ns / SECOND_NS,
                "fin_packet": closing.packet,
                "closed_by": tcp.closed_by,
                "candidates": [entry.id for entry in over],
                "dropped": dropped,
                "direction": (Direction.TO_CLIENT if tcp.closed_by == "client" else Direction.TO_SERVER).name.lower(),
                "proof_needs": None if dropped and over else tcp.closed_by,
            },
        )


def client_timeout(tables: Tables) -> Iterator[Finding]:
    """The client closed after a round number of seconds in which it only waited for the server."""
    for connection in tables.eventful:
        tcp = connection.tcp
        if tcp.closing is None or tcp.closed_by != "client" or not all(tcp.packets) or any(tcp.lacking):
            continue  # since when it waited, and what for, a capture with all packets tells
        gap = gap_ended_by(connection, tcp.closing.packet)
        if gap is None or (limit := _round_timeout(gap.duration_ns)) is None:
            continue
        streaming = open_stream(connection)
        if gap.spoke_last != "client" and streaming is None:
            continue
        waited_for = f"more of {streaming}" if streaming else "an answer"
        yield Finding(
            code="client-timeout",
            severity="warning",
            confidence="medium" if limit >= LONG else "low",
            connection=connection.id,
            packets=(gap.after_packet, tcp.closing.packet),
            message=f"The client closed (packet {tcp.closing.packet}) after waiting {seconds(gap.duration_ns)} for {waited_for}: as with "
            f"a read timeout of {limit} s in the client.",
            remedy="Raise the client's own timeout (for the Docker SDK for Python: `timeout`, DOCKER_CLIENT_TIMEOUT), or find out why the "
            "server is slow to answer.",
            evidence={
                "waited_s": gap.duration_ns / SECOND_NS,
                "timeout_s": limit,
                "request": streaming,
                "proof_needs": None,
            },
        )


def server_closed(tables: Tables) -> Iterator[Finding]:
    """The server closed first, and something was still under way."""
    entries = tuple(entry for entry in timeouts(tables) if entry.on_expiry == "close")
    closes = _server_closes(tables)
    for connection in tables.eventful:
        tcp = connection.tcp
        if tcp.closing is None or tcp.closed_by != "server" or not all(tcp.packets) or _gave_up(connection):
            continue
        if is_stranger(tcp):
            continue  # connection-unknown: the server never had it open
        gap = gap_ended_by(connection, tcp.closing.packet)
        what = _cut_off(connection, gap)
        if what is None:
            continue
        said, short, severity, confidence = what
        times, at = closes[tcp.server], tcp.closing.ts_ns
        together = bisect_right(times, at + AT_ONCE_NS) - bisect_left(times, at - AT_ONCE_NS) - 1
        over = [entry for entry in tripped(entries, gap) if _near(gap.duration_ns, entry.timeout_ns)] if gap else []
        if over:
            severity = "warning"
        idle = f" after {seconds(gap.duration_ns)} without data" if gap else ""
        yield Finding(
            code="server-closed",
            severity=severity,
            confidence=confidence,
            connection=connection.id,
            packets=(tcp.closing.packet,),
            message=f"The server closed first ({'RST' if _by_reset(connection) else 'FIN'}, packet {tcp.closing.packet}){idle}, {said}."
            + (
                f" It closed {counted(together, 'other connection')} at the same moment, as when the program ends."
                if together and severity == "warning"
                else ""
            )
            + (f" {over[0].name} closes after {over[0].seconds:g} s." if over else ""),
            remedy=REMEDY_LATE if short in (LATE_REQUEST, LATE_DATA) else REMEDY_CLOSED,
            evidence={
                "unfinished": short,
                "closed_together": together,
                "idle_s": gap.duration_ns / SECOND_NS if gap else None,
                "candidates": [entry.id for entry in over],
                "proof_needs": None,
            },
        )


def _cut_off(connection: Connection, gap: Gap | None) -> Cut | None:
    """What the server left unfinished, in many words and in few, and how much that means."""
    if cut := _exchange_cut_off(connection) or _stream_cut_off(connection):
        return cut
    if not connection.exchanges and gap is not None and gap.spoke_last == "client":
        waited = "while the client waited for an answer"
        return waited, waited, "warning", "medium"
    if refused := _refused_bytes(connection):
        refusal = f"and its host refused {size(refused)} that the client sent after that, with a reset: they were never read"
        return refusal, LATE_DATA, "warning", "medium"
    return None


def _exchange_cut_off(connection: Connection) -> Cut | None:
    told = [one for one in connection.exchanges if followed(connection, one)]
    unanswered = next((one for one in told if one.http.response is None), None)
    closing = connection.tcp.closing
    if unanswered is not None and closing is not None and unanswered.http.request.packet > closing.packet:
        late = unanswered.http.request
        ago = seconds(late.ts_ns - closing.ts_ns)
        said = f"{ago} before {request(unanswered)} was sent (packet {late.packet}), which it did not answer"
        return f"{said}: the client used a connection that was over", LATE_REQUEST, "warning", "high"
    if unanswered is not None:
        return f"before it answered {request(unanswered)}", "before it answered", "warning", "high"
    partly = next((one for one in told if not one.http.complete and one.http.hijack is None), None)
    if partly is not None:
        return f"in the middle of its answer to {request(partly)}", "in the middle of an answer", "warning", "high"
    return None


def _stream_cut_off(connection: Connection) -> Cut | None:
    stream = open_stream(connection)
    if stream is None:
        return None
    if connection.tls is not None and connection.tls.status == "decrypted" and not connection.tcp.stream_holes.to_client:
        abrupt = "without a TLS close_notify, as when the program dies or is killed"
        return f"in the middle of {stream} and {abrupt}", f"in the middle of it and {abrupt}", "warning", "medium"
    ended = f"which ended {stream}: so does a stream whose container exits, and one whose daemon stops"
    return ended, "in the middle of it, as the container or the daemon ended", "info", "low"


def _refused_bytes(connection: Connection) -> int:
    """What the client sent after the server's FIN and the server's host reset; 0 where it may be no more than TLS's farewell."""
    tcp, bytes_ = connection.tcp, connection.tcp.unacknowledged_bytes.to_server
    if tcp.reset is None or tcp.reset.sender != "server" or _by_reset(connection) or tcp.unanswered.to_server is not None:
        return 0
    farewell = connection.exchanges or (connection.tls is not None and bytes_ <= LARGEST_ALERT)
    return 0 if farewell else bytes_


def _near(idle_ns: int, timeout_ns: int) -> bool:
    """Whether whoever has this timeout would have closed just then."""
    return idle_ns - timeout_ns <= max(2 * SECOND_NS, timeout_ns // 20)


def _awaited(connection: Connection) -> bool:
    """Whether the server may have had something left to say."""
    if not connection.exchanges:
        return True
    return open_stream(connection) is not None or any(not exchange.http.complete for exchange in connection.exchanges)


def _gave_up(connection: Connection) -> bool:
    """Whether the server's RST has a cause of its own: nobody answered it, or whoever sent it did not know the connection."""
    tcp = connection.tcp
    if tcp.reset is None or not _by_reset(connection):
        return False
    unheard = tcp.keepalive.to_client.unanswered > 0 or tcp.unanswered.to_client is not None
    return unheard or gap_before(connection, tcp.reset) is not None or in_use(connection)


def open_stream(connection: Connection) -> str | None:
    """The request whose stream was open when the first side closed: the server had not said that it was over."""
    last = connection.exchanges[-1] if connection.exchanges else None
    closing = connection.tcp.closing
    if last is None or closing is None or last.http.hijack is None:
        return None
    alerts = connection.tls.alerts if connection.tls else ()
    if any(alert.direction == Direction.TO_CLIENT and alert.packet <= closing.packet for alert in alerts):
        return None
    return request(last)


def _server_closes(tables: Tables) -> dict[Endpoint, list[int]]:
    """When each server closed connections first, sorted."""
    times: dict[Endpoint, list[int]] = {}
    for connection in tables.connections:
        if connection.tcp.closing is not None and connection.tcp.closed_by == "server":
            times.setdefault(connection.tcp.server, []).append(connection.tcp.closing.ts_ns)
    for of_server in times.values():
        of_server.sort()
    return times


def _by_reset(connection: Connection) -> bool:
    """Whether the first of FIN and RST was a RST."""
    reset, closing = connection.tcp.reset, connection.tcp.closing
    return reset is not None and closing is not None and reset.moment.packet == closing.packet


def _round_timeout(duration_ns: int) -> int | None:
    """The timeout that was probably set; long timers fire later."""
    return next((limit for limit in ROUND if -NEAR_NS <= duration_ns - limit * SECOND_NS <= NEAR_NS + limit * SECOND_NS // 200), None)
