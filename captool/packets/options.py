"""TCP options (RFC 9293 3.1)."""

import cython

if not cython.compiled:  # compiled, it comes from options.pxd
    from captool.capture.literals import HALF32, MASK32, TWO32
    from captool.packets.link import u32

NONE = cython.declare(cython.longlong, -1)
SACK = cython.declare(cython.int, 5)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def timestamp_mark(data: cython.uchar[::1], at: cython.Py_ssize_t, end: cython.Py_ssize_t) -> cython.longlong:
    """2**32 + TSval of the options in `data[at:end]` (RFC 7323), -1 without."""
    length: cython.Py_ssize_t
    while at < end:
        if data[at] == 1:
            at += 1
            continue
        if data[at] == 0 or end - at < 2:
            return NONE
        length = data[at + 1]
        if data[at] == 8 and length == 10 and end - at >= 10:
            return TWO32 + u32(data, at + 2)
        if length < 2:
            return NONE
        at += length
    return NONE


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def arrived_above(data: cython.uchar[::1], at: cython.Py_ssize_t, end: cython.Py_ssize_t, ack: cython.longlong) -> cython.bint:
    """Whether a selective acknowledgement in `data[at:end]` (RFC 2018) tells of bytes above `ack`.

    A block below tells of bytes that came twice (RFC 2883).
    """
    length: cython.Py_ssize_t
    block: cython.Py_ssize_t
    while at < end:
        if data[at] == 1:
            at += 1
            continue
        if data[at] == 0 or end - at < 2:
            return False
        length = data[at + 1]
        if length < 2 or length > end - at:
            return False
        if data[at] == SACK:
            for block in range(at + 2, at + length - 7, 8):
                if 0 < (u32(data, block) - ack & MASK32) < HALF32 and 0 < (u32(data, block + 4) - u32(data, block) & MASK32) < HALF32:
                    return True
        at += length
    return False
