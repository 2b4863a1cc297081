"""IPv6 extension headers: what stands between the IPv6 header and TCP's.

RFC 8200 4.1: hop-by-hop, routing, destination options, fragment; RFC 4302: authentication; RFC 6275: mobility.
"""

# ruff: noqa: PLR1714
# (the compiler makes plain comparisons of chained ones)

import cython

if not cython.compiled:  # compiled, they come from extension_headers.pxd
    from captool.packets.link import u16

UNDECODABLE = cython.declare(cython.longlong, -1)
NO_TCP = cython.declare(cython.longlong, -2)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def after_extension_headers(data: cython.uchar[::1], at: cython.Py_ssize_t, end: cython.Py_ssize_t) -> cython.longlong:
    """Length of the headers before TCP's, of which the first is the IPv6 header at `at`, which is whole.

    -1 where the headers are cut, -2 where no TCP header follows; for a fragment of a TCP segment minus the length of what is before the
    fragment header.
    """
    header: cython.longlong = 40
    steps: cython.int = 0
    protocol: cython.longlong = data[at + 6]
    while (
        protocol == 0 or protocol == 43 or protocol == 60 or protocol == 51 or protocol == 44 or protocol == 135
    ) and steps < 16:
        steps += 1
        if end - at < header + 8:
            break
        if protocol == 44:
            if u16(data, at + header + 2) & 0xFFF9:
                return -header if data[at + header] == 6 else NO_TCP
            protocol = data[at + header]
            header += 8
        elif protocol == 51:
            protocol = data[at + header]
            header += (data[at + header + 1] + 2) * 4
        else:
            protocol = data[at + header]
            header += (data[at + header + 1] + 1) * 8
    if protocol == 6:
        return header
    if protocol == 0 or protocol == 43 or protocol == 60 or protocol == 51 or protocol == 44:
        return UNDECODABLE
    return NO_TCP
