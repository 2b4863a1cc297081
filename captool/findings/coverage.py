"""What the capture itself cannot show, because packets were lost or cut."""

from collections.abc import Iterator

from captool.findings.finding import Finding
from captool.findings.tables import Tables
from captool.units import counted


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
            remedy="Record with a narrower filter or a larger buffer (tcpdump -B).",
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
