"""A quiet connection that was reset on its next use: by whom, as far as one capture tells."""

from collections.abc import Iterator
from typing import Final

from captool.findings.finding import Confidence, Finding
from captool.findings.gaps import timeouts, tripped
from captool.findings.tables import Connection, Tables
from captool.tcp.connection import Gap, Reset
from captool.units import SECOND_NS, seconds

MORE_PROBES: Final = "Send keepalive probes more often than the timeout that cut it."
PROVOKED_NS: Final = 3 * SECOND_NS


def reset_after_idle(tables: Tables) -> Iterator[Finding]:
    """A RST that answers the first packet after an idle time."""
    entries = timeouts(tables)
    for connection in tables.connections:
        reset = connection.tcp.reset
        gap = gap_before(connection, reset) if reset else None
        if reset is None or gap is None or reset.peer_last is None:
            continue
        foreign, stateless = _clues(reset)
        told = "; ".join((*foreign, *stateless)) or "nothing in it tells whether the peer or a middlebox sent it"
        confidence: Confidence = "high" if foreign and stateless else "medium" if foreign else "low"
        over = tripped(entries, gap)
        yield Finding(
            code="reset-after-idle",
            severity="warning" if gap.ended_by == "fin" else "error",
            confidence=confidence,
            connection=connection.id,
            packets=(gap.after_packet, reset.peer_last.packet, reset.moment.packet),
            message=f"The first packet after {seconds(gap.longest_silence_ns)} of silence (packet {reset.peer_last.packet}) was "
            f"answered by a reset in the {reset.sender}'s name (packet {reset.moment.packet}): {told}.",
            remedy=f"{MORE_PROBES} Whether the reset came from the {reset.sender} itself, a capture there shows.",
            evidence={
                "sender": reset.sender,
                "idle_s": gap.longest_silence_ns / SECOND_NS,
                "sender_differs": foreign,
                "sender_without_state": stateless,
                "candidates": [entry.id for entry in over],
                "proof_needs": reset.sender,
            },
        )


def gap_before(connection: Connection, reset: Reset) -> Gap | None:
    """The gap that ended with the packet that provoked this RST: the other side's, after which the RST's sender said nothing else."""
    provoked = reset.peer_last
    if provoked is None or reset.moment.ts_ns - provoked.ts_ns > PROVOKED_NS:
        return None
    if reset.own_last is not None and reset.own_last.packet > provoked.packet:
        return None
    for gap in connection.tcp.gaps:
        if gap.ended_by_packet == provoked.packet or (gap.ended_by_packet == reset.moment.packet and any(gap.probes)):
            return gap
    return None


def _clues(reset: Reset) -> tuple[list[str], list[str]]:
    """What speaks for another machine than the peer; and what only says that its sender knew nothing of the connection (any more)."""
    foreign, stateless = [], []
    if reset.usual_hops is not None and reset.hops != reset.usual_hops:
        foreign.append(f"its TTL is {reset.hops}, that of the {reset.sender}'s others {reset.usual_hops}: another machine sent it")
    if reset.identification == 0 and reset.usual_identification:
        stateless.append(f"its IP identification is 0, the {reset.sender}'s other packets are numbered")
    if reset.window == 0 and not reset.acknowledges:
        stateless.append("window 0 and no acknowledgement, as whoever does not know the connection sends it")
    return foreign, stateless
