"""Which idle times matter, and which middleboxes would have cut the connection in them."""

from collections.abc import Sequence
from typing import Final

from captool.capture.summary import ClockJump
from captool.direction import PerDirection
from captool.findings.tables import Connection, Settings, Tables, eventful
from captool.middlebox.catalogue import IdleTimeout, by_id
from captool.tcp.connection import Gap, TcpConnection, Unanswered
from captool.units import SECOND_NS, seconds

GIVEN: Final = "given"


def believed(tables: Tables) -> Tables:
    """The tables without the durations across which the clock was set: no rule may judge by them."""
    step, jumps = tables.capture.clock_step, [jump for jump in tables.capture.clock_jumps if jump.senders]
    if step is None and not jumps:
        return tables
    window_ns = keepalive_window_ns(tables.settings, tables.catalogue)
    ended_ns = _ended_ns(tables)
    if ended_ns is not None:
        tables = tables._replace(capture=tables.capture._replace(end_ns=ended_ns))
    steps = [step.packet] if step is not None else []
    connections = tuple(
        one._replace(tcp=believed_connection(one.tcp, steps, (jumps,), window_ns, to_the_end=ended_ns is None))
        for one in tables.connections
    )
    return tables._replace(connections=connections, eventful=eventful(connections))


def _ended_ns(tables: Tables) -> int | None:
    """When the capture ended by a clock that was set back and has not caught up; None elsewhere: it ended at the latest time of all."""
    capture = tables.capture
    if capture.clock_step is None or capture.recorded_until_ns is not None or capture.end_ns is None or not tables.connections:
        return None
    last = max((one.tcp.last_packet for one in tables.connections), key=lambda moment: moment.packet)
    return last.ts_ns if capture.end_ns - last.ts_ns > SECOND_NS else None


def believed_connection(
    tcp: TcpConnection, steps: Sequence[int], jumps: Sequence[Sequence[ClockJump]], window_ns: int, *, to_the_end: bool = True
) -> TcpConnection:
    """The connection without the durations across which the clock was set.

    It was set back at the packets `steps`, and forward as each of the lists `jumps` tells. Without `to_the_end` it is not known when the
    capture ended.
    """
    packets = [*steps, *(jump.packet for told in jumps for jump in told)]
    gaps = tuple(
        gap
        for gap in tcp.gaps
        if not _spans(packets, gap.after_packet, gap.ended_by_packet) and (to_the_end or gap.ended_by != "end-of-capture")
    )
    shut = [one if one is None or not _spans(packets, one.since.packet, one.until_packet) else None for one in tcp.shut_windows]
    repeated = [one if one is None or not _spans(packets, one.first.packet, one.last.packet) else None for one in tcp.repeated]
    outages = [one if one is None or not _spans(packets, one.first.packet, one.until.packet) else None for one in tcp.outages]
    probing = [
        side._replace(lapse=None) if side.lapse and _spans(packets, side.lapse.first.packet, side.lapse.last.packet) else side
        for side in tcp.keepalive
    ]
    tcp = tcp._replace(repeated=PerDirection(*repeated), outages=PerDirection(*outages), keepalive=PerDirection(*probing))
    tcp = tcp._replace(shut_windows=PerDirection(*shut), unanswered=PerDirection(*(_shortened(one, jumps) for one in tcp.unanswered)))
    if tcp.close == "silent-drop" and not any(one is not None and one.persistent for one in tcp.unanswered):
        tcp = tcp._replace(close="open")
    if gaps != tcp.gaps:
        longest_ns = max((gap.longest_silence_ns for gap in gaps), default=0)
        count, longest_gap_ns = tcp.gap_count - len(tcp.gaps) + len(gaps), max((gap.duration_ns for gap in gaps), default=0)
        sides = [
            side._replace(status="not-observable", longest_idle_ns=longest_ns)
            if side.status == "missing" and longest_ns < window_ns
            else side
            for side in tcp.keepalive
        ]
        tcp = tcp._replace(gaps=gaps, gap_count=count, longest_gap_ns=longest_gap_ns, keepalive=PerDirection(*sides))
    return tcp


def _shortened(sent: Unanswered | None, jumps: Sequence[Sequence[ClockJump]]) -> Unanswered | None:
    """What was sent again, for as long as those say who tell of the most."""
    if sent is None:
        return None
    ahead_ns = max(sum(jump.ahead_ns for jump in told if sent.first.packet < jump.packet <= sent.last.packet) for told in jumps)
    return sent._replace(first=sent.first._replace(ts_ns=min(sent.first.ts_ns + ahead_ns, sent.last.ts_ns))) if ahead_ns else sent


def _spans(packets: Sequence[int], after_packet: int, until_packet: int | None) -> bool:
    """Whether the clock was set at one of these packets between two others."""
    return any(after_packet < packet and (until_packet is None or packet <= until_packet) for packet in packets)


def timeouts(tables: Tables) -> tuple[IdleTimeout, ...]:
    """The idle timeouts to judge by: the one that the user named, else the whole catalogue."""
    return chosen_timeouts(tables.settings, tables.catalogue) or tables.catalogue


def half_closed_timeouts(tables: Tables) -> tuple[IdleTimeout, ...]:
    """The timeouts for connections of which one side sent its FIN: the one given for idle connections holds for them at most as long."""
    return (*chosen_timeouts(tables.settings, tables.catalogue), *tables.half_closed)


def keepalive_window_ns(settings: Settings, catalogue: tuple[IdleTimeout, ...]) -> int:
    """The idle time from which a missing probe is called so: the shortest timeout that was chosen, else one minute.

    One minute is the shortest timeout of the catalogue that a probe resets at all (Google's external passthrough load balancer).
    """
    return min((entry.timeout_ns for entry in chosen_timeouts(settings, catalogue)), default=60 * SECOND_NS)


def chosen_timeouts(settings: Settings, catalogue: tuple[IdleTimeout, ...]) -> tuple[IdleTimeout, ...]:
    """What `--idle-timeout` and `--network` name, the duration first; empty where neither was given."""
    chosen = () if settings.network is None else (by_id(catalogue, settings.network),)
    if settings.idle_timeout_ns is None:
        return chosen
    given = IdleTimeout(
        id=GIVEN, name="the idle timeout given", seconds=settings.idle_timeout_ns / SECOND_NS, minimum=None, maximum=None,
        probe_resets=True, on_expiry="unknown", source="--idle-timeout", primary=True,
    )  # fmt: skip
    return (given, *chosen)


def seen_by(entry: IdleTimeout, gap: Gap) -> int:
    """Nanoseconds for which a middlebox of this kind saw nothing that resets its timer: probes count only where it heeds them."""
    return gap.duration_ns if entry.probe_resets is False else gap.longest_silence_ns


def tripped(entries: tuple[IdleTimeout, ...], gap: Gap, *, silent: bool = False) -> tuple[IdleTimeout, ...]:
    """The timeouts that this gap exceeds, the longest (nearest) first, of equals the best documented.

    `silent`: the connection died without FIN or RST, so only middleboxes that may drop silently remain.
    """
    over = [entry for entry in entries if seen_by(entry, gap) >= entry.timeout_ns]
    if silent:
        over = [entry for entry in over if entry.on_expiry in ("silent-drop", "unknown")]
    return tuple(sorted(over, key=lambda entry: (-entry.seconds, entry.on_expiry != "silent-drop", not entry.primary, entry.id)))


def worst_gap(connection: Connection) -> Gap | None:
    """The gap with the longest silence, the earliest of equals."""
    gaps = connection.tcp.gaps
    if not gaps:
        return None
    return gaps[0] if len(gaps) == 1 else max(gaps, key=lambda gap: gap.longest_silence_ns)


def gap_ended_by(connection: Connection, packet: int) -> Gap | None:
    """The gap that this packet ended, None where it came without one."""
    return next((gap for gap in connection.tcp.gaps if gap.ended_by_packet == packet), None)


def forgets(entry: IdleTimeout, what: str = "an idle connection") -> str:
    """What a timeout does, for a sentence."""
    return f"the idle timeout given is {entry.seconds:g} s" if entry.id == GIVEN else f"{entry.name} keeps {what} for {entry.seconds:g} s"


def where(gap: Gap) -> str:
    """The packets between which the gap lies, for a sentence."""
    if gap.ended_by_packet is None:
        return f"after packet {gap.after_packet}, until the capture ends"
    return f"between packets {gap.after_packet} and {gap.ended_by_packet}"


def named(entries: tuple[IdleTimeout, ...], gap: Gap, most: int = 3) -> str:
    """`GCP VPC firewall (600 s, exceeded by 1.20 s), ...` and how many more."""
    parts = [
        f"{entry.name} ({entry.seconds:g} s, exceeded by {seconds(seen_by(entry, gap) - entry.timeout_ns)})" for entry in entries[:most]
    ]
    more = len(entries) - most
    return ", ".join(parts) + (f" and {more} with shorter timeouts" if more > 0 else "")
