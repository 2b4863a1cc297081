"""Frames -> one row of columns for each TCP segment. No object is made for a packet.

Compiled by Cython (pure-Python mode) and runs unchanged without it. Every frame is counted once: as TCP, as something
else, or as undecodable (an IP or TCP header that is cut or contradicts itself). Formats: IEEE 802.3/802.1Q, RFC 791, 8200,
9293. What stands before the network layer is passed by link.py, what is around it by tunnel.py.
"""

# ruff: noqa: D103, FURB136, PLR0912, PLR0915, PLR1714, PLR1730, SIM109
# (the compiler makes plain comparisons of chained ones, Python calls of min, max and `in`)

from typing import Self

import cython

from captool.packets.fragments import Fragments

if not cython.compiled:  # compiled, they come from decode.pxd
    from captool.capture.columns import octets
    from captool.capture.frames import Frames
    from captool.packets.extension_headers import after_extension_headers
    from captool.packets.link import after_link_header, capture_place
    from captool.packets.options import timestamp_mark
    from captool.packets.segments import Segments
    from captool.packets.tunnel import inside

ETHERTYPE_IPV4 = cython.declare(cython.longlong, 0x0800)
ETHERTYPE_IPV6 = cython.declare(cython.longlong, 0x86DD)
MAPPED_IPV4 = cython.declare(cython.longlong, 0xFFFF00000000)
MASK32 = cython.declare(cython.longlong, 0xFFFFFFFF)
HALF32 = cython.declare(cython.longlong, 0x80000000)
TWO32 = cython.declare(cython.longlong, 0x100000000)
MASK64 = cython.declare(cython.ulonglong, cython.cast(cython.ulonglong, 0xFFFFFFFFFFFFFFFF))
MIX_A = cython.declare(cython.ulonglong, cython.cast(cython.ulonglong, 0x9E3779B97F4A7C15))
MIX_B = cython.declare(cython.ulonglong, cython.cast(cython.ulonglong, 0xBF58476D1CE4E5B9))
MAX_SEGMENT = cython.declare(cython.longlong, 1 << 24)  # offload makes segments of up to 512 KiB
NONE = cython.declare(cython.longlong, -1)
NO_TCP = cython.declare(cython.longlong, -2)
SECOND = cython.declare(cython.longlong, 1_000_000_000)


@cython.cfunc
@cython.inline
@cython.exceptval(check=False)
def u16(data: cython.p_uchar, at: cython.Py_ssize_t) -> cython.longlong:
    return cython.cast(cython.longlong, data[at]) << 8 | data[at + 1]


@cython.cfunc
@cython.inline
@cython.exceptval(check=False)
def u32(data: cython.p_uchar, at: cython.Py_ssize_t) -> cython.longlong:
    return (
        cython.cast(cython.uint, data[at]) << 24
        | cython.cast(cython.uint, data[at + 1]) << 16
        | cython.cast(cython.uint, data[at + 2]) << 8
        | cython.cast(cython.uint, data[at + 3])
    )


@cython.cfunc
@cython.inline
@cython.exceptval(check=False)
def word(data: cython.p_uchar, at: cython.Py_ssize_t) -> cython.longlong:
    """Eight bytes as a signed number."""
    return ((u32(data, at) ^ HALF32) - HALF32) * TWO32 + u32(data, at + 4)


@cython.cfunc
@cython.inline
@cython.exceptval(check=False)
def product(one: cython.ulonglong, other: cython.ulonglong) -> cython.ulonglong:
    """The lower 64 bits of it; a machine's word has no others."""
    if cython.compiled:
        return one * other
    else:  # noqa: RET505 - the compiler leaves this branch out
        return one * other & MASK64


@cython.cfunc
@cython.inline
@cython.exceptval(check=False)
def end_hash(high: cython.longlong, low: cython.longlong, port: cython.longlong, seed: cython.ulonglong) -> cython.ulonglong:
    mixed: cython.ulonglong = product(cython.cast(cython.ulonglong, high), MIX_B)
    mixed ^= cython.cast(cython.ulonglong, low ^ port << 48) ^ seed
    mixed = product(mixed, MIX_A)
    return product(mixed ^ mixed >> 32, MIX_B)


@cython.cfunc
@cython.inline
@cython.exceptval(check=False)
def ends_hash(
    source_high: cython.longlong, source_low: cython.longlong, destination_high: cython.longlong, destination_low: cython.longlong,
    ports: cython.longlong, seed: cython.ulonglong,
) -> cython.longlong:
    """31 bits of a hash that is the same for both directions, and below them whether the destination is the first end.

    The order of the two ends is that of their hashes, so that nothing needs to be compared.
    """
    source: cython.ulonglong = end_hash(source_high, source_low, ports >> 16, seed)
    destination: cython.ulonglong = end_hash(destination_high, destination_low, ports & 0xFFFF, seed)
    mixed: cython.ulonglong = source ^ destination
    mixed = product(mixed ^ mixed >> 29, MIX_A)
    return cython.cast(cython.longlong, mixed >> 33) << 1 | (1 if source > destination else 0)


@cython.cfunc
@cython.inline
@cython.exceptval(check=False)
def packet_identity(
    key: cython.longlong, seq: cython.longlong, ack: cython.longlong, flags: cython.longlong, length: cython.longlong, mark: cython.longlong
) -> cython.longlong:
    """31 bits that tell packets apart, of one sender (`key`) and of several; never 0."""
    mixed: cython.ulonglong = product(cython.cast(cython.ulonglong, seq << 31 ^ ack ^ key << 32), MIX_A)
    mixed = product(mixed ^ cython.cast(cython.ulonglong, length << 41 ^ flags << 34 ^ mark), MIX_B)
    return cython.cast(cython.longlong, mixed >> 33) | 1


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
    Several processes may share the work on a capture: each decoder counts all packets, and hands on the connections of one `shard` out of
    `shards`, told apart by a hash of their ends.
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
    seed: cython.ulonglong
    shard: cython.longlong
    shards: cython.longlong

    def __init__(self, shard: int = 0, shards: int = 1) -> None:
        # Secret to this process and those that it forks, so that no capture can be built to fill one chain of a table. No result depends
        # on it.
        self.seed = hash(b"captool") & 0xFFFFFFFFFFFFFFFF
        self.shard = shard
        self.shards = shards
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

    def again(self) -> Self:
        """A decoder for the same connections of the capture, from its beginning."""
        return Decoder(self.shard, self.shards)

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
        shards: cython.longlong = self.shards
        previous: cython.longlong = self.previous_ns
        first: cython.longlong = self.start_ns
        last: cython.longlong = self.end_ns
        head: cython.p_uchar
        source_high: cython.longlong
        source_low: cython.longlong
        destination_high: cython.longlong
        destination_low: cython.longlong
        ports: cython.longlong
        hops: cython.uchar
        key: cython.longlong
        elsewhere: cython.longlong = 0
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
                kind = u16(octets(data, at), 12)
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
                head = octets(data, at)
                header = (head[0] & 15) << 2
                length = u16(head, 2)
                if length == 0:  # segmentation offload: the packet is longer than the field can say, or was not finished yet
                    length = wire_end - at
                if head[0] >> 4 != 4 or header < 20 or length < header or length > MAX_SEGMENT:
                    undecodable += 1
                    continue
                protocol = head[9]
                if u16(head, 6) & 0x3FFF:
                    if protocol != 6:
                        other += 1
                        continue
                    at = self.fragments.add_ipv4(at, end)
                    if at < 0:
                        other += 1
                        continue
                    head = octets(data, at)
                    header = (head[0] & 15) << 2
                    length = self.fragments.length
                    end = at + length
                elif protocol != 6:
                    other += 1
                    continue
                hops = head[8]
                identity = u16(head, 4)
                if identity == 0:
                    identity = NONE
                source_high = 0
                source_low = MAPPED_IPV4 | u32(head, 12)
                destination_high = 0
                destination_low = MAPPED_IPV4 | u32(head, 16)
                wire_end = at + length
                at += header
            elif kind == ETHERTYPE_IPV6:
                if end - at < 40:
                    undecodable += 1
                    continue
                if data[at] >> 4 != 6:
                    undecodable += 1
                    continue
                length = u16(octets(data, at), 4) + 40
                if length == 40:  # jumbogram or segmentation offload
                    length = wire_end - at
                if length > MAX_SEGMENT:
                    undecodable += 1
                    continue
                found = after_extension_headers(data, self.fragments, at, end)
                if found == NO_TCP:
                    other += 1
                    continue
                if found < 0:
                    undecodable += 1
                    continue
                header = found >> 32
                found &= MASK32
                if found != at:  # a datagram put together
                    at = found
                    length = self.fragments.length
                    end = at + length
                head = octets(data, at)
                hops = head[7]
                identity = NONE
                source_high = word(head, 8)
                source_low = word(head, 16)
                destination_high = word(head, 24)
                destination_low = word(head, 32)
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
            head = octets(data, at)
            header = (head[12] >> 4) << 2
            if header < 20 or header > wire_end - at:
                undecodable += 1
                continue
            ports = u32(head, 0)
            key = ends_hash(source_high, source_low, destination_high, destination_low, ports, self.seed)
            if shards > 1 and (key >> 1) * shards >> 31 != self.shard:
                elsewhere += 1
                continue
            segments.key[out] = key
            segments.source_high[out] = source_high
            segments.source_low[out] = source_low
            segments.destination_high[out] = destination_high
            segments.destination_low[out] = destination_low
            segments.ports[out] = cython.cast(cython.uint, ports)
            segments.seq[out] = cython.cast(cython.uint, u32(head, 4))
            segments.ack[out] = cython.cast(cython.uint, u32(head, 8))
            segments.flags[out] = head[13]
            segments.window[out] = cython.cast(cython.ushort, u16(head, 14))
            segments.hops[out] = hops
            if identity < 0 and header > 20:
                identity = timestamp_mark(data, at + 20, at + header if at + header < end else end)
            segments.identity[out] = cython.cast(
                cython.int, packet_identity(key, u32(head, 4), u32(head, 8), head[13], wire_end - at - header, identity)
            )
            if frames.link_type[row] != 1 and not 0 < identity < 0x10000:
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
        self.tcp_packets += out + elsewhere
        self.other_packets += other
        self.undecodable_packets += undecodable
        self.snapped_packets += snapped
        self.bytes += size
        segments.count = out
        segments.latest_ns = last
        return segments
