"""The headers of a chunk's packets -> columns of TCP segments, without any of Python's objects.

Compiled by Cython (pure-Python mode) and runs unchanged without it; compiled, it runs beside Python (`captool.capture.read_ahead`).
Every frame is counted once: as TCP, as something else, or as undecodable (an IP or TCP header that is cut or contradicts itself). Formats:
RFC 9293. What is before TCP, where it is not the usual, is read by datagram.py.
"""

# ruff: noqa: D103, F821, FBT003, FURB136, PLR0912, PLR0915, PLR1730
# (the compiler makes plain comparisons of chained ones, Python calls of min, max and `in`; `fetch` comes from headers.pxd)

import cython

if not cython.compiled:  # compiled, they come from headers.pxd
    from captool.capture.columns import octets, u16, u32
    from captool.capture.frames import Frames
    from captool.capture.literals import (
        BEYOND_IPV4,
        ETHERTYPE_IPV4,
        FRAGMENT,
        HALF32,
        LONGEST_PLAIN,
        MAPPED_IPV4,
        MASK32,
        MASK64,
        MIX_A,
        MIX_B,
        NO_TCP,
        PLAIN,
        SELECTIVE,
        TWO32,
        UNDECODABLE,
    )
    from captool.packets.link import capture_place
    from captool.packets.options import arrived_above, timestamp_mark
    from captool.packets.segments import Segments

NONE = cython.declare(cython.longlong, -1)
TIMESTAMP_ALONE = cython.declare(cython.longlong, 0x0101080A)  # two NOPs, then the option (RFC 7323 appendix A)
NOWHERE = cython.declare(cython.Py_ssize_t, 1 << 40)
AHEAD = cython.declare(cython.Py_ssize_t, 8)  # packets whose headers are fetched: the chunk may be in another processor's cache


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def pair(high: cython.longlong, low: cython.longlong) -> cython.longlong:
    """The lower halves of two numbers as one signed number."""
    if cython.compiled:
        return cython.cast(cython.longlong, cython.cast(cython.ulonglong, high) << 32 | low & MASK32)
    else:  # noqa: RET505 - the compiler leaves this branch out
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
    found: cython.int
    length: cython.longlong
    header: cython.longlong
    identity: cython.longlong
    head: cython.p_uchar
    source_high: cython.longlong
    source_low: cython.longlong
    destination_high: cython.longlong
    destination_low: cython.longlong
    beyond_ipv4: cython.bint
    ports: cython.longlong
    seq: cython.longlong
    ack: cython.longlong
    flags: cython.longlong
    window: cython.longlong
    differ: cython.longlong
    hops: cython.uchar
    shape: cython.uchar
    key: cython.longlong
    link: cython.int = -1
    type_at: cython.Py_ssize_t = 0
    network_at: cython.Py_ssize_t = NOWHERE
    whole: cython.longlong = segments.whole_length
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
        if cython.compiled and row + AHEAD < count:
            fetch(octets(data, frames.offset[row + AHEAD]))
        wire_end = at + cython.cast(cython.longlong, frames.original[row])
        if frames.link_type[row] != link:
            link = frames.link_type[row]
            type_at = 12 if link == 1 else 0 if link == 276 else 14
            network_at = 14 if link == 1 else 20 if link == 276 else 16 if link == 113 else NOWHERE
        length = 0
        if whole == 0:
            size += wire_end - at
            if wire_end > end:
                snapped += 1
            # Nearly all packets of nearly all captures: IPv4 without options, and not a fragment, straight behind the link layer.
            if end - at >= network_at + 40 and u16(octets(data, at), type_at) == ETHERTYPE_IPV4:
                head = octets(data, at + network_at)
                if head[0] == 0x45 and head[9] == 6 and u16(head, 6) & 0x3FFF == 0 and u16(head, 2) >= 40:
                    length = u16(head, 2)
        if length:
            at += network_at
            hops = head[8]
            identity = u16(head, 4)
            if identity == 0:
                identity = NONE
            source_high = destination_high = 0
            source_low = MAPPED_IPV4 | u32(head, 12)
            destination_low = MAPPED_IPV4 | u32(head, 16)
            beyond_ipv4 = False
            wire_end = at + length
            at += 20
        else:
            if whole == 0:
                found = segments.datagram.find(data, link, at, end, wire_end)
            else:
                at = segments.fragment_at
                end = at + whole
                if segments.fragment_header:
                    found = segments.datagram.read_ipv6(data, at, end, whole, True)
                else:
                    found = segments.datagram.read_ipv4(data, at, end, whole, True)
                whole = 0
            if found == NO_TCP:
                other += 1
                continue
            if found == UNDECODABLE:
                undecodable += 1
                continue
            at = segments.datagram.at
            if found == FRAGMENT:
                segments.fragment_at = at
                segments.fragment_end = segments.datagram.end
                segments.fragment_header = segments.datagram.fragment_header
                break
            hops = segments.datagram.hops
            identity = segments.datagram.identity
            source_high = segments.datagram.source_high
            source_low = segments.datagram.source_low
            destination_high = segments.datagram.destination_high
            destination_low = segments.datagram.destination_low
            beyond_ipv4 = source_high | destination_high | ((source_low & destination_low) >> 32 ^ 0xFFFF) != 0
            wire_end = segments.datagram.end

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
        if beyond_ipv4:
            key = ends_hash(source_high, source_low, destination_high, destination_low, ports, seed)
        else:
            key = ends_hash(0, source_low, 0, destination_low, ports, seed)
        if shards > 1 and (key >> 1) * shards >> 31 != shard:
            elsewhere += 1
            continue
        seq = u32(head, 4)
        ack = u32(head, 8)
        segments.key[out] = key
        differ = (source_low ^ destination_low) & -(key & 1)
        segments.ends[out] = pair(source_low ^ differ, destination_low ^ differ)
        differ = ((ports >> 16) ^ (ports & 0xFFFF)) & -(key & 1)
        segments.end_ports[out] = cython.cast(cython.uint, ports ^ (differ << 16 | differ))
        segments.seq[out] = cython.cast(cython.uint, seq)
        segments.ack[out] = cython.cast(cython.uint, ack)
        flags = head[13]
        window = u16(head, 14)
        segments.flags[out] = cython.cast(cython.ushort, flags)
        segments.window[out] = cython.cast(cython.ushort, window)
        segments.hops[out] = hops
        if identity < 0 and header > 20:
            identity = timestamp_mark(data, at + 20, at + header if at + header < end else end)
        segments.identity[out] = cython.cast(cython.int, packet_identity(key, seq, ack, flags, wire_end - at - header, identity))
        if link != 1 and not 0 < identity < 0x10000:
            identity = at_place(identity, capture_place(data, link, frames.offset[row]))
        segments.mark[out] = identity
        at += header
        segments.payload_offset[out] = cython.cast(cython.int, at)
        segments.payload_length[out] = cython.cast(cython.int, wire_end - at)
        segments.payload_captured[out] = cython.cast(cython.int, end - at) if end > at else 0
        shape = 0
        if flags & 0x17 == 0x10 and window and end >= wire_end and wire_end - at <= LONGEST_PLAIN:  # ACK, but not FIN, SYN or RST
            shape = PLAIN
        if beyond_ipv4:
            shape |= BEYOND_IPV4
            segments.source_high[out] = source_high
            segments.source_low[out] = source_low
            segments.destination_high[out] = destination_high
            segments.destination_low[out] = destination_low
        # Most acknowledgements have a timestamp and nothing else among their options.
        if at == wire_end and header > 20 and (header != 32 or end < at or u32(head, 20) != TIMESTAMP_ALONE):  # noqa: SIM102
            if arrived_above(data, at - header + 20, at if at < end else end, ack):
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
