"""Frames -> one row of columns for each TCP segment. No object is made for a packet.

Compiled by Cython (pure-Python mode) and runs unchanged without it. Every frame is counted once: as TCP, as something
else, or as undecodable (an IP or TCP header that is cut or contradicts itself). Formats: IEEE 802.3/802.1Q, RFC 791, 8200,
9293. What stands before the network layer is passed by link.py, what is around it by tunnel.py.
"""

# ruff: noqa: D103, FURB136, PLR0912, PLR0915, PLR1714, PLR1730, SIM109
# (the compiler makes plain comparisons of chained ones, Python calls of min, max and `in`)

import cython

from captool.packets.fragments import Fragments

if not cython.compiled:  # compiled, they come from decode.pxd
    from captool.capture.frames import Frames
    from captool.packets.link import after_link_header, capture_place
    from captool.packets.segments import Segments
    from captool.packets.tunnel import inside

ETHERTYPE_IPV4 = cython.declare(cython.longlong, 0x0800)
ETHERTYPE_IPV6 = cython.declare(cython.longlong, 0x86DD)
MAPPED_IPV4 = cython.declare(cython.longlong, 0xFFFF00000000)
MASK32 = cython.declare(cython.longlong, 0xFFFFFFFF)
HALF32 = cython.declare(cython.longlong, 0x80000000)
TWO32 = cython.declare(cython.longlong, 0x100000000)
MAX_SEGMENT = cython.declare(cython.longlong, 1 << 24)  # offload makes segments of up to 512 KiB
NONE = cython.declare(cython.longlong, -1)
SECOND = cython.declare(cython.longlong, 1_000_000_000)


@cython.cfunc
@cython.inline
@cython.boundscheck(False)  # `decode` checks once a packet
@cython.exceptval(check=False)
def u16(data: cython.uchar[::1], at: cython.Py_ssize_t) -> cython.longlong:
    return cython.cast(cython.longlong, data[at]) << 8 | data[at + 1]


@cython.cfunc
@cython.inline
@cython.boundscheck(False)
@cython.exceptval(check=False)
def u32(data: cython.uchar[::1], at: cython.Py_ssize_t) -> cython.longlong:
    return (
        cython.cast(cython.uint, data[at]) << 24
        | cython.cast(cython.uint, data[at + 1]) << 16
        | cython.cast(cython.uint, data[at + 2]) << 8
        | cython.cast(cython.uint, data[at + 3])
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


@cython.cfunc
@cython.exceptval(check=False)
def at_place(mark: cython.longlong, place: cython.longlong) -> cython.longlong:
    """The mark of a packet without identification, with the place of its capture above its 33 bits."""
    if place == 0:
        return mark
    return place << 33 | (mark if mark > 0 else 0)


@cython.cclass
class Decoder:
    """Turns chunks of frames into chunks of TCP segments and counts what it saw.

    `bytes` are lengths on the wire, `snapped_packets` packets of which a snap length cut something. `clock_steps` counts the packets that
    are more than a second older than the one before them, `clock_step_ns` is the largest step back, at packet `clock_step_packet`.
    """

    tcp_packets = cython.declare(cython.longlong, visibility="readonly")
    other_packets = cython.declare(cython.longlong, visibility="readonly")
    undecodable_packets = cython.declare(cython.longlong, visibility="readonly")
    snapped_packets = cython.declare(cython.longlong, visibility="readonly")
    bytes = cython.declare(cython.longlong, visibility="readonly")
    clock_steps = cython.declare(cython.longlong, visibility="readonly")
    clock_step_ns = cython.declare(cython.longlong, visibility="readonly")
    clock_step_packet = cython.declare(cython.longlong, visibility="readonly")
    start_ns = cython.declare(cython.longlong, visibility="readonly")
    end_ns = cython.declare(cython.longlong, visibility="readonly")
    previous_ns: cython.longlong
    fragments = cython.declare(object, visibility="readonly")
    segments: Segments

    def __init__(self) -> None:
        self.tcp_packets = 0
        self.other_packets = 0
        self.undecodable_packets = 0
        self.snapped_packets = 0
        self.bytes = 0
        self.clock_steps = 0
        self.clock_step_ns = 0
        self.clock_step_packet = 0
        self.start_ns = 0
        self.end_ns = -1
        self.previous_ns = -1
        self.segments = Segments(0)
        self.fragments = Fragments()

    def notes(self) -> list[str]:
        """Sentences about packets that could not be used."""
        return self.fragments.notes()

    @cython.boundscheck(False)
    def decode(self, frames: Frames) -> Segments:
        """The TCP segments of `frames`, in the same order; valid until the next call."""
        segments: Segments = self.segments
        if segments.rows < len(frames.ts_ns):
            segments = self.segments = Segments(len(frames.ts_ns))
        self.fragments.begin_chunk(frames)
        data: cython.uchar[::1] = frames.data
        ts_ns: cython.longlong[::1] = frames.ts_ns
        row: cython.Py_ssize_t
        out: cython.Py_ssize_t = 0
        count: cython.Py_ssize_t = frames.count
        limit: cython.Py_ssize_t = len(data)
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
        previous: cython.longlong = self.previous_ns
        first: cython.longlong = self.start_ns
        last: cython.longlong = self.end_ns
        if count and last < first:
            first = last = previous = ts_ns[0]
        for row in range(count):
            at = frames.offset[row]
            end = at + frames.captured[row]
            if at < 0 or end < at or end > limit:
                raise IndexError("a frame lies outside of the chunk")
            wire_end = at + cython.cast(cython.longlong, frames.original[row])
            size += frames.original[row]
            if wire_end > end:
                snapped += 1
            if ts_ns[row] < first:
                first = ts_ns[row]
            if ts_ns[row] > last:
                last = ts_ns[row]
            elif previous - ts_ns[row] > SECOND:  # packets of several queues are out of order by far less
                self.clock_steps += 1
                if previous - ts_ns[row] > self.clock_step_ns:
                    self.clock_step_ns = previous - ts_ns[row]
                    self.clock_step_packet = frames.first_packet + row
            previous = ts_ns[row]

            kind = 0
            if frames.link_type[row] == 1 and end - at >= 34:
                kind = u16(data, at + 12)
            if kind == ETHERTYPE_IPV4 or kind == ETHERTYPE_IPV6:
                at += 14
            else:
                found = after_link_header(data, frames.link_type[row], at, end)
                if found < 0:
                    undecodable += 1
                    continue
                kind = found >> 32
                at = found & MASK32
            if (kind == ETHERTYPE_IPV4 and end - at >= 20 and data[at + 9] != 6) or (
                kind == ETHERTYPE_IPV6 and end - at >= 40 and data[at + 6] != 6
            ):
                found = inside(data, kind, at, end)
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
                segments.hops[out] = data[at + 8]
                identity = u16(data, at + 4)
                if identity == 0:
                    identity = NONE
                segments.source_high[out] = 0
                segments.source_low[out] = MAPPED_IPV4 | u32(data, at + 12)
                segments.destination_high[out] = 0
                segments.destination_low[out] = MAPPED_IPV4 | u32(data, at + 16)
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
                segments.hops[out] = data[at + 7]
                identity = NONE
                segments.source_high[out] = word(data, at + 8)
                segments.source_low[out] = word(data, at + 16)
                segments.destination_high[out] = word(data, at + 24)
                segments.destination_low[out] = word(data, at + 32)
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
            segments.ports[out] = cython.cast(cython.uint, u32(data, at))
            segments.seq[out] = cython.cast(cython.uint, u32(data, at + 4))
            segments.ack[out] = cython.cast(cython.uint, u32(data, at + 8))
            segments.flags[out] = data[at + 13]
            segments.window[out] = cython.cast(cython.ushort, u16(data, at + 14))
            if identity < 0:
                if header > 20:
                    identity = timestamp_mark(data, at + 20, at + header if at + header < end else end)
                if frames.link_type[row] != 1:
                    identity = at_place(identity, capture_place(data, frames.link_type[row], frames.offset[row]))
            segments.mark[out] = identity
            at += header
            segments.payload_offset[out] = cython.cast(cython.int, at)
            segments.payload_length[out] = cython.cast(cython.int, wire_end - at)
            segments.payload_captured[out] = cython.cast(cython.int, end - at) if end > at else 0
            segments.frame[out] = cython.cast(cython.int, row)
            out += 1
        self.previous_ns = previous
        self.start_ns = first
        self.end_ns = last
        self.tcp_packets += out
        self.other_packets += other
        self.undecodable_packets += undecodable
        self.snapped_packets += snapped
        self.bytes += size
        segments.count = out
        segments.latest_ns = last
        return segments
