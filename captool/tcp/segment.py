"""Any segment -> what it changes in the rows of its connection.

`segment` is the whole truth of what a segment means; prediction.py repeats it for those that do as expected. The same packet may be
captured several times (-i any, a bridge and its port); a copy is counted and changes nothing else. It is told by its IP
identification, without one by where it was captured (copies.py); only a client's SYN and a probe, which come seconds apart, are told by
their numbers alone, and all packets of a connection of which these tell that it was captured twice at the same place.
"""

# ruff: noqa: D103, F403, F405, PLR0912, PLR0915, SIM102
# (layout.py is the vocabulary; the compiler makes plain comparisons of chained ones, Python calls of min, max and `in`)

import cython

from captool.tcp.quiet import ShutWindows

if not cython.compiled:  # compiled, they come from segment.pxd
    from captool.capture.literals import MASK31, MASK32, SPREAD
    from captool.tcp.copies import place_of, plain_mark
    from captool.tcp.idle import is_late_probe, is_probe, probe, stir, stop_idling
    from captool.tcp.layout import *
    from captool.tcp.quiet import Probing
    from captool.tcp.rows import Rows
    from captool.tcp.sequence import (
        acknowledge,
        irregular_data,
        missing_before,
        new_data,
        note_answer,
        note_stuck,
        note_syn,
        seq_delta,
        synchronise,
    )
    from captool.tcp.teardown import finish_side, note_closing, note_reset, outlive, speaks_for_its_side, start_linger

# The copies of a packet come within 5 ms, here in units of 1024 ns; of one that nothing names, only those within 1 ms are told.
DUPLICATE_NS = cython.declare(cython.longlong, 5_000_000)
DUPLICATE_TICKS = cython.declare(cython.longlong, 5_000_000 >> 10)
LOOKED_BACK = cython.declare(cython.longlong, SEEN // 8)
OLD_ONES = cython.declare(cython.int, 32)
COPY_TICKS = cython.declare(cython.longlong, 1_000_000 >> 10)
PROBE_COPY_NS = cython.declare(cython.longlong, 1_000_000)


@cython.cfunc
@cython.inline
@cython.exceptval(check=False)
def same_packet(kept: cython.longlong, identity: cython.longlong, ticks: cython.longlong) -> cython.bint:
    return kept >> 32 == identity and (ticks - kept + DUPLICATE_TICKS) & MASK32 <= 2 * DUPLICATE_TICKS


@cython.cfunc
@cython.boundscheck(False)
@cython.exceptval(check=False)
def seen_lately(rows: Rows, packet: cython.longlong, identity: cython.longlong, ticks: cython.longlong) -> cython.bint:
    """Whether one of the last packets of the capture, predicted or not, was the same. Places of packets that were not TCP hold old ones."""
    distance: cython.longlong
    kept: cython.longlong
    old: cython.int = 0
    for distance in range(1, LOOKED_BACK):
        kept = rows.seen[packet - distance & SEEN - 1]
        if same_packet(kept, identity, ticks):
            return True
        old = 0 if (ticks - kept + DUPLICATE_TICKS) & MASK32 <= 2 * DUPLICATE_TICKS else old + 1
        if old > OLD_ONES:
            break
    return False


@cython.cfunc
@cython.exceptval(-1)
def remembered(rows: Rows, place: cython.longlong, identity: cython.longlong, ticks: cython.longlong) -> cython.int:
    """1 for a copy of a packet that is remembered; another one takes the oldest place of its set.

    The last few packets of each sender are not enough: files of two interfaces whose clocks or queues are a millisecond apart have a
    burst between a packet and its copy.
    """
    key: cython.longlong = (identity ^ place * SPREAD) & MASK31 | 1
    first: cython.longlong = (key >> 1 & (SETS - 1)) * WAYS
    oldest: cython.longlong = first
    at: cython.longlong
    for at in range(first, first + WAYS):
        if same_packet(rows.recent_packets[at], key, ticks):
            return 1
        if (ticks - rows.recent_packets[at]) & MASK32 > (ticks - rows.recent_packets[oldest]) & MASK32:
            oldest = at
    rows.recent_packets[oldest] = key << 32 | ticks
    return 0


@cython.cfunc
@cython.exceptval(-1)
def probe_again(
    rows: Rows, place: cython.longlong, sender: cython.longlong, seq: cython.longlong, ts: cython.longlong
) -> cython.bint:
    """Whether an empty segment without identification is the last probe again: probes come seconds apart, copies within a millisecond."""
    probing: Probing = rows.probing[place]
    since: cython.longlong = ts - probing.last_ns
    return -PROBE_COPY_NS <= since <= PROBE_COPY_NS and seq_delta(seq, rows.state[sender + BASE] + rows.state[sender + ACKED]) == -1


@cython.cfunc
@cython.boundscheck(False)
def segment(
    rows: Rows,
    place: cython.longlong,
    ts: cython.longlong,
    packet: cython.longlong,
    seq: cython.longlong,
    ack: cython.longlong,
    flags: cython.longlong,
    window: cython.longlong,
    mark: cython.longlong,
    identity: cython.longlong,
    hops: cython.longlong,
    length: cython.longlong,
    captured: cython.longlong,
    start: cython.longlong,
    selective: cython.bint,
) -> cython.int:
    """Take in any segment, which may be a `selective` acknowledgement; the full row is to be unpacked before and packed after it."""
    direction: cython.longlong = place & 1
    conn: cython.longlong = rows.origin + (place >> 1) * ROW
    sender: cython.longlong = conn + SIDES + SIDE * direction
    receiver: cython.longlong = conn + SIDES + SIDE * (1 - direction)
    offset: cython.longlong
    letters: cython.longlong = 0
    where: cython.longlong = place_of(mark, hops)
    ticks: cython.longlong = ts >> 10 & MASK32
    previous: cython.longlong = ts
    half: cython.longlong = 2 * rows.hot_origin + (place >> 1) * HALVES + direction
    distance: cython.longlong
    recent: cython.bint
    doubled: cython.bint = False
    named: cython.bint
    opening: cython.bint
    awaited: cython.longlong
    at: cython.longlong

    if place < 0 or place >> 1 >= rows.slots:
        raise IndexError("no such connection")
    mark = plain_mark(mark)
    named = 0 < mark < 0x10000
    opening = flags & (SYN | ACK) == SYN  # a SYN with ACK answers each SYN, and may be sent again at the same moment
    if not named:
        doubled = rows.placed_packets.is_copy(place, identity, where, ticks, DUPLICATE_TICKS if opening else COPY_TICKS)
    if not doubled and (named or opening or rows.state[conn + STATE] & COPIED):
        recent = -DUPLICATE_NS <= ts - rows.state[sender + LAST_NS] <= DUPLICATE_NS
        if recent:
            for at in range(sender + RECENT, sender + RECENT + 4):
                doubled = doubled or same_packet(rows.state[at], identity, ticks)
            # The last two packets of the sender, predicted or not, if they are still among those that are remembered.
            at = packet - rows.halves[half + HOT_PACKET] & MASK32
            distance = at + (rows.halves[half + HOT_COUNT] >> 16)
            if at < SEEN // 2:
                doubled = doubled or same_packet(rows.seen[packet - at & SEEN - 1], identity, ticks)
            if at < distance < SEEN // 2:
                doubled = doubled or same_packet(rows.seen[packet - distance & SEEN - 1], identity, ticks)
        if not doubled:
            doubled = remembered(rows, place, identity, ticks)
        if recent and not doubled and rows.state[sender + BITS] & rows.state[receiver + BITS] & BASED:
            # Bytes or an acknowledgement that are not the newest: those of a whole burst that is seen for the second time.
            if seq_delta(seq + length, rows.state[sender + BASE] + rows.state[sender + NEXT]) < 0 or (
                flags & ACK and seq_delta(ack, rows.state[receiver + BASE] + rows.state[receiver + ACKED]) < 0
            ):
                doubled = seen_lately(rows, packet, identity, ticks)
        if doubled and not named:
            rows.state[conn + STATE] |= COPIED
    elif not doubled and length == 0 and place in rows.probing:
        doubled = probe_again(rows, place, sender, seq, ts)
    if doubled:
        rows.duplicate_packets += 1
        return 0
    distance = packet - rows.state[sender + LAST_PACKET]
    rows.halves[half + HOT_COUNT] = distance << 16 if distance <= FURTHEST else 0
    rows.state[sender + RECENT + (rows.state[sender + PACKETS] & 3)] = identity << 32 | ticks
    rows.state[sender + PACKETS] += 1
    if rows.state[conn + IDLE_SINCE] >= 0:
        previous = rows.last_ns(conn)
    if flags & RST and (place >> 1) not in rows.resets:
        note_reset(rows, place, ts, packet, seq, ack, flags, window, mark, hops)
    if flags & SYN:
        note_syn(rows, place, sender, receiver, seq, flags, ts, packet)
    rows.state[sender + LAST_NS] = ts
    rows.state[sender + LAST_PACKET] = packet

    if flags & SYN:
        letters = LETTER_SYN_ACK if flags & ACK else LETTER_SYN
        synchronise(rows, sender, seq)
        seq += 1
    elif not rows.state[sender + BITS] & BASED:
        rows.state[sender + BITS] |= BASED
        rows.state[sender + BASE] = seq
        rows.state[sender + ACKED] = 0
    offset = rows.state[sender + NEXT] + seq_delta(seq, rows.state[sender + BASE] + rows.state[sender + NEXT])

    if flags & RST:
        # Not beyond what was seen to be sent: a RST tells of nothing that the capture does not have.
        if flags & ACK and rows.state[receiver + BITS] & BASED and speaks_for_its_side(rows, sender, offset, mark, hops):
            if seq_delta(ack, rows.state[receiver + BASE] + rows.state[receiver + NEXT]) <= 0:
                acknowledge(rows, place, sender, receiver, ack, flags, ts)
        rows.note_letters(conn, direction, LETTER_RST)
        stop_idling(rows, conn, ts, previous, "rst", packet, -1)
        rows.state[sender + BITS] |= RESET
        note_closing(rows, place, ts, packet)
        start_linger(rows, place, ts)
        return 0

    awaited = rows.state[receiver + ACKED]
    if flags & ACK:
        if not flags & SYN and not rows.state[conn + STATE] & OPENED:
            rows.state[conn + STATE] |= OPENED
            if rows.syns:
                note_answer(rows, place ^ 1, ts, packet)
        if acknowledge(rows, place, sender, receiver, ack, flags, ts) and rows.state[conn + IDLE_SINCE] >= 0:
            stop_idling(rows, conn, ts, previous, "data", packet, rows.state[receiver + NEXT] << 1 | (1 - direction))
        if rows.state[sender + BITS] & RESET:
            outlive(rows, place)

    if not rows.state[sender + BITS] & SPOKEN:
        rows.state[sender + USUAL] = (mark + 1) << 8 | hops
        if not flags & SYN:
            rows.state[sender + BITS] |= SPOKEN
    if length == 0 and flags & (SYN | FIN | ACK) == ACK and 0 <= awaited < rows.state[receiver + NEXT]:
        # A duplicate acknowledgement (RFC 5681 2): something above what is awaited arrived. With a SACK that says so the window may
        # change (RFC 6675 2); Linux opens it with the first. A keepalive probe stands one lower.
        if offset >= rows.state[sender + NEXT] and rows.state[receiver + BITS] & DATA_SEEN and rows.state[receiver + ACKED] == awaited:
            if seq_delta(ack, rows.state[receiver + BASE] + awaited) == 0:
                if window == rows.state[sender + WINDOW] or selective:
                    note_stuck(rows, receiver, 0)
    if window == 0 and not flags & SYN:
        letters |= LETTER_WINDOW
        if rows.state[sender + WINDOW]:
            windows = rows.shut_windows.get(place)
            if windows is None:
                windows = rows.shut_windows[place] = ShutWindows()
            windows.shut(packet, ts)
    elif rows.state[sender + WINDOW] == 0 and place in rows.shut_windows:
        rows.shut_windows[place].opened(packet, ts)
    rows.state[sender + WINDOW] = window
    if rows.state[receiver + WINDOW] == 0 and length <= 1 and not flags & (SYN | FIN) and (place ^ 1) in rows.shut_windows:
        # A probe of a window that is shut (RFC 9293 3.8.6.1): the byte before it (Linux: without payload), or the next one.
        if offset == rows.state[sender + ACKED] - 1 or (length and offset == rows.state[sender + ACKED]):
            rows.shut_windows[place ^ 1].probes += 1

    if length <= 1 and offset == rows.state[sender + ACKED] - 1 and is_probe(rows, sender, receiver, offset, length, flags):
        letters |= LETTER_ACK
        probe(rows, place, conn, sender, receiver, ts, previous, packet)
    elif length == 0 and is_late_probe(rows, sender, receiver, offset, flags, ts):
        letters |= LETTER_ACK
        # RST: when it was acknowledged is not known, so that this ends no outage.
        acknowledge(rows, place ^ 1, receiver, sender, rows.state[sender + BASE] + rows.state[sender + NEXT], RST, ts)
        if rows.state[receiver + ACKED] >= rows.state[receiver + NEXT] and not rows.state[receiver + BITS] & RESET:
            previous = rows.state[conn + IDLE_SINCE] = ts
            rows.state[conn + IDLE_PACKET] = packet
        probe(rows, place, conn, sender, receiver, ts, previous, packet)
    elif length:
        if rows.state[conn + IDLE_SINCE] >= 0:
            stop_idling(rows, conn, ts, previous, "data", packet, missing_before(rows, place, offset))
        if captured < length:
            rows.state[conn + SNAPPED] += 1
        letters |= LETTER_DATA
        if offset == rows.state[sender + NEXT] and rows.state[sender + BITS] & DATA_SEEN:
            new_data(rows, sender, receiver, offset, length, ts, packet)
        else:
            offset = irregular_data(rows, place, sender, receiver, offset, length, ts, packet, mark)
        if rows.state[conn + STATE] & WANTED:
            rows.assembly.segment(
                rows.state[conn + ID],
                direction,
                offset,
                length,
                captured,
                start,
                packet,
                ts,
                rows.state[sender + BITS] & FROM_START != 0,
                rows.state[sender + ACKED],
            )
    elif not flags & (SYN | FIN):
        letters |= LETTER_ACK
        if rows.state[conn + IDLE_SINCE] >= 0:
            stir(rows, conn, ts, previous)
        if rows.state[receiver + BITS] & AWAITING and offset >= rows.state[sender + NEXT]:
            if rows.state[receiver + ACKED] >= rows.state[receiver + NEXT]:
                rows.state[receiver + BITS] &= ~AWAITING
                rows.state[receiver + ANSWERED] += 1

    if flags & FIN:
        letters |= LETTER_FIN
        finish_side(rows, place, offset + length, ts, previous, packet, mark)
    if letters << (9 * direction) & ~rows.state[conn + STATE]:
        rows.note_letters(conn, direction, letters)

    # Idle: nothing unacknowledged in either direction; a side that was never heard cannot acknowledge.
    if rows.state[receiver + ACKED] >= rows.state[receiver + NEXT] and (
        rows.state[sender + ACKED] >= rows.state[sender + NEXT]
        or (rows.state[receiver + PACKETS] == 0 and not rows.state[sender + BITS] & RESENDING)
    ):
        if rows.state[conn + IDLE_SINCE] < 0 and rows.state[conn + STATE] & OPENED:
            if not (rows.state[sender + BITS] & rows.state[receiver + BITS] & FINISHED) and not (
                rows.state[receiver + BITS] & RESET
            ):
                rows.state[conn + IDLE_SINCE] = ts
                rows.state[conn + IDLE_PACKET] = packet
    elif rows.state[conn + IDLE_SINCE] >= 0:
        rows.state[conn + IDLE_SINCE] = -1
        rows.state[conn + STATE] &= ~STIRRED
    return 0
