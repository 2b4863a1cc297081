"""A connection that was reset, on its next use after an idle time or in use: by whom, as far as one capture tells."""

from collections.abc import Iterator
from typing import Final

from captool.findings.finding import Confidence, Finding
from captool.findings.gaps import timeouts, tripped
from captool.findings.tables import Connection, Tables
from captool.tcp.connection import Gap, Keepalive, Reset
from captool.units import SECOND_NS, seconds

MORE_PROBES: Final = "Send keepalive probes more often than the timeout that cut it."
RULES_CHANGED: Final = (
    "Look at the firewalls and load balancers between the two places: at that time their rules changed, or they lost what they knew."
)
PROVOKED_NS: Final = 3 * SECOND_NS
DETOUR: Final = 2


def reset_after_idle(tables: Tables) -> Iterator[Finding]:
    """A RST that answers the first packet after an idle time."""
    entries = timeouts(tables)
    for connection in tables.eventful:
        reset = connection.tcp.reset
        gap = gap_before(connection, reset) if reset else None
        if reset is None or gap is None or reset.peer_last is None:
            continue
        if connection.tcp.closed_by == reset.sender and connection.tcp.closing != reset.moment:
            continue  # it had sent its FIN: so answers a host whose program is gone
        provoked = reset.peer_last.packet if gap.ended_by_packet == reset.moment.packet else gap.ended_by_packet or 0
        idle_ns = _silence_before(connection, gap, reset)
        gap = gap._replace(longest_silence_ns=idle_ns)
        foreign, doubtful, stateless = _clues(reset)
        told = "; ".join((*foreign, *doubtful, *stateless)) or "nothing in it tells whether the peer or a middlebox sent it"
        over = tripped(entries, gap)
        yield Finding(
            code="reset-after-idle",
            severity="warning" if gap.ended_by == "fin" else "error",
            confidence=_confidence(foreign, doubtful, stateless),
            connection=connection.id,
            packets=(gap.after_packet, provoked, reset.moment.packet),
            message=f"The first packet after {seconds(idle_ns)} of silence (packet {provoked}) was "
            f"answered by a reset in the {reset.sender}'s name (packet {reset.moment.packet}): {told}.",
            remedy=f"{MORE_PROBES} Whether the reset came from the {reset.sender} itself, a capture there shows."
            if over
            else f"A capture at the {reset.sender} shows whether its host sent the reset, which had lost the connection then (a restart, "
            "or another machine with its address), or a middlebox that forgets so soon; only against that keepalive probes help.",
            evidence={
                "sender": reset.sender,
                "idle_s": idle_ns / SECOND_NS,
                "closing": gap.ended_by == "fin",
                "sender_differs": foreign,
                "sender_may_differ": doubtful,
                "sender_without_state": stateless,
                "candidates": [entry.id for entry in over],
                "proof_needs": reset.sender,
            },
        )


def reset_in_use(tables: Tables) -> Iterator[Finding]:
    """A RST that answers what was sent on a connection in use, from whoever does not know the connection."""
    for connection in tables.eventful:
        reset = connection.tcp.reset
        if reset is None or reset.peer_last is None or not in_use(connection):
            continue
        foreign, doubtful, stateless = _clues(reset)
        peer = "client" if reset.sender == "server" else "server"
        yield Finding(
            code="reset-in-use",
            severity="error" if foreign else "warning",
            confidence=_confidence(foreign, doubtful, stateless),
            connection=connection.id,
            packets=(reset.peer_last.packet, reset.moment.packet),
            message=f"What the {peer} sent (packet {reset.peer_last.packet}) was answered by a reset in the {reset.sender}'s name "
            f"(packet {reset.moment.packet}): {'; '.join((*foreign, *doubtful, *stateless))}. Neither side had closed, as far as the "
            "capture shows.",
            remedy=f"A capture at the {reset.sender} shows whether its host sent the reset, which had lost the connection then (its "
            "program ended, it restarted, or another machine has its address), or a firewall or load balancer whose rules or state had "
            "changed.",
            evidence={
                "sender": reset.sender,
                "used": any(connection.tcp.payload_bytes),
                "sender_differs": foreign,
                "sender_may_differ": doubtful,
                "sender_without_state": stateless,
                "proof_needs": reset.sender,
            },
        )


def in_use(connection: Connection) -> bool:
    """Whether the first of all FINs and RSTs is a RST that answers a packet, not after an idle time, and that no program's end explains.

    A program that ends has its host acknowledge what came, with the window that it had.
    """
    tcp, reset = connection.tcp, connection.tcp.reset
    if reset is None or reset.peer_last is None or reset.own_last is None or tcp.closing != reset.moment or any(tcp.lacking):
        return False
    if not tcp.handshake_seen and {"S", "H"} & set(tcp.history.upper()):
        return False  # a SYN that an older connection of the peer's answered (RFC 5961 4)
    if reset.sender == "client" and not {"A", "D"} & set(tcp.history):
        return False  # a SYN-ACK was all that its sender asked for: so do scans and health checks
    if reset.own_last.packet > reset.peer_last.packet or reset.moment.ts_ns - reset.peer_last.ts_ns > PROVOKED_NS:
        return False
    foreign, _, stateless = _clues(reset)
    return bool(foreign or (reset.window == 0 and not reset.acknowledges and stateless)) and gap_before(connection, reset) is None


def _confidence(foreign: list[str], doubtful: list[str], stateless: list[str]) -> Confidence:
    """How sure it is that another machine than the peer sent a RST with these clues."""
    return "high" if foreign and stateless else "medium" if foreign or (doubtful and stateless) else "low"


def gap_before(connection: Connection, reset: Reset) -> Gap | None:
    """The gap that ended with the packet that provoked this RST: the other side's, after which the RST's sender said nothing else.

    None as well where its sender had said something that was not captured, most likely its FIN: what provoked the RST acknowledged that.
    """
    provoked = reset.peer_last
    if had_said_more(reset):
        return None
    if provoked is None or reset.moment.ts_ns - provoked.ts_ns > PROVOKED_NS:
        return None
    if reset.own_last is not None and reset.own_last.packet > provoked.packet:
        return None
    # In an idle time only a probe provokes one: the answer to a probe of the RST's sender is no use of the connection.
    probe = _prober(connection, reset).last_probe
    probed = probe is not None and probe.packet == provoked.packet
    for gap in connection.tcp.gaps:
        if gap.ended_by_packet == provoked.packet or (gap.ended_by_packet == reset.moment.packet and probed):
            return gap
        begin = gap.ended_by_packet if gap.ended_by == "data" else None
        if begin is not None and reset.own_last is not None and reset.own_last.packet < begin < provoked.packet:
            return gap  # sent again before the RST came
    return None


def had_said_more(reset: Reset) -> bool:
    """Whether the RST's sender had sent more than the capture has: it stands where what provoked it acknowledges (RFC 9293 3.10.7.1)."""
    return not reset.acknowledges and reset.sequence_distance > 0 and reset.own_last is not None


def _prober(connection: Connection, reset: Reset) -> Keepalive:
    """The probes of the side that the RST went to."""
    return connection.tcp.keepalive.to_server if reset.sender == "server" else connection.tcp.keepalive.to_client


def _silence_before(connection: Connection, gap: Gap, reset: Reset) -> int:
    """Nanoseconds without a packet before what provoked the RST: at most the time since its sender was heard, or between probes."""
    provoked, interval_ns = reset.peer_last, _prober(connection, reset).interval_ns
    bounds = [gap.longest_silence_ns]
    if provoked is not None and reset.own_last is not None:
        bounds.append(provoked.ts_ns - reset.own_last.ts_ns)
    if gap.ended_by_packet == reset.moment.packet and interval_ns is not None:
        bounds.append(interval_ns)
    return max(0, min(bounds))


def _clues(reset: Reset) -> tuple[list[str], list[str], list[str]]:
    """What speaks for another machine than the peer, what may, and what only says that its sender did not know the connection (any more).

    Paths of the same cost differ by a router or two, and a packet may take another one than those before it (RFC 2992). A middlebox
    near the end of the path differs by no more than that.
    """
    foreign, doubtful, stateless = [], [], []
    if reset.usual_hops is not None and reset.hops != reset.usual_hops:
        name = "TTL" if reset.identification is not None else "hop limit"
        differs = f"its {name} is {reset.hops}, that of the {reset.sender}'s others {reset.usual_hops}"
        if abs(reset.hops - reset.usual_hops) <= DETOUR:
            doubtful.append(f"{differs}: another machine on the path may have sent it, or it took another path")
        else:
            foreign.append(f"{differs}: another machine sent it, most likely")
    if reset.identification == 0 and reset.usual_identification:
        stateless.append(f"its IP identification is 0, the {reset.sender}'s other packets are numbered")
    if reset.window == 0 and not reset.acknowledges:
        stateless.append("window 0 and no acknowledgement, as whoever does not know the connection sends it")
    return foreign, doubtful, stateless
