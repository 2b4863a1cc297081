"""Idle times of a connection: the keepalive probes in them, and the gaps that they turn out to be.

A connection is idle while all its data is acknowledged in both directions; data, a FIN or a RST ends it. A probe (RFC 9293 3.8.4) stands
one below what the peer acknowledged, while the peer's window is open. An idle time that changes no maximum and in which nothing
crossed is over without a look at more than `IDLE_SINCE` and `IDLE_LIMIT`.
"""

# ruff: noqa: D103, F403, F405, PLR1730
# (layout.py is the vocabulary; the compiler makes plain comparisons of chained ones, Python calls of min, max and `in`)

import cython

from captool.tcp.quiet import SeenGap, keep_gap

if not cython.compiled:  # compiled, they come from idle.pxd
    from captool.tcp.layout import *
    from captool.tcp.quiet import Probing, keep_distance
    from captool.tcp.rows import Rows

# No system probes after less.
LEAST_IDLE_NS = cython.declare(cython.longlong, 1_000_000_000)
TALKED = cython.declare(cython.longlong, (LETTER_SYN | LETTER_SYN_ACK | LETTER_DATA) * (1 | 1 << 9))


@cython.cfunc
@cython.exceptval(check=False)
def limit_code(limit: cython.longlong) -> cython.longlong:
    """A time in 19 bits, rounded down: (ONE + m << e) - ONE is e << 13 | m, so that prediction.py has it back without a branch."""
    exponent: cython.longlong = 0
    while limit + LIMIT_ONE >> exponent >= 2 * LIMIT_ONE:
        exponent += 1
    return exponent << LIMIT_BITS | (limit + LIMIT_ONE >> exponent) - LIMIT_ONE


@cython.cfunc
@cython.boundscheck(False)
def is_probe(
    rows: Rows,
    sender: cython.longlong,
    receiver: cython.longlong,
    offset: cython.longlong,
    length: cython.longlong,
    flags: cython.longlong,
) -> cython.bint:
    """Whether a segment one below the acknowledged offset is a keepalive probe (RFC 9293 3.8.4)."""
    bits: cython.longlong = rows.state[sender + BITS]
    if flags & (SYN | FIN) or rows.state[receiver + WINDOW] == 0:  # a full receiver is probed by the same shape
        return False
    if not bits & ACK_KNOWN:
        return False
    # Stacks that probe with a byte of rubbish do not push it; a pushed one is its own last byte sent again, and one that
    # was not seen before is data that the capture shows after its acknowledgement.
    return length == 0 or not (flags & PSH or offset >= rows.state[sender + NEXT])


@cython.cfunc
def is_late_probe(
    rows: Rows,
    sender: cython.longlong,
    receiver: cython.longlong,
    offset: cython.longlong,
    flags: cython.longlong,
    ts: cython.longlong,
) -> cython.bint:
    """Whether an empty segment is a keepalive probe of a sender of which the capture lacks the last acknowledgements.

    A probe stands one below what is acknowledged, so all that its sender had sent was. What else stands there is an acknowledgement that
    the last byte overtook, and that is not so late.
    """
    if flags & (SYN | FIN) or rows.state[receiver + WINDOW] == 0 or rows.state[sender + BITS] & FINISHED:
        return False
    if rows.state[receiver + PACKETS] == 0:  # of one direction nothing is known to be acknowledged
        return False
    if offset != rows.state[sender + NEXT] - 1 or rows.state[sender + ACKED] >= rows.state[sender + NEXT]:
        return False
    return rows.state[sender + BITS] & DATA_SEEN != 0 and ts - rows.state[sender + NEWEST_NS] >= LEAST_IDLE_NS


@cython.cfunc
@cython.boundscheck(False)
def probe(
    rows: Rows,
    place: cython.longlong,
    conn: cython.longlong,
    sender: cython.longlong,
    receiver: cython.longlong,
    ts: cython.longlong,
    previous: cython.longlong,
    packet: cython.longlong,
) -> cython.int:
    quiet: cython.longlong
    probing: Probing = rows.probing.get(place)
    if probing is None:
        probing = rows.probing[place] = Probing()
    probing.probe(packet, ts, rows.state[receiver + LAST_PACKET], rows.state[sender + BITS] & AWAITING == 0)
    rows.state[sender + PROBES] += 1
    rows.state[sender + BITS] |= AWAITING
    if rows.state[conn + IDLE_SINCE] < 0:
        return 0
    stir(rows, conn, ts, previous)
    quiet = ts - rows.state[sender + QUIET_SINCE]
    if rows.state[sender + GAP_PROBES]:
        keep_distance(probing.intervals if probing.run == 1 else probing.retries, quiet, rows.state[sender + PROBES])
    elif quiet and rows.state[conn + STATE] & TALKED:  # else the idle time began earlier, unseen
        keep_distance(probing.firsts, quiet, rows.state[sender + PROBES])
    if quiet > rows.state[sender + LONGEST_IDLE]:
        rows.state[sender + LONGEST_IDLE] = quiet
    rows.state[sender + GAP_PROBES] += 1
    rows.state[sender + QUIET_SINCE] = ts
    return 0


@cython.cfunc
@cython.boundscheck(False)
def stir(rows: Rows, conn: cython.longlong, ts: cython.longlong, previous: cython.longlong) -> cython.int:
    """A packet without data in an idle time; the packet before it was seen at `previous`."""
    direction: cython.longlong
    side: cython.longlong
    if not rows.state[conn + STATE] & STIRRED:
        rows.state[conn + STATE] |= STIRRED
        rows.state[conn + SILENCE] = 0
        rows.state[conn + IDLE_BY] = idle_by(rows, conn)
        for direction in range(2):
            side = conn + SIDES + SIDE * direction
            rows.state[side + GAP_PROBES] = 0
            rows.state[side + QUIET_SINCE] = rows.state[conn + IDLE_SINCE]
    if ts - previous > rows.state[conn + SILENCE]:
        rows.state[conn + SILENCE] = ts - previous
    return 0


@cython.cfunc
@cython.boundscheck(False)
def idle_by(rows: Rows, conn: cython.longlong) -> cython.longlong:
    """Whose packet the idle time began with, if the other side had said something; else 0."""
    client: cython.longlong = rows.state[conn + SIDES + LAST_PACKET]
    server: cython.longlong = rows.state[conn + SIDES + SIDE + LAST_PACKET]
    by_client: cython.bint = client == rows.state[conn + IDLE_PACKET]
    if not by_client and server != rows.state[conn + IDLE_PACKET]:
        by_client = client > server  # its last packet is already the one that is taken in now
    if rows.state[conn + SIDES + (SIDE if by_client else 0) + NEXT] <= 0:
        return 0
    return 1 if by_client else 2


@cython.cfunc
@cython.boundscheck(False)
def stop_idling(
    rows: Rows,
    conn: cython.longlong,
    ts: cython.longlong,
    previous: cython.longlong,
    ended_by: str,
    packet: cython.longlong,
    missing: cython.longlong,
) -> cython.int:
    """The idle time, if there is one, ends at `ts` with this packet (0: with none); the packet before was seen at `previous`.

    `missing` is as in SeenGap.
    """
    if rows.state[conn + IDLE_SINCE] < 0:
        return 0
    if ts - rows.state[conn + IDLE_SINCE] > rows.state[conn + IDLE_LIMIT] or rows.state[conn + STATE] & STIRRED:
        end_gap(rows, conn, ts, previous, ended_by, packet, missing)
    rows.state[conn + IDLE_SINCE] = -1
    rows.state[conn + STATE] &= ~STIRRED
    return 0


@cython.cfunc
@cython.boundscheck(False)
def end_gap(
    rows: Rows,
    conn: cython.longlong,
    ts: cython.longlong,
    previous: cython.longlong,
    ended_by: str,
    packet: cython.longlong,
    missing: cython.longlong,
) -> cython.int:
    client: cython.longlong = conn + SIDES
    server: cython.longlong = conn + SIDES + SIDE
    direction: cython.longlong
    side: cython.longlong
    limit: cython.longlong = rows.gap_ns - 1
    duration: cython.longlong
    stir(rows, conn, ts, previous)
    duration = ts - rows.state[conn + IDLE_SINCE]
    if duration < 0:
        duration = 0
    for direction in range(2):
        side = conn + SIDES + SIDE * direction
        if ts - rows.state[side + QUIET_SINCE] > rows.state[side + LONGEST_IDLE]:
            rows.state[side + LONGEST_IDLE] = ts - rows.state[side + QUIET_SINCE]
        if rows.state[side + LONGEST_IDLE] < limit:
            limit = rows.state[side + LONGEST_IDLE]
    if duration > rows.state[conn + LONGEST_GAP]:
        rows.state[conn + LONGEST_GAP] = duration
    if rows.state[conn + LONGEST_GAP] < limit:
        limit = rows.state[conn + LONGEST_GAP]
    rows.state[conn + IDLE_LIMIT] = limit
    rows.state[conn + LIMIT_CODE] = limit_code(limit)
    if duration >= rows.gap_ns:
        rows.state[conn + GAP_COUNT] += 1
        gap = SeenGap(
            rows.state[conn + IDLE_SINCE],
            duration,
            rows.state[client + GAP_PROBES],
            rows.state[server + GAP_PROBES],
            rows.state[conn + SILENCE],
            rows.state[conn + IDLE_PACKET],
            rows.state[conn + IDLE_BY],
            ended_by,
            packet or None,
            missing,
        )
        keep_gap(rows.gaps.setdefault((conn - rows.origin) // ROW, []), gap)
    return 0
