"""pcap and pcapng in all their forms give the same packets, wherever a chunk happens to end."""

import gzip
import io
import random
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from captool.capture.pcapng import last_tick, time_unit
from captool.capture.reader import CaptureReader
from captool.capture.walk import LAST_NS
from captool.capture.zstd_frames import WholeFrames
from captool.errors import CaptureError
from tests.builders import (
    SECOND,
    START,
    Packet,
    Row,
    analyze,
    block,
    enhanced,
    interface,
    option,
    pcap,
    pcapng,
    rows,
    section,
)

PACKETS = [Packet(bytes([number]) * (60 + number), START + number * 1_001_000, 100 + number) for number in range(5)]
SKIPPABLE_FRAME = struct.pack("<II", 0x184D2A5E, 3) + b"any"


def expected(packets: list[Packet], link_type: int = 1) -> list[Row]:
    return [(packet.ts_ns, packet.frame, packet.original or len(packet.frame), link_type) for packet in packets]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "trace"


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("form", [{"nano": True}, {"nano": False}, {"modified": True}])
def test_pcap_in_both_orders_and_all_resolutions(path: Path, order: str, form: dict[str, bool]) -> None:
    path.write_bytes(pcap(PACKETS, order=order, **form))
    assert expected(PACKETS) == rows(path)


@pytest.mark.parametrize("order", ["<", ">"])
def test_pcapng_in_both_orders(path: Path, order: str) -> None:
    path.write_bytes(pcapng(PACKETS, order))
    assert expected(PACKETS) == rows(path)


@pytest.mark.parametrize("data", [pcap(PACKETS), pcap(PACKETS, order=">", modified=True), pcapng(PACKETS), pcapng(PACKETS, ">")])
def test_every_place_where_a_chunk_can_end(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    for chunk_size in range(24, len(data) + 2):
        assert [row[1:] for row in expected(PACKETS)] == [row[1:] for row in rows(path, chunk_size=chunk_size)]


@pytest.mark.slow
@pytest.mark.parametrize("data", [pcap(PACKETS), pcapng(PACKETS)])
def test_every_place_where_a_file_can_be_cut_keeps_the_whole_packets(path: Path, data: bytes) -> None:
    whole = {len(data): len(PACKETS)}
    for cut in range(24, len(data)):
        path.write_bytes(data[:cut])
        summary, _, _ = analyze(path, data[:cut])
        found = rows(path) if summary.packets else []
        assert expected(PACKETS)[: len(found)] == found
        whole[cut] = len(found)
        assert summary.truncated_file == bool(summary.notes)
    assert sorted(whole.values()) == [whole[cut] for cut in sorted(whole)]
    assert 5 == whole[len(data)]


def test_a_truncated_file_says_where_it_ended(path: Path) -> None:
    data = pcap(PACKETS)
    summary, _, _ = analyze(path, data[:-10])
    assert (4, True) == (summary.packets, summary.truncated_file)
    assert f"{len(data) - 64 - 16}" in summary.notes[0]
    assert f"{len(data) - 10}" in summary.notes[0]


@pytest.mark.parametrize(
    ("resolution", "ticks", "ns"),
    [
        (b"\x06", 5_000_001, 5_000_001_000),
        (b"\x09", 5, 5),
        (b"\x00", 5, 5 * SECOND),
        (b"\x0c", 5_000, 5),
        (b"\x80", 7, 7 * SECOND),
        (b"\x8a", 1024 + 512, 1_500_000_000),
        (b"\xa0", (3 << 32) | (1 << 31), 3_500_000_000),
        (b"\xbc", (3 << 60) | (1 << 59), 3_500_000_000),
        (b"\x06", 2**63, LAST_NS),
        (b"\x00", 2**40, LAST_NS),
    ],
)
def test_time_units_decimal_and_binary(path: Path, resolution: bytes, ticks: int, ns: int) -> None:
    path.write_bytes(section() + interface(options=option(9, resolution)) + enhanced(PACKETS[0], ticks))
    assert [ns] == [row[0] for row in rows(path)]


@pytest.mark.parametrize("seconds", [3600, -3600])
def test_an_offset_of_the_interface_is_added(path: Path, seconds: int) -> None:
    path.write_bytes(section() + interface(options=option(14, struct.pack("<q", seconds))) + enhanced(PACKETS[0]))
    assert [START + seconds * SECOND] == [row[0] for row in rows(path)]


def test_no_resolution_can_overflow() -> None:
    for resolution in range(256):
        multiplier, divisor, shift = time_unit(resolution)
        assert 0 <= last_tick(multiplier, divisor, shift) < 2**63
        assert multiplier * last_tick(multiplier, divisor, shift) < 2**63


def test_sections_interfaces_and_all_packet_blocks(path: Path) -> None:
    one, two, three, four, five = PACKETS
    simple = block(3, struct.pack("<I", two.original or 0) + two.frame[:50])
    old = block(2, struct.pack("<HHIIII", 1, 0, (three.ts_ns // 1000) >> 32, three.ts_ns // 1000 & 0xFFFFFFFF, 62, 102) + three.frame)
    data = section() + interface(snap_length=50) + interface(101) + enhanced(one) + simple + old + block(0xBAD, b"anything at all")
    data += section(">") + interface(113, order=">") + interface(228, order=">") + enhanced(four, number=1, order=">")
    data += enhanced(five, number=0, order=">")
    path.write_bytes(data)
    assert [
        (one.ts_ns, one.frame, 100, 1),
        (one.ts_ns, two.frame[:50], 101, 1),
        (three.ts_ns, three.frame, 102, 101),
        (four.ts_ns, four.frame, 103, 228),
        (five.ts_ns, five.frame, 104, 113),
    ] == rows(path)


@pytest.mark.parametrize("chunk_size", [40, 1 << 20])
def test_secrets_are_found_anywhere_and_drops_are_counted(path: Path, chunk_size: int) -> None:
    secrets = block(10, struct.pack("<II", 0x544C534B, 12) + b"CLIENT_RANDO")
    other = block(10, struct.pack("<II", 0x57474B4C, 4) + b"none")
    drops = [block(5, struct.pack("<III", 0, 0, 0) + option(5, struct.pack("<Q", count)) + option(7, struct.pack("<Q", 1))) for count in (3, 9)]
    again = section() + interface() + enhanced(PACKETS[1]) + drops[0] + secrets
    path.write_bytes(section() + secrets + other + interface() + enhanced(PACKETS[0]) + drops[0] + secrets + drops[1] + again)
    with CaptureReader([path], chunk_size=chunk_size) as reader:
        assert 2 == sum(frames.count for frames in reader.chunks())
        assert [(str(path), b"CLIENT_RANDO")] * 3 == reader.take_secrets()
        assert [] == reader.take_secrets()
    assert 14 == analyze(path, path.read_bytes())[0].dropped_packets
    assert analyze(path, pcap(PACKETS))[0].dropped_packets is None


def test_a_large_unknown_block_is_skipped_without_keeping_it(path: Path) -> None:
    path.write_bytes(section() + interface() + enhanced(PACKETS[0]) + block(0x4D4D, bytes(1 << 16)) + enhanced(PACKETS[1]))
    assert expected(PACKETS[:2]) == rows(path, chunk_size=256)


@pytest.mark.parametrize("make", [pcap, pcapng])
def test_compressed_captures_are_expanded(path: Path, make: object) -> None:
    path.write_bytes(gzip.compress(make(PACKETS)))  # type: ignore[operator]
    assert expected(PACKETS) == rows(path)


@pytest.mark.parametrize("compress", [gzip.compress, zstandard.compress], ids=["gzip", "zstd"])
def test_a_damaged_compressed_capture_keeps_what_expands(path: Path, compress: Callable[[bytes], bytes]) -> None:
    chance = random.Random(1)
    whole = compress(pcap([Packet(chance.randbytes(1400)) for _ in range(400)]))
    half = len(whole) // 2
    cut, *_ = analyze(path, whole[:half])
    assert 100 < cut.packets < 200
    assert cut.truncated_file
    damaged, *_ = analyze(path, whole[:half] + bytes(1000) + whole[half + 1000 :])
    assert 100 < damaged.packets
    assert damaged.truncated_file
    assert damaged.notes


def test_zstd_captures_are_expanded(path: Path) -> None:
    path.write_bytes(zstandard.compress(pcap(PACKETS)))
    assert expected(PACKETS) == rows(path)


def test_a_packet_larger_than_the_buffer_is_read(path: Path) -> None:
    large = [PACKETS[0], Packet(bytes(3 << 20)), PACKETS[1]]
    path.write_bytes(pcap(large))
    assert expected(large) == rows(path)


def test_a_rotated_set_is_read_in_order_of_time_as_one_capture(tmp_path: Path) -> None:
    names = [tmp_path / name for name in ("b", "c", "a")]
    for name, part in zip(names, (PACKETS[3:], [], PACKETS[:3]), strict=True):
        name.write_bytes(pcap(part))
    with CaptureReader(names) as reader:
        assert [1, 4] == [frames.first_packet for frames in reader.chunks()]
        assert [names[2], names[0], names[1]] == reader.paths
        assert reader.total_bytes == reader.bytes_read


def in_pieces(data: bytes, size: int) -> WholeFrames:
    frames = WholeFrames(io.BytesIO(data))
    while frames.read(size):
        pass
    return frames


def zstd_frame(data: bytes, **settings: object) -> bytes:
    return zstandard.ZstdCompressor(**settings).compress(data)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "frame",
    [
        zstd_frame(bytes(300_000)),
        zstd_frame(random.Random(1).randbytes(400), write_checksum=True),
        zstd_frame(b"", write_content_size=False),
        zstd_frame(b"abc" * 90, write_content_size=False, write_checksum=True),
        zstandard.ZstdCompressor().compressobj().flush(),
        SKIPPABLE_FRAME,
        SKIPPABLE_FRAME + zstd_frame(b"text") + struct.pack("<II", 0x184D2A50, 0) + zstd_frame(b"more"),
    ],
)
@pytest.mark.parametrize("size", [1, 2, 5, 4096])
def test_a_zstd_file_is_whole_where_its_last_frame_ends(frame: bytes, size: int) -> None:
    assert in_pieces(frame, size).whole
    assert not in_pieces(frame[:-1], size).whole
    assert not in_pieces(frame + frame[:5], size).whole


def test_a_zstd_file_that_ends_early_is_said_to_even_if_its_packets_are_whole(path: Path) -> None:
    summary, *_ = analyze(path, zstd_frame(pcap(PACKETS), write_checksum=True)[:-4])
    assert (len(PACKETS), True) == (summary.packets, summary.truncated_file)
    assert "ends too early" in summary.notes[0]


def test_a_zstd_file_that_begins_with_a_skippable_frame_is_expanded(path: Path) -> None:
    path.write_bytes(SKIPPABLE_FRAME + zstandard.compress(pcap(PACKETS)))
    assert expected(PACKETS) == rows(path)


def test_a_zstd_file_that_needs_too_much_memory_says_how_to_expand_it(path: Path) -> None:
    window_of_2_gib = bytes([0x28, 0xB5, 0x2F, 0xFD, 0, 21 << 3]) + bytes([0x01, 0, 0])
    path.write_bytes(window_of_2_gib)
    with pytest.raises(CaptureError, match=r"--long.*expand it first: zstd -d --long=31") as caught, CaptureReader([path]):
        pass
    assert "copy the file" not in str(caught.value)


def test_the_first_fault_of_a_compressed_file_is_the_one_that_is_said(path: Path) -> None:
    whole = gzip.compress(pcap(PACKETS))
    wrong_sum, *_ = analyze(path, whole[:-8] + bytes(4) + whole[-4:])
    assert "CRC" in wrong_sum.notes[0]
    more, *_ = analyze(path, whole + b"something else")
    assert "what follows the compressed data is no gzip data" in more.notes[0]


def test_packets_without_a_time_are_counted(path: Path) -> None:
    body = [block(3, struct.pack("<I", 60) + bytes(60)) for _ in range(3)]
    summary, *_ = analyze(path, section() + interface() + enhanced(PACKETS[0]) + b"".join(body))
    assert (4, PACKETS[0].ts_ns // 1000 * 1000) == (summary.packets, summary.end_ns)
    (note,) = summary.notes
    assert "3 packets of 4 came without a time" in note
