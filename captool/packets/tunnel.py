"""Tunnels: from an IP packet that carries another one to the network layer inside, one level deep. The outer addresses are forgotten.

IP in IP (RFC 2003, 2473, 4213), GRE (RFC 2784, 2890), VXLAN (RFC 7348; Linux's first port as well), GENEVE (RFC 8926).
"""

# ruff: noqa: D103, PLR0911, PLR1714
# (the compiler makes plain comparisons of chained ones)

import cython

if not cython.compiled:  # compiled, they come from tunnel.pxd
    from captool.capture.literals import ETHERTYPE_IPV4, ETHERTYPE_IPV6, TRANSPARENT_ETHERNET
    from captool.packets.link import after_ethertype, u16

NONE = cython.declare(cython.longlong, -1)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def inside(
    data: cython.uchar[::1], kind: cython.longlong, at: cython.Py_ssize_t, end: cython.Py_ssize_t
) -> cython.longlong:
    """EtherType << 32 | place of the network layer inside the IP packet at `at`; those given where it is no tunnel.

    -1 for an inner frame too short. Fragments are no tunnel: their inner packet is not whole.
    """
    outer: cython.longlong = kind << 32 | at
    protocol: cython.longlong
    steps: cython.int = 0
    if kind == ETHERTYPE_IPV4:
        if end - at < 20 or u16(data, at + 6) & 0x3FFF:
            return outer
        protocol = data[at + 9]
        at += (data[at] & 15) << 2
    else:
        if end - at < 40:
            return outer
        protocol = data[at + 6]
        at += 40
        while (protocol == 0 or protocol == 60) and end - at >= 8 and steps < 16:  # a tunnel's encapsulation limit stands there
            protocol = data[at]
            at += (data[at + 1] + 1) * 8
            steps += 1
    if protocol == 4:
        return ETHERTYPE_IPV4 << 32 | at
    if protocol == 41:
        return ETHERTYPE_IPV6 << 32 | at
    if protocol == 47:
        return after_gre(data, at, end, outer)
    if protocol == 17:
        return after_udp(data, at, end, outer)
    return outer


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def after_gre(data: cython.uchar[::1], at: cython.Py_ssize_t, end: cython.Py_ssize_t, outer: cython.longlong) -> cython.longlong:
    flags: cython.longlong
    if end - at < 4:
        return NONE
    flags = u16(data, at)
    if flags & 0x4007:  # source routing, or PPTP's version 1
        return outer
    kind: cython.longlong = u16(data, at + 2)
    at += 4 + (4 if flags & 0x8000 else 0) + (4 if flags & 0x2000 else 0) + (4 if flags & 0x1000 else 0)
    return after_protocol_type(data, kind, at, end)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def after_udp(data: cython.uchar[::1], at: cython.Py_ssize_t, end: cython.Py_ssize_t, outer: cython.longlong) -> cython.longlong:
    port: cython.longlong
    if end - at < 16:
        return outer
    port = u16(data, at + 2)
    at += 8
    if port == 4789 or port == 8472:
        if data[at] & 8 == 0 or end - at < 22:  # the flag that a network identifier is there; others are to be ignored
            return outer
        return after_ethertype(data, u16(data, at + 20), at + 22, end)
    if port == 6081 and data[at] >> 6 == 0:
        return after_protocol_type(data, u16(data, at + 2), at + 8 + ((data[at] & 63) << 2), end)
    return outer


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def after_protocol_type(
    data: cython.uchar[::1], kind: cython.longlong, at: cython.Py_ssize_t, end: cython.Py_ssize_t
) -> cython.longlong:
    """What GRE and GENEVE name by EtherType; whole Ethernet frames are one of the types."""
    if kind == TRANSPARENT_ETHERNET:
        if end - at < 14:
            return NONE
        kind = u16(data, at + 12)
        at += 14
    if kind <= 1500:
        return at
    return after_ethertype(data, kind, at, end)
