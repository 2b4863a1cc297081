"""What a path does to a connection while it goes on: opens late, refuses, carries one direction only, was out and works again.

The rules are those of the findings of the same names. How many packets of a connection were sent again or overtaken is a share of all of
them, which changes until its end: `many-retransmissions` is not told before.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

from captool.capture.summary import IcmpError
from captool.direction import DIRECTIONS, Direction
from captool.findings.finding import Severity
from captool.findings.icmp import NEVER_OPENED, direction_of, name_of, too_big
from captool.findings.one_way import heard_and_not_acknowledged, persists
from captool.findings.slow_connects import LONG_NS, SLOW_NS, WAYS
from captool.findings.tables import Connection
from captool.tcp.connection import SILENT_NS, TcpConnection
from captool.units import counted, seconds

MAX_REFUSALS: Final = 16


class Remark(NamedTuple):
    """Something that became true of a connection at `ts_ns` (nanoseconds since 1970)."""

    ts_ns: int
    severity: Severity
    sentence: str


class ToldOfPath:
    """What was said already: of slow openings, of ICMP errors, of outages (by their first packets) and of dead directions."""

    __slots__ = ("dead", "opening", "out", "refused")

    def __init__(self) -> None:
        self.opening: set[tuple[str, bool]] = set()
        self.refused: set[tuple[Direction, str, int, int]] = set()
        self.out: set[tuple[Direction, int]] = set()
        self.dead: set[Direction] = set()


def path_remarks(tcp: TcpConnection, told: ToldOfPath, errors: tuple[IcmpError, ...]) -> Iterator[Remark]:
    """What became true since the last call; `errors` are the ICMP errors about its packets that came since then."""
    yield from _opened_late(tcp, told)
    yield from _refused(tcp, told, errors)
    yield from _one_way(tcp, told)
    yield from _was_out(tcp, told)


def _opened_late(tcp: TcpConnection, told: ToldOfPath) -> Iterator[Remark]:
    for way in WAYS:
        wait = way.wait(tcp)
        if wait is None or wait.took_ns < SLOW_NS or (key := (way.what, wait.took_ns >= LONG_NS)) in told.opening:
            continue
        told.opening.add(key)
        took, again = seconds(wait.took_ns), counted(wait.again, "time")
        said = {
            "syn-unanswered": f"took {took} to open: the client's SYN was sent again {again} before a SYN-ACK came",
            "syn-ack-unanswered": f"took {took} to open: the server's SYN-ACK was sent again {again} before the client went on",
            "ack-unheard": f"the server sent its SYN-ACK again {again} in {took} so far, although the client had acknowledged it: the ACKs "
            "are lost, or its accept queue is full",
        }
        yield Remark(wait.end.ts_ns, "warning" if wait.took_ns >= LONG_NS else "info", said[way.what])


def _refused(tcp: TcpConnection, told: ToldOfPath, errors: tuple[IcmpError, ...]) -> Iterator[Remark]:
    """The first of each kind of error."""
    for error in errors:
        direction = direction_of(tcp, error)
        key = direction, error.reporter, error.type, error.code
        if key in told.refused or len(told.refused) >= MAX_REFUSALS:
            continue
        told.refused.add(key)
        severity: Severity = "info" if too_big(error) else "error" if tcp.history in NEVER_OPENED else "warning"
        most = f" (at most {error.mtu} bytes pass)" if error.mtu else ""
        said = f"{error.reporter} answers what the {direction.sender} sends with an ICMP error: {name_of(error)}{most}"
        yield Remark(error.first_ns, severity, said)


def _one_way(tcp: TcpConnection, told: ToldOfPath) -> Iterator[Remark]:
    """A direction that is dead so far, as its sender's side sees it (unacknowledged) or its receiver's (acknowledged in vain)."""
    connection = Connection(tcp, None, None, ())
    for direction in DIRECTIONS:
        sender, peer = direction.sender, direction.opposite.sender
        sent, again = tcp.unanswered[direction], tcp.repeated[direction.opposite]
        if direction in told.dead:
            if sent is None and (again is None or not again.lasting):
                told.dead.remove(direction)
                yield Remark(tcp.last_packet.ts_ns, "info", f"what the {sender} sends arrives at the {peer} again")
        elif sent is not None and heard_and_not_acknowledged(connection, direction, sent):
            told.dead.add(direction)
            tried = f"{counted(sent.retransmissions, 'retransmission')} in {seconds(sent.last.ts_ns - sent.first.ts_ns)}"
            dead = f"what the {sender} sends again and again ({tried}) is not acknowledged, and the {peer} is heard"
            yield Remark(sent.last.ts_ns, "error", f"one direction is dead so far: {dead}")
        elif again is not None and again.lasting and persists(again) and tcp.close not in ("fin", "rst"):
            told.dead.add(direction)
            tried = f"{again.times} times in {seconds(again.last.ts_ns - again.first.ts_ns)}"
            dead = f"the {peer} sends the same data again ({tried}) although the {sender} has acknowledged it"
            yield Remark(again.last.ts_ns, "error", f"one direction is dead so far: {dead}, so what the {sender} sends does not arrive")


def _was_out(tcp: TcpConnection, told: ToldOfPath) -> Iterator[Remark]:
    """Outages that are over. Of those of one direction only the longest so far is known."""
    for direction in DIRECTIONS:
        out = tcp.outages[direction]
        if out is None or out.until.ts_ns - out.first.ts_ns < SILENT_NS or (direction, out.first.packet) in told.out:
            continue
        told.out.add((direction, out.first.packet))
        lasted, again = seconds(out.until.ts_ns - out.first.ts_ns), counted(out.retransmissions, "retransmission")
        said = f"was cut off for {lasted} and goes on: in that time the {direction.opposite.sender} acknowledged nothing"
        yield Remark(out.until.ts_ns, "warning", f"{said} of what the {direction.sender} sent ({again})")
