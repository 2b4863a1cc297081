"""The segments that do what nearly all do, taken in with the hot row alone (Van Jacobson's header prediction).

Twin of segment.py: whatever `predicted` does must be what `segment` would have done. Once a packet was captured twice nothing is predicted
any more: copies are told by longer memories of packets than that of the hot rows.
"""

# ruff: noqa: F403, F405, PLR0911, PLR0912, PLR0915, SIM102
# (layout.py is the vocabulary; the compiler makes plain comparisons of chained ones, Python calls of min, max and `in`)

import cython

if not cython.compiled:  # compiled, they come from prediction.pxd
    from captool.capture.frames import Frames
    from captool.packets.segments import Segments
    from captool.tcp.idle import idle_limit
    from captool.tcp.layout import *
    from captool.tcp.rows import Rows
    from captool.tcp.segment import packet_identity
    from captool.tcp.sequence import begin_from_newest
    from captool.tcp.table import ConnectionTable, row_addresses

TWO32 = cython.declare(cython.longlong, 0x100000000)
MASK32 = cython.declare(cython.longlong, 0xFFFFFFFF)
HALF32 = cython.declare(cython.longlong, 0x80000000)


@cython.cfunc
@cython.boundscheck(False)
@cython.exceptval(-1)
def predicted(
    rows: Rows,
    table: ConnectionTable,
    frames: Frames,
    segments: Segments,
    begin: cython.Py_ssize_t,
    end: cython.Py_ssize_t,
) -> cython.Py_ssize_t:
    """Take in the segments from `begin` on that do what nearly all do; returns the place of the first other one, or `end`.

    Predicted are the next bytes in order, where the content is not wanted, and bare acknowledgements that say something
    new, of connections in the table. Neither can be a duplicate. What is done here is what `segment` would do, with the hot row
    alone if possible. The segments' `key` is of `look_ahead`.
    """
    hot: cython.longlong[::1] = rows.hot
    at: cython.longlong
    entry: cython.longlong
    wanted: cython.longlong
    swapped: cython.longlong
    source: cython.longlong
    destination: cython.longlong
    differ: cython.longlong
    ports: cython.longlong
    direction: cython.longlong
    other: cython.longlong
    row: cython.longlong
    times: cython.longlong
    known: cython.longlong
    now: cython.longlong
    following: cython.longlong
    acked: cython.longlong
    peer_acked: cython.longlong
    peer_following: cython.longlong
    bases: cython.longlong
    counts: cython.longlong
    progress: cython.longlong
    seq: cython.longlong
    ack: cython.longlong
    flags: cython.longlong
    length: cython.longlong
    ts: cython.longlong
    it: cython.Py_ssize_t
    sharded: cython.bint = table.shards > 1
    if rows.duplicate_packets:
        return begin
    for it in range(begin, end):
        wanted = segments.key[it]
        swapped = wanted & 1
        wanted >>= 1
        if sharded and not table.is_mine(wanted):
            continue
        at = wanted & table.mask
        entry = table.entries[at]
        while entry and entry >> 32 != wanted:
            at = (at + 1) & table.mask
            entry = table.entries[at]
        if entry == 0:
            return it
        entry = (entry & MASK32) - 1
        row = rows.hot_origin + entry * HOT_ROW
        source = segments.source_low[it]
        destination = segments.destination_low[it]
        differ = (source ^ destination) & -swapped
        known = hot[row + PORTS_FLAGS]
        flags = segments.flags[it]
        if not known & STEADY or flags & (SYN | FIN | RST | ACK) != ACK or segments.window[it] == 0:
            return it
        if hot[row + ADDRESSES] != row_addresses(source ^ differ, destination ^ differ):
            return it
        if known & HOT_IPV6 | segments.source_high[it] | segments.destination_high[it] | (source >> 32 ^ 0xFFFF):
            if not table.same_ends(
                rows, entry, swapped, segments.source_high[it], source, segments.destination_high[it], destination
            ):
                return it
        ports = segments.ports[it]
        differ = ((ports >> 16) ^ (ports & 0xFFFF)) & -swapped
        if known >> 32 & MASK32 != ports ^ (differ << 16 | differ):
            return it

        direction = swapped ^ (1 if known & SWAPPED else 0)
        other = 1 - direction
        known &= MASK32
        now = known
        times = row + TIMES + 4 * direction
        following = hot[row + NEXTS + 2 * direction]
        acked = hot[row + ACKEDS + 2 * direction]
        peer_acked = hot[row + ACKEDS + 2 * other]
        peer_following = hot[row + NEXTS + 2 * other]
        bases = hot[row + BASES]
        seq = segments.seq[it]
        ack = segments.ack[it]
        length = segments.payload_length[it]
        ts = frames.ts_ns[segments.frame[it]]
        if seq != ((bases >> (32 - 32 * direction)) + following) & MASK32:
            return it
        # seq_delta, without the call
        progress = ((ack - (bases >> (32 * direction) & MASK32) - peer_acked + HALF32) & MASK32) - HALF32
        if progress < 0 or peer_acked + progress > peer_following:
            return it
        if length == 0:
            if progress == 0 or not known & ACK_EXPECTED << direction:
                return it
        elif segments.payload_captured[it] != length or not known & DATA_EXPECTED << direction:
            return it
        elif known & IDLE:
            if ts - rows.last_hot_ns(row) > idle_limit(known >> LIMIT_SHIFT):
                return it
            now &= ~IDLE

        if acked < following:
            if known & NEWEST_IS_LAST << direction:
                if length == 0:
                    keep_moment(rows, entry, direction, times, NEWEST_NS, NEWEST_PACKET)
                    now &= ~(NEWEST_IS_LAST << direction)
                elif not known & FIRST_KNOWN << direction:
                    keep_moment(rows, entry, direction, times, FIRST_NS, FIRST_PACKET)
                    now |= FIRST_KNOWN << direction
            elif length and not known & FIRST_KNOWN << direction:
                begin_from_newest(rows, rows.origin + entry * ROW + SIDES + SIDE * direction)
                now |= FIRST_KNOWN << direction
        else:
            now &= ~((FIRST_KNOWN | NEWEST_IS_LAST) << direction)
        if length:
            now |= NEWEST_IS_LAST << direction
            hot[row + NEXTS + 2 * direction] = following + length
        if progress:
            peer_acked += progress
            hot[row + ACKEDS + 2 * other] = peer_acked
            now &= ~(FIRST_KNOWN << other)
            if length == 0 and peer_acked >= peer_following and acked >= following:
                now |= IDLE
        hot[row + PORTS_FLAGS] += now - known
        counts = hot[row + PACKET_COUNTS]
        hot[row + PACKET_COUNTS] = counts + (1 if direction else TWO32)
        counts = counts >> (32 - 32 * direction)
        hot[times] = ts
        hot[times + 1] = frames.first_packet + segments.frame[it]
        hot[times + 2 + (counts & 1)] = packet_identity(seq, ack, flags, length, segments.mark[it]) << 32 | (ts >> 10 & MASK32)
    return end


@cython.cfunc
def keep_moment(
    rows: Rows,
    slot: cython.longlong,
    direction: cython.longlong,
    times: cython.longlong,
    ns_field: cython.longlong,
    packet_field: cython.longlong,
) -> cython.int:
    """Bring the side's last moment over to a pair of fields of its full row."""
    side: cython.longlong = rows.origin + slot * ROW + SIDES + SIDE * direction
    rows.state[side + ns_field] = rows.hot[times]
    rows.state[side + packet_field] = rows.hot[times + 1]
    return 0
