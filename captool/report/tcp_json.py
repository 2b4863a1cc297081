"""What TCP shows of one connection, as JSON values: durations in seconds, times RFC 3339."""

from typing import Any

from captool.direction import DIRECTIONS, Direction, Moment, PerDirection
from captool.findings.probes import sender_hint
from captool.report.printable import iso
from captool.tcp.connection import Gap, Keepalive, Outage, Reset, ShutWindow, TcpConnection
from captool.units import SECOND_NS

Json = dict[str, Any]


def in_seconds(duration_ns: int) -> float:
    """Nanoseconds as seconds, for JSON only."""
    return duration_ns / SECOND_NS


def both(values: PerDirection[int]) -> Json:
    """A number for each direction."""
    return {"to_server": values.to_server, "to_client": values.to_client}


def tcp_values(tcp: TcpConnection) -> Json:
    """One connection as TCP shows it."""
    return {
        "handshake_seen": tcp.handshake_seen,
        "close": tcp.close,
        "closed_by": tcp.closed_by,
        "closing": _closing(tcp),
        "reset": _reset(tcp.reset) if tcp.reset else None,
        "conn_state": tcp.conn_state,
        "history": tcp.history,
        "keepalive": {direction.name.lower(): _keepalive(tcp.keepalive[direction], direction) for direction in DIRECTIONS},
        "gaps": [_gap(gap) for gap in tcp.gaps],
        "gap_count": tcp.gap_count,
        "longest_gap_s": in_seconds(tcp.longest_gap_ns),
        "zero_window": {direction.name.lower(): _shut_window(tcp.shut_windows[direction]) for direction in DIRECTIONS},
        "outage": {direction.name.lower(): _outage(tcp.outages[direction]) for direction in DIRECTIONS},
        "retransmissions": both(tcp.retransmissions),
        "reordered": both(tcp.reordered),
        "unacknowledged_bytes": both(tcp.unacknowledged_bytes),
        "stream_holes_bytes": both(tcp.stream_holes),
        "snapped_segments": tcp.snapped_segments,
    }


def _keepalive(side: Keepalive, direction: Direction) -> Json:
    return {
        "status": side.status,
        "probes": side.probes,
        "answered": side.answered,
        "interval_s": None if side.interval_ns is None else in_seconds(side.interval_ns),
        "longest_idle_s": in_seconds(side.longest_idle_ns),
        "first_probe_s": None if side.first_probe_ns is None else in_seconds(side.first_probe_ns),
        "unanswered_at_end": side.unanswered,
        "sender_hint": sender_hint(side, direction),
    }


def _gap(gap: Gap) -> Json:
    return {
        "start": iso(gap.start_ns),
        "duration_s": in_seconds(gap.duration_ns),
        "longest_silence_s": in_seconds(gap.longest_silence_ns),
        "probes": both(gap.probes),
        "after_packet": gap.after_packet,
        "ended_by": gap.ended_by,
        "ended_by_packet": gap.ended_by_packet,
        "spoke_last": gap.spoke_last,
    }


def _closing(tcp: TcpConnection) -> Json | None:
    """The first FIN or RST."""
    if tcp.closing is None:
        return None
    by_reset = tcp.reset is not None and tcp.reset.moment.packet == tcp.closing.packet
    return {"by": tcp.closed_by, "with": "rst" if by_reset else "fin", "packet": tcp.closing.packet, "time": iso(tcp.closing.ts_ns)}


def _reset(reset: Reset) -> Json:
    return {
        "sender": reset.sender,
        "packet": reset.moment.packet,
        "time": iso(reset.moment.ts_ns),
        "ttl": reset.hops,
        "usual_ttl": reset.usual_hops,
        "ip_id": reset.identification,
        "usual_ip_id": reset.usual_identification,
        "acknowledges": reset.acknowledges,
        "window": reset.window,
        "sequence_distance": reset.sequence_distance,
        "own_last_packet": _packet(reset.own_last),
        "peer_last_packet": _packet(reset.peer_last),
    }


def _shut_window(shut: ShutWindow | None) -> Json | None:
    if shut is None:
        return None
    return {
        "since": iso(shut.since.ts_ns),
        "since_packet": shut.since.packet,
        "duration_s": in_seconds(shut.duration_ns),
        "until_packet": shut.until_packet,
        "window_probes": shut.probes,
        "times": shut.times,
    }


def _outage(outage: Outage | None) -> Json | None:
    if outage is None:
        return None
    return {
        "since": iso(outage.first.ts_ns),
        "since_packet": outage.first.packet,
        "duration_s": in_seconds(outage.until.ts_ns - outage.first.ts_ns),
        "until_packet": outage.until.packet,
        "retransmissions": outage.retransmissions,
    }


def _packet(moment: Moment | None) -> int | None:
    return moment.packet if moment else None
