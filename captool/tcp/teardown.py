"""How a connection ends and gives way to the next on its ports: FIN, RST, lingering, a new SYN (RFC 9293 3.5 and 3.6).

A connection that ended lingers for late packets; `ended_lingering` tells those for which none is awaited any more.
"""

# ruff: noqa: D103, F403, F405
# (layout.py is the vocabulary; the compiler makes plain comparisons of chained ones, Python calls of min, max and `in`)

import cython

from captool.tcp.holes import add_hole
from captool.tcp.quiet import SeenReset

if not cython.compiled:  # compiled, they come from teardown.pxd
    from captool.tcp.idle import stop_idling
    from captool.tcp.layout import *
    from captool.tcp.rows import Rows, max_of
    from captool.tcp.sequence import missing_before, seq_delta

LINGER_NS = cython.declare(cython.longlong, 120_000_000_000)  # twice the 60 s that Linux keeps TIME_WAIT


@cython.cfunc
def starts_anew(rows: Rows, place: cython.longlong, seq: cython.longlong, flags: cython.longlong) -> cython.bint:
    """Whether a SYN opens another connection on the same ports, not this one again."""
    conn: cython.longlong = rows.origin + (place >> 1) * ROW
    sender: cython.longlong = conn + SIDES + SIDE * (place & 1)
    receiver: cython.longlong = conn + SIDES + SIDE * (1 - (place & 1))
    opened: cython.bint
    rows.unpack(place >> 1)
    opened = rows.state[conn + STATE] & OPENED != 0
    if rows.state[sender + SYN_SEQ] == seq:
        # The answer of an older connection (RFC 5961 4, a challenge ACK) was reset, and the same SYN is tried again.
        return rows.state[sender + BITS] & RESET != 0 and not flags & ACK
    if rows.state[sender + PACKETS] == 0:
        if flags & ACK:
            return False
        # Both sides at once (RFC 9293 3.5, simultaneous open), unless the other side had gone on long ago.
        return rows.state[receiver + SYN_SEQ] < 0 or opened
    return opened or not flags & ACK


@cython.cfunc
def note_reset(
    rows: Rows,
    place: cython.longlong,
    ts: cython.longlong,
    packet: cython.longlong,
    seq: cython.longlong,
    ack: cython.longlong,
    flags: cython.longlong,
    window: cython.longlong,
    mark: cython.longlong,
    hops: cython.longlong,
) -> cython.int:
    """Keep the first RST of a connection, before it changes what is known of its sender."""
    sender: cython.longlong = rows.origin + (place >> 1) * ROW + SIDES + SIDE * (place & 1)
    receiver: cython.longlong = rows.origin + (place >> 1) * ROW + SIDES + SIDE * (1 - (place & 1))
    acknowledged: cython.longlong = 0
    if flags & ACK and rows.state[receiver + BITS] & ACK_KNOWN:
        acknowledged = max_of(0, seq_delta(ack, rows.state[receiver + BASE] + rows.state[receiver + ACKED]))
    rows.resets[place >> 1] = SeenReset(
        packet,
        ts,
        place & 1,
        hops,
        mark,
        rows.state[sender + USUAL],
        flags & ACK != 0,
        window,
        seq_delta(seq, rows.state[sender + BASE] + rows.state[sender + NEXT]) if rows.state[sender + BITS] & BASED else 0,
        rows.state[sender + LAST_PACKET],
        rows.state[sender + LAST_NS],
        rows.state[receiver + LAST_PACKET],
        rows.state[receiver + LAST_NS],
        acknowledged,
        rows.state[receiver + NEXT],
        max_of(0, acknowledged - max_of(0, rows.state[receiver + NEXT] - rows.state[receiver + ACKED])),
    )
    return 0


@cython.cfunc
def outlive(rows: Rows, place: cython.longlong) -> cython.int:
    """A side of which a RST was seen sent a segment: where that acknowledges what was sent after the RST, this was not the side's own.

    Or it was not taken for valid (RFC 5961 3.2): either way it ended nothing.
    """
    conn: cython.longlong = rows.origin + (place >> 1) * ROW
    sender: cython.longlong = conn + SIDES + SIDE * (place & 1)
    receiver: cython.longlong = conn + SIDES + SIDE * (1 - (place & 1))
    reset = rows.resets.get(place >> 1)
    if reset is None or reset.direction != place & 1 or rows.state[receiver + BITS] & RESET:
        return 0
    if rows.state[receiver + ACKED] <= reset.peer_next or rows.state[receiver + ACKED] > rows.state[receiver + NEXT]:
        return 0
    del rows.resets[place >> 1]
    rows.state[sender + BITS] &= ~RESET
    if rows.state[conn + CLOSING_PACKET] == reset.packet:
        rows.state[conn + CLOSING_PACKET] = rows.state[conn + CLOSING_NS] = 0
        rows.state[conn + STATE] &= ~(CLOSED_BY_CLIENT | CLOSED_BY_SERVER)
    if not rows.state[sender + BITS] & rows.state[receiver + BITS] & FINISHED:
        rows.state[conn + STATE] &= ~LINGERING
    return 0


@cython.cfunc
@cython.exceptval(check=False)
def speaks_for_its_side(
    rows: Rows, sender: cython.longlong, offset: cython.longlong, mark: cython.longlong, hops: cython.longlong
) -> cython.bint:
    """Whether a RST looks like the packets of the side whose address it bears, so that its acknowledgement can be believed.

    It stands exactly at the next byte (RFC 5961 3.2), came the same number of hops, and is numbered if they are. A firewall that answers
    in the name of a host acknowledges what never arrived there.
    """
    usual: cython.longlong = rows.state[sender + USUAL]
    identified: cython.longlong = (usual >> 8) - 1
    if usual == 0 or usual & 0xFF != hops or offset != rows.state[sender + NEXT]:
        return False
    return not 0 < identified < 0x10000 or 0 < mark < 0x10000


@cython.cfunc
def finish_side(
    rows: Rows,
    place: cython.longlong,
    offset: cython.longlong,
    ts: cython.longlong,
    previous: cython.longlong,
    packet: cython.longlong,
    mark: cython.longlong,
) -> cython.int:
    """Take in a FIN that stands at `offset`."""
    conn: cython.longlong = rows.origin + (place >> 1) * ROW
    sender: cython.longlong = conn + SIDES + SIDE * (place & 1)
    receiver: cython.longlong = conn + SIDES + SIDE * (1 - (place & 1))
    stop_idling(rows, conn, ts, previous, "fin", packet, missing_before(rows, place, offset))
    if rows.state[sender + BITS] & FINISHED:
        return 0
    rows.state[sender + BITS] |= FINISHED
    rows.state[sender + FIN_OFFSET] = offset
    if offset >= rows.state[sender + NEXT]:
        if offset > rows.state[sender + NEXT] and rows.state[sender + BITS] & (DATA_SEEN | FROM_START):
            rows.state[sender + BITS] |= HOLED
            rows.state[sender + FORGOTTEN] += add_hole(
                rows.holes.setdefault(place, []), rows.state[sender + NEXT], offset, mark, ts
            )
        rows.state[sender + NEXT] = offset + 1
    note_closing(rows, place, ts, packet)
    if rows.state[receiver + BITS] & FINISHED:
        start_linger(rows, place, ts)
    return 0


@cython.cfunc
def note_closing(rows: Rows, place: cython.longlong, ts: cython.longlong, packet: cython.longlong) -> cython.int:
    """The first FIN or RST tells who closed; not if the other side had sent more than was captured, which may have been its FIN."""
    conn: cython.longlong = rows.origin + (place >> 1) * ROW
    receiver: cython.longlong = conn + SIDES + SIDE * (1 - (place & 1))
    if not rows.state[conn + STATE] & (CLOSED_BY_CLIENT | CLOSED_BY_SERVER):
        rows.state[conn + STATE] |= CLOSED_BY_SERVER if place & 1 else CLOSED_BY_CLIENT
        if rows.state[receiver + PACKETS] and rows.state[receiver + ACKED] > rows.state[receiver + NEXT]:
            rows.state[conn + STATE] |= CLOSED_BY_CLIENT | CLOSED_BY_SERVER
        rows.state[conn + CLOSING_PACKET] = packet
        rows.state[conn + CLOSING_NS] = ts
    return 0


@cython.cfunc
def start_linger(rows: Rows, place: cython.longlong, ts: cython.longlong) -> cython.int:
    conn: cython.longlong = rows.origin + (place >> 1) * ROW
    if not rows.state[conn + STATE] & LINGERING:
        rows.state[conn + STATE] |= LINGERING
        rows.linger.append((ts + LINGER_NS, place >> 1, rows.state[conn + ID]))
    return 0


@cython.cfunc
def ended_lingering(rows: Rows, now: cython.longlong) -> cython.longlong:
    """Slot of a connection that ended and of which nothing was heard since; -1 if there is none."""
    slot: cython.longlong
    number: cython.longlong
    until: cython.longlong
    conn: cython.longlong
    while rows.linger:
        until, slot, number = rows.linger[0]
        conn = rows.origin + slot * ROW
        rows.unpack(slot)
        if rows.state[conn + ID] != number or not rows.state[conn + STATE] & LINGERING:
            rows.linger.popleft()
            continue
        if len(rows.linger) > rows.max_lingering:
            rows.limited = True
        elif now < until:
            break
        elif rows.last_ns(conn) + LINGER_NS > now:  # late packets still come
            rows.linger.popleft()
            rows.linger.append((rows.last_ns(conn) + LINGER_NS, slot, number))
            continue
        rows.linger.popleft()
        return slot
    return -1
