"""Times in which nothing got through, and after which the connection went on: so does a path that failed over, or a host that stood still.

They are proven where the sender is recorded: what it sent again is told from what is new there. The receiver's side sees silence, which
says something only where probes had come regularly, and which a recorder that lost them shows as well.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

from captool.direction import DIRECTIONS, Direction
from captool.findings.finding import Confidence, Finding
from captool.findings.one_way import persists
from captool.findings.probes import PROBES_MISSED, probed_every
from captool.findings.tables import NEITHER, Connection, Tables
from captool.tcp.connection import SILENT_NS
from captool.units import SECOND_NS, counted, seconds

MANY_PROBES: Final = 3
MANY_AGAIN: Final = 10
MANY_SHARE: Final = 0.1


class _Out(NamedTuple):
    """An outage: who was not heard in it (`peer`), how that showed (`what`: data, probes, answers, silence), and a sentence about it."""

    lasted_ns: int
    direction: Direction
    what: str
    times: int
    packets: tuple[int, int]
    confidence: Confidence
    peer: str
    said: str


def outage(tables: Tables) -> Iterator[Finding]:
    """Nothing that one side sent was answered for three seconds or more, until it was; one finding, the longest, for each connection."""
    for connection in tables.eventful:
        tcp = connection.tcp
        if not tcp.gaps and tcp.outages == tcp.repeated == NEITHER == (tcp.keepalive.to_server.lapse, tcp.keepalive.to_client.lapse):
            continue
        out = max(_outs(connection), key=lambda one: one.lasted_ns, default=None)
        if out is None or out.lasted_ns < SILENT_NS:
            continue
        yield Finding(
            code="outage",
            severity="warning",
            confidence=out.confidence,
            connection=connection.id,
            packets=out.packets,
            message=f"{out.said}: the path, or the {out.peer}'s host, was out for that time, "
            + ("or the recorder was; then it went on." if out.what == "silence" else "and then it went on."),
            remedy=f"Find out what happened between the two hosts, or to the {out.peer}'s, at that time; a capture at the {out.peer} "
            "(--other-side) shows what arrived there and what was sent.",
            evidence={
                "direction": out.direction.name.lower(),
                "what": out.what,
                "lasted_s": out.lasted_ns / SECOND_NS,
                "times": out.times,
                "proof_needs": out.peer,
            },
        )


def many_retransmissions(tables: Tables) -> Iterator[Finding]:
    """A path that loses or reorders so much that what crosses it is slow, although nothing of it was lost for good."""
    for connection in tables.eventful:
        tcp = connection.tcp
        if max(tcp.retransmissions) + max(tcp.reordered) < MANY_AGAIN:
            continue
        for direction in DIRECTIONS:
            unanswered, out = tcp.unanswered[direction], tcp.outages[direction]
            told = (unanswered.retransmissions if unanswered else 0) + (out.retransmissions if out else 0)
            again, late, packets = tcp.retransmissions[direction] - told, tcp.reordered[direction], tcp.packets[direction]
            if again + late < MANY_AGAIN or again + late < packets * MANY_SHARE:
                continue
            sender = direction.sender
            yield Finding(
                code="many-retransmissions",
                severity="info",
                confidence="medium",
                connection=connection.id,
                packets=(),
                message=f"{again:,} of {counted(packets, 'packet')} of the {sender} ({again / packets:.0%}) carried data that it had sent "
                f"before, and {late:,} ({late / packets:.0%}) came late, overtaken by others: the path {_does(again, late)}, and what "
                "crosses it is slow.",
                remedy=f"Look for an overloaded or faulty link on the path; a capture at the {direction.opposite.sender} (--other-side) "
                "shows what was lost, and in which direction.",
                evidence={
                    "direction": direction.name.lower(),
                    "retransmissions": again,
                    "reordered": late,
                    "sent_packets": packets,
                    "proof_needs": direction.opposite.sender,
                },
            )


def _does(again: int, late: int) -> str:
    """What a path does to packets, by those that were sent again and those that came late."""
    if not late:
        return "loses packets"
    return "loses packets and changes their order" if again else "changes the order of packets"


def _outs(connection: Connection) -> Iterator[_Out]:
    for direction in DIRECTIONS:
        yield from _unacknowledged(connection, direction)
        yield from _unanswered(connection, direction)
        yield from _unheard(connection, direction)
        yield from _repeated(connection, direction)


def _unacknowledged(connection: Connection, direction: Direction) -> Iterator[_Out]:
    data = connection.tcp.outages[direction]
    if data is not None:
        sender, peer, lasted_ns = direction.sender, direction.opposite.sender, data.until.ts_ns - data.first.ts_ns
        said = (
            f"For {seconds(lasted_ns)} (packets {data.first.packet} to {data.until.packet}) the {peer} acknowledged nothing of what the "
            f"{sender} sent, and sent again ({counted(data.retransmissions, 'retransmission')})"
        )
        packets = data.first.packet, data.until.packet
        yield _Out(lasted_ns, direction, "data", data.retransmissions, packets, "high", peer, said)


def _unanswered(connection: Connection, direction: Direction) -> Iterator[_Out]:
    lapse = connection.tcp.keepalive[direction].lapse
    if lapse is not None:
        sender, peer, lasted_ns = direction.sender, direction.opposite.sender, lapse.last.ts_ns - lapse.first.ts_ns
        said = (
            f"{counted(lapse.probes, 'keepalive probe')} of the {sender} in a row (packets {lapse.first.packet} to {lapse.last.packet}, "
            f"{seconds(lasted_ns)}) went unanswered before the {peer} was heard again"
        )
        sure: Confidence = "high" if lapse.probes >= MANY_PROBES else "medium"
        yield _Out(lasted_ns, direction, "probes", lapse.probes, (lapse.first.packet, lapse.last.packet), sure, peer, said)


def _repeated(connection: Connection, direction: Direction) -> Iterator[_Out]:
    """Data that came again although it was acknowledged, until what followed it came: the acknowledgements were lost meanwhile."""
    again = connection.tcp.repeated[direction]
    if again is not None and not again.lasting and persists(again):
        sender, peer, lasted_ns = direction.sender, direction.opposite.sender, again.last.ts_ns - again.first.ts_ns
        said = (
            f"For {seconds(lasted_ns)} (packets {again.first.packet} to {again.last.packet}) the {sender} sent the same data again, "
            f"{again.times} times, although the {peer} had acknowledged it"
        )
        yield _Out(lasted_ns, direction.opposite, "answers", again.times, (again.first.packet, again.last.packet), "medium", sender, said)


def _unheard(connection: Connection, direction: Direction) -> Iterator[_Out]:
    """Probes that had come regularly, and for a while did not."""
    every = probed_every(connection.tcp.keepalive[direction])
    for gap in connection.tcp.gaps:
        if every is None or gap.ended_by != "data" or gap.ended_by_packet is None or not gap.probes[direction]:
            continue
        if gap.longest_silence_ns > PROBES_MISSED * every:
            said = (
                f"Between packets {gap.after_packet} and {gap.ended_by_packet} no packet came for {seconds(gap.longest_silence_ns)}, "
                f"although the {direction.sender}'s keepalive probes come every {seconds(every)}"
            )
            packets = gap.after_packet, gap.ended_by_packet
            yield _Out(gap.longest_silence_ns, direction, "silence", 0, packets, "low", direction.sender, said)
