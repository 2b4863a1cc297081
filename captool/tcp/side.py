"""One side of a connection at its end: its block of the row, and what that says of what it sent. Compiled, as closing.py is."""

# ruff: noqa: F403, F405, FURB136, PLR1730
# (layout.py is the vocabulary; the compiler makes Python calls of min and max)

import cython

from captool.direction import Moment
from captool.tcp.connection import Awaited, Keepalive, Lapse, Repeated, SynAgain, Unanswered

if not cython.compiled:  # compiled, they come from side.pxd
    from captool.tcp.layout import *
    from captool.tcp.named import new
    from captool.tcp.quiet import Probing


@cython.final
@cython.cclass
class Side:
    """One side as a sender: its block of the connection's row, and what is kept beside it."""


@cython.cfunc
def side_of(
    state: cython.longlong[::1], conn: cython.longlong, direction: cython.longlong, holes: object, probing: object
) -> Side:
    """One side of the connection whose row begins at `conn`."""
    at: cython.longlong = conn + SIDES + direction * SIDE
    bits: cython.longlong = state[at + BITS]
    side: Side = Side()
    side.next = state[at + NEXT]
    side.acked = state[at + ACKED]
    side.last_ns = state[at + LAST_NS]
    side.last_packet = state[at + LAST_PACKET]
    side.packets = state[at + PACKETS]
    side.fin = state[at + FIN_OFFSET]
    side.sequence = state[at + BASE] + side.next & 0xFFFFFFFF
    side.newest_offset = state[at + NEWEST_OFFSET]
    side.first_packet = state[at + FIRST_PACKET]
    side.first_ns = state[at + FIRST_NS]
    if not side.first_packet:
        side.first_packet = state[at + NEWEST_PACKET]
        side.first_ns = state[at + NEWEST_NS]
    side.resent_first = state[at + RESENT_FIRST]
    side.retransmissions = state[at + RETRANSMISSIONS]
    side.resent = state[at + RESENT]
    side.resent_ns = state[at + RESENT_NS]
    side.resent_packet = state[at + RESENT_PACKET]
    side.newest_packet = state[at + NEWEST_PACKET]
    side.newest_ns = state[at + NEWEST_NS]
    side.stuck = state[at + STUCK] & 0xFFFFFFFF if state[at + STUCK] >> 32 == state[at + ACKED] & 0x7FFFFFFF else 0
    side.probes = state[at + PROBES]
    side.answered = state[at + ANSWERED]
    side.longest_idle = state[at + LONGEST_IDLE]
    side.forgotten = state[at + FORGOTTEN]
    side.awaiting = bits & AWAITING != 0
    side.reset = bits & RESET != 0
    side.finished = bits & FINISHED != 0
    side.synchronised = state[at + SYN_SEQ] >= 0
    side.holes = holes
    side.probing = probing
    side.data_end = side.fin if side.finished else side.next
    side.acknowledged = side.acked
    if side.finished and side.data_end < side.acknowledged:
        side.acknowledged = side.data_end
    if side.acknowledged < 0:
        side.acknowledged = 0
    return side


@cython.cfunc
def moment(packet: cython.longlong, ts_ns: cython.longlong) -> object:
    """The Moment of a packet, None for no packet."""
    return new(Moment, (packet, ts_ns)) if packet else None


@cython.cfunc
def payload_bytes(side: Side) -> cython.longlong:
    """Bytes of the stream that were captured, each counted once."""
    missing: cython.longlong = sum([end - begin for begin, end, _, _ in side.holes]) if side.holes else 0
    missing = side.data_end - side.forgotten - missing
    return missing if missing > 0 else 0


@cython.cfunc
def stream_holes(side: Side) -> cython.longlong:
    """Bytes that the peer acknowledged and the capture does not have."""
    inside: cython.longlong = sum([max(0, min(end, side.acked) - begin) for begin, end, _, _ in side.holes]) if side.holes else 0
    if not side.finished and side.acked > side.next:
        inside += side.acked - side.next
    return side.forgotten + inside


@cython.cfunc
def unacknowledged_bytes(side: Side, peer: Side) -> cython.longlong:
    """Payload without an acknowledgement; where the peer was never heard, only what was sent again counts."""
    missing: cython.longlong = 0
    if peer.packets:
        missing = side.data_end - (side.acked if side.acked > 0 else 0)
    elif side.resent:
        missing = side.data_end - side.newest_offset
    return missing if missing > 0 else 0


@cython.cfunc
def unanswered_data(side: Side, peer: Side, missing: cython.longlong) -> object:
    """Data (Unanswered) that was sent again since the peer's last acknowledgement, and is not acknowledged."""
    if not side.resent or not missing:
        return None
    return Unanswered(
        first=Moment(side.first_packet, side.first_ns),
        last=Moment(side.resent_packet, side.resent_ns),
        bytes=missing,
        retransmissions=side.resent,
        peer_last_heard=Moment(peer.last_packet, peer.last_ns) if peer.packets else None,
        head_bytes=side.stuck >> 16,
        head_sent_again=side.stuck >> 8 & 0xFF,
        duplicate_acks=side.stuck & 0xFF,
    )


@cython.cfunc
def awaited_data(side: Side) -> object:
    """What the peer asked for again, if the capture does not have it either (Awaited); else None."""
    if not side.stuck & 0xFF or not side.holes:
        return None
    for begin, end, _, _ in side.holes:
        if begin <= side.acked < end:
            return new(Awaited, (end - side.acked, new(Moment, (side.newest_packet, side.newest_ns)), side.stuck & 0xFF))
    return None


@cython.cfunc
def repeated_data(side: Side, repeats: object) -> object:
    """What was sent again although it was acknowledged (Repeated); None of none."""
    if repeats is None or repeats.longest is None:
        return None
    times, first, first_ns, last, last_ns = repeats.longest
    lasting = repeats.next == side.next and repeats.longest == repeats.now
    return new(Repeated, (new(Moment, (first, first_ns)), new(Moment, (last, last_ns)), times, lasting))


@cython.cfunc
def syn_again(syns: object) -> object:
    """A SYN that was sent again (SynAgain); None of one that was not."""
    if syns is None:
        return None
    first, last, answer = new(Moment, syns.first), new(Moment, syns.last), syns.answer
    return new(SynAgain, (first, last, syns.times, syns.early, None if answer is None else new(Moment, answer)))


@cython.cfunc
def keepalive(side: Side, peer: Side, window_ns: cython.longlong) -> object:
    """The probes that one side sent (Keepalive)."""
    longest_idle: cython.longlong = side.longest_idle if side.packets else 0
    # A probe stands below what the peer acknowledged, which a capture of one direction does not show.
    whole: cython.bint = longest_idle >= window_ns > 0 and peer.packets != 0
    status: str = "present" if side.probes else "missing" if whole else "not-observable"
    probing: Probing
    unanswered: cython.longlong = 0
    # In the order of Keepalive's fields; a probe told by its answer alone has no distance to another.
    if side.probing is None:
        return new(Keepalive, (status, side.probes, side.answered, None, longest_idle, None, 0, None, None, None))
    probing = side.probing
    lapse: object = probing.lapse
    if peer.packets and probing.heard_packet == peer.last_packet:
        unanswered = probing.run
    elif peer.packets and not peer.reset:
        lapse = probing.lapsed(not side.awaiting)
    return new(
        Keepalive,
        (
            status,
            side.probes,
            side.answered,
            median(probing.intervals or probing.retries),
            longest_idle,
            median(probing.firsts),
            unanswered,
            new(Moment, (probing.first_packet, probing.first_ns)) if unanswered else None,
            new(Moment, (probing.last_packet, probing.last_ns)),
            None if lapse is None else Lapse(Moment(lapse[1], lapse[2]), Moment(lapse[3], lapse[4]), lapse[0]),
        ),
    )


def median(distances: list[int]) -> int | None:
    """The lower of the middle two, None of none."""
    return sorted(distances)[(len(distances) - 1) // 2] if distances else None
