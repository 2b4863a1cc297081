"""What the capture itself cannot show, because packets were lost or cut."""

from collections.abc import Iterable, Iterator
from typing import Final

from captool.direction import DIRECTIONS, PerDirection
from captool.findings.finding import Confidence, Finding
from captool.findings.strangers import is_stranger
from captool.findings.tables import Tables
from captool.tcp.connection import TcpConnection
from captool.units import SECOND_NS, counted, seconds, size

PLACED: Final = "LINUX_SLL2"  # its frames tell where each was captured
TIMED: Final = (
    "missing-keepalive", "idle-gap", "keepalive-too-slow", "reset-after-idle", "half-close-idle", "client-timeout",
    "zero-window-stall", "outage", "possible-drop", "quiet-but-healthy",
)  # fmt: skip


# What these claim rests on packets that were not there.
ABSENT: Final = (
    "silent-drop", "mtu-black-hole", "one-way-loss", "output-lost", "missing-keepalive", "idle-gap", "half-close-idle",
    "keepalive-unanswered",
    "keepalive-too-slow", "unanswered-request", "server-closed", "zero-window-stall", "outage", "reset-after-idle",
    "reset-in-use",
)  # fmt: skip
# And these on a few of them, so that they are less sure where the capture lacks packets of any connection.
FEW: Final = (
    "connection-unanswered", "possible-drop", "unanswered-request", "keepalive-unanswered", "server-closed", "outage",
    "keepalive-too-slow",
)  # fmt: skip
DOUBT: Final = " The capture lacks packets (capture-loss), so what is missing may be missing only in it."


def capture_loss(tables: Tables) -> Iterator[Finding]:
    """The capture file says that the kernel dropped packets, or the peers of a connection acknowledged what the capture does not have."""
    dropped = tables.capture.dropped_packets
    if dropped:
        yield Finding(
            code="capture-loss",
            severity="warning",
            confidence="high",
            connection=None,
            packets=(),
            message=f"The kernel dropped {counted(dropped, 'packet')} while recording: what seems missing may only be missing here.",
            remedy="Record with a narrower filter or a larger buffer (tcpdump -B), and without --immediate-mode: in it few packets fit.",
            evidence={"dropped_packets": dropped},
        )
    for connection in tables.eventful:
        lacking = connection.tcp.lacking
        if any(lacking):
            yield Finding(
                code="capture-loss",
                severity="warning",
                confidence="high",
                connection=connection.id,
                packets=(),
                message=f"The capture lacks packets of this connection: {_acknowledged(lacking)} that it does not have. They did arrive, "
                "so the network did not lose them: the recorder did, or they passed where it did not listen. Idle times in which they may "
                "have crossed are not judged.",
                remedy="Record with a larger buffer (tcpdump -B) and without --immediate-mode, on every interface that the packets may "
                "take.",
                evidence={"to_server": lacking.to_server, "to_client": lacking.to_client, "proof_needs": None},
            )


def _acknowledged(lacking: PerDirection[int]) -> str:
    """`the client acknowledged 57 bytes of the server, and the server 1 byte or the FIN of the client`."""
    told = [
        (direction, "1 byte, or the FIN," if lacking[direction] == 1 else size(lacking[direction]))
        for direction in DIRECTIONS
        if lacking[direction]
    ]
    return " and ".join(f"the {direction.opposite.sender} acknowledged {what} of the {direction.sender}" for direction, what in told)


def snapped_packets(tables: Tables) -> Iterator[Finding]:
    """Packets were cut while recording, so their payload cannot be decrypted."""
    snapped = tables.capture.snapped_packets
    if snapped:
        yield Finding(
            code="snapped-packets",
            severity="warning",
            confidence="high",
            connection=None,
            packets=(),
            message=f"{counted(snapped, 'packet')} were cut by the snap length: timing is right, their payload cannot be decrypted.",
            remedy="Record whole packets: tcpdump -s 0, or captool record.",
            evidence={"snapped_packets": snapped},
        )


def clock_step(tables: Tables) -> Iterator[Finding]:
    """The clock of the recording machine was set back: durations across the step are wrong."""
    step = tables.capture.clock_step
    if step:
        yield Finding(
            code="clock-step",
            severity="warning",
            confidence="high",
            connection=None,
            packets=(step.packet,),
            message=f"The recording machine's clock ran backwards ({counted(step.steps, 'time')}, at most by {seconds(step.largest_ns)}, "
            f"at packet {step.packet}): durations across it are not to be believed, and idle times that "
            "span this packet are not judged.",
            remedy="Keep the clock of the recording machine from being stepped (chrony or ntpd slew it) and record again.",
            evidence={"count": step.steps, "largest_s": step.largest_ns / SECOND_NS, "proof_needs": None},
        )


def clock_jump(tables: Tables) -> Iterator[Finding]:
    """The clock of the recording machine was set forward, as the senders' clocks show; or may have been, where none tells."""
    jumps = tables.capture.clock_jumps
    certain, perhaps = [jump for jump in jumps if jump.senders], [jump for jump in jumps if not jump.senders]
    remedy = "Keep the clock of the recording machine from being stepped (chrony or ntpd slew it)."
    if certain:
        largest = max(certain, key=lambda jump: jump.ahead_ns)
        yield Finding(
            code="clock-step",
            severity="warning",
            confidence="high",
            connection=None,
            packets=tuple(jump.packet for jump in certain[:8]),
            message=f"The recording machine's clock was set forward ({counted(len(certain), 'time')}, by about "
            f"{seconds(largest.ahead_ns)} at packet {largest.packet}): meanwhile the clocks of {counted(largest.senders, 'sender')} went "
            "on far less, as their TCP timestamps say. Or that machine and these hosts were suspended together. Idle times that span these "
            "packets are not judged.",
            remedy=remedy,
            evidence={"count": len(certain), "ahead_s": largest.ahead_ns / SECOND_NS, "senders": largest.senders, "proof_needs": None},
        )
    if perhaps:
        largest = max(perhaps, key=lambda jump: jump.ahead_ns)
        yield Finding(
            code="clock-step",
            severity="info",
            confidence="low",
            connection=None,
            packets=tuple(jump.packet for jump in perhaps[:8]),
            message=f"Before packet {largest.packet} no packet came for {seconds(largest.ahead_ns)}, and then the connections that had "
            "been busy went on as if nothing had been: the recording machine's clock may have been set forward. Without TCP timestamps "
            "that cannot be told from a pause; idle times that span it are judged as they are.",
            remedy=remedy,
            evidence={"count": len(perhaps), "ahead_s": largest.ahead_ns / SECOND_NS, "senders": 0, "proof_needs": None},
        )


def doubted(tables: Tables, findings: Iterable[Finding]) -> Iterator[Finding]:
    """The findings, less sure where the capture itself leaves a doubt.

    A duration may span a step of the clock: of several only the largest is known. And what did not come may have come and not been
    recorded, where the kernel dropped packets or the connection's peers acknowledged bytes that the capture does not have.
    """
    step, dropped = tables.capture.clock_step, tables.capture.dropped_packets
    holed = {connection.id for connection in tables.eventful if any(connection.tcp.lacking)}
    for finding in findings:
        absent = finding.code in ABSENT and (dropped or finding.connection in holed)
        few = finding.code in FEW and (dropped or holed)
        if (absent or few) and not finding.evidence.get("proven_by_other_side"):
            sure: Confidence = "medium" if finding.confidence == "high" else finding.confidence
            finding = finding._replace(confidence=sure, message=finding.message + DOUBT)  # noqa: PLW2901
            if finding.connection in holed and _of_few_packets(finding):
                finding = finding._replace(severity="info", confidence="low")  # noqa: PLW2901
        if step is not None and step.steps > 1 and finding.code in TIMED:
            yield finding._replace(confidence="low")
        else:
            yield finding


def _of_few_packets(finding: Finding) -> bool:
    """Whether it rests on the absence of a few packets, which nobody would have sent again or missed."""
    if finding.code == "outage":
        return finding.evidence["what"] != "data"
    if finding.code == "keepalive-unanswered":
        return not finding.evidence["gave_up"]
    return finding.code in ("connection-unanswered", "possible-drop", "server-closed")


def mid_stream(tables: Tables) -> Iterator[Finding]:
    """Recording began after the connection was opened: what came before cannot be judged."""
    for connection in tables.connections:
        tcp = connection.tcp
        if tcp.handshake_seen or is_stranger(tcp) or not {"S", "H"}.isdisjoint(tcp.history.upper()):
            continue
        guessed = "; which side is the client was guessed" if tcp.client_guessed else ""
        yield Finding(
            code="mid-stream",
            severity="info",
            confidence="high",
            connection=connection.id,
            packets=(),
            message="The beginning of this connection is not in the capture, which began later or lost it: nor are earlier idle times, "
            f"probes, requests and the TLS handshake{guessed}.{_copies(tables, tcp)}",
            remedy="Start recording before the connection is opened.",
            evidence={"client_guessed": tcp.client_guessed, "proof_needs": None},
        )


def _copies(tables: Tables, tcp: TcpConnection) -> str:
    """What to say of data that was sent again where nothing tells it from a copy: IPv6 names no packet, and the SYN was not seen."""
    again = sum(tcp.retransmissions)
    if not again or ":" not in tcp.client.ip or PLACED in tables.capture.link_types:
        return ""
    some = "The packet sent again may be a copy" if again == 1 else f"Of the {again:,} packets sent again some may be copies"
    return f" {some}, if packets were recorded twice at the same hop limit (several interfaces, a mirror port): in IPv6 nothing tells them."
