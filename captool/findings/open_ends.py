"""Connections that stand still: a reader that stopped, an answer that is due when the capture ends, and those that are merely quiet."""

from collections.abc import Iterator, Sequence
from typing import Final

from captool.direction import DIRECTIONS, Direction
from captool.findings.closes import open_stream
from captool.findings.finding import Finding, Severity
from captool.findings.gaps import forgets, timeouts, tripped, worst_gap
from captool.findings.idle import answered, into_nothing
from captool.findings.probes import PROBES_MISSED, probed_every, sender_hint
from captool.findings.silence import followed
from captool.findings.tables import Connection, Tables
from captool.tcp.connection import Endpoint, Gap, Keepalive, ShutWindow
from captool.units import SECOND_NS, counted, seconds

STALL_NS: Final = 2 * SECOND_NS
LONG_STALL_NS: Final = 10 * SECOND_NS
LASTING_STALL_NS: Final = 60 * SECOND_NS
QUIET_NS: Final = 5 * SECOND_NS
# After this time an answer to a probe will not come any more.
ANSWER_NS: Final = 3 * SECOND_NS


def zero_window_stall(tables: Tables) -> Iterator[Finding]:
    """A receiver whose buffer was full: its program did not read."""
    for connection in tables.eventful:
        for direction in DIRECTIONS:
            shut = connection.tcp.shut_windows[direction]
            if shut is None or shut.duration_ns < STALL_NS:
                continue
            reader = direction.opposite.sender
            ended_by, until = _stall_end(connection, shut)
            yield Finding(
                code="zero-window-stall",
                severity=_stall_severity(ended_by, shut.duration_ns),
                confidence="high",
                connection=connection.id,
                packets=(shut.since.packet,) if shut.until_packet is None else (shut.since.packet, shut.until_packet),
                message=f"The {reader} did not read: from packet {shut.since.packet} on its receive window was 0 for "
                f"{seconds(shut.duration_ns)}{until}; the {direction.sender} sent {counted(shut.probes, 'window probe')} in that time."
                + (" The capture ended first: whether it read on, is not known." if ended_by == "capture-ended" else ""),
                remedy=f"Look at the {reader}'s program: it is stopped, or waits for something else (for a docker client: its own output).",
                evidence={
                    "direction": direction.name.lower(),
                    "stalled_s": shut.duration_ns / SECOND_NS,
                    "ended_by": ended_by,
                    "window_probes": shut.probes,
                    "times": shut.times,
                    "waiting_bytes": connection.tcp.unacknowledged_bytes[direction],
                    "proof_needs": None,
                },
            )


def _stall_end(connection: Connection, shut: ShutWindow) -> tuple[str, str]:
    """What ended the stall, and how a sentence says it."""
    tcp = connection.tcp
    if shut.until_packet is not None:
        return "window-opened", ""
    if tcp.reset is not None and tcp.reset.moment.packet >= shut.since.packet:
        return "close", f", until a RST ended the connection (packet {tcp.reset.moment.packet})"
    if tcp.conn_state == "SF":
        return "close", ", until both sides had closed"
    return "capture-ended", ", until its last packet"


def _stall_severity(ended_by: str, duration_ns: int) -> Severity:
    """A stall that the capture cuts off says the less the shorter it is: programs pause."""
    if ended_by == "window-opened":
        return "warning"
    if ended_by == "close" or duration_ns >= LASTING_STALL_NS:
        return "error"
    return "warning" if duration_ns >= LONG_STALL_NS else "info"


def possible_drop(tables: Tables) -> Iterator[Finding]:
    """Silence to the end of the capture on a connection that is open: what the receiving side sees of a silent drop."""
    entries = timeouts(tables)
    for connection in tables.eventful:
        tcp = connection.tcp
        gap = worst_gap(connection) if tcp.close == "open" else None
        due = _due(connection, gap) if gap is not None and gap.ended_by == "end-of-capture" else None
        if gap is None or due is None:
            continue
        silence = _last_silence(connection, tables)
        every = min((between for between in map(probed_every, tcp.keepalive) if between is not None), default=None)
        stopped = every is not None and silence > PROBES_MISSED * every
        probe = next((side.last_probe for side in tcp.keepalive if side.unanswered and silence > ANSWER_NS), None)
        over = tripped(entries, gap, silent=True)
        if not stopped and probe is None and (silence < gap.longest_silence_ns or not over):
            continue
        yield Finding(
            code="possible-drop",
            severity="warning",
            confidence="medium" if stopped or probe else "low",
            connection=connection.id,
            packets=(tcp.last_packet.packet,),
            message=f"Nothing after packet {tcp.last_packet.packet} for {seconds(silence)}, to the end of the capture, {due}"
            + (f", although probes had come every {seconds(every)}" if stopped and every is not None else "")
            + (f", and the keepalive probe in packet {probe.packet} was not answered" if probe else "")
            + (f"; {forgets(over[0])}" if over else "")
            + ". It may have been dropped silently, or be quiet: a capture at the server would show data sent again and again, or none; if "
            "this one was recorded there, the server sent none.",
            remedy="Record at the server as well, and let one side send keepalive probes.",
            evidence={
                "silent_s": silence / SECOND_NS,
                "probes_stopped": stopped,
                "unanswered_probe": probe.packet if probe else None,
                "candidates": [entry.id for entry in over],
                "proof_needs": "server",
            },
        )


def capture_ended(tables: Tables) -> Iterator[Finding]:
    """The capture ended while an exchange was open: nothing is proven about it."""
    newest: dict[tuple[Endpoint, Endpoint], int] = {}
    for connection in tables.eventful:
        waiting = [exchange for exchange in connection.exchanges if not exchange.http.complete and followed(connection, exchange)]
        half_closed = connection.tcp.conn_state == "S2" and (connection.tcp.close == "fin" or open_stream(connection) is not None)
        if half_closed and open_stream(connection) is not None:
            waiting = [connection.exchanges[-1]]
        if not waiting or not (half_closed or connection.tcp.close == "open"):
            continue
        newest = newest or {(one.tcp.client, one.tcp.server): one.id for one in tables.connections}
        if newest[connection.tcp.client, connection.tcp.server] != connection.id:
            continue  # another one was opened on its ports: this one had ended unseen
        silence = _last_silence(connection, tables)
        yield Finding(
            code="capture-ended",
            severity="info",
            confidence="high",
            connection=connection.id,
            packets=(waiting[-1].http.request.packet, connection.tcp.last_packet.packet),
            message=f"The capture ended first: {counted(len(waiting), 'exchange')} still open, last packet {seconds(silence)} before the "
            "end; nothing is proven about what came after.",
            remedy="Record until the connection ends.",
            evidence={"open_exchanges": len(waiting), "silent_s": silence / SECOND_NS, "proof_needs": None},
        )


def quiet_but_healthy(tables: Tables, found: Sequence[Finding]) -> Iterator[Finding]:
    """Idle for long, and fine: which probes bridged it, or which timeouts it stayed below. `found` are all other findings.

    How often probes come is not said where the capture lacks packets: some of the probes may be among them.
    """
    lossy = any(finding.code == "capture-loss" for finding in found)
    faulty = {finding.connection for finding in found if finding.severity != "info" and finding.code != "capture-loss"}
    entries = timeouts(tables)
    for connection in tables.eventful:
        gap = worst_gap(connection)
        if connection.id in faulty or gap is None or gap.duration_ns < QUIET_NS or not _lived_on(connection, gap, tables):
            continue
        sides = connection.tcp.keepalive
        probes = [_bridged(gap.probes[one], sides[one], one, lossy=lossy) for one in DIRECTIONS if gap.probes[one]]
        shortest = min(entries, key=lambda entry: entry.timeout_ns, default=None)
        if probes:
            fine = f"bridged by {', and by '.join(probes)}"
        elif shortest is not None and not tripped(entries, gap):
            fine = f"shorter than every timeout judged by (the shortest: {shortest.name}, {shortest.seconds:g} s)"
        else:
            fine = "without a keepalive probe"
        after = {"data": "data crossed again after it", "fin": "an orderly close ended it"}.get(gap.ended_by, "the capture ends in it")
        yield Finding(
            code="quiet-but-healthy",
            severity="info",
            confidence="high",
            connection=connection.id,
            packets=(gap.after_packet,) if gap.ended_by_packet is None else (gap.after_packet, gap.ended_by_packet),
            message=f"Idle for {seconds(gap.duration_ns)}, {fine}; {after}.",
            remedy="Nothing to do.",
            evidence={
                "idle_s": gap.duration_ns / SECOND_NS,
                "longest_silence_s": gap.longest_silence_ns / SECOND_NS,
                "probes": {"to_server": gap.probes.to_server, "to_client": gap.probes.to_client},
                "proof_needs": None,
            },
        )


def _lived_on(connection: Connection, gap: Gap, tables: Tables) -> bool:
    """Whether the connection worked at the end of the gap, or at the end of the capture still had its probes answered in time."""
    if gap.ended_by in ("data", "fin"):
        return answered(connection, gap) and not into_nothing(connection, gap)
    if gap.ended_by != "end-of-capture":
        return False
    sides = [(side, every) for side in connection.tcp.keepalive if (every := probed_every(side)) is not None and side.answered]
    silence = _last_silence(connection, tables)
    return any(silence <= every * PROBES_MISSED and not side.unanswered for side, every in sides)


def _due(connection: Connection, gap: Gap) -> str | None:
    """What may still have been to come; None where nothing says that anything was."""
    # One that the capture lacks a part of is over when another came behind it.
    due = [http.response_followed for http in (exchange.http for exchange in connection.exchanges) if http.end is None]
    if any(due) or (connection.exchanges and connection.exchanges[-1].http.end is None):
        return "while an answer was due"
    if connection.exchanges:
        return None
    if gap.spoke_last == "client":
        return "while an answer was due"
    return "the server having spoken last" if gap.spoke_last == "server" else None


def _last_silence(connection: Connection, tables: Tables) -> int:
    """Nanoseconds from the connection's last packet to the end of the capture, to which it was running."""
    return max(0, (tables.capture.watched_until_ns or 0) - connection.tcp.last_packet.ts_ns)


def _bridged(probes: int, side: Keepalive, direction: Direction, *, lossy: bool) -> str:
    if lossy:
        return f"keepalive probes of the {direction.sender}, of which the capture has {probes} (it lacks packets)"
    every = f" every {seconds(side.interval_ns)}" if side.interval_ns is not None else ""
    hint = sender_hint(side, direction)
    answered = "answered" if side.answered >= side.probes else f"{side.answered} of {side.probes} on the connection answered"
    return f"{counted(probes, 'keepalive probe')} of the {direction.sender}{every}" + (f" ({hint})" if hint else "") + f", {answered}"
