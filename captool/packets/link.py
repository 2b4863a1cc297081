"""Link layers: where the network layer of a frame begins, and which it is.

Numbers and headers: www.tcpdump.org/linktypes.html; IEEE 802.3, 802.1Q, 802.2, 802.11; RFC 1661 (PPP), 2516 (PPPoE), 3032 (MPLS).
"""

# ruff: noqa: D103, PLR0911, PLR0912, PLR1714, SIM109
# (the compiler makes plain comparisons of chained ones)

import cython

if not cython.compiled:  # compiled, they come from link.pxd
    from captool.capture.literals import ETHERTYPE_IPV4, ETHERTYPE_IPV6, SNAP

NONE = cython.declare(cython.longlong, -1)


# Compiled, a call into another module is not inlined: headers.py, which reads every packet, has these two for itself as well.
@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def u16(data: cython.uchar[::1], at: cython.Py_ssize_t) -> cython.longlong:
    return cython.cast(cython.longlong, data[at]) << 8 | data[at + 1]


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def u32(data: cython.uchar[::1], at: cython.Py_ssize_t) -> cython.longlong:
    return (
        cython.cast(cython.longlong, data[at]) << 24
        | cython.cast(cython.longlong, data[at + 1]) << 16
        | cython.cast(cython.longlong, data[at + 2]) << 8
        | data[at + 3]
    )


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def after_link_header(
    data: cython.uchar[::1], link: cython.int, at: cython.Py_ssize_t, end: cython.Py_ssize_t
) -> cython.longlong:
    """EtherType << 32 | place of the network layer; -1 for a frame too short; EtherType 0 for one that is not IP."""
    kind: cython.longlong
    if link == 1:
        if end - at < 14:
            return NONE
        return after_ethertype(data, u16(data, at + 12), at + 14, end)
    if link == 12 or link == 14 or link == 101 or link == 228 or link == 229:
        if end - at < 1:
            return NONE
        kind = data[at] >> 4
        kind = ETHERTYPE_IPV4 if kind == 4 else ETHERTYPE_IPV6 if kind == 6 else 0
        return kind << 32 | at
    if link == 113:
        if end - at < 16:
            return NONE
        return after_ethertype(data, u16(data, at + 14), at + 16, end)
    if link == 276:
        if end - at < 20:
            return NONE
        return after_ethertype(data, u16(data, at), at + 20, end)
    if link == 105:
        return after_wireless_header(data, at, end)
    if link == 127:
        return after_radiotap(data, at, end)
    if link == 0 or link == 108:
        if end - at < 4:
            return NONE
        kind = u32(data, at)
        if kind > 0xFFFF:  # the family in the byte order of a little-endian host
            kind = data[at]
        at += 4
    elif link == 226:
        if end - at < 24:
            return NONE
        kind = data[at + 1]
        at += 24
    elif link == 9 or link == 50 or link == 104:
        if end - at < 4:
            return NONE
        if data[at] == 0x0F or data[at] == 0x8F:  # Cisco's HDLC: an EtherType in place of PPP's protocol (RFC 1547 4.3.1)
            return after_ethertype(data, u16(data, at + 2), at + 4, end)
        if data[at] == 0xFF:
            at += 2
        return after_ppp(data, at, end)
    else:
        return at
    # Address families: IPv4 is 2 everywhere; IPv6 is 10 on Linux, 23 Windows, 24 NetBSD, 26 Solaris, 28 FreeBSD, 30 macOS.
    if kind == 2:
        return ETHERTYPE_IPV4 << 32 | at
    if kind == 10 or kind == 23 or kind == 24 or kind == 26 or kind == 28 or kind == 30:
        return ETHERTYPE_IPV6 << 32 | at
    return at


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def capture_place(data: cython.uchar[::1], link: cython.int, at: cython.Py_ssize_t) -> cython.longlong:
    """Where a frame of `-i any` was captured, in 30 bits: its interface's number and which way it went there; 0 where that is not told.

    SLL knows the way alone: to this host, to another one, from this host. The header is known to be whole.
    """
    if link == 113:
        return 1 + (u16(data, at) & 7)
    if link == 276:
        return 1 + ((u32(data, at + 4) & 0x3FFFFF) << 8 | data[at + 10] & 7)
    return 0


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def after_ppp(data: cython.uchar[::1], at: cython.Py_ssize_t, end: cython.Py_ssize_t) -> cython.longlong:
    if end - at < 2:
        return NONE
    if data[at] & 1:  # protocol field compressed to one byte (RFC 1661 6.5)
        if data[at] == 0x21:
            return ETHERTYPE_IPV4 << 32 | (at + 1)
        if data[at] == 0x57:
            return ETHERTYPE_IPV6 << 32 | (at + 1)
        return at
    if u16(data, at) == 0x0021:
        return ETHERTYPE_IPV4 << 32 | (at + 2)
    if u16(data, at) == 0x0057:
        return ETHERTYPE_IPV6 << 32 | (at + 2)
    return at


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def after_ethertype(
    data: cython.uchar[::1], kind: cython.longlong, at: cython.Py_ssize_t, end: cython.Py_ssize_t
) -> cython.longlong:
    """Strips VLAN tags, SNAP, PPPoE and MPLS labels."""
    while kind == 0x8100 or kind == 0x88A8 or kind == 0x9100 or kind == 0x9200:
        if end - at < 4:
            return NONE
        kind = u16(data, at + 2)
        at += 4
    if kind == ETHERTYPE_IPV4 or kind == ETHERTYPE_IPV6:
        return kind << 32 | at
    if kind <= 1500:  # IEEE 802.3 length: LLC, with SNAP if AA AA 03 and no organisation
        if end - at >= 8 and u32(data, at) == SNAP and data[at + 4] == 0:
            kind = u16(data, at + 6)
            if kind == ETHERTYPE_IPV4 or kind == ETHERTYPE_IPV6:
                return kind << 32 | (at + 8)
        return at
    if kind == 0x8864:
        if end - at < 8:
            return NONE
        return after_ppp(data, at + 6, end)
    if kind == 0x8847 or kind == 0x8848:
        while end - at >= 5:
            at += 4
            if data[at - 2] & 1:  # bottom of the label stack; what follows is told by its first bits
                kind = data[at] >> 4
                kind = ETHERTYPE_IPV4 if kind == 4 else ETHERTYPE_IPV6 if kind == 6 else 0
                return kind << 32 | at
        return NONE
    return at


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def after_radiotap(data: cython.uchar[::1], at: cython.Py_ssize_t, end: cython.Py_ssize_t) -> cython.longlong:
    """Passes the radio's own header (radiotap.org), whose second byte pair is its length, least significant byte first."""
    if end - at < 8:
        return NONE
    return after_wireless_header(data, at + (cython.cast(cython.Py_ssize_t, data[at + 3]) << 8 | data[at + 2]), end)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def after_wireless_header(data: cython.uchar[::1], at: cython.Py_ssize_t, end: cython.Py_ssize_t) -> cython.longlong:
    """IEEE 802.11 data frames with LLC and SNAP. Encrypted ones, fragments and aggregates are not IP to us."""
    kind: cython.int
    flags: cython.int
    size: cython.Py_ssize_t
    if end - at < 24:
        return at if end > at and data[at] & 0x0C != 8 else NONE  # control frames are shorter than a data frame's header
    kind, flags = data[at], data[at + 1]
    if kind & 0x4F != 0x08 or flags & 0x44 or data[at + 22] & 15:  # no data in it, or protected, or a fragment
        return at
    size = 30 if flags & 3 == 3 else 24
    if kind & 0x80:
        if end - at < size + 2:
            return NONE
        if data[at + size] & 0x80:
            return at
        size += 6 if flags & 0x80 else 2
    return after_ethertype(data, 0, at + size, end)
