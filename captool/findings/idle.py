"""Idle times: the probes that were missing in them, and the middleboxes that cut them."""

from collections.abc import Iterator
from typing import Final

from captool.findings.finding import Finding, Severity
from captool.findings.gaps import keepalive_window_ns, named, timeouts, tripped, where, worst_gap
from captool.findings.one_way import persists
from captool.findings.remedies import KEEPALIVE_REMEDY
from captool.findings.resets import gap_before
from captool.findings.tables import Connection, Tables
from captool.tcp.connection import Gap
from captool.units import SECOND_NS, seconds

UNDECIDED: Final = "The capture ends in it, so it cannot tell a dropped connection from a quiet one; a capture at the other side can."
UNANSWERED_YET: Final = "No packet answers what was sent after it, so whether that arrived only a capture at the other side tells."
FIN_UNANSWERED: Final = "No packet answers the FIN that ended it, so whether that arrived only a capture at the other side tells."
OUTCOMES: Final[dict[str, tuple[Severity, str]]] = {
    "end-of-capture": ("warning", UNDECIDED),
    "rst": ("warning", "A reset ended it."),
    "syn": ("warning", "Then another connection was opened on the same ports: this one had ended unseen."),
}
PROXY_REMEDY = "Load balancers and proxies that end the connection themselves ignore probes: raise their idle timeout."


def missing_keepalive(tables: Tables) -> Iterator[Finding]:
    """No probe from either side in an idle time that was seen whole and is long enough to say so (DESIGN: absence is a claim)."""
    for connection in tables.eventful:
        by_client, by_server = connection.tcp.keepalive
        if by_client.status != "missing" or by_server.status != "missing":
            continue
        idle = [gap for gap in connection.tcp.gaps if not any(gap.probes) and not _shut_in(connection, gap)]
        gap = max(idle, key=lambda gap: gap.longest_silence_ns, default=None)
        if gap is None or gap.duration_ns < keepalive_window_ns(tables.settings, tables.catalogue):
            continue
        dropped = connection.tcp.close == "silent-drop"
        yield Finding(
            code="missing-keepalive",
            severity="error" if dropped else "warning",
            confidence="high",
            connection=connection.id,
            packets=_packets(gap),
            message=f"No keepalive probe from either side was seen in {seconds(gap.duration_ns)} of idle time ({where(gap)}).",
            remedy=KEEPALIVE_REMEDY,
            evidence={"idle_s": gap.duration_ns / SECOND_NS, "probes": {"to_server": 0, "to_client": 0}},
        )


def _shut_in(connection: Connection, gap: Gap) -> bool:
    """Whether a receive window was 0 in this time: the sender probes the window then, and sends no keepalive probes."""
    for shut in connection.tcp.shut_windows:
        if shut and shut.since.ts_ns < gap.start_ns + gap.duration_ns and gap.start_ns < shut.since.ts_ns + shut.duration_ns:
            return True
    return False


def idle_gap(tables: Tables) -> Iterator[Finding]:
    """An idle time that is longer than a middlebox's timeout; one finding a connection, about its longest silence."""
    entries = timeouts(tables)
    for connection in tables.eventful:
        gap = worst_gap(connection)
        if gap is None or not (over := tripped(entries, gap, silent=connection.tcp.close == "silent-drop")):
            continue
        severity, outcome = _outcome(connection, gap)
        ignoring = [entry for entry in over if entry.probe_resets is False]
        yield Finding(
            code="idle-gap",
            severity=severity,
            confidence="high" if tables.settings.idle_timeout_ns or tables.settings.network else "medium",
            connection=connection.id,
            packets=_packets(gap),
            message=f"{_silence(gap)} {where(gap)}: long enough for {named(over, gap)}. {outcome}",
            remedy=" ".join([KEEPALIVE_REMEDY] * (len(ignoring) < len(over)) + [PROXY_REMEDY] * bool(ignoring)),
            evidence={
                "gap_s": gap.duration_ns / SECOND_NS,
                "longest_silence_s": gap.longest_silence_ns / SECOND_NS,
                "candidates": [
                    {"id": entry.id, "seconds": entry.seconds, "probe_resets": entry.probe_resets, "source": entry.source} for entry in over
                ],
            },
        )


def _silence(gap: Gap) -> str:
    if gap.longest_silence_ns == gap.duration_ns:
        return f"No packet for {seconds(gap.duration_ns)}"
    between = "probes" if any(gap.probes) else "segments without data"
    return f"No data for {seconds(gap.duration_ns)} (with {between}; longest time without any packet {seconds(gap.longest_silence_ns)})"


def _outcome(connection: Connection, gap: Gap) -> tuple[Severity, str]:
    if gap.ended_by == "data":
        return _crossed(connection, gap)
    if gap.ended_by == "fin":
        return _closed(connection, gap)
    if gap.ended_by == "end-of-capture" and any(gap.probes) and all(side.answered >= side.probes for side in connection.tcp.keepalive):
        return "info", "The probes in it were answered, so nothing on this path had cut it by then."
    return OUTCOMES[gap.ended_by]


def _crossed(connection: Connection, gap: Gap) -> tuple[Severity, str]:
    """What became of the data that ended the gap."""
    tcp = connection.tcp
    if into_nothing(connection, gap):
        return "error", "What was sent after it was never acknowledged."
    if tcp.reset and gap_before(connection, tcp.reset) == gap:
        return "warning", "What was sent after it was answered by a reset."
    if not answered(connection, gap):
        return "warning" if all(tcp.packets) else "info", UNANSWERED_YET
    if any(again and again.lasting and persists(again) and gap.ended_by_packet == again.last.packet for again in tcp.repeated):
        return "warning", "What ended it had come and been acknowledged before, and came again: the acknowledgements may be lost."
    return "info", "Data crossed again after it, so nothing on this path cut it."


def _closed(connection: Connection, gap: Gap) -> tuple[Severity, str]:
    """What became of the FIN that ended the gap."""
    tcp = connection.tcp
    if tcp.reset and gap_before(connection, tcp.reset) == gap:
        return "info", "The FIN that ended it was answered by a reset."
    if not answered(connection, gap):
        return "warning" if all(tcp.packets) else "info", FIN_UNANSWERED
    return "info", "An orderly close ended it."


def into_nothing(connection: Connection, gap: Gap) -> bool:
    """Whether the data that ended this gap was sent again and again and never acknowledged."""
    return any(lost is not None and gap.ended_by_packet == lost.first.packet and lost.persistent for lost in connection.tcp.unanswered)


def answered(connection: Connection, gap: Gap) -> bool:
    """Whether the side that did not end this gap sent anything but a RST after it: what ended it is the last packet of at most one side."""
    ended, reset = gap.ended_by_packet, connection.tcp.reset
    last = [reset.own_last if reset and reset.moment == one else one for one in connection.tcp.last_sent]
    return ended is not None and all(one is not None and one.packet >= ended for one in last)


def _packets(gap: Gap) -> tuple[int, ...]:
    return (gap.after_packet,) if gap.ended_by_packet is None else (gap.after_packet, gap.ended_by_packet)
