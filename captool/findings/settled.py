"""What one capture only made likely, settled by the other side's: proven, corrected, or given up."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Final

from captool.direction import DIRECTIONS, Direction
from captool.findings.finding import Finding
from captool.findings.idle import FIN_UNANSWERED, UNANSWERED_YET, UNDECIDED
from captool.findings.passage import NOT_ARRIVED, confidence, numbers
from captool.findings.remedies import KEEPALIVE_REMEDY
from captool.findings.resets import MORE_PROBES, RULES_CHANGED
from captool.findings.silence import WENT_AWAY
from captool.findings.slow_connects import DROPPED_THERE, NOBODY_KNOWS
from captool.findings.tables import Tables, capture_name
from captool.tcp.layout import FIN, RST
from captool.units import SECOND_NS, counted

if TYPE_CHECKING:  # imported only where a second capture is given
    from captool.other_side import Counterpart

# A capture that ended this much before the other still covers the same silence.
COVERED_NS: Final = SECOND_NS
NOTHING_THEN: Final = (
    "{} has nothing of the time when these packets were sent: its recording was over, or nothing arrived there. Record with captool "
    "record on both sides, whose manifest (.json, beside the trace) says how long it listened; or let tcpdump record other traffic as well."
)


def settled(tables: Tables, findings: Iterable[Finding]) -> Iterator[Finding]:
    """The findings, where those that one capture could only make likely are proven by the other or give way to what it shows."""
    if tables.other_side is None:
        yield from findings
        return
    counterparts = {connection.id: connection.counterpart for connection in tables.connections}
    for finding in findings:
        counterpart = counterparts.get(finding.connection) if finding.connection is not None else None
        rule = RULES.get(finding.code)
        after = rule(tables, finding, counterpart) if rule and counterpart else finding
        if after is not None:
            yield after


def _capture_ended(_tables: Tables, finding: Finding, counterpart: Counterpart) -> Finding | None:
    """The other side's capture does prove what came after, where it shows how the connection died."""
    ways = counterpart.passage
    died = any(way.dead or way.too_large or any(one.flags & (RST | FIN) and one.foreign for one in way.not_sent) for way in ways)
    return None if died else finding


def _silent_drop(tables: Tables, finding: Finding, counterpart: Counterpart) -> Finding:
    direction = _direction(finding)
    passage, back = counterpart.passage[direction], counterpart.passage[direction.opposite]
    if passage.dead or back.dead:
        remedy = finding.remedy if finding.remedy == KEEPALIVE_REMEDY else NOT_ARRIVED
        message = finding.message
        if not passage.dead:
            message = message.replace(
                f" {WENT_AWAY.format(direction.opposite.sender)}", " It did arrive, and the acknowledgements did not come back."
            )
        return _proven(tables, finding._replace(message=message, remedy=remedy))
    arrived = passage.last_arrived
    if passage.not_judged:
        over = NOTHING_THEN.format(capture_name(tables, "other-side"))
        return finding._replace(remedy=finding.remedy if finding.remedy == KEEPALIVE_REMEDY else over)
    if counterpart.sender_side(direction) != "trace" or arrived is None or arrived[0].packet < finding.packets[0]:
        return finding
    peer = direction.opposite.sender
    return Finding(
        code="peer-silent",
        severity="error",
        confidence=confidence(tables),
        connection=finding.connection,
        packets=finding.packets,
        message=f"What the {direction.sender} sent from packet {finding.packets[0]} on did reach the {peer}'s side (the last as packet "
        f"{arrived[1].packet} of {capture_name(tables, 'other-side')}), and no answer to it left there: the path was not at fault.",
        remedy=f"Look at the {peer}'s host: a firewall of its own, a frozen or overloaded machine, an address that moved.",
        evidence={**finding.evidence, "proven_by_other_side": False, "last_arrived_packet_at_receiver": arrived[1].packet},
    )


def _possible_drop(tables: Tables, finding: Finding, counterpart: Counterpart) -> Finding | None:
    if any(passage.dead for passage in counterpart.passage):
        return None  # path-dead tells it, with its proof
    answers, other = counterpart.passage.to_client, tables.other_side
    if other is None or counterpart.sender_side(Direction.TO_CLIENT) != "other-side" or answers.lost or answers.not_judged:
        return finding
    end_ns, trace_end_ns = other.capture.watched_until_ns, tables.capture.watched_until_ns
    if other.clock is None or end_ns is None or trace_end_ns is None or other.clock.first_clock(end_ns)[0] < trace_end_ns - COVERED_NS:
        return finding
    return finding._replace(
        severity="info",
        confidence=confidence(tables),
        message=f"Nothing after packet {finding.packets[0]} to the end of the capture, because the server sent nothing: "
        f"{capture_name(tables, 'other-side')} was still recording there. The connection was quiet, not dropped.",
        remedy="Nothing to do.",
        evidence={**finding.evidence, "proven_by_other_side": False, "proof_needs": None},
    )


def _unanswered_probes(tables: Tables, finding: Finding, counterpart: Counterpart) -> Finding:
    direction = _direction(finding)
    passage, back = counterpart.passage[direction], counterpart.passage[direction.opposite]
    peer, first = direction.opposite.sender, finding.packets[0]
    if counterpart.sender_side(direction) != "trace":
        return finding
    arrived = [one for one in (passage.last_arrived,) if one is not None and one[0].packet >= first]
    if not arrived:
        if passage.dead is None:
            return finding
        why = f"none of them reached the {peer}'s side, so the path dropped them"
    elif back.dead:
        why = f"they reached the {peer}'s side, and the answers did not come back, so the path dropped those"
    elif not passage.lost:
        why = (
            f"they reached the {peer}'s side and no answer left there, so the {peer}'s host is dead or frozen, and the path is not at fault"
        )
    else:
        return finding
    probes = counted(int(str(finding.evidence["unanswered"])), "keepalive probe")
    return _proven(
        tables,
        finding._replace(
            message=f"The last {probes} of the {direction.sender} (packets {first} to {finding.packets[1]}) went unanswered: {why}.",
            remedy=f"Look at the {peer}'s host." if arrived and not back.dead else NOT_ARRIVED,
        ),
    )


def _reset(tables: Tables, finding: Finding, counterpart: Counterpart) -> Finding:
    sender = str(finding.evidence["sender"])
    direction = Direction.TO_SERVER if sender == "client" else Direction.TO_CLIENT
    passage, packet = counterpart.passage[direction], finding.packets[-1]
    begin = finding.message.partition(f" (packet {packet}):")[0] + f" (packet {packet})"
    own_remedy = f"Look at the {sender}'s program or host: it had closed or forgotten the connection."
    usual = not finding.evidence["sender_differs"] and not finding.evidence["sender_may_differ"]
    if counterpart.sender_side(direction) == "trace" and usual:
        own = f"{begin}, and the {sender}'s side did send it: this capture was recorded there."
        return _proven(tables, finding._replace(message=own, remedy=own_remedy), injected=False)
    if counterpart.sender_side(direction) != "other-side":
        return finding
    if any(one.moment.packet == packet and one.foreign for one in passage.not_sent):
        forged = f"{begin}, and the {sender}'s side never sent it."
        remedy = MORE_PROBES if finding.code == "reset-after-idle" else RULES_CHANGED
        return _proven(tables, finding._replace(message=forged, remedy=remedy), injected=True)
    if passage.last_arrived is not None and passage.last_arrived[1].packet == packet:
        sent = f"packet {passage.last_arrived[0].packet} of {capture_name(tables, 'other-side')}"
        own = f"{begin}, and the {sender}'s side did send it ({sent})."
        return _proven(tables, finding._replace(message=own, remedy=own_remedy), injected=False)
    return finding


def _idle_gap(_tables: Tables, finding: Finding, counterpart: Counterpart) -> Finding:
    undecided = next((text for text in (UNDECIDED, UNANSWERED_YET, FIN_UNANSWERED) if finding.message.endswith(text)), None)
    if undecided is None or not any(passage.dead for passage in counterpart.passage):
        return finding
    return finding._replace(severity="error", message=finding.message.replace(undecided, "The path died, as both captures prove."))


def _missing_keepalive(tables: Tables, finding: Finding, counterpart: Counterpart) -> Finding:
    """Probes of the far side may have been among what it sent and what did not arrive here."""
    for direction in DIRECTIONS:
        passage, side = counterpart.passage[direction], counterpart.sender_side(direction)
        if side == "other-side" and passage.lost:
            lost = f"{numbers(passage.lost_ranges)} of {capture_name(tables, side)}"
            sender = direction.sender
            return finding._replace(
                severity="warning",
                confidence="low",
                message=f"{finding.message} But packets that the {sender} sent did not arrive here ({lost}); probes may be among them.",
            )
    return finding


def _server_closed(_tables: Tables, finding: Finding, counterpart: Counterpart) -> Finding | None:
    """Of a server that nothing reaches any more it is not known whether it closed first: path-dead tells why it was not heard."""
    return None if counterpart.passage.to_server.dead else finding


def _half_closed(tables: Tables, finding: Finding, counterpart: Counterpart) -> Finding:
    return _proven(tables, finding) if counterpart.passage[_direction(finding)].dead else finding


def _output_lost(tables: Tables, finding: Finding, counterpart: Counterpart) -> Finding:
    passage = counterpart.passage.to_client
    packet, arrived = finding.packets[0], passage.last_arrived
    if counterpart.sender_side(Direction.TO_CLIENT) != "trace" or arrived is None or arrived[0].packet < packet:
        return finding
    if any(lost.first.packet <= packet <= lost.last.packet for lost in passage.lost_ranges):
        return finding
    return finding._replace(
        severity="warning",
        confidence="medium",
        message="Container output was never acknowledged, but it did reach the client's side (its first packet "
        f"{packet} is in {capture_name(tables, 'other-side')}). Whether the client's program still read it, no capture shows.",
        evidence={**finding.evidence, "proven_by_other_side": False},
    )


def _one_way(tables: Tables, finding: Finding, counterpart: Counterpart) -> Finding:
    """The direction is proven to be dead, or the data did arrive, and it is the peer's host that does not answer."""
    direction = _direction(finding)
    passage, arrived = counterpart.passage[direction], counterpart.passage[direction].last_arrived
    if passage.dead:
        return _proven(tables, finding._replace(remedy=NOT_ARRIVED))
    if counterpart.sender_side(direction) != "trace" or arrived is None or arrived[0].packet < finding.packets[0]:
        return finding
    peer = direction.opposite.sender
    message = finding.message.partition(": the path carries")[0]
    there = f"packet {arrived[1].packet} of {capture_name(tables, 'other-side')}"
    remedy = f"Look at the {peer}'s host: a firewall of its own, or a frozen machine."
    return _proven(tables, finding._replace(message=f"{message}, although it did reach the {peer}'s side ({there}).", remedy=remedy))


def _outage(tables: Tables, finding: Finding, counterpart: Counterpart) -> Finding:
    """What was sent in the outage did not arrive, as both captures show: then it was not the peer's host."""
    direction, (first, until) = _direction(finding), finding.packets
    passage = counterpart.passage[direction]
    lost = [one for one in passage.lost_ranges if one.first.packet <= until and one.last.packet >= first]
    if counterpart.sender_side(direction) != "trace" or not lost:
        return finding
    begin = finding.message.partition(": the path, or the ")[0]
    capture = capture_name(tables, "trace")
    side = f"the {direction.opposite.sender}'s side"
    message = f"{begin}: {numbers(tuple(lost))} of {capture} did not reach {side}, so the path was out, and then it went on."
    return _proven(tables, finding._replace(message=message, remedy=NOT_ARRIVED))


def _slow_connect(tables: Tables, finding: Finding, counterpart: Counterpart) -> Finding:
    """Where the SYNs, or the answers to them, were dropped."""
    there, back = counterpart.passage
    if finding.evidence["what"] != "syn-unanswered" or counterpart.sender_side(Direction.TO_SERVER) != "trace" or there.not_judged:
        return finding
    lost = tuple(one for one in there.lost_ranges if one.first.packet < finding.packets[-1])
    if lost:
        why, remedy = f"{numbers(lost).capitalize()} of {capture_name(tables, 'trace')} did not reach the server's side.", NOT_ARRIVED
    elif back.lost_ranges:
        answers = f"{numbers(back.lost_ranges)} of {capture_name(tables, 'other-side')}"
        why, remedy = f"They did reach the server's side, and answers did not come back ({answers}).", NOT_ARRIVED
    else:
        why, remedy = "They did reach the server's side, and that host did not answer them.", f"At the server: {DROPPED_THERE}."
    return _proven(tables, finding._replace(message=finding.message.replace(NOBODY_KNOWS, why), remedy=remedy))


def _proven(tables: Tables, finding: Finding, **evidence: object) -> Finding:
    return finding._replace(
        confidence=confidence(tables),
        evidence={**finding.evidence, "proven_by_other_side": True, "proof_needs": None, **evidence},
    )


def _direction(finding: Finding) -> Direction:
    return Direction[str(finding.evidence["direction"]).upper()]


RULES: Final[dict[str, Callable[[Tables, Finding, Counterpart], Finding | None]]] = {
    "capture-ended": _capture_ended,
    "silent-drop": _silent_drop,
    "possible-drop": _possible_drop,
    "keepalive-unanswered": _unanswered_probes,
    "reset-after-idle": _reset,
    "server-closed": _server_closed,
    "reset-in-use": _reset,
    "half-close-idle": _half_closed,
    "output-lost": _output_lost,
    "idle-gap": _idle_gap,
    "outage": _outage,
    "one-way-loss": _one_way,
    "slow-connect": _slow_connect,
    "missing-keepalive": _missing_keepalive,
}
