"""Frames -> one row of columns for each TCP segment. No object is made for a packet.

Compiled by Cython (pure-Python mode) and runs unchanged without it. Every frame is counted once: as TCP, as something
else, or as undecodable (an IP or TCP header that is cut or contradicts itself). Formats: IEEE 802.3/802.1Q, RFC 791, 8200,
9293. What stands before the network layer is passed by link.py.
"""

# ruff: noqa: D103, FURB136, PLR0912, PLR0915, PLR1714, PLR1730, SIM109
# (the compiler makes plain comparisons of chained ones, Python calls of min, max and `in`)

import array

import cython

from captool.capture.frames import Frames
from captool.packets.fragments import Fragments

if not cython.compiled:  # compiled, it comes from decode.pxd
    from captool.packets.link import after_link_header

ETHERTYPE_IPV4 = cython.declare(cython.longlong, 0x0800)
ETHERTYPE_IPV6 = cython.declare(cython.longlong, 0x86DD)
MAPPED_IPV4 = cython.declare(cython.longlong, 0xFFFF00000000)
MASK32 = cython.declare(cython.longlong, 0xFFFFFFFF)
HALF32 = cython.declare(cython.longlong, 0x80000000)
TWO32 = cython.declare(cython.longlong, 0x100000000)
MAX_SEGMENT = cython.declare(cython.longlong, 1 << 24)  # offload makes segments of up to 512 KiB
NONE = cython.declare(cython.longlong, -1)


class Segments:
    """The TCP segments of one chunk: columns, row i for 0 <= i < `count`.

    `frame` is the row in the chunk's Frames. Addresses are two signed 64-bit words each (IPv4 as ::ffff:a.b.c.d), `ports` is
    source << 16 | destination. `payload_length` is what the IP header says, `payload_captured` what of it is in
    `Frames.buffer` from `payload_offset` on. `mark` tells the sender's packets apart: the IPv4 identification, or
    2**32 + TSval where that is 0 or absent, -1 where there is neither. `hops` is the IPv4 TTL or the IPv6 hop limit. Padding of
    the link layer is never payload.
    """

    def __init__(self, rows: int) -> None:
        self.count = 0
        self.frame = array.array("i", bytes(4 * rows))
        self.source_high = array.array("q", bytes(8 * rows))
        self.source_low = array.array("q", bytes(8 * rows))
        self.destination_high = array.array("q", bytes(8 * rows))
        self.destination_low = array.array("q", bytes(8 * rows))
        self.ports = array.array("I", bytes(4 * rows))
        self.seq = array.array("I", bytes(4 * rows))
        self.ack = array.array("I", bytes(4 * rows))
        self.flags = array.array("H", bytes(2 * rows))
        self.window = array.array("H", bytes(2 * rows))
        self.mark = array.array("q", bytes(8 * rows))
        self.hops = array.array("B", bytes(rows))
        self.payload_offset = array.array("i", bytes(4 * rows))
        self.payload_length = array.array("i", bytes(4 * rows))
        self.payload_captured = array.array("i", bytes(4 * rows))


@cython.cfunc
@cython.inline
@cython.exceptval(-1)
def u16(data: cython.uchar[::1], at: cython.Py_ssize_t) -> cython.longlong:
    return cython.cast(cython.longlong, data[at]) << 8 | data[at + 1]


@cython.cfunc
@cython.inline
@cython.exceptval(-1)
def u32(data: cython.uchar[::1], at: cython.Py_ssize_t) -> cython.longlong:
    return (
        cython.cast(cython.longlong, data[at]) << 24
        | cython.cast(cython.longlong, data[at + 1]) << 16
        | cython.cast(cython.longlong, data[at + 2]) << 8
        | data[at + 3]
    )


@cython.cfunc
@cython.inline
def word(data: cython.uchar[::1], at: cython.Py_ssize_t) -> cython.longlong:
    """Eight bytes as a signed number."""
    return ((u32(data, at) ^ HALF32) - HALF32) * TWO32 + u32(data, at + 4)


@cython.cfunc
def timestamp_mark(data: cython.uchar[::1], at: cython.Py_ssize_t, end: cython.Py_ssize_t) -> cython.longlong:
    """2**32 + TSval of the TCP options in `data[at:end]` (RFC 7323), -1 without."""
    length: cython.Py_ssize_t
    while at < end:
        if data[at] == 1:
            at += 1
            continue
        if data[at] == 0 or end - at < 2:
            return NONE
        length = data[at + 1]
        if data[at] == 8 and length == 10 and end - at >= 10:
            return (cython.cast(cython.longlong, 1) << 32) + u32(data, at + 2)
        if length < 2:
            return NONE
        at += length
    return NONE


@cython.cclass
class Decoder:
    """Turns chunks of frames into chunks of TCP segments and counts what it saw.

    `bytes` are lengths on the wire, `snapped_packets` those of which a snap length cut something.
    """

    tcp_packets = cython.declare(cython.longlong, visibility="readonly")
    other_packets = cython.declare(cython.longlong, visibility="readonly")
    undecodable_packets = cython.declare(cython.longlong, visibility="readonly")
    snapped_packets = cython.declare(cython.longlong, visibility="readonly")
    bytes = cython.declare(cython.longlong, visibility="readonly")
    start_ns = cython.declare(cython.longlong, visibility="readonly")
    end_ns = cython.declare(cython.longlong, visibility="readonly")
    segments = cython.declare(object, visibility="readonly")
    fragments = cython.declare(object, visibility="readonly")

    def __init__(self) -> None:
        self.tcp_packets = 0
        self.other_packets = 0
        self.undecodable_packets = 0
        self.snapped_packets = 0
        self.bytes = 0
        self.start_ns = 0
        self.end_ns = -1
        self.segments = Segments(0)
        self.fragments = Fragments()

    def notes(self) -> list[str]:
        """Sentences about packets that could not be used."""
        return self.fragments.notes()

    def decode(self, frames: Frames) -> Segments:
        """The TCP segments of `frames`, in the same order; valid until the next call."""
        if len(self.segments.frame) < len(frames.ts_ns):
            self.segments = Segments(len(frames.ts_ns))
        self.fragments.begin_chunk(frames)
        segments = self.segments
        data: cython.uchar[::1] = frames.buffer
        ts_ns: cython.longlong[::1] = frames.ts_ns
        offset: cython.int[::1] = frames.offset
        captured: cython.int[::1] = frames.captured
        original: cython.uint[::1] = frames.original
        link_type: cython.int[::1] = frames.link_type
        frame: cython.int[::1] = segments.frame
        source_high: cython.longlong[::1] = segments.source_high
        source_low: cython.longlong[::1] = segments.source_low
        destination_high: cython.longlong[::1] = segments.destination_high
        destination_low: cython.longlong[::1] = segments.destination_low
        ports: cython.uint[::1] = segments.ports
        seq: cython.uint[::1] = segments.seq
        ack: cython.uint[::1] = segments.ack
        flags: cython.ushort[::1] = segments.flags
        window: cython.ushort[::1] = segments.window
        mark: cython.longlong[::1] = segments.mark
        hops: cython.uchar[::1] = segments.hops
        payload_offset: cython.int[::1] = segments.payload_offset
        payload_length: cython.int[::1] = segments.payload_length
        payload_captured: cython.int[::1] = segments.payload_captured
        row: cython.Py_ssize_t
        out: cython.Py_ssize_t = 0
        count: cython.Py_ssize_t = frames.count
        at: cython.Py_ssize_t
        end: cython.Py_ssize_t
        wire_end: cython.longlong
        found: cython.longlong
        kind: cython.longlong
        length: cython.longlong
        header: cython.longlong
        identity: cython.longlong
        protocol: cython.longlong
        snapped: cython.longlong = 0
        other: cython.longlong = 0
        undecodable: cython.longlong = 0
        size: cython.longlong = 0
        steps: cython.int
        first: cython.longlong = self.start_ns
        last: cython.longlong = self.end_ns
        if count and last < first:
            first = last = ts_ns[0]
        for row in range(count):
            at = offset[row]
            end = at + captured[row]
            wire_end = at + cython.cast(cython.longlong, original[row])
            size += original[row]
            if wire_end > end:
                snapped += 1
            if ts_ns[row] < first:
                first = ts_ns[row]
            if ts_ns[row] > last:
                last = ts_ns[row]

            kind = 0
            if link_type[row] == 1 and end - at >= 34:
                kind = u16(data, at + 12)
            if kind == ETHERTYPE_IPV4 or kind == ETHERTYPE_IPV6:
                at += 14
            else:
                found = after_link_header(data, link_type[row], at, end)
                if found < 0:
                    undecodable += 1
                    continue
                kind = found >> 32
                at = found & MASK32

            if kind == ETHERTYPE_IPV4:
                if end - at < 20:
                    undecodable += 1
                    continue
                header = (data[at] & 15) << 2
                length = u16(data, at + 2)
                if length == 0:  # segmentation offload: the packet is longer than the field can say, or was not finished yet
                    length = wire_end - at
                if data[at] >> 4 != 4 or header < 20 or length < header or length > MAX_SEGMENT:
                    undecodable += 1
                    continue
                protocol = data[at + 9]
                if u16(data, at + 6) & 0x3FFF:
                    if protocol != 6:
                        other += 1
                        continue
                    at = self.fragments.add_ipv4(at, end)
                    if at < 0:
                        other += 1
                        continue
                    header = (data[at] & 15) << 2
                    length = self.fragments.length
                    end = at + length
                elif protocol != 6:
                    other += 1
                    continue
                identity = u16(data, at + 4)
                if identity == 0:
                    identity = NONE
                hops[out] = data[at + 8]
                source_high[out] = 0
                source_low[out] = MAPPED_IPV4 | u32(data, at + 12)
                destination_high[out] = 0
                destination_low[out] = MAPPED_IPV4 | u32(data, at + 16)
                wire_end = at + length
                at += header
            elif kind == ETHERTYPE_IPV6:
                if end - at < 40:
                    undecodable += 1
                    continue
                if data[at] >> 4 != 6:
                    undecodable += 1
                    continue
                length = u16(data, at + 4) + 40
                if length == 40:  # jumbogram or segmentation offload
                    length = wire_end - at
                if length > MAX_SEGMENT:
                    undecodable += 1
                    continue
                protocol = data[at + 6]
                found = at
                header = 40
                steps = 0
                # RFC 8200 4.1: hop-by-hop, routing, destination options; RFC 4302: authentication; RFC 6275: mobility
                while (
                    protocol == 0 or protocol == 43 or protocol == 60 or protocol == 51 or protocol == 44 or protocol == 135
                ) and steps < 16:
                    steps += 1
                    if end - at < header + 8:
                        break
                    if protocol == 44:
                        if u16(data, at + header + 2) & 0xFFF9:
                            if data[at + header] != 6:
                                protocol = 59
                                break
                            found = self.fragments.add_ipv6(at, header, end)
                            if found < 0:
                                protocol = 59
                                break
                            at = found
                            length = self.fragments.length
                            end = at + length
                            header = 40
                            protocol = 6
                            break
                        protocol = data[at + header]
                        header += 8
                    elif protocol == 51:
                        protocol = data[at + header]
                        header += (data[at + header + 1] + 2) * 4
                    else:
                        protocol = data[at + header]
                        header += (data[at + header + 1] + 1) * 8
                if protocol != 6:
                    if protocol == 0 or protocol == 43 or protocol == 60 or protocol == 51 or protocol == 44:
                        undecodable += 1
                    else:
                        other += 1
                    continue
                identity = NONE
                hops[out] = data[at + 7]
                source_high[out] = word(data, at + 8)
                source_low[out] = word(data, at + 16)
                destination_high[out] = word(data, at + 24)
                destination_low[out] = word(data, at + 32)
                wire_end = at + length
                at += header
            else:
                other += 1
                continue

            if wire_end < end:
                end = wire_end
            if end - at < 20:
                undecodable += 1
                continue
            header = (data[at + 12] >> 4) << 2
            if header < 20 or header > wire_end - at:
                undecodable += 1
                continue
            ports[out] = cython.cast(cython.uint, u32(data, at))
            seq[out] = cython.cast(cython.uint, u32(data, at + 4))
            ack[out] = cython.cast(cython.uint, u32(data, at + 8))
            flags[out] = data[at + 13]
            window[out] = cython.cast(cython.ushort, u16(data, at + 14))
            if identity < 0 and header > 20:
                identity = timestamp_mark(data, at + 20, at + header if at + header < end else end)
            mark[out] = identity
            at += header
            payload_offset[out] = cython.cast(cython.int, at)
            payload_length[out] = cython.cast(cython.int, wire_end - at)
            payload_captured[out] = cython.cast(cython.int, end - at) if end > at else 0
            frame[out] = cython.cast(cython.int, row)
            out += 1
        self.start_ns = first
        self.end_ns = last
        self.tcp_packets += out
        self.other_packets += other
        self.undecodable_packets += undecodable
        self.snapped_packets += snapped
        self.bytes += size
        segments.count = out
        return segments
