"""How a quiet connection ended, where that tells the cause: reset on its next use, half-closed, given up, stalled, or not at all."""

from collections.abc import Iterator
from typing import Final

from captool.direction import DIRECTIONS, Direction
from captool.findings.finding import Confidence, Finding
from captool.findings.gaps import timeouts, tripped, worst_gap
from captool.findings.tables import Connection, Tables
from captool.middlebox.catalogue import load_catalogue
from captool.tcp.connection import Gap, Reset
from captool.units import SECOND_NS, counted, seconds

PROVOKED_NS: Final = 3 * SECOND_NS
STALL_NS: Final = 2 * SECOND_NS
LATE_NS: Final = 250_000_000
# Timeouts that people configure: multiples of 10 s up to two minutes, of a minute above.
ROUND: Final = (*range(10, 121, 10), *range(180, 3601, 60))


def reset_after_idle(tables: Tables) -> Iterator[Finding]:
    """A RST that answers the first packet after an idle time."""
    entries = timeouts(tables)
    for connection in tables.connections:
        reset = connection.tcp.reset
        gap = _gap_before(connection, reset) if reset else None
        if reset is None or gap is None or reset.peer_last is None:
            continue
        foreign, stateless = _clues(reset)
        told = "; ".join((*foreign, *stateless)) or "nothing in it tells whether the peer or a middlebox sent it"
        confidence: Confidence = "high" if foreign and stateless else "medium" if foreign else "low"
        over = tripped(entries, gap)
        yield Finding(
            code="reset-after-idle",
            severity="error",
            confidence=confidence,
            connection=connection.id,
            packets=(gap.after_packet, reset.peer_last.packet, reset.moment.packet),
            message=f"The first packet after {seconds(gap.longest_silence_ns)} of silence (packet {reset.peer_last.packet}) was "
            f"answered by a reset in the {reset.sender}'s name (packet {reset.moment.packet}): {told}.",
            remedy="Send keepalive probes more often than the timeout that cut it. Whether the reset came from the "
            f"{reset.sender} itself, a capture there shows.",
            evidence={
                "idle_s": gap.longest_silence_ns / SECOND_NS,
                "sender_differs": foreign,
                "sender_without_state": stateless,
                "candidates": [entry.id for entry in over],
                "proof_needs": reset.sender,
            },
        )


def _gap_before(connection: Connection, reset: Reset) -> Gap | None:
    """The gap that ended with the packet that provoked this RST: the other side's, after which the RST's sender said nothing else."""
    provoked = reset.peer_last
    if provoked is None or reset.moment.ts_ns - provoked.ts_ns > PROVOKED_NS:
        return None
    if reset.own_last is not None and reset.own_last.packet > provoked.packet:
        return None
    for gap in connection.tcp.gaps:
        if gap.ended_by_packet == provoked.packet or (gap.ended_by_packet == reset.moment.packet and any(gap.probes)):
            return gap
    return None


def _clues(reset: Reset) -> tuple[list[str], list[str]]:
    """What speaks for another machine than the peer; and what only says that its sender knew nothing of the connection (any more)."""
    foreign, stateless = [], []
    if reset.usual_hops is not None and reset.hops != reset.usual_hops:
        foreign.append(f"its TTL is {reset.hops}, that of the {reset.sender}'s others {reset.usual_hops}: another machine sent it")
    if reset.identification == 0 and reset.usual_identification:
        stateless.append(f"its IP identification is 0, the {reset.sender}'s other packets are numbered")
    if reset.window == 0 and not reset.acknowledges:
        stateless.append("window 0 and no acknowledgement, as whoever does not know the connection sends it")
    return foreign, stateless


def half_close_idle(tables: Tables) -> Iterator[Finding]:
    """One FIN, then idle for longer than middleboxes remember half-closed connections."""
    entries = load_catalogue(state="half-closed")
    for connection in tables.connections:
        tcp = connection.tcp
        if tcp.closing is None or tcp.closed_by is None or "f" not in tcp.history.lower():
            continue
        closing = tcp.closing
        after = [gap for gap in tcp.gaps if gap.after_packet >= closing.packet and gap.start_ns >= closing.ts_ns]
        gap = max(after, key=lambda one: one.longest_silence_ns, default=None)
        if gap is None or not (over := tripped(entries, gap)):
            continue
        # A peer that closed its own side is not called vanished (close is `fin`), so the data itself is looked at.
        lost = tcp.unanswered[Direction.TO_CLIENT if tcp.closed_by == "client" else Direction.TO_SERVER]
        dropped = lost is not None and lost.first.packet > gap.after_packet
        yield Finding(
            code="half-close-idle",
            severity="error" if dropped else "warning" if gap.ended_by in ("end-of-capture", "rst") else "info",
            confidence="high" if dropped else "medium",
            connection=connection.id,
            packets=(closing.packet, gap.after_packet) if gap.ended_by_packet is None else (closing.packet, gap.ended_by_packet),
            message=f"The {tcp.closed_by} closed its side (FIN, packet {closing.packet}); then {seconds(gap.longest_silence_ns)} "
            f"without a packet, longer than {over[0].name} keeps half-closed connections ({over[0].seconds:g} s)"
            + ("; what was sent after it was never acknowledged." if dropped else "."),
            remedy="Let the program keep its side open until the answer is complete (under TLS: close_notify alone, as Go does), "
            "or raise the middlebox's timeout for half-closed connections.",
            evidence={
                "idle_s": gap.longest_silence_ns / SECOND_NS,
                "fin_packet": closing.packet,
                "candidates": [entry.id for entry in over],
                "proof_needs": None if dropped else tcp.closed_by,
            },
        )


def client_timeout(tables: Tables) -> Iterator[Finding]:
    """The client closed after a round number of seconds in which it only waited for an answer."""
    for connection in tables.connections:
        tcp = connection.tcp
        if tcp.closing is None or tcp.closed_by != "client":
            continue
        gap = next((one for one in tcp.gaps if one.ended_by_packet == tcp.closing.packet), None)
        if gap is None or gap.spoke_last != "client" or (limit := _round_timeout(gap.duration_ns)) is None:
            continue
        yield Finding(
            code="client-timeout",
            severity="warning",
            confidence="medium",
            connection=connection.id,
            packets=(gap.after_packet, tcp.closing.packet),
            message=f"The client closed (packet {tcp.closing.packet}) after waiting {seconds(gap.duration_ns)} for an answer: as with "
            f"a read timeout of {limit} s in the client.",
            remedy="Raise the client's own timeout (for the Docker SDK for Python: `timeout`, DOCKER_CLIENT_TIMEOUT), or find out why the "
            "server is slow to answer.",
            evidence={"waited_s": gap.duration_ns / SECOND_NS, "timeout_s": limit, "proof_needs": None},
        )


def _round_timeout(duration_ns: int) -> int | None:
    return next((limit for limit in ROUND if -LATE_NS <= duration_ns - limit * SECOND_NS <= LATE_NS + limit * SECOND_NS // 200), None)


def zero_window_stall(tables: Tables) -> Iterator[Finding]:
    """A receiver whose buffer was full: its program did not read."""
    for connection in tables.connections:
        for direction in DIRECTIONS:
            shut = connection.tcp.shut_windows[direction]
            if shut is None or shut.duration_ns < STALL_NS:
                continue
            reader = direction.opposite.sender
            lasting = shut.until_packet is None
            yield Finding(
                code="zero-window-stall",
                severity="error" if lasting else "warning",
                confidence="high",
                connection=connection.id,
                packets=(shut.since.packet,) if shut.until_packet is None else (shut.since.packet, shut.until_packet),
                message=f"The {reader} did not read: from packet {shut.since.packet} on its receive window was 0 for "
                f"{seconds(shut.duration_ns)}" + (", until the end of what was seen" if lasting else "") + f"; the {direction.sender} sent "
                f"{counted(shut.probes, 'window probe')} in that time.",
                remedy=f"Look at the {reader}'s program: it is stopped, or waits for something else (for a docker client: its own output).",
                evidence={
                    "direction": direction.name.lower(),
                    "stalled_s": shut.duration_ns / SECOND_NS,
                    "window_probes": shut.probes,
                    "times": shut.times,
                    "waiting_bytes": connection.tcp.unacknowledged_bytes[direction],
                    "proof_needs": None,
                },
            )


def _waits(connection: Connection, gap: Gap) -> bool:
    """Whether someone still waits for something: an exchange that is not complete, or unread, a client that spoke last."""
    if connection.exchanges:
        return any(not exchange.http.complete for exchange in connection.exchanges)
    return gap.spoke_last == "client"


def _last_silence(connection: Connection, end_ns: int | None) -> int:
    """Nanoseconds from the connection's last packet to the end of the capture."""
    return max(0, (end_ns or 0) - connection.tcp.last_packet.ts_ns)


def possible_drop(tables: Tables) -> Iterator[Finding]:
    """Silence to the end of the capture while an answer is due: what the receiving side sees of a silent drop."""
    entries = timeouts(tables)
    for connection in tables.connections:
        tcp = connection.tcp
        gap = worst_gap(connection)
        silence = _last_silence(connection, tables.capture.end_ns)
        if tcp.close != "open" or gap is None or gap.ended_by != "end-of-capture" or not _waits(connection, gap):
            continue
        intervals = [side.interval_ns for side in tcp.keepalive if side.interval_ns is not None]
        stopped = bool(intervals) and silence > 3 * min(intervals)
        over = tripped(entries, gap, silent=True)
        if not stopped and (silence < gap.longest_silence_ns or not over):
            continue
        yield Finding(
            code="possible-drop",
            severity="warning",
            confidence="medium" if stopped else "low",
            connection=connection.id,
            packets=(tcp.last_packet.packet,),
            message=f"Nothing after packet {tcp.last_packet.packet} for {seconds(silence)}, to the end of the capture, while an answer was "
            "due" + (f", although probes had come every {seconds(min(intervals))}" if stopped else "") + ": it may have been dropped "
            "silently, or be quiet. This side alone cannot tell; a capture at the server would show retransmissions.",
            remedy="Record at the server as well, and let one side send keepalive probes.",
            evidence={"silent_s": silence / SECOND_NS, "probes_stopped": stopped, "proof_needs": "server"},
        )


def capture_ended(tables: Tables) -> Iterator[Finding]:
    """The capture ended while an exchange was open: nothing is proven about it."""
    for connection in tables.connections:
        waiting = [exchange for exchange in connection.exchanges if not exchange.http.complete]
        if connection.tcp.close != "open" or not waiting:
            continue
        silence = _last_silence(connection, tables.capture.end_ns)
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
