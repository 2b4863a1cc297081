"""What can be said of a connection while it goes on, each thing once: sentences that what comes later does not contradict.

The rules are those of the findings, on the connection as it would be if the capture ended now. What only holds until now says "so far".
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from captool.capture.summary import IcmpError
from captool.direction import DIRECTIONS, Direction, Moment
from captool.findings.gaps import GIVEN, gap_ended_by, seen_by, tripped
from captool.findings.open_ends import STALL_NS
from captool.findings.path_mtu import too_large
from captool.findings.path_so_far import Remark, ToldOfPath, path_remarks
from captool.findings.probes import MIN_UNANSWERED, UNANSWERED_NS
from captool.findings.resets import gap_before, had_said_more, in_use
from captool.findings.silence import acknowledged_by_reset, output_given_up, sent_for, streams
from captool.findings.strangers import is_stranger
from captool.findings.tables import Connection
from captool.middlebox.catalogue import IdleTimeout
from captool.tcp.connection import Gap, TcpConnection, Unanswered
from captool.units import counted, seconds, size

if TYPE_CHECKING:
    from captool.dockerapi.exchange import LostOutput

NAMED: Final = 3
NEVER: Final = 1 << 63


# Whether all that came of the connection was read, and the output that was not acknowledged.
Output = Callable[[], "tuple[bool, LostOutput | None]"]


class Judging(NamedTuple):
    """What idle times are judged by: timeouts of established connections, and of those of which one side sent its FIN.

    `chosen`: the user named the timeouts, so that those count as well that no probe resets.
    """

    timeouts: tuple[IdleTimeout, ...]
    half_closed: tuple[IdleTimeout, ...]
    chosen: bool


@dataclass(slots=True)
class Told:
    """What was said of one connection already, by that which it was said of: packets, directions, ids of timeouts."""

    timeouts: set[tuple[str, bool]] = field(default_factory=set)
    probing: set[Direction] = field(default_factory=set)
    unanswered_probes: dict[Direction, int] = field(default_factory=dict)
    lost: dict[Direction, int] = field(default_factory=dict)
    output: Moment | None = None
    stalled: dict[Direction, tuple[int, bool]] = field(default_factory=dict)
    judged_gap: int = 0
    ended: bool = False
    reset: bool = False
    path: ToldOfPath = field(default_factory=ToldOfPath)


def remarks(
    tcp: TcpConnection, told: Told, judging: Judging, output: "Output", errors: tuple[IcmpError, ...] = ()
) -> Iterator[Remark]:
    """What became true since the last call with this `told`.

    `tcp` is the connection as it would be if the capture ended now, as far as its times are believed. `output` tells which container output
    the client has not acknowledged; it is asked only where that is not merely on its way. `errors` are the ICMP errors since the last call.
    """
    yield from path_remarks(tcp, told.path, errors)
    yield from _probes(tcp, told)
    yield from _idle(tcp, told, judging)
    yield from _unanswered_probes(tcp, told)
    yield from _stalled(tcp, told)
    yield from _sent_into_nothing(tcp, told, judging)
    yield from _output_lost(tcp, told, output)
    yield from _ended(tcp, told)


def next_look_ns(tcp: TcpConnection, told: Told, judging: Judging) -> int:
    """When the connection exceeds the next timeout if nothing more comes on it; `NEVER` where none is left or it is not idle."""
    if any(tcp.unacknowledged_bytes) or tcp.reset is not None or tcp.conn_state == "SF":
        return NEVER
    gap, half_closed = _present_gap(tcp), tcp.closing is not None
    due = NEVER
    for entry in judging.half_closed if half_closed else judging.timeouts:
        if (entry.id, half_closed) not in told.timeouts:
            since = gap.start_ns if gap and entry.probe_resets is False else tcp.last_packet.ts_ns
            due = min(due, since + entry.timeout_ns)
    return due


def _present_gap(tcp: TcpConnection) -> Gap | None:
    last = tcp.gaps[-1] if tcp.gaps else None
    return last if last is not None and last.ended_by == "end-of-capture" else None


def _probes(tcp: TcpConnection, told: Told) -> Iterator[Remark]:
    for direction in DIRECTIONS:
        side = tcp.keepalive[direction]
        if not side.probes or direction in told.probing:
            continue
        told.probing.add(direction)
        after = f", {seconds(side.first_probe_ns)} after the last data" if side.first_probe_ns is not None else ""
        seen_ns = side.last_probe.ts_ns if side.last_probe else tcp.start_ns  # the first packet of all may turn out to have been one
        yield Remark(seen_ns, "info", f"a keepalive probe of the {direction.sender} was seen{after}")


def _idle(tcp: TcpConnection, told: Told, judging: Judging) -> Iterator[Remark]:
    """Each timeout once, those that are exceeded by the same look in one sentence, the longest first."""
    for gap in tcp.gaps:
        if gap.after_packet < told.judged_gap:
            continue
        told.judged_gap = gap.after_packet
        half_closed = tcp.closing is not None and gap.after_packet >= tcp.closing.packet
        exceeded = tripped(judging.half_closed if half_closed else judging.timeouts, gap)
        over = [one for one in exceeded if (one.id, half_closed) not in told.timeouts and _heeded(one, gap, judging)]
        if over:
            told.timeouts.update((entry.id, half_closed) for entry in over)
            yield _idle_for(over, gap, half_closed=half_closed)


def _heeded(entry: IdleTimeout, gap: Gap, judging: Judging) -> bool:
    """Whether this timeout is worth a word: those of proxies, which probes do not reset, only without probes or if they were named."""
    return entry.probe_resets is not False or judging.chosen or not any(gap.probes)


def _idle_for(over: list[IdleTimeout], gap: Gap, *, half_closed: bool) -> Remark:
    longest = over[0]
    idle = seconds(longest.timeout_ns)
    begin = "half-closed and idle" if half_closed else "idle"
    if any(gap.probes) and longest.probe_resets is False:
        what = f"no data for {idle} (its timer ignores keepalive probes)"
    elif any(gap.probes):
        what = f"no packet for {idle}, the keepalive probes being slower than that"
    else:
        what = f"{begin} for {idle}, no keepalive probe from either side seen so far"
    whose = ["the idle timeout given" if entry.id == GIVEN else f"the timeout of {entry.name} ({entry.seconds:g} s)" for entry in over]
    more = f" and {len(whose) - NAMED} more" if len(whose) > NAMED else ""
    # The longest silence is the last one, unless this is looked at late.
    when = gap.start_ns + gap.duration_ns - (seen_by(longest, gap) - longest.timeout_ns)
    return Remark(when, "warning", f"{what}: reaches {', '.join(whose[:NAMED])}{more}")


def _unanswered_probes(tcp: TcpConnection, told: Told) -> Iterator[Remark]:
    for direction in DIRECTIONS:
        side = tcp.keepalive[direction]
        first, last, peer = side.unanswered_since, side.last_probe, direction.opposite.sender
        if first is None or last is None:
            if told.unanswered_probes.pop(direction, None) is not None and tcp.reset is None:
                yield Remark(tcp.last_packet.ts_ns, "info", f"the {peer} is heard again after unanswered keepalive probes")
            continue
        lasted = last.ts_ns - first.ts_ns
        gap = _present_gap(tcp)
        waited = gap is not None and gap.start_ns + gap.duration_ns - last.ts_ns >= UNANSWERED_NS
        due = side.unanswered - (0 if waited else 1)  # the last of them may be answered at this moment
        if due < MIN_UNANSWERED or lasted < UNANSWERED_NS or told.unanswered_probes.get(direction) == first.packet:
            continue
        told.unanswered_probes[direction] = first.packet
        yield Remark(
            last.ts_ns,
            "error",
            f"the last {counted(side.unanswered, 'keepalive probe')} of the {direction.sender}, {seconds(lasted)} apart, went unanswered "
            f"so far: the {peer} is dead, or something on the path drops the packets",
        )


def _stalled(tcp: TcpConnection, told: Told) -> Iterator[Remark]:
    """A receive window of 0 that lasts, of several the longest so far: the longest of all, which the finding tells, is no shorter."""
    for direction in DIRECTIONS:
        shut, reader = tcp.shut_windows[direction], direction.opposite.sender
        if shut is None or shut.duration_ns < STALL_NS:
            continue
        before, over = told.stalled.get(direction), shut.until_packet is not None
        if before == (shut.since.packet, over):
            continue
        told.stalled[direction] = shut.since.packet, over
        if before is None or before[0] != shut.since.packet:
            yield Remark(
                shut.since.ts_ns + STALL_NS,
                "warning",
                f"stands still: the {reader}'s program has not read for {seconds(STALL_NS)} (its receive window is 0)",
            )
        if over:
            yield Remark(shut.since.ts_ns + shut.duration_ns, "info", f"the {reader}'s program reads on after {seconds(shut.duration_ns)}")


def _sent_into_nothing(tcp: TcpConnection, told: Told, judging: Judging) -> Iterator[Remark]:
    for direction in DIRECTIONS:
        sent = tcp.unanswered[direction]
        if sent is not None and too_large(tcp, direction):
            if told.lost.get(direction) != sent.first.packet:
                told.lost[direction] = sent.first.packet
                yield Remark(sent.last.ts_ns, "error", _too_large(sent, direction))
        elif tcp.close == "silent-drop" and sent is not None:
            if told.lost.get(direction) != sent.first.packet:
                told.lost[direction] = sent.first.packet
                yield Remark(sent.last.ts_ns, "error", _lost(tcp, sent, direction, judging))
        elif direction in told.lost and tcp.close != "silent-drop":
            del told.lost[direction]
            peer = direction.opposite.sender
            heard = "acknowledged what was sent again" if sent is None else "is heard again"
            yield Remark(tcp.last_packet.ts_ns, "info", f"the {peer} {heard}: packets were lost, but the connection was not dropped")


def _output_lost(tcp: TcpConnection, told: Told, output: "Output") -> Iterator[Remark]:
    """Output that has not arrived, once; and once more if the client acknowledged all of it and other output is lost then."""
    sent, given_up = tcp.unanswered.to_client, output_given_up(tcp)
    if not given_up and told.output is None:
        return
    known, lost = output()
    if lost is not None and given_up and told.output is None and known:
        told.output = lost.first
        doubt = acknowledged_by_reset(tcp) is not None
        yield Remark(
            sent.last.ts_ns if sent is not None else tcp.last_packet.ts_ns,
            "warning" if doubt else "error",
            f"output lost so far: at least {size(lost.stdout_bytes + lost.stderr_bytes)} of container output ({streams(lost)}) were "
            f"{sent_for(sent)}not acknowledged"
            + (", although a reset in the client's name, perhaps another's, acknowledges some of them" if doubt else ""),
        )
    elif told.output is not None and lost is None:
        told.output = None
        yield Remark(tcp.last_packet.ts_ns, "info", "the client acknowledged the container output after all")


def _too_large(sent: Unanswered, direction: Direction) -> str:
    return (
        f"large packets vanish so far: the {direction.sender} sent the same {sent.head_bytes:,} bytes again "
        f"{counted(sent.head_sent_again, 'time')} in {seconds(sent.last.ts_ns - sent.first.ts_ns)} in vain, and the "
        f"{direction.opposite.sender} is heard: like an MTU black hole"
    )


def _lost(tcp: TcpConnection, sent: Unanswered, direction: Direction, judging: Judging) -> str:
    peer = direction.opposite.sender
    gap = gap_ended_by(Connection(tcp, None, None, ()), sent.first.packet)
    idle = f" after {seconds(gap.longest_silence_ns)} without a packet" if gap else ""
    like = ", as when a middlebox forgot the connection" if gap and tripped(judging.timeouts, gap, silent=True) else ""
    return (
        f"silent drop so far: the {direction.sender} sends {size(sent.bytes)}{idle} again and again "
        f"({counted(sent.retransmissions, 'retransmission')} in {seconds(sent.last.ts_ns - sent.first.ts_ns)}), and nothing comes from the "
        f"{peer}{like}"
    )


def _ended(tcp: TcpConnection, told: Told) -> Iterator[Remark]:
    reset, closing = tcp.reset, tcp.closing
    gap = gap_before(Connection(tcp, None, None, ()), reset) if reset else None
    if reset is not None and gap is not None and not told.reset:
        told.reset = told.ended = True
        yield Remark(
            reset.moment.ts_ns,
            "warning" if gap.ended_by == "fin" else "error",
            f"reset after idle: the first packet after {seconds(gap.longest_silence_ns)} of silence was answered by a reset in the "
            f"{reset.sender}'s name",
        )
    if closing is None or told.ended:
        return
    told.ended = True
    if reset is None or reset.moment.packet != closing.packet:
        yield Remark(closing.ts_ns, "info", f"closed by the {tcp.closed_by} (FIN)")
    elif tcp.conn_state == "REJ":
        yield Remark(closing.ts_ns, "error", "refused by the server (RST)")
    elif is_stranger(tcp):
        yield Remark(
            closing.ts_ns,
            "warning",
            "broken off by the server (RST), which does not know the connection: it was opened before the recording began, or a NAT gave "
            "it another port",
        )
    elif in_use(Connection(tcp, None, None, ())):
        said = f"reset in the {tcp.closed_by}'s name by whoever does not know the connection"
        yield Remark(closing.ts_ns, "warning", said)
    elif had_said_more(reset):
        said = f"closed by the {tcp.closed_by} (RST; what it had sent before, perhaps a FIN, was not recorded)"
        yield Remark(closing.ts_ns, "info", said)
    else:
        yield Remark(closing.ts_ns, "warning", f"broken off by the {tcp.closed_by} (RST)")
