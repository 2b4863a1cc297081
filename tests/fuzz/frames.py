"""Frames of all link types into the decoder, and segments of all kinds into the tracker, without a file around them."""

import struct

from builders import ACK, FIN, RST, SYN, ethernet, ip, tcp
from captool.capture import linktype
from captool.capture.frames import Frames
from captool.packets.decode import Decoder
from captool.packets.fragments import MAX_DATAGRAM, MAX_DATAGRAMS, MAX_HOLES
from captool.packets.icmp import MAX_KEPT, IcmpErrors
from captool.tcp.connection import StreamPiece, TcpConnection
from captool.tcp.tracker import Tracker
from fuzz.script import Script

LINK_TYPES = sorted(linktype.DECODED)
SPARE = 1 << 17
SECOND = 10**9


def chunk(rows: list[tuple[int, int, int, bytes]], first_packet: int = 1) -> Frames:
    """Frames of (time, link type, length on the wire, bytes)."""
    content = b"".join(frame for _, _, _, frame in rows)
    frames = Frames(bytearray(content + bytes(SPARE)), len(content), max(len(rows), 1))
    at = 0
    for row, (ts_ns, link_type, original, frame) in enumerate(rows):
        frames.ts_ns[row], frames.link_type[row], frames.original[row] = ts_ns, link_type, original
        frames.offset[row], frames.captured[row] = at, len(frame)
        at += len(frame)
    frames.count = len(rows)
    frames.first_packet = first_packet
    return frames


def packets(data: bytes) -> object:
    """(link type, cut, bytes) after (link type, cut, bytes): the counters add up and no row points outside its frame or the spare room.

    An ICMP error is of a packet that was there.
    """
    script = Script(data)
    rows = []
    while script and len(rows) < 4096:
        link_type = LINK_TYPES[script.byte() % len(LINK_TYPES)]
        cut = script.byte()
        frame = script.vector(2)
        rows.append((len(rows), link_type, len(frame) + cut if cut < 0xF0 else cut - 0xF0, frame))
    decoder, errors = Decoder(), IcmpErrors()
    answers = []
    for begin in range(0, len(rows), 16):
        frames = chunk(rows[begin : begin + 16], begin + 1)
        segments = decoder.decode(frames)
        errors.add(frames, segments, decoder.other_packets)
        for row in range(segments.count):
            start, captured, length = segments.payload_offset[row], segments.payload_captured[row], segments.payload_length[row]
            assert 0 <= captured <= length, (captured, length)
            if captured:
                frame = segments.frame[row]
                whole = frames.offset[frame], frames.offset[frame] + frames.captured[frame]
                inside = whole[0] <= start and start + captured <= whole[1]
                assert inside or frames.spare <= start <= start + captured <= len(frames.buffer), (start, captured, whole)
            segments.tell_ends(row)
            answers.append(
                (segments.frame[row], segments.source_high[row], segments.source_low[row], segments.destination_high[row],
                 segments.destination_low[row], segments.ports[row], segments.seq[row], segments.ack[row], segments.flags[row],
                 segments.window[row], segments.mark[row], segments.shape[row], length, bytes(frames.buffer[start : start + captured]))
            )  # fmt: skip
    assert len(rows) == decoder.tcp_packets + decoder.other_packets + decoder.undecodable_packets
    waiting = decoder.fragments._datagrams
    assert len(waiting) <= MAX_DATAGRAMS
    assert all(len(datagram.payload) <= MAX_DATAGRAM and len(datagram.holes) <= MAX_HOLES for datagram in waiting.values())
    found = errors.found()
    assert len(found) <= MAX_KEPT
    assert all(1 <= error.first_packet <= error.last_packet <= len(rows) and error.times <= len(rows) for error in found), found
    counts = decoder.tcp_packets, decoder.other_packets, decoder.undecodable_packets, decoder.snapped_packets, decoder.bytes
    return counts, decoder.notes(), answers, found


def content(side: int, seq: int, length: int) -> bytes:
    """What a side says from a (not wrapped) sequence number on: the same whenever it says it."""
    return bytes((at * 31 + (at >> 8) * 17 + (at >> 16) * 7 + side * 101) & 0xFF for at in range(seq, seq + length))


STEP = struct.Struct(">BBbbBB")


def tcp_segments(data: bytes) -> object:
    """Six bytes a segment: whose, flags, place, acknowledgement, length, wait. Pieces are in order and say what was said there."""
    script = Script(data)
    small_buffer = script.byte() & 1
    tracker = Tracker(max_buffer=2000) if small_buffer else Tracker()
    decoder = Decoder()
    isn = [(script.number(4), script.number(4)) for _ in range(2)]
    nexts = [[0, 0], [0, 0]]
    rows: list[tuple[int, int, int, bytes]] = []
    pieces: list[StreamPiece] = []
    closed: list[TcpConnection] = []
    ts_ns = 1_700_000_000 * SECOND
    begun: list[tuple[int, int]] = []  # where streams can begin
    number = 0

    def hand_over() -> None:
        frames = chunk(rows, number - len(rows) + 1)
        tracker.add(frames, decoder.decode(frames))
        pieces.extend(tracker.take_pieces())
        closed.extend(tracker.take_closed())
        rows.clear()

    while script and number < 4096:
        who, how, place, acked, size, wait = STEP.unpack(script.take(6).ljust(6, b"\0"))
        connection, side = who & 1, who >> 1 & 1
        flags = [ACK, ACK, ACK, SYN, SYN | ACK, FIN | ACK, RST, RST | ACK, FIN, 0, ACK, ACK, ACK, SYN | FIN, ACK, 0xFF][how & 15]
        far = 1 << (how >> 4)  # how far one step of `place` and `acked` goes
        ends = [("10.0.0.1", 40000 + connection), ("10.0.0.2", 2376)]
        offset = max(nexts[connection][side] + place * far if flags & (SYN | FIN | RST) == 0 or place else nexts[connection][side], -1)
        length = 0 if flags & SYN else size if who & 4 else size * 16
        seq = isn[connection][side] + offset + (0 if flags & SYN else 1)
        ack = isn[connection][1 - side] + 1 + nexts[connection][1 - side] + acked * far
        if flags & SYN:
            begun.append((side, seq + 1))
            begun.append((1 - side, ack if flags & ACK else 0))
        segment = tcp(ends[side], ends[1 - side], seq, ack if flags & ACK else 0, flags, content(side, seq, length), 0 if who & 8 else 500)
        frame = ethernet(ip(segment, ends[side], ends[1 - side], number & 0xFFFF if who & 16 else 0))
        cut = length // 2 if who & 32 else 0
        ts_ns += (wait - 256 if who & 64 else wait) * (SECOND if who & 128 else 1_000_000)
        rows.append((ts_ns, 1, len(frame), frame[: len(frame) - cut]))
        nexts[connection][side] = max(nexts[connection][side], offset + length + bool(flags & FIN))
        number += 1
        if len(rows) >= 8:
            hand_over()
    hand_over()
    tracker.finish()
    pieces += tracker.take_pieces()
    closed += tracker.take_closed()
    seen = sum(sum(connection.packets) for connection in closed)
    assert number == decoder.tcp_packets == seen + tracker.duplicate_packets, (number, seen, tracker.duplicate_packets)
    reached: dict[tuple[int, int], int] = {}
    for piece in pieces:
        key = piece.connection, piece.direction
        assert piece.offset >= reached.get(key, 0) + piece.missing_before, piece
        reached[key] = piece.offset + len(piece.data)
        assert len(piece.mark_offsets) == len(piece.mark_packets) == len(piece.mark_times_ns)
        if piece.from_start:
            assert any(content(side, start + piece.offset, len(piece.data)) == piece.data for side, start in begun), piece
    return tracker.duplicate_packets, tracker.notes(), closed, pieces
