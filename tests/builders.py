"""Captures built byte by byte: TCP segments in frames, frames in pcap and pcapng files, and whole conversations.

Only what a test is about needs to be said; everything else has a default.
"""

import ipaddress
import struct
from dataclasses import dataclass, field
from pathlib import Path

from captool.capture.reader import CaptureReader
from captool.capture.summary import CaptureSummary
from captool.packets.decode import Decoder
from captool.tcp.connection import StreamPiece, TcpConnection
from captool.tcp.tracker import Tracker

FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND
CLIENT = ("10.0.0.1", 40000)
SERVER = ("10.0.0.2", 2376)
ISN_NEAR_WRAP = 2**32 - 100

Endpoint = tuple[str, int]
Row = tuple[int, bytes, int, int]


def tcp(
    source: Endpoint = CLIENT,
    destination: Endpoint = SERVER,
    seq: int = 1,
    ack: int = 1,
    flags: int = ACK,
    payload: bytes = b"",
    window: int = 500,
    options: bytes = b"",
) -> bytes:
    header = struct.pack(
        ">HHIIBBHHH", source[1], destination[1], seq % 2**32, ack % 2**32, (20 + len(options)) // 4 << 4, flags, window, 0, 0
    )
    return header + options + payload


def tsval(value: int) -> bytes:
    return struct.pack(">BBBBII", 1, 1, 8, 10, value, 0)


def sack(*blocks: tuple[int, int]) -> bytes:
    """Selective acknowledgements (RFC 2018) with two NOPs before them, as every system sends them."""
    edges = b"".join(struct.pack(">II", left % 2**32, right % 2**32) for left, right in blocks)
    return bytes([1, 1, 5, 2 + len(edges)]) + edges


def ip(payload: bytes, source: Endpoint = CLIENT, destination: Endpoint = SERVER, identification: int = 0, protocol: int = 6) -> bytes:
    sender, receiver = ipaddress.ip_address(source[0]), ipaddress.ip_address(destination[0])
    if sender.version == 6:
        return struct.pack(">IHBB", 0x60000000, len(payload), protocol, 64) + sender.packed + receiver.packed + payload
    header = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(payload), identification & 0xFFFF, 0x4000, 64, protocol, 0)
    return header + sender.packed + receiver.packed + payload


def ethernet(packet: bytes) -> bytes:
    return bytes(12) + (b"\x86\xdd" if packet[0] >> 4 == 6 else b"\x08\x00") + packet


@dataclass
class Packet:
    """One captured frame; `original` is its length on the wire where a snap length cut it."""

    frame: bytes
    ts_ns: int = START
    original: int | None = None


def pcap(packets: list[Packet], link_type: int = 1, order: str = "<", nano: bool = True, modified: bool = False) -> bytes:
    magic = 0xA1B2CD34 if modified else 0xA1B23C4D if nano else 0xA1B2C3D4
    out = [struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 262144, link_type)]
    for packet in packets:
        fraction = packet.ts_ns % SECOND // (1 if nano and not modified else 1000)
        length = len(packet.frame)
        out.append(struct.pack(order + "IIII", packet.ts_ns // SECOND, fraction, length, packet.original or length))
        out.append(b"\x00" * 8 * modified + packet.frame)
    return b"".join(out)


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    body += bytes(-len(body) % 4)
    length = struct.pack(order + "I", 12 + len(body))
    return struct.pack(order + "I", kind) + length + body + length


def option(code: int, value: bytes, order: str = "<") -> bytes:
    return struct.pack(order + "HH", code, len(value)) + value + bytes(-len(value) % 4)


def section(order: str = "<") -> bytes:
    return block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1), order)


def interface(link_type: int = 1, snap_length: int = 0, options: bytes = b"", order: str = "<") -> bytes:
    return block(1, struct.pack(order + "HHI", link_type, 0, snap_length) + options, order)


def enhanced(packet: Packet, ticks: int | None = None, number: int = 0, order: str = "<") -> bytes:
    ticks = packet.ts_ns // 1000 if ticks is None else ticks
    length = len(packet.frame)
    head = struct.pack(order + "IIIII", number, ticks >> 32, ticks & 0xFFFFFFFF, length, packet.original or length)
    return block(6, head + packet.frame, order)


def pcapng(packets: list[Packet], order: str = "<") -> bytes:
    return section(order) + interface(order=order) + b"".join(enhanced(packet, order=order) for packet in packets)


@dataclass
class Talk:
    """A conversation seen on the wire. `client` and `server` say something and the other side is taken to have heard it."""

    client_isn: int = 1000
    server_isn: int = 5000
    client_end: Endpoint = CLIENT
    server_end: Endpoint = SERVER
    now: int = START
    packets: list[Packet] = field(default_factory=list)
    next: list[int] = field(default_factory=list)
    identification: int = 100

    def __post_init__(self) -> None:
        self.next = [self.client_isn, self.server_isn]

    def opened(self) -> "Talk":
        self.client(flags=SYN, ack=0)
        self.server(flags=SYN | ACK)
        return self.client()

    def wait(self, seconds: float) -> "Talk":
        self.now += round(seconds * SECOND)
        return self

    def client(self, payload: bytes = b"", **said: int | bytes | None) -> "Talk":
        return self._say(0, payload, **said)

    def server(self, payload: bytes = b"", **said: int | bytes | None) -> "Talk":
        return self._say(1, payload, **said)

    def _say(
        self,
        side: int,
        payload: bytes,
        flags: int | None = None,
        seq: int | None = None,
        ack: int | None = None,
        window: int = 500,
        captured: bool = True,
        cut: int = 0,
        options: bytes = b"",
    ) -> "Talk":
        ends = (self.client_end, self.server_end)
        source, destination = ends[side], ends[1 - side]
        if flags is None:
            flags = ACK | PSH if payload else ACK
        at = self.next[side] if seq is None else seq
        answer = (self.next[1 - side] if ack is None else ack) if flags & ACK else 0
        after = at + len(payload) + bool(flags & SYN) + bool(flags & FIN)
        self.next[side] = max(self.next[side], after)
        self.identification += 1
        self.now += 1_000_000
        segment = tcp(source, destination, at, answer, flags, payload, window, options)
        frame = ethernet(ip(segment, source, destination, self.identification))
        if captured:
            self.packets.append(Packet(frame[: len(frame) - cut], self.now, len(frame)))
        return self


def write_anew(path: Path, data: bytes) -> None:
    """For what is written again and again: ext4 sends a file that was emptied to the disk as soon as it is closed, a new one later."""
    path.unlink(missing_ok=True)
    path.write_bytes(data)


def rows(*paths: Path, chunk_size: int = 1 << 20) -> list[Row]:
    """Time, bytes, wire length and link type of every packet; checks the packet numbers on the way."""
    found: list[Row] = []
    with CaptureReader(paths, chunk_size=chunk_size) as reader:
        for frames in reader.chunks():
            assert len(found) + 1 == frames.first_packet
            for row in range(frames.count):
                begin = frames.offset[row]
                assert 0 <= begin <= begin + frames.captured[row] <= frames.spare
                data = bytes(frames.buffer[begin : begin + frames.captured[row]])
                found.append((frames.ts_ns[row], data, frames.original[row], frames.link_type[row]))
        assert len(found) == reader.packets
        assert reader.total_bytes == reader.bytes_read
    return found


def analyze(
    path: Path, capture: list[Packet] | bytes, chunk_size: int = 1 << 20, **settings: int | tuple[int, ...]
) -> tuple[CaptureSummary, list[TcpConnection], list[StreamPiece]]:
    """The capture, written to `path` and sent through reader, decoder and tracker."""
    write_anew(path, capture if isinstance(capture, bytes) else pcap(capture))
    pieces: list[StreamPiece] = []
    closed: list[TcpConnection] = []
    decoder, tracker = Decoder(), Tracker(**settings)
    with CaptureReader([path], chunk_size=chunk_size) as reader:
        for frames in reader.chunks():
            tracker.add(frames, decoder.decode(frames))
            pieces += tracker.take_pieces()
            closed += tracker.take_closed()
        tracker.finish()
        return reader.summary(decoder, tracker), closed + tracker.take_closed(), pieces + tracker.take_pieces()


def connection(path: Path, talk: Talk, **settings: int | tuple[int, ...]) -> TcpConnection:
    """The only connection of a conversation."""
    _, connections, _ = analyze(path, talk.packets, **settings)
    assert 1 == len(connections)
    return connections[0]


def stream(pieces: list[StreamPiece], direction: int) -> bytes:
    """All bytes of one direction, one after the other."""
    return b"".join(piece.data for piece in pieces if piece.direction == direction)
