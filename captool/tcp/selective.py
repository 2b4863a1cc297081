"""What a receiver says to have above what it acknowledges: selective acknowledgements (SACK, RFC 2018). Compiled, as segment.py is."""

import cython

if not cython.compiled:  # compiled, they come from selective.pxd
    from captool.packets.link import u32
    from captool.tcp.sequence import seq_delta

FIXED = cython.declare(cython.Py_ssize_t, 20)  # octets of a TCP header without options
SACK = cython.declare(cython.int, 5)


@cython.cfunc
def has_above(data: cython.uchar[::1], end: cython.Py_ssize_t, seq: cython.longlong, ack: cython.longlong) -> cython.int:
    """1 if the segment whose TCP header ends at `data[end]` says that bytes above its acknowledgement arrived.

    The columns do not tell where the header begins: its length, sequence number and acknowledgement do. A block below `ack` tells of
    bytes that came twice (RFC 2883).
    """
    words: cython.Py_ssize_t
    at: cython.Py_ssize_t
    if end > len(data):
        return 0
    for words in range(6, 16):
        at = end - 4 * words
        if at < 0:
            return 0
        if data[at + 12] >> 4 == words and u32(data, at + 4) == seq and u32(data, at + 8) == ack:
            return blocks_above(data, at + FIXED, end, ack)
    return 0


@cython.cfunc
def blocks_above(data: cython.uchar[::1], at: cython.Py_ssize_t, end: cython.Py_ssize_t, ack: cython.longlong) -> cython.int:
    """1 if a SACK block of the options in `data[at:end]` lies above `ack`."""
    length: cython.Py_ssize_t
    block: cython.Py_ssize_t
    while at < end:
        if data[at] == 1:
            at += 1
            continue
        if data[at] == 0 or end - at < 2:
            return 0
        length = data[at + 1]
        if length < 2 or length > end - at:
            return 0
        if data[at] == SACK:
            for block in range(at + 2, at + length - 7, 8):
                if seq_delta(u32(data, block), ack) > 0 and seq_delta(u32(data, block + 4), u32(data, block)) > 0:
                    return 1
        at += length
    return 0
