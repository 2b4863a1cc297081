"""From frames of every link layer to TCP segments, and what is counted instead."""

import struct
from pathlib import Path

import pytest

from captool.capture.reader import CaptureReader
from captool.packets.decode import Decoder
from tests.builders import ACK, PSH, Packet, Talk, analyze, ethernet, ip, pcap, stream, tcp

SEGMENT = ip(tcp(flags=ACK | PSH, payload=b"hello"))
SIX = (("2001:db8::1", 40000), ("2001:db8::2", 2376))
SEGMENT6 = ip(tcp(*SIX, flags=ACK | PSH, payload=b"hello"), *SIX)
MAC = bytes(12)


def counts(path: Path, frame: bytes, link_type: int = 1, original: int | None = None) -> tuple[bytes, tuple[int, int, int]]:
    """The payload found, and TCP, other and undecodable packets."""
    summary, _, pieces = analyze(path, pcap([Packet(frame, original=original)], link_type))
    return stream(pieces, 0), (summary.tcp_packets, summary.other_packets, summary.undecodable_packets)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "trace.pcap"


@pytest.mark.parametrize(
    ("link_type", "frame"),
    [
        (1, ethernet(SEGMENT)),
        (1, ethernet(SEGMENT6)),
        (1, MAC + b"\x81\x00\x00\x07\x08\x00" + SEGMENT),
        (1, MAC + b"\x88\xa8\x00\x07\x81\x00\x00\x08\x86\xdd" + SEGMENT6),
        (1, MAC + b"\x00\x40\xaa\xaa\x03\x00\x00\x00\x08\x00" + SEGMENT),
        (1, MAC + b"\x88\x64\x11\x00\x00\x01\x00\x40\x00\x21" + SEGMENT),
        (1, MAC + b"\x88\x47\x00\x01\x00\x40\x00\x01\x01\x40" + SEGMENT),
        (1, ethernet(SEGMENT) + b"padding!"),
        (113, bytes(14) + b"\x08\x00" + SEGMENT),
        (113, bytes(14) + b"\x81\x00\x00\x05\x86\xdd" + SEGMENT6),
        (276, b"\x08\x00" + bytes(18) + SEGMENT),
        (276, b"\x86\xdd" + bytes(18) + SEGMENT6),
        (0, b"\x02\x00\x00\x00" + SEGMENT),
        (0, b"\x00\x00\x00\x02" + SEGMENT),
        (0, b"\x1e\x00\x00\x00" + SEGMENT6),
        (108, b"\x00\x00\x00\x18" + SEGMENT6),
        (108, b"\x00\x00\x00\x02" + SEGMENT),
        (12, SEGMENT),
        (14, SEGMENT6),
        (101, SEGMENT),
        (101, SEGMENT6),
        (228, SEGMENT),
        (229, SEGMENT6),
        (9, b"\xff\x03\x00\x21" + SEGMENT),
        (9, b"\x00\x57" + SEGMENT6),
        (50, b"\x21" + SEGMENT),
        (50, b"\x0f\x00\x08\x00" + SEGMENT),
        (9, b"\x8f\x00\x86\xdd" + SEGMENT6),
        (104, b"\x0f\x00\x08\x00" + SEGMENT),
        (226, b"\x01\x02" + bytes(22) + SEGMENT),
    ],
)
def test_link_layers(path: Path, link_type: int, frame: bytes) -> None:
    assert (b"hello", (1, 0, 0)) == counts(path, frame, link_type)


def test_ethernet_padding_of_an_empty_segment_is_no_payload(path: Path) -> None:
    summary, (seen,), pieces = analyze(path, pcap([Packet(ethernet(ip(tcp())).ljust(60, b"\0"))]))
    assert ([], 0, 1) == (pieces, seen.payload_bytes.to_server, summary.tcp_packets)


def test_an_ip_length_of_zero_is_a_segment_to_be_cut_by_the_card(path: Path) -> None:
    frame = bytearray(ethernet(ip(tcp(payload=b"x" * 30_000))))
    frame[16:18] = b"\0\0"
    assert (b"x" * 30_000, (1, 0, 0)) == counts(path, bytes(frame))
    six = bytearray(ethernet(ip(tcp(*SIX, payload=b"x" * 30_000), *SIX)))
    six[18:20] = b"\0\0"
    assert (b"x" * 30_000, (1, 0, 0)) == counts(path, bytes(six))


@pytest.mark.parametrize(
    "chain",
    [
        [(0, 8)],
        [(60, 16), (43, 24)],
        [(51, 12)],
        [(44, 8)],
        [(0, 8), (44, 8), (60, 8)],
    ],
)
def test_ipv6_extension_headers_are_passed(path: Path, chain: list[tuple[int, int]]) -> None:
    payload, following = tcp(*SIX, payload=b"hello"), 6
    for kind, size in reversed(chain):
        length = size // 4 - 2 if kind == 51 else size // 8 - 1
        payload = bytes([following, 0 if kind == 44 else length]) + bytes(size - 2) + payload
        following = kind
    assert (b"hello", (1, 0, 0)) == counts(path, ethernet(ip(payload, *SIX, protocol=following)))


def test_ip_options_are_passed(path: Path) -> None:
    plain = SEGMENT
    frame = bytes([0x46, 0]) + struct.pack(">H", len(plain) + 4) + plain[4:20] + b"\x01\x01\x01\x00" + plain[20:]
    assert (b"hello", (1, 0, 0)) == counts(path, ethernet(frame))


@pytest.mark.parametrize(
    ("frame", "place"),
    [
        (ethernet(ip(b"ping", protocol=1)), 1),
        (ethernet(ip(b"x" * 20, protocol=17)), 1),
        (MAC + b"\x08\x06" + bytes(28), 1),
        (MAC + b"\x00\x20" + bytes(32), 1),
        (ethernet(ip(b"x" * 8, *SIX, protocol=58)), 1),
        (b"short", 2),
        (ethernet(SEGMENT)[:30], 2),
        (ethernet(SEGMENT)[:40], 2),
        (ethernet(SEGMENT6)[:50], 2),
        (ethernet(b"\x42" + SEGMENT[1:]), 2),
        (ethernet(b"\x75" + SEGMENT[1:]), 1),
        (ethernet(ip(tcp()[:12] + b"\x10" + tcp()[13:])), 2),
        (ethernet(ip(tcp()[:12] + b"\xf0" + tcp()[13:])), 2),
        (MAC + b"\x81\x00", 2),
    ],
)
def test_what_is_no_tcp_segment_is_counted_as_other_or_undecodable(path: Path, frame: bytes, place: int) -> None:
    _, found = counts(path, frame)
    assert 1 == sum(found)
    assert 1 == found[place] or (frame[14:15] == b"\x75" and sum(found) == 1)


def fragments(payload: bytes, sizes: list[int], identification: int = 7) -> list[bytes]:
    whole, parts, place = ip(payload, identification=identification), [], 0
    for number, size in enumerate(sizes):
        more = 0x2000 if number < len(sizes) - 1 else 0
        piece = payload[place : place + size]
        header = whole[:2] + struct.pack(">HHH", 20 + len(piece), identification, more | place // 8) + whole[8:20]
        parts.append(ethernet(header + piece))
        place += size
    return parts


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0), (0, 0, 1, 1, 2)])
def test_fragments_are_put_together_in_any_order(path: Path, order: tuple[int, ...]) -> None:
    parts = fragments(tcp(payload=b"hello world " * 4), [24, 24, 20])
    summary, _, pieces = analyze(path, [Packet(parts[number]) for number in order])
    assert b"hello world " * 4 == stream(pieces, 0)
    assert (1, len(order) - 1, ()) == (summary.tcp_packets, summary.other_packets, summary.notes)


def test_ipv6_fragments_are_put_together(path: Path) -> None:
    payload = tcp(*SIX, payload=b"hello world!" * 2)
    parts = [
        ip(bytes([6, 0]) + struct.pack(">HI", place | more, 99) + payload[place : place + 24], *SIX, protocol=44)
        for place, more in ((0, 1), (24, 0))
    ]
    _, _, pieces = analyze(path, [Packet(ethernet(part)) for part in parts])
    assert b"hello world!" * 2 == stream(pieces, 0)


def test_fragments_that_miss_a_part_are_told(path: Path) -> None:
    parts = fragments(tcp(payload=b"hello world " * 4), [24, 24, 20])
    summary, _, _ = analyze(path, [Packet(parts[0]), Packet(parts[2])])
    assert (0, 2) == (summary.tcp_packets, summary.other_packets)
    assert "2 of 2 IP fragments" in summary.notes[0]


def test_endless_fragments_are_bounded(path: Path) -> None:
    from captool.packets.fragments import MAX_DATAGRAMS, Fragments

    kept = Fragments()
    frames = [fragments(bytes(40), [24, 16], number)[0] for number in range(1, 2000)]

    class Chunk:
        buffer = bytearray(b"".join(frames))
        spare = len(buffer)

    kept.begin_chunk(Chunk())  # type: ignore[arg-type]
    for number in range(len(frames)):
        kept.add_ipv4(number * len(frames[0]) + 14, (number + 1) * len(frames[0]))
    assert MAX_DATAGRAMS == len(kept._datagrams)
    assert 1999 == kept.seen


def test_the_numbers_of_packets_count_every_frame(path: Path) -> None:
    talk = Talk().opened().client(b"a")
    packets = [Packet(ethernet(ip(b"ping", protocol=1)), talk.packets[0].ts_ns), *talk.packets]
    _, (seen,), (piece,) = analyze(path, packets)
    assert (5, [5]) == (seen.last_packet.packet, list(piece.mark_packets))


@pytest.mark.parametrize(("packet", "at"), [(SEGMENT, 8), (SEGMENT6, 7)])
def test_hops_are_the_time_to_live_or_the_hop_limit(path: Path, packet: bytes, at: int) -> None:
    path.write_bytes(pcap([Packet(ethernet(packet[:at] + b"\xfd" + packet[at + 1 :]))]))
    with CaptureReader([path]) as reader:
        assert [253] == [Decoder().decode(frames).hops[0] for frames in reader.chunks()]
