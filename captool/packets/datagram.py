"""The IP datagram around a TCP segment: where the segment is, and what the IP header tells of its sender.

Compiled by Cython (pure-Python mode) and runs unchanged without it. Formats: RFC 791, RFC 8200. What stands before the network layer is
passed by link.py, what is around it by tunnel.py.
"""

# ruff: noqa: FBT003 - compiled functions take no arguments by name

import cython

if not cython.compiled:  # compiled, they come from datagram.pxd
    from captool.capture.columns import octets, u16, u32
    from captool.capture.literals import (
        ETHERTYPE_IPV4,
        ETHERTYPE_IPV6,
        FRAGMENT,
        HALF32,
        MAPPED_IPV4,
        MASK32,
        NO_TCP,
        TCP_SEGMENT,
        TWO32,
        UNDECODABLE,
    )
    from captool.packets.extension_headers import after_extension_headers
    from captool.packets.link import after_link_header
    from captool.packets.tunnel import inside

MAX_SEGMENT = cython.declare(cython.longlong, 1 << 24)  # offload makes segments of up to 512 KiB
NONE = cython.declare(cython.longlong, -1)
NO_TCP_HEADER = cython.declare(cython.longlong, -2)
LEAST_HEADER = cython.declare(cython.longlong, 40)


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def word(data: cython.p_uchar, at: cython.Py_ssize_t) -> cython.longlong:
    """Eight bytes as a signed number."""
    return ((u32(data, at) ^ HALF32) - HALF32) * TWO32 + u32(data, at + 4)


@cython.final
@cython.cclass
class Datagram:
    """The IP datagram that was looked at last. Places are offsets in the chunk.

    Where it carries a TCP segment, that begins at `at` and ends, on the wire, at `end`. Addresses are two signed 64-bit words each (IPv4 as
    ::ffff:a.b.c.d), `identity` is the IPv4 identification, -1 where that is 0 or absent, `hops` the TTL or hop limit.
    Of a fragment, `at` is where its IP header is, `end` where the packet ends in the chunk, and `fragment_header` how far behind the IPv6
    header its fragment header is, 0 for IPv4.
    """

    def __init__(self) -> None:
        self.at = self.end = self.fragment_header = 0
        self.source_high = self.source_low = self.destination_high = self.destination_low = 0
        self.identity = NONE
        self.hops = 0

    @cython.cfunc
    @cython.nogil
    @cython.boundscheck(False)
    @cython.exceptval(check=False)
    def find(
        self, data: cython.uchar[::1], link: cython.int, at: cython.Py_ssize_t, end: cython.Py_ssize_t, wire_end: cython.longlong
    ) -> cython.int:
        """Look for it in a frame that was captured up to `end`; gives TCP_SEGMENT, NO_TCP, UNDECODABLE or FRAGMENT."""
        found: cython.longlong = after_link_header(data, link, at, end)
        kind: cython.longlong
        if found < 0:
            return UNDECODABLE
        kind = found >> 32
        at = found & MASK32
        if (kind == ETHERTYPE_IPV4 and end - at >= 20 and data[at + 9] != 6) or (
            kind == ETHERTYPE_IPV6 and end - at >= 40 and data[at + 6] != 6
        ):
            found = inside(data, kind, at, end)
            if found < 0:
                return UNDECODABLE
            kind = found >> 32
            at = found & MASK32
        if kind == ETHERTYPE_IPV4:
            return self.read_ipv4(data, at, end, wire_end - at, False)
        if kind == ETHERTYPE_IPV6:
            return self.read_ipv6(data, at, end, wire_end - at, False)
        return NO_TCP

    @cython.cfunc
    @cython.nogil
    @cython.boundscheck(False)
    @cython.exceptval(check=False)
    def read_ipv4(
        self, data: cython.uchar[::1], at: cython.Py_ssize_t, end: cython.Py_ssize_t, on_wire: cython.longlong, whole: cython.bint
    ) -> cython.int:
        """Read an IPv4 header. There are `on_wire` bytes from it to the end of the frame, or of the datagram, if that was put together."""
        head: cython.p_uchar
        header: cython.longlong
        length: cython.longlong
        if end - at < 20:
            return UNDECODABLE
        head = octets(data, at)
        header = (head[0] & 15) << 2
        length = u16(head, 2)
        if whole or length == 0:  # segmentation offload: the packet is longer than the field can say, or was not finished yet
            length = on_wire
        if head[0] >> 4 != 4 or header < 20 or length < header or length > MAX_SEGMENT:
            return UNDECODABLE
        if head[9] != 6:
            return NO_TCP
        if u16(head, 6) & 0x3FFF and not whole:
            self.at = at
            self.end = end
            self.fragment_header = 0
            return FRAGMENT
        self.hops = head[8]
        self.identity = u16(head, 4)
        if self.identity == 0:
            self.identity = NONE
        self.source_high = self.destination_high = 0
        self.source_low = MAPPED_IPV4 | u32(head, 12)
        self.destination_low = MAPPED_IPV4 | u32(head, 16)
        self.end = at + length
        self.at = at + header
        return TCP_SEGMENT

    @cython.cfunc
    @cython.nogil
    @cython.boundscheck(False)
    @cython.exceptval(check=False)
    def read_ipv6(
        self, data: cython.uchar[::1], at: cython.Py_ssize_t, end: cython.Py_ssize_t, on_wire: cython.longlong, whole: cython.bint
    ) -> cython.int:
        """Read an IPv6 header and what follows it up to TCP, in the same way."""
        head: cython.p_uchar
        header: cython.longlong = LEAST_HEADER
        length: cython.longlong
        if end - at < LEAST_HEADER:
            return UNDECODABLE
        head = octets(data, at)
        length = u16(head, 4) + LEAST_HEADER
        if whole or length == LEAST_HEADER:  # jumbogram or segmentation offload
            length = on_wire
        if head[0] >> 4 != 6 or length > MAX_SEGMENT:
            return UNDECODABLE
        if not whole:
            header = after_extension_headers(data, at, end)
        if header <= -LEAST_HEADER:
            self.at = at
            self.end = end
            self.fragment_header = -header
            return FRAGMENT
        if header < 0:
            return NO_TCP if header == NO_TCP_HEADER else UNDECODABLE
        self.hops = head[7]
        self.identity = NONE
        self.source_high = word(head, 8)
        self.source_low = word(head, 16)
        self.destination_high = word(head, 24)
        self.destination_low = word(head, 32)
        self.end = at + length
        self.at = at + header
        return TCP_SEGMENT
