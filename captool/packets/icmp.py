"""ICMP errors about TCP segments: which router or host refused what, and why (RFC 792, RFC 4443).

Such an error quotes the beginning of the packet that it is about: its addresses, its ports and its sequence number. Only a chunk with
packets that are no TCP is looked through. Compiled by Cython (pure-Python mode) and runs unchanged without it.
"""

# ruff: noqa: D102

from typing import Final

import cython

from captool.capture.summary import IcmpError

if not cython.compiled:  # compiled, they come from icmp.pxd
    from captool.capture.frames import Frames
    from captool.capture.literals import ETHERTYPE_IPV4, ETHERTYPE_IPV6, MASK32
    from captool.packets.link import after_link_header, u16, u32
    from captool.packets.segments import Segments

TCP = cython.declare(cython.int, 6)
# A copy, as `-i any` records them, comes within this time.
COPY_NS: Final = 5_000_000
MAX_KEPT: Final = 4096


@cython.final
@cython.cclass
class IcmpErrors:
    """Chunks of a capture, in order -> `found`: at most `MAX_KEPT` errors, each with how often it was seen.

    `others` is how many packets that were no TCP the decoder had counted by the last chunk.
    """

    others = cython.declare(cython.longlong, visibility="readonly")
    errors: dict
    latest: dict

    def __init__(self) -> None:
        self.others = 0
        self.errors = {}
        self.latest = {}

    def add(self, frames: Frames, segments: Segments, others: cython.longlong) -> None:
        """Take in one chunk, after which the decoder has counted so many packets that were no TCP."""
        row: cython.Py_ssize_t
        known: cython.Py_ssize_t = 0
        at: cython.Py_ssize_t
        end: cython.Py_ssize_t
        network: cython.longlong
        if others == self.others:
            return
        self.others = others
        for row in range(frames.count):
            if known < segments.count and segments.frame[known] == row:
                known += 1
                continue
            at = frames.offset[row]
            end = at + frames.captured[row]
            network = after_link_header(frames.data, frames.link_type[row], at, end)
            if network < 0:
                continue
            at = network & MASK32
            if network >> 32 == ETHERTYPE_IPV4:
                self.ipv4(frames, row, at, end)
            elif network >> 32 == ETHERTYPE_IPV6:
                self.ipv6(frames, row, at, end)

    @cython.cfunc
    def ipv4(self, frames: Frames, row: cython.Py_ssize_t, at: cython.Py_ssize_t, end: cython.Py_ssize_t) -> cython.int:
        data: cython.uchar[::1] = frames.data
        header: cython.Py_ssize_t
        quoted: cython.Py_ssize_t
        if end - at < 20 or data[at + 9] != 1 or u16(data, at + 6) & 0x1FFF:
            return 0
        header = (data[at] & 15) << 2
        quoted = at + header + 8
        if header < 20 or end - quoted < 28 or (data[quoted - 8] != 3 and data[quoted - 8] != 11):
            return 0
        header = (data[quoted] & 15) << 2
        if data[quoted] >> 4 != 4 or header < 20 or data[quoted + 9] != TCP or u16(data, quoted + 6) & 0x1FFF or end - quoted < header + 8:
            return 0
        self.note(frames, row, 4, at + 12, quoted - 8, quoted + 12, quoted + header)
        return 0

    @cython.cfunc
    def ipv6(self, frames: Frames, row: cython.Py_ssize_t, at: cython.Py_ssize_t, end: cython.Py_ssize_t) -> cython.int:
        data: cython.uchar[::1] = frames.data
        quoted: cython.Py_ssize_t = at + 48
        if end - quoted < 48 or data[at + 6] != 58 or data[at + 40] < 1 or data[at + 40] > 3:
            return 0
        if data[quoted] >> 4 != 6 or data[quoted + 6] != TCP:
            return 0
        self.note(frames, row, 16, at + 8, at + 40, quoted + 8, quoted + 40)
        return 0

    @cython.cfunc
    def note(
        self,
        frames: Frames,
        row: cython.Py_ssize_t,
        size: cython.Py_ssize_t,
        reporter: cython.Py_ssize_t,
        icmp: cython.Py_ssize_t,
        ends: cython.Py_ssize_t,
        tcp: cython.Py_ssize_t,
    ) -> cython.int:
        """Keep an error: addresses of `size` octets at `reporter` and `ends`, the ICMP header at `icmp`, the quoted TCP header at `tcp`."""
        data: cython.uchar[::1] = frames.data
        source: bytes = bytes(data[ends : ends + size])
        destination: bytes = bytes(data[ends + size : ends + 2 * size])
        by: bytes = bytes(data[reporter : reporter + size])
        kind: cython.longlong = data[icmp]
        code: cython.longlong = data[icmp + 1]
        mtu: cython.longlong = 0
        packet: cython.longlong = frames.first_packet + row
        ts_ns: cython.longlong = frames.ts_ns[row]
        if size == 4 and kind == 3 and code == 4:
            mtu = u16(data, icmp + 6)
        elif size == 16 and kind == 2:
            mtu = u32(data, icmp + 4)
        key = (source, destination, u32(data, tcp), by, kind, code)
        identity = (u32(data, tcp + 4), u16(data, ends - 8) if size == 4 else 0)
        before = self.latest.get(key)
        if before is not None and before[0] == identity and ts_ns - before[1] <= COPY_NS:
            return 0
        if before is None and len(self.errors) >= MAX_KEPT:
            return 0
        self.latest[key] = (identity, ts_ns)
        first, first_ns, times, _, _, _ = self.errors.get(key, (packet, ts_ns, 0, 0, 0, 0))
        self.errors[key] = (first, first_ns, times + 1, packet, ts_ns, mtu)
        return 0

    def found(self) -> tuple[IcmpError, ...]:
        """The errors, in the order of their first packets."""
        errors = []
        for (source, destination, ports, by, kind, code), (first, first_ns, times, last, last_ns, mtu) in self.errors.items():
            import socket  # seldom: most captures hold no such error

            family = socket.AF_INET if len(by) == 4 else socket.AF_INET6
            address, peer, reporter = (socket.inet_ntop(family, one) for one in (source, destination, by))
            errors.append(
                IcmpError(
                    source=(address, ports >> 16),
                    destination=(peer, ports & 0xFFFF),
                    reporter=reporter,
                    version=4 if len(by) == 4 else 6,
                    type=kind,
                    code=code,
                    mtu=mtu or None,
                    times=times,
                    first_packet=first,
                    first_ns=first_ns,
                    last_packet=last,
                    last_ns=last_ns,
                )
            )
        return tuple(errors)
