"""The segments that do what nearly all do, taken in with the hot row alone (Van Jacobson's header prediction).

Twin of segment.py: whatever `predicted` does must be what `segment` would have done. Once a packet was captured twice nothing is predicted
any more: copies are told by longer memories of packets than that of the hot rows.
"""

# ruff: noqa: F403, F405, PLR0911, PLR0912, PLR0915, SIM102
# (layout.py is the vocabulary; the compiler makes plain comparisons of chained ones, Python calls of min, max and `in`)

import cython

if not cython.compiled:  # compiled, they come from prediction.pxd
    from captool.capture.columns import ints, longs, octets, words
    from captool.capture.frames import Frames
    from captool.capture.literals import MASK32
    from captool.packets.segments import Segments
    from captool.tcp.layout import *
    from captool.tcp.rows import Rows
    from captool.tcp.sequence import begin_from_newest
    from captool.tcp.table import ConnectionTable



@cython.cfunc
def hand_on(
    rows: Rows,
    conn: cython.longlong,
    direction: cython.longlong,
    seq: cython.longlong,
    acked: cython.longlong,
    length: cython.longlong,
    start: cython.longlong,
    packet: cython.longlong,
    ts: cython.longlong,
) -> cython.int:
    """Give the next bytes of a side to reassembly: their stream offset is that of the full row, and what came since it was packed."""
    side: cython.longlong
    base: cython.longlong
    offset: cython.longlong
    acked_offset: cython.longlong
    conn += rows.origin
    side = conn + SIDES + SIDE * direction
    base = rows.state[side + BASE]
    offset = rows.state[side + NEXT]
    offset += (seq - base - offset) & MASK32
    acked_offset = rows.state[side + ACKED]
    acked_offset += (acked - base - acked_offset) & MASK32
    rows.assembly.segment(
        rows.state[conn + ID],
        direction,
        offset,
        length,
        length,
        start,
        packet,
        ts,
        rows.state[side + BITS] & FROM_START != 0,
        acked_offset,
    )
    return 0


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

    Predicted are the next bytes in order and bare acknowledgements that say something new, of connections in the table. Neither can be a
    duplicate. What is done here is what `segment` would do, with the hot row alone if possible.

    Connections are interleaved at random, so the processor guesses every other branch wrongly that depends on what kind of segment
    this is. What can be calculated is not branched upon: `has_data` and `says_more` are 0 or 1.
    """
    hot: cython.p_longlong = longs(rows.hot, rows.hot_origin)
    half: cython.p_uint = words(rows.halves, 2 * rows.hot_origin)
    full: cython.p_longlong = longs(rows.state, rows.origin)
    frame_column: cython.p_int = ints(segments.frame)
    slots: cython.p_int = ints(segments.slot)
    keys: cython.p_longlong = longs(segments.key)
    ends: cython.p_longlong = longs(segments.ends)
    ports: cython.p_uint = words(segments.end_ports)
    shapes: cython.p_uchar = octets(segments.shape)
    seqs: cython.p_uint = words(segments.seq)
    acks: cython.p_uint = words(segments.ack)
    lengths: cython.p_int = ints(segments.payload_length)
    starts: cython.p_int = ints(segments.payload_offset)
    times: cython.p_longlong = longs(frames.ts_ns)
    at: cython.Py_ssize_t
    side: cython.Py_ssize_t
    entry: cython.longlong
    swapped: cython.longlong
    direction: cython.longlong
    other: cython.longlong
    known: cython.longlong
    now: cython.longlong
    following: cython.longlong
    unacked: cython.longlong
    peer_acked: cython.longlong
    peer_unacked: cython.longlong
    progress: cython.longlong
    length: cython.longlong
    has_data: cython.longlong
    says_more: cython.longlong
    quiet_since: cython.longlong
    limit: cython.longlong
    count: cython.longlong
    distance: cython.longlong
    packet: cython.longlong
    ts: cython.longlong
    it: cython.Py_ssize_t
    if rows.duplicate_packets or frames.first_packet + frames.count > MASK32:
        return begin
    for it in range(begin, end):
        entry = slots[it]
        if entry < 0:
            entry = table.probable(keys[it] >> 1)  # it may have begun in this batch
            if entry < 0:
                return it
        at = entry * HALVES
        known = half[at + HOT_FLAGS]
        if not known & STEADY & shapes[it]:  # PLAIN is the same bit
            return it
        if hot[entry * HOT_ROW + ADDRESSES] != ends[it] or half[at + HOT_PORTS] != ports[it]:
            return it
        swapped = keys[it] & 1
        if (known | shapes[it]) & HOT_IPV6:  # BEYOND_IPV4 is the same bit
            if not table.same_ends(rows, entry, segments, it):
                return it

        direction = swapped ^ (known >> SWAPPED_SHIFT & 1)
        other = at + 1 - direction
        at += direction
        following = half[at + HOT_NEXT]
        if seqs[it] != following:
            return it
        unacked = following - half[at + HOT_ACKED] & MASK32
        peer_acked = half[other + HOT_ACKED]
        peer_unacked = half[other + HOT_NEXT] - peer_acked & MASK32
        progress = acks[it] - peer_acked & MASK32
        if progress > peer_unacked:  # older, or of what was not captured
            return it
        length = lengths[it]
        ts = times[frame_column[it]]
        has_data = 1 if length else 0
        says_more = 1 if progress else 0
        if not (has_data | says_more) & known >> (ACK_SHIFT - (ACK_SHIFT - DATA_SHIFT) * has_data + direction):
            return it  # nothing new, or a kind of segment that this side never sent before
        count = half[at + HOT_COUNT]
        if count & MOST_COUNTED:
            return it
        quiet_since = hot[entry * HOT_ROW + HOT_NS + (direction if half[at + HOT_PACKET] > half[other + HOT_PACKET] else 1 - direction)]
        limit = ((known >> LIMIT_SHIFT & (LIMIT_ONE - 1)) + LIMIT_ONE << (known >> (LIMIT_SHIFT + LIMIT_BITS) & 63)) - LIMIT_ONE
        if has_data & known >> IDLE_SHIFT & (1 if ts - quiet_since > limit else 0):
            return it  # the end of an idle time that is to be noted

        now = known & ~(has_data << IDLE_SHIFT)
        if unacked:
            if known & NEWEST_IS_LAST << direction:
                side = entry * ROW + SIDES + SIDE * direction
                if has_data == 0:
                    full[side + NEWEST_NS] = hot[entry * HOT_ROW + HOT_NS + direction]
                    full[side + NEWEST_PACKET] = half[at + HOT_PACKET]
                    now &= ~(NEWEST_IS_LAST << direction)
                elif not known & FIRST_KNOWN << direction:
                    full[side + FIRST_NS] = hot[entry * HOT_ROW + HOT_NS + direction]
                    full[side + FIRST_PACKET] = half[at + HOT_PACKET]
                    now |= FIRST_KNOWN << direction
            elif has_data and not known & FIRST_KNOWN << direction:
                begin_from_newest(rows, rows.origin + entry * ROW + SIDES + SIDE * direction)
                now |= FIRST_KNOWN << direction
        else:
            now &= ~((FIRST_KNOWN | NEWEST_IS_LAST) << direction)
            # An acknowledgement after which nothing is unacknowledged begins an idle time.
            now |= ((1 if progress == peer_unacked else 0) & says_more & ~has_data) << IDLE_SHIFT
        now |= has_data * NEWEST_IS_LAST << direction
        now &= ~(says_more * FIRST_KNOWN << (1 - direction))
        packet = frames.first_packet + frame_column[it]
        if has_data & known >> CONTENT_SHIFT:
            hand_on(rows, entry * ROW, direction, following, half[at + HOT_ACKED], length, starts[it], packet, ts)
        distance = packet - half[at + HOT_PACKET]
        half[entry * HALVES + HOT_FLAGS] = cython.cast(cython.uint, now)
        half[at + HOT_NEXT] = cython.cast(cython.uint, following + length & MASK32)
        half[other + HOT_ACKED] = acks[it]
        half[at + HOT_PACKET] = cython.cast(cython.uint, packet)
        half[at + HOT_COUNT] = cython.cast(cython.uint, (count & 0xFFFF) + 1 | (distance if distance <= FURTHEST else 0) << 16)
        hot[entry * HOT_ROW + HOT_NS + direction] = ts
    return end
