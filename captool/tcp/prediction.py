"""The segments that do what nearly all do, taken in with the hot row alone (Van Jacobson's header prediction).

Twin of segment.py: whatever `predicted` does must be what `segment` would have done. Once a packet was captured twice nothing is predicted
any more: copies are told by the full rows' longer memory of packets.
"""

# ruff: noqa: F403, F405, PLR0911, PLR0912, PLR0915
# (layout.py is the vocabulary; the compiler makes plain comparisons of chained ones, Python calls of min, max and `in`)

import cython

if not cython.compiled:  # compiled, they come from prediction.pxd
    from captool.tcp.idle import idle_limit
    from captool.tcp.layout import *
    from captool.tcp.rows import Rows
    from captool.tcp.segment import packet_identity
    from captool.tcp.sequence import begin_from_newest

TWO32 = cython.declare(cython.longlong, 0x100000000)
MASK32 = cython.declare(cython.longlong, 0xFFFFFFFF)
HALF32 = cython.declare(cython.longlong, 0x80000000)


@cython.cfunc
def predicted(
    rows: Rows,
    place: cython.longlong,
    ts: cython.longlong,
    packet: cython.longlong,
    seq: cython.longlong,
    ack: cython.longlong,
    flags: cython.longlong,
    window: cython.longlong,
    mark: cython.longlong,
    length: cython.longlong,
    captured: cython.longlong,
) -> cython.bint:
    """Take in a segment that does what nearly all do (Jacobson's header prediction), else change nothing and say so.

    Predicted are the next bytes in order, where the content is not wanted, and bare acknowledgements that say something
    new. Neither can be a duplicate. What is done here is what `segment` would do, with the hot row alone if possible.
    """
    direction: cython.longlong = place & 1
    row: cython.longlong = rows.hot_origin + (place >> 1) * HOT_ROW
    times: cython.longlong = row + TIMES + 4 * direction
    known: cython.longlong = rows.hot[row + PORTS_FLAGS] & MASK32
    now: cython.longlong = known
    following: cython.longlong = rows.hot[row + NEXTS + 2 * direction]
    acked: cython.longlong = rows.hot[row + ACKEDS + 2 * direction]
    peer_acked: cython.longlong = rows.hot[row + ACKEDS + 2 - 2 * direction]
    peer_following: cython.longlong = rows.hot[row + NEXTS + 2 - 2 * direction]
    bases: cython.longlong = rows.hot[row + BASES]
    counts: cython.longlong = rows.hot[row + PACKET_COUNTS]
    progress: cython.longlong
    if not known & STEADY or flags & (SYN | FIN | RST | ACK) != ACK or window == 0 or rows.duplicate_packets:
        return False
    if seq != ((bases >> (32 - 32 * direction)) + following) & MASK32:
        return False
    progress = ((ack - (bases >> (32 * direction) & MASK32) - peer_acked + HALF32) & MASK32) - HALF32  # seq_delta, without the call
    if progress < 0 or peer_acked + progress > peer_following:
        return False
    if length == 0:
        if progress == 0 or not known & ACK_EXPECTED << direction:
            return False
    elif captured != length or not known & DATA_EXPECTED << direction:
        return False
    elif known & IDLE:
        if ts - rows.last_hot_ns(row) > idle_limit(known >> LIMIT_SHIFT):
            return False
        now &= ~IDLE

    if acked < following:
        if known & NEWEST_IS_LAST << direction:
            if length == 0:
                keep_moment(rows, place, times, NEWEST_NS, NEWEST_PACKET)
                now &= ~(NEWEST_IS_LAST << direction)
            elif not known & FIRST_KNOWN << direction:
                keep_moment(rows, place, times, FIRST_NS, FIRST_PACKET)
                now |= FIRST_KNOWN << direction
        elif length and not known & FIRST_KNOWN << direction:
            begin_from_newest(rows, rows.origin + (place >> 1) * ROW + SIDES + SIDE * direction)
            now |= FIRST_KNOWN << direction
    else:
        now &= ~((FIRST_KNOWN | NEWEST_IS_LAST) << direction)
    if length:
        now |= NEWEST_IS_LAST << direction
        rows.hot[row + NEXTS + 2 * direction] = following + length
    if progress:
        peer_acked += progress
        rows.hot[row + ACKEDS + 2 - 2 * direction] = peer_acked
        now &= ~(FIRST_KNOWN << (1 - direction))
        if length == 0 and peer_acked >= peer_following and acked >= following:
            now |= IDLE
    rows.hot[row + PORTS_FLAGS] += now - known
    rows.hot[row + PACKET_COUNTS] = counts + (1 if direction else TWO32)
    counts = counts >> (32 - 32 * direction)
    rows.hot[times] = ts
    rows.hot[times + 1] = packet
    rows.hot[times + 2 + (counts & 1)] = packet_identity(seq, ack, flags, length, mark) << 32 | (ts >> 10 & MASK32)
    return True


@cython.cfunc
def keep_moment(
    rows: Rows, place: cython.longlong, times: cython.longlong, ns_field: cython.longlong, packet_field: cython.longlong
) -> cython.int:
    """Bring the side's last moment over to a pair of fields of its full row."""
    side: cython.longlong = rows.origin + (place >> 1) * ROW + SIDES + SIDE * (place & 1)
    rows.state[side + ns_field] = rows.hot[times]
    rows.state[side + packet_field] = rows.hot[times + 1]
    return 0
