"""The headers of a chunk's packets -> columns of TCP segments, without any of Python's objects.

Compiled by Cython (pure-Python mode) and runs unchanged without it; compiled, it runs beside Python (`captool.capture.read_ahead`).
Every frame is counted once: as TCP, as something else, or as undecodable (an IP or TCP header that is cut or contradicts itself). Formats:
IEEE 802.3/802.1Q, RFC 791, 8200, 9293. What stands before the network layer is passed by link.py, what is around it by tunnel.py.
"""

# ruff: noqa: D103, FURB136, PLR0912, PLR0915, PLR1714, PLR1730, SIM109
# (the compiler makes plain comparisons of chained ones, Python calls of min, max and `in`)

import cython

if not cython.compiled:  # compiled, they come from headers.pxd
    from captool.capture.columns import octets
    from captool.capture.frames import Frames
    from captool.capture.literals import (
        BEYOND_IPV4,
        ETHERTYPE_IPV4,
        ETHERTYPE_IPV6,
        HALF32,
        LONGEST_PLAIN,
        MAPPED_IPV4,
        MASK32,
        MASK64,
        MIX_A,
        MIX_B,
        PLAIN,
        SELECTIVE,
        TWO32,
    )
    from captool.packets.extension_headers import after_extension_headers
    from captool.packets.link import after_link_header, capture_place
    from captool.packets.options import arrived_above, timestamp_mark
    from captool.packets.segments import Segments
    from captool.packets.tunnel import inside

MAX_SEGMENT = cython.declare(cython.longlong, 1 << 24)  # offload makes segments of up to 512 KiB
NONE = cython.declare(cython.longlong, -1)
NO_TCP = cython.declare(cython.longlong, -2)
ACK = cython.declare(cython.int, 16)
TELLING_FLAGS = cython.declare(cython.int, 23)  # FIN, SYN, RST, ACK
PLAIN_HEADER = cython.declare(cython.longlong, 20)
STAMPED_HEADER = cython.declare(cython.longlong, 32)
TIMESTAMP_ALONE = cython.declare(cython.longlong, 0x0101080A)  # two NOPs, then the option (RFC 7323 appendix A)
LEAST_HEADER = cython.declare(cython.longlong, 40)


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def u16(data: cython.p_uchar, at: cython.Py_ssize_t) -> cython.longlong:
    return cython.cast(cython.longlong, data[at]) << 8 | data[at + 1]


@cython.cfunc
@cython.inline
@cython.nogil
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
@cython.nogil
@cython.exceptval(check=False)
def word(data: cython.p_uchar, at: cython.Py_ssize_t) -> cython.longlong:
    """Eight bytes as a signed number."""
    return ((u32(data, at) ^ HALF32) - HALF32) * TWO32 + u32(data, at + 4)


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def pair(high: cython.longlong, low: cython.longlong) -> cython.longlong:
    """The lower halves of two numbers as one signed number."""
    return ((high & MASK32 ^ HALF32) - HALF32) * TWO32 + (low & MASK32)


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def product(one: cython.ulonglong, other: cython.ulonglong) -> cython.ulonglong:
    """The lower 64 bits of it; a machine's word has no others."""
    if cython.compiled:
        return one * other
    else:  # noqa: RET505 - the compiler leaves this branch out
        return one * other & MASK64


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def end_hash(high: cython.longlong, low: cython.longlong, port: cython.longlong, seed: cython.ulonglong) -> cython.ulonglong:
    mixed: cython.ulonglong = product(cython.cast(cython.ulonglong, high), MIX_B)
    mixed ^= cython.cast(cython.ulonglong, low ^ port << 48) ^ seed
    mixed = product(mixed, MIX_A)
    return product(mixed ^ mixed >> 32, MIX_B)


@cython.cfunc
@cython.inline
@cython.nogil
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
@cython.nogil
@cython.exceptval(check=False)
def packet_identity(
    key: cython.longlong, seq: cython.longlong, ack: cython.longlong, flags: cython.longlong, length: cython.longlong, mark: cython.longlong
) -> cython.longlong:
    """31 bits that tell packets apart, of one sender (`key`) and of several; never 0."""
    mixed: cython.ulonglong = product(cython.cast(cython.ulonglong, seq << 31 ^ ack ^ key << 32), MIX_A)
    mixed = product(mixed ^ cython.cast(cython.ulonglong, length << 41 ^ flags << 34 ^ mark), MIX_B)
    return cython.cast(cython.longlong, mixed >> 33) | 1


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def at_place(mark: cython.longlong, place: cython.longlong) -> cython.longlong:
    """The mark of a packet without identification, with the place of its capture above its 33 bits."""
    if place == 0:
        return mark
    return place << 33 | (mark if mark > 0 else 0)


@cython.cfunc
@cython.nogil
@cython.boundscheck(False)
@cython.exceptval(check=False)
def read_headers(
    frames: Frames, segments: Segments, seed: cython.ulonglong, shard: cython.longlong, shards: cython.longlong
) -> cython.int:
    """Go over the packets of a chunk, or on from row `segments.row` if it is `staged`, up to a fragment of an IP datagram.

    Then `segments.row` is its row, `fragment_at` where its IP header is (-1 for a frame outside of the buffer), `fragment_end` where it
    ends and `fragment_header` how far behind the IPv6 header its fragment header is, 0 for IPv4. Whoever has put the datagram together
    calls again with its place in `fragment_at` and its length in `whole_length`, or goes on with the next row.
    """
    data: cython.uchar[::1] = frames.data
    row: cython.Py_ssize_t
    if not frames.staged:
        segments.begin()
        frames.staged = True
    begin: cython.Py_ssize_t = segments.row
    out: cython.Py_ssize_t = segments.count
    count: cython.Py_ssize_t = frames.count
    limit: cython.Py_ssize_t = data.shape[0] if cython.compiled else len(data)
    at: cython.Py_ssize_t
    end: cython.Py_ssize_t
    wire_end: cython.longlong
    found: cython.longlong
    kind: cython.longlong
    length: cython.longlong
    header: cython.longlong
    identity: cython.longlong
    protocol: cython.longlong
    head: cython.p_uchar
    source_high: cython.longlong
    source_low: cython.longlong
    destination_high: cython.longlong
    destination_low: cython.longlong
    ports: cython.longlong
    differ: cython.longlong
    hops: cython.uchar
    shape: cython.uchar
    key: cython.longlong
    whole: cython.longlong
    whole_length: cython.longlong = segments.whole_length
    snapped: cython.longlong = 0
    other: cython.longlong = 0
    undecodable: cython.longlong = 0
    elsewhere: cython.longlong = 0
    size: cython.longlong = 0
    for row in range(begin, count):
        at = frames.offset[row]
        end = at + frames.captured[row]
        if at < 0 or end < at or end > limit:
            segments.fragment_at = -1
            break
        wire_end = at + cython.cast(cython.longlong, frames.original[row])
        whole = whole_length
        whole_length = 0
        kind = 0
        if whole:
            at = segments.fragment_at
            end = at + whole
            kind = ETHERTYPE_IPV6 if segments.fragment_header else ETHERTYPE_IPV4
        else:
            size += frames.original[row]
            if wire_end > end:
                snapped += 1
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
            if whole:
                length = whole
            elif length == 0:  # segmentation offload: the packet is longer than the field can say, or was not finished yet
                length = wire_end - at
            if head[0] >> 4 != 4 or header < 20 or length < header or length > MAX_SEGMENT:
                undecodable += 1
                continue
            protocol = head[9]
            if protocol != 6:
                other += 1
                continue
            if u16(head, 6) & 0x3FFF and whole == 0:
                segments.fragment_at = at
                segments.fragment_end = end
                segments.fragment_header = 0
                break
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
            if whole:
                length = whole
                header = LEAST_HEADER
            else:
                header = after_extension_headers(data, at, end)
            if header <= -LEAST_HEADER:
                segments.fragment_at = at
                segments.fragment_end = end
                segments.fragment_header = -header
                break
            if header == NO_TCP:
                other += 1
                continue
            if header < 0:
                undecodable += 1
                continue
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
        key = ends_hash(source_high, source_low, destination_high, destination_low, ports, seed)
        if shards > 1 and (key >> 1) * shards >> 31 != shard:
            elsewhere += 1
            continue
        segments.key[out] = key
        differ = (source_low ^ destination_low) & -(key & 1)
        segments.ends[out] = pair(source_low ^ differ, destination_low ^ differ)
        differ = ((ports >> 16) ^ (ports & 0xFFFF)) & -(key & 1)
        segments.end_ports[out] = cython.cast(cython.uint, ports ^ (differ << 16 | differ))
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
        shape = PLAIN if head[13] & TELLING_FLAGS == ACK and u16(head, 14) and end >= wire_end and wire_end - at <= LONGEST_PLAIN else 0
        if kind != ETHERTYPE_IPV4 and source_high | destination_high | ((source_low & destination_low) >> 32 ^ 0xFFFF):
            shape |= BEYOND_IPV4
            segments.source_high[out] = source_high
            segments.source_low[out] = source_low
            segments.destination_high[out] = destination_high
            segments.destination_low[out] = destination_low
        # Most acknowledgements have a timestamp and nothing else among their options.
        if at == wire_end and header > PLAIN_HEADER and (header != STAMPED_HEADER or end < at or u32(head, 20) != TIMESTAMP_ALONE):  # noqa: SIM102
            if arrived_above(data, at - header + 20, at if at < end else end, u32(head, 8)):
                shape |= SELECTIVE
        segments.shape[out] = shape
        segments.frame[out] = cython.cast(cython.int, row)
        out += 1
    else:
        row = count
    segments.row = row
    segments.count = out
    segments.whole_length = 0
    segments.size += size
    segments.snapped += snapped
    segments.other += other
    segments.undecodable += undecodable
    segments.elsewhere += elsewhere
    return 0
