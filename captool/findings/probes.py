"""Keepalive probes: what their timing tells of their sender, whether they come in time, whether they are answered."""

from collections.abc import Iterator
from typing import Final

from captool.direction import DIRECTIONS, Direction
from captool.findings.finding import Finding
from captool.findings.gaps import chosen_timeouts, named, timeouts, tripped, where, worst_gap
from captool.findings.idle import into_nothing
from captool.findings.tables import Tables
from captool.tcp.connection import Keepalive
from captool.units import SECOND_NS, counted, seconds

# Linux rounds a timer up to the granularity of its level, 8 times coarser from level to level (kernel/time/timer.c).
TIMER_RATES: Final = (100, 250, 300, 1000)
LEVEL_SIZE: Final = 64
LEVELS: Final = 9
JITTER_NS: Final = 50_000_000
PERIODS: Final = (*range(1, 17), 20, 25, 30, 40, 45, 50, 60, 75, 90, 120, 180, 240, 300, 600, 900, 1200, 1800, 3600, 7200)
MIN_UNANSWERED: Final = 2
# tcp_invalid_ratelimit: Linux answers one out-of-window segment in 500 ms; probes closer than that may go unanswered on a live peer.
UNANSWERED_NS: Final = 1_000_000_000

# Probes are regular: a time in which so many are due and none comes is told.
PROBES_MISSED: Final = 3

# FACTS 2: which programs ask for what. Keys: seconds before the first probe (None: any) and between probes.
CLIENTS: Final = {
    15: "Go's default since 1.12: docker CLI 19.03 and newer, attach streams of GitLab Runner 12.6 and newer",
    10: "KeepAlive of 10 s as in the pooled connections of GitLab Runner 9.1 to 17.5 (Go before 1.23)",
    30: "an explicit 30 s as of Docker clients up to 18.05 and GitLab Runner before 11.8",
}
SERVERS: Final = {
    15: "Go's default for listeners since 1.13: dockerd 19.03.9 and newer",
    180: "the HTTP server of Go 1.12 and older",
}


def slack_ns(period: int) -> int:
    """How late a Linux timer of `period` seconds may fire at most, in nanoseconds."""
    worst = 0
    for rate in TIMER_RATES:
        level = 0
        while level < LEVELS - 1 and period * rate >= (LEVEL_SIZE - 1) << (3 * level):
            level += 1
        worst = max(worst, (SECOND_NS << (3 * level)) // rate)
    return worst + JITTER_NS


def asked_for(distance_ns: int) -> int | None:
    """The usual number of seconds that a timer with this distance was set to: timers fire late, never early. None: no usual one."""
    fitting = [period for period in PERIODS if -JITTER_NS <= distance_ns - period * SECOND_NS <= slack_ns(period)]
    return max(fitting, default=None)


def sender_hint(side: Keepalive, direction: Direction) -> str | None:
    """What the timing of its probes tells of the program that sends them; None without two probes in one idle time."""
    period = asked_for(side.interval_ns) if side.interval_ns is not None else None
    first = asked_for(side.first_probe_ns) if side.first_probe_ns is not None else None
    if period is None:
        return None
    if first == 10 and period == 15 and direction is Direction.TO_SERVER:
        return "asked for 10 s, then 15 s: Go 1.23 or newer with a KeepAlive of 10 s, as in the pooled connections of GitLab Runner 17.11"
    if period == 7200 or (period == 75 and first in (None, 7200)):
        return "the kernel's default (7200 s, then 75 s while unanswered): the program asked for keepalive without a time"
    known = (SERVERS if direction else CLIENTS).get(period)
    asked = f"asked for {period} s"
    return f"{asked}: {known}" if known else asked


def probed_every(side: Keepalive) -> int | None:
    """How often its probes come while they are answered, None where that was not seen.

    The first one of an idle time is due later than one after an unanswered one (Linux: 7200 s, then 75 s), as is the next after an answer.
    """
    return None if side.interval_ns is None else max(side.interval_ns, side.first_probe_ns or 0)


def keepalive_too_slow(tables: Tables) -> Iterator[Finding]:
    """Probes are sent, but later than a timeout that they would have reset."""
    chosen = bool(chosen_timeouts(tables.settings, tables.catalogue))
    entries = tuple(entry for entry in timeouts(tables) if entry.probe_resets is not False)
    for connection in tables.eventful:
        tcp = connection.tcp
        gap = worst_gap(connection)
        if gap is None:
            continue
        present = [direction for direction in DIRECTIONS if tcp.keepalive[direction].status == "present"]
        if not present or not (over := tripped(entries, gap)):
            continue
        dropped = tcp.close == "silent-drop" and into_nothing(connection, gap)
        hurt = gap.ended_by == "rst" or dropped
        last = tcp.gaps[-1]  # the one in which nothing was answered any more
        unanswered = last.ended_by == "end-of-capture" and any(tcp.keepalive[direction].unanswered for direction in present)
        late = hurt or (unanswered and bool(tripped(entries, last)))
        begin = "Keepalive probes came too late" if late else "Keepalive probes are slower than an idle timeout"
        told = "; ".join(_timing(tcp.keepalive[direction], direction) for direction in present)
        yield Finding(
            code="keepalive-too-slow",
            severity="error" if dropped else "warning" if hurt or chosen else "info",
            confidence="high" if chosen else "medium",
            connection=connection.id,
            packets=(gap.after_packet,) if gap.ended_by_packet is None else (gap.after_packet, gap.ended_by_packet),
            message=f"{begin}: {told}; {seconds(gap.longest_silence_ns)} passed without a packet "
            f"{where(gap)}, too long for {named(over, gap, 1)}.",
            remedy=f"Let the {present[0].sender}'s program send its probes more often than every {over[0].seconds:g} s (TCP_KEEPIDLE and "
            "TCP_KEEPINTVL, or KeepAliveConfig in Go 1.23 and newer).",
            evidence={
                "longest_silence_s": gap.longest_silence_ns / SECOND_NS,
                "timeout_s": over[0].seconds,
                "timeout": over[0].id,
                "proof_needs": None,
            },
        )


def keepalive_unanswered(tables: Tables) -> Iterator[Finding]:
    """The last probes of one side went unanswered: its peer is dead, or the path no longer carries them."""
    for connection in tables.eventful:
        tcp = connection.tcp
        for direction in DIRECTIONS:
            side = tcp.keepalive[direction]
            first, last = side.unanswered_since, side.last_probe
            if side.unanswered < MIN_UNANSWERED or first is None or last is None or last.ts_ns - first.ts_ns < UNANSWERED_NS:
                continue
            peer = direction.opposite.sender
            gave_up = tcp.reset is not None and tcp.reset.sender == direction.sender
            yield Finding(
                code="keepalive-unanswered",
                severity="error",
                confidence="high" if side.unanswered > MIN_UNANSWERED else "medium",
                connection=connection.id,
                packets=(first.packet, last.packet),
                message=f"The last {counted(side.unanswered, 'keepalive probe')} of the {direction.sender} (packets {first.packet} to "
                f"{last.packet}, {seconds(last.ts_ns - first.ts_ns)}) went unanswered: the {peer} is dead, or a middlebox drops the "
                "packets" + (f"; the {direction.sender} gave up with a reset." if gave_up else "."),
                remedy=f"Record at the {peer}'s side as well: it shows whether the probes arrive there and whether answers leave.",
                evidence={
                    "direction": direction.name.lower(),
                    "unanswered": side.unanswered,
                    "probes": side.probes,
                    "answered": side.answered,
                    "gave_up": gave_up,
                    "proof_needs": peer,
                },
            )


def _timing(side: Keepalive, direction: Direction) -> str:
    if side.interval_ns is not None:
        hint = sender_hint(side, direction)
        return f"the {direction.sender} sends one every {seconds(side.interval_ns)}" + (f" ({hint})" if hint else "")
    if side.first_probe_ns is not None:
        return f"the {direction.sender} sent its first after {seconds(side.first_probe_ns)}"
    return f"the {direction.sender} sent {counted(side.probes, 'probe')}"
