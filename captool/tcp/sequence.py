"""What a side sent and its peer acknowledged: sequence numbers (RFC 9293 3.4) -> 64-bit stream offsets.

Offset 0 is the first payload byte after the SYN, or the first byte seen where the capture starts mid-stream; then it moves when what
is seen shows that more came before. Nothing compares raw sequence numbers but `seq_delta`. Invariant: `NEXT` - `ACKED` is unacknowledged,
`HOLED` is set while `holes` lists something for the place.
"""

# ruff: noqa: D103, F403, F405, FURB136, SIM102
# (layout.py is the vocabulary; the compiler makes plain comparisons of chained ones, Python calls of min, max and `in`)

import cython

from captool.direction import Moment
from captool.tcp.connection import Outage
from captool.tcp.holes import Overtaken, add_hole, fill_holes, overtaken
from captool.tcp.quiet import Repeats, SynsAgain

if not cython.compiled:  # compiled, they come from sequence.pxd
    from captool.capture.literals import HALF32, MASK31, MASK32
    from captool.tcp.idle import stir
    from captool.tcp.layout import *
    from captool.tcp.rows import Rows

# How far above the captured data an acknowledgement is believed: the capture may have missed that much.
MAX_UNSEEN = cython.declare(cython.longlong, 1 << 30)
# Data that waited for less is not worth telling: a second transmission that was lost as well takes about as long.
OUTAGE_NS = cython.declare(cython.longlong, 1_000_000_000)


@cython.cfunc
@cython.inline
@cython.exceptval(check=False)
def seq_delta(later: cython.longlong, earlier: cython.longlong) -> cython.longlong:
    """Signed distance of two sequence numbers, right across the 2**32 wrap."""
    return ((later - earlier + HALF32) & MASK32) - HALF32


@cython.cfunc
def note_syn(
    rows: Rows,
    place: cython.longlong,
    sender: cython.longlong,
    receiver: cython.longlong,
    seq: cython.longlong,
    flags: cython.longlong,
    ts: cython.longlong,
    packet: cython.longlong,
) -> cython.int:
    """A SYN, before its sender's row knows of it: is it sent again, or the answer to one that was."""
    if rows.state[sender + SYN_SEQ] != seq:
        return note_answer(rows, place ^ 1, ts, packet)
    if rows.state[sender + BITS] & SPOKEN:
        return 0
    if place not in rows.syns:
        rows.syns[place] = SynsAgain(rows.state[sender + LAST_PACKET], rows.state[sender + LAST_NS])
    rows.syns[place].again(
        packet, ts, rows.state[receiver + BITS] & SPOKEN != 0 if flags & ACK else rows.state[receiver + PACKETS] != 0
    )
    return 0


@cython.cfunc
def note_answer(rows: Rows, place: cython.longlong, ts: cython.longlong, packet: cython.longlong) -> cython.int:
    """The first answer to the SYN of `place`, if it was sent again."""
    syns = rows.syns.get(place)
    if syns is not None and syns.early == syns.times and syns.answer is None:
        syns.answer = (packet, ts)
    return 0


@cython.cfunc
def synchronise(rows: Rows, sender: cython.longlong, seq: cython.longlong) -> cython.int:
    if rows.state[sender + SYN_SEQ] == seq:
        return 0
    if rows.state[sender + BITS] & DATA_SEEN and rows.state[sender + BASE] != (seq + 1) & MASK32:
        return 0  # a stray SYN that begins nothing anew cannot move a stream that has bytes already
    rows.state[sender + SYN_SEQ] = seq
    rows.state[sender + BITS] |= FROM_START
    if not rows.state[sender + BITS] & BASED or rows.state[sender + BASE] != (seq + 1) & MASK32:
        rows.state[sender + BITS] = (rows.state[sender + BITS] | BASED) & ~ACK_KNOWN
        rows.state[sender + BASE] = (seq + 1) & MASK32
        rows.state[sender + ACKED] = -1
        rows.state[sender + NEXT] = 0
    return 0


@cython.cfunc
@cython.boundscheck(False)
def acknowledge(
    rows: Rows,
    place: cython.longlong,
    sender: cython.longlong,
    receiver: cython.longlong,
    ack: cython.longlong,
    flags: cython.longlong,
    ts: cython.longlong,
) -> cython.int:
    """Take in `sender`'s acknowledgement of what `receiver` sent; 1 where it tells of data, or a FIN, that the capture does not have."""
    offset: cython.longlong
    more: cython.longlong
    known: cython.bint
    unseen: cython.int = 0
    bits: cython.longlong = rows.state[receiver + BITS]
    if not bits & BASED:
        rows.state[receiver + BASE] = ack
        rows.state[receiver + ACKED] = 0
        rows.state[receiver + BITS] = bits | BASED | ACK_KNOWN | (FROM_START if flags & SYN else 0)
        return 0
    offset = rows.state[receiver + ACKED] + seq_delta(ack, rows.state[receiver + BASE] + rows.state[receiver + ACKED])
    if offset > rows.state[receiver + ACKED] or not bits & ACK_KNOWN:
        if offset > rows.state[receiver + NEXT] + MAX_UNSEEN:
            return 0
        # Where only empty segments were seen, and no acknowledgement of theirs, one more may be what a probe stands below.
        known = bits & ACK_KNOWN != 0 and rows.state[receiver + ACKED] >= rows.state[receiver + NEXT]
        more = 0 if known or bits & (DATA_SEEN | FROM_START) else 1
        if bits & ACK_KNOWN and offset > rows.state[receiver + ACKED] + more and offset > rows.state[receiver + NEXT] + more:
            unseen = 1
        if bits & RESENDING and rows.state[sender + WINDOW] and not flags & RST:
            note_outage(rows, place ^ 1, sender, receiver, offset, ts)
        rows.state[receiver + ACKED] = offset
        if bits & (ACK_KNOWN | RESENDING) != ACK_KNOWN:
            rows.state[receiver + BITS] = (bits | ACK_KNOWN) & ~RESENDING
            rows.state[receiver + RESENT] = 0
        rows.state[receiver + FIRST_PACKET] = 0
        if offset > rows.state[receiver + NEXT] and not bits & (DATA_SEEN | FROM_START):
            rebase_unseen(rows, place, sender, receiver, offset, ts, more)
    if bits & HOLED:
        conn: cython.longlong = rows.origin + (place >> 1) * ROW
        if rows.state[conn + STATE] & WANTED:
            rows.assembly.acknowledged(rows.state[conn + ID], 1 - (place & 1), rows.state[receiver + ACKED], ts)
    return unseen


@cython.cfunc
def note_outage(
    rows: Rows,
    place: cython.longlong,
    sender: cython.longlong,
    receiver: cython.longlong,
    offset: cython.longlong,
    ts: cython.longlong,
) -> cython.int:
    """What `receiver` sent again is acknowledged at last, up to `offset`, by the last packet of `sender`: keep the longest time it took.

    Not where the capture lacks packets of that time: they may have been answers.
    """
    known: cython.bint = rows.state[receiver + FIRST_PACKET] != 0
    first_ns: cython.longlong = rows.state[receiver + FIRST_NS] if known else rows.state[receiver + NEWEST_NS]
    if ts - first_ns < OUTAGE_NS:
        return 0
    # A sender tries again before it has waited for twice as long (RFC 6298 5.5), unless it is answered.
    if ts - rows.state[receiver + RESENT_NS] > rows.state[receiver + RESENT_NS] - first_ns + OUTAGE_NS:
        return 0
    if offset > rows.state[receiver + NEXT]:
        return 0
    if rows.state[receiver + BITS] & HOLED:
        for begin, end, _, _ in rows.holes[place]:
            if begin < offset and end > rows.state[receiver + ACKED]:
                return 0
    outage = rows.outages.get(place)
    if outage is not None and outage.until.ts_ns - outage.first.ts_ns >= ts - first_ns:
        return 0
    rows.outages[place] = Outage(
        Moment(rows.state[receiver + FIRST_PACKET] if known else rows.state[receiver + NEWEST_PACKET], first_ns),
        Moment(rows.state[receiver + RESENT_PACKET], rows.state[receiver + RESENT_NS]),
        Moment(rows.state[sender + LAST_PACKET], ts),
        rows.state[receiver + RESENT],
    )
    return 0


@cython.cfunc
def rebase_unseen(
    rows: Rows,
    place: cython.longlong,
    sender: cython.longlong,
    receiver: cython.longlong,
    offset: cython.longlong,
    ts: cython.longlong,
    more: cython.longlong,
) -> cython.int:
    """Mid-stream, only empty segments came from `receiver`, and now bytes above them are acknowledged; `more`: those were not before."""
    conn: cython.longlong = rows.origin + (place >> 1) * ROW
    probes: cython.longlong = rows.state[receiver + PACKETS]
    if more and offset == rows.state[receiver + NEXT] + 1 and probes and rows.state[sender + WINDOW]:
        # They stood one below what is acknowledged: they were probes.
        if not rows.state[receiver + BITS] & FINISHED:
            rows.state[receiver + PROBES] += probes
            rows.state[receiver + BITS] |= AWAITING
            if rows.state[conn + IDLE_SINCE] >= 0:
                stir(rows, conn, ts, ts)
                rows.state[receiver + GAP_PROBES] += probes
                rows.state[receiver + QUIET_SINCE] = rows.state[receiver + LAST_NS]
    if not rows.state[receiver + BITS] & FINISHED:
        rows.state[receiver + BASE] = (rows.state[receiver + BASE] + offset) & MASK32
        rows.state[receiver + ACKED] = rows.state[receiver + NEXT] = 0
    return 0


@cython.cfunc
def missing_before(rows: Rows, place: cython.longlong, offset: cython.longlong) -> cython.longlong:
    """The first byte before `offset` of which nothing was known until now, as SeenGap has it; -1 where there is none."""
    side: cython.longlong = rows.origin + (place >> 1) * ROW + SIDES + SIDE * (place & 1)
    if offset <= rows.state[side + NEXT] or offset <= rows.state[side + ACKED]:
        return -1
    return rows.state[side + NEXT] << 1 | (place & 1)


@cython.cfunc
def irregular_data(
    rows: Rows,
    place: cython.longlong,
    sender: cython.longlong,
    receiver: cython.longlong,
    offset: cython.longlong,
    length: cython.longlong,
    ts: cython.longlong,
    packet: cython.longlong,
    mark: cython.longlong,
) -> cython.longlong:
    """Take in payload that is the first of its side, above a hole, or (partly) below what was sent; returns its offset."""
    conn: cython.longlong = rows.origin + (place >> 1) * ROW
    end: cython.longlong
    forgotten: cython.longlong
    if not rows.state[sender + BITS] & DATA_SEEN:
        rows.state[sender + BITS] |= DATA_SEEN
        if offset and not rows.state[sender + BITS] & FROM_START:  # mid-stream: offset 0 is the first byte seen
            rows.state[sender + BASE] = (rows.state[sender + BASE] + offset) & MASK32
            rows.state[sender + ACKED] -= offset
            rows.state[sender + NEXT] = 0
            offset = 0
    end = offset + length
    if offset >= rows.state[sender + NEXT]:
        if offset > rows.state[sender + NEXT]:
            rows.note_letters(conn, place & 1, LETTER_GAP)
            rows.state[sender + BITS] |= HOLED
            forgotten = add_hole(rows.holes.setdefault(place, []), rows.state[sender + NEXT], offset, mark, ts)
            rows.state[sender + FORGOTTEN] += forgotten
        new_data(rows, sender, receiver, offset, length, ts, packet)
        return offset
    if came_late(rows, place, sender, offset, end, mark, ts):
        return filled(rows, place, sender, offset, end)
    rows.note_letters(conn, place & 1, LETTER_AGAIN)
    rows.state[sender + RETRANSMISSIONS] += 1
    if end > rows.state[sender + ACKED]:
        if offset <= rows.state[sender + ACKED]:
            note_stuck(rows, sender, length)
        rows.state[sender + BITS] |= RESENDING
        rows.state[sender + RESENT] += 1
        if rows.state[sender + RESENT] == 1:
            rows.state[sender + RESENT_FIRST] = packet
        rows.state[sender + RESENT_NS] = ts
        rows.state[sender + RESENT_PACKET] = packet
    elif rows.state[receiver + PACKETS]:
        repeats = rows.repeats.get(place)
        if repeats is None:
            repeats = rows.repeats[place] = Repeats()
        repeats.repeated(packet, ts, rows.state[sender + NEXT])
    return filled(rows, place, sender, offset, end)


@cython.cfunc
def came_late(
    rows: Rows,
    place: cython.longlong,
    sender: cython.longlong,
    offset: cython.longlong,
    end: cython.longlong,
    mark: cython.longlong,
    ts: cython.longlong,
) -> cython.bint:
    """Whether bytes below what was sent were overtaken by others, and not sent again."""
    holed: cython.bint = rows.state[sender + BITS] & HOLED != 0
    late = rows.overtaken.get(place)
    if holed and late is None:
        late = rows.overtaken[place] = Overtaken()
    if late is None:
        return False
    if (holed and overtaken(rows.holes[place], offset, end, mark, ts)) or overtaken(late.filled, offset, end, mark, ts):
        late.count += 1
        return True
    if holed:
        late.sent_again(rows.holes[place], offset, end)
    return False


@cython.cfunc
def filled(
    rows: Rows, place: cython.longlong, sender: cython.longlong, offset: cython.longlong, end: cython.longlong
) -> cython.longlong:
    """Bytes below what was sent came: what holes are left. Returns their offset."""
    if rows.state[sender + BITS] & HOLED:
        left = fill_holes(rows.holes[place], offset, end)
        rows.holes[place] = left
        if not left:
            rows.state[sender + BITS] &= ~HOLED
    if end > rows.state[sender + NEXT] and not rows.state[sender + BITS] & FINISHED:
        rows.state[sender + NEXT] = end
    return offset


@cython.cfunc
def note_stuck(rows: Rows, side: cython.longlong, length: cython.longlong) -> cython.int:
    """The first bytes of this side that are not acknowledged were sent again (`length`), or acknowledged up to there again (0)."""
    at: cython.longlong = (rows.state[side + ACKED] & MASK31) << 32
    known: cython.longlong = rows.state[side + STUCK]
    smallest: cython.longlong = known >> 16 & 0xFFFF
    times: cython.longlong = known >> 8 & 0xFF
    again: cython.longlong = known & 0xFF
    if known & (MASK31 << 32) != at:
        smallest = times = again = 0
    if length:
        if smallest == 0 or length < smallest:
            smallest = length if length < 0xFFFF else 0xFFFF
        if times < 0xFF:
            times += 1
    elif again < 0xFF:
        again += 1
    rows.state[side + STUCK] = at | smallest << 16 | times << 8 | again
    return 0


@cython.cfunc
@cython.boundscheck(False)
def new_data(
    rows: Rows,
    sender: cython.longlong,
    receiver: cython.longlong,
    offset: cython.longlong,
    length: cython.longlong,
    ts: cython.longlong,
    packet: cython.longlong,
) -> cython.int:
    """Take in payload at or above all that was sent."""
    if rows.state[sender + ACKED] >= rows.state[sender + NEXT] or not rows.state[receiver + PACKETS]:
        begin_flight(rows, sender)
    elif not rows.state[sender + FIRST_PACKET]:
        begin_from_newest(rows, sender)
    rows.state[sender + NEWEST_OFFSET] = offset
    rows.state[sender + NEWEST_NS] = ts
    rows.state[sender + NEWEST_PACKET] = packet
    rows.state[sender + NEXT] = offset + length
    return 0


@cython.cfunc
@cython.inline
@cython.boundscheck(False)
def begin_flight(rows: Rows, sender: cython.longlong) -> cython.int:
    """All that was sent is acknowledged (or nothing ever is): what follows is the first transmission to remember."""
    rows.state[sender + FIRST_PACKET] = 0
    if rows.state[sender + BITS] & RESENDING:
        rows.state[sender + BITS] &= ~RESENDING
        rows.state[sender + RESENT] = 0
    return 0


@cython.cfunc
@cython.boundscheck(False)
def begin_from_newest(rows: Rows, side: cython.longlong) -> cython.int:
    """More new data while some is unacknowledged: what was the newest is the first of it, as far as is known."""
    rows.state[side + FIRST_NS] = rows.state[side + NEWEST_NS]
    rows.state[side + FIRST_PACKET] = rows.state[side + NEWEST_PACKET]
    return 0
