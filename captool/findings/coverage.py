"""What the capture itself cannot show, because packets were lost or cut."""

from collections.abc import Iterable, Iterator
from typing import Final

from captool.findings.finding import Finding
from captool.findings.strangers import is_stranger
from captool.findings.tables import Tables
from captool.tcp.connection import TcpConnection
from captool.units import SECOND_NS, counted, seconds

PLACED: Final = "LINUX_SLL2"  # its frames tell where each was captured
TIMED: Final = (
    "missing-keepalive", "idle-gap", "keepalive-too-slow", "reset-after-idle", "half-close-idle", "client-timeout",
    "zero-window-stall", "outage", "possible-drop", "quiet-but-healthy",
)  # fmt: skip


# What these claim rests on packets that were not there.
ABSENT: Final = (
    "silent-drop", "mtu-black-hole", "one-way-loss", "output-lost", "missing-keepalive", "idle-gap", "half-close-idle",
    "keepalive-unanswered",
    "keepalive-too-slow", "unanswered-request", "server-closed", "zero-window-stall", "outage",
)  # fmt: skip


def capture_loss(tables: Tables) -> Iterator[Finding]:
    """The capture file says that the kernel dropped packets."""
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
    holed = {connection.id for connection in tables.eventful if any(connection.tcp.stream_holes)}
    for finding in findings:
        if step is not None and step.steps > 1 and finding.code in TIMED:
            yield finding._replace(confidence="low")
        elif finding.confidence != "high" or finding.code not in ABSENT or finding.evidence.get("proven_by_other_side"):
            yield finding
        else:
            yield finding._replace(confidence="medium") if dropped or finding.connection in holed else finding


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
            message="Recording began in the middle of this connection: earlier idle times, probes, requests and the TLS handshake "
            f"are not in the capture{guessed}.{_copies(tables, tcp)}",
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
