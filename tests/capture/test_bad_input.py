"""Files that are no captures give one line with the remedy; damaged ones give what is whole, in bounded memory."""

import gzip
import os
import random
import struct
import tracemalloc
from pathlib import Path

import pytest
import zstandard

from captool.analysis import analyze as analyze_capture
from captool.capture.reader import CaptureReader
from captool.errors import CaptureError, NothingMatchedError
from tests.builders import Packet, Talk, analyze, block, enhanced, interface, pcap, pcapng, section


def error(path: Path) -> str:
    with pytest.raises(CaptureError) as caught, CaptureReader([path]) as reader:
        for _ in reader.chunks():
            pass
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    assert 3 == caught.value.exit_code
    return message


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"some notes about\nthe capture", "is a text file, not a pcap or pcapng capture; record one with: captool record"),
        (b"-----BEGIN RSA PRIVATE KEY-----\n", "is a PEM file, not a pcap or pcapng capture; give keys with --keys"),
        (b"\xfd7zXZ\0", "is an xz file, not a pcap or pcapng capture; expand it first: unxz"),
        (b"\x00\x01\x02\x03\x04\x05", "unknown format (it begins with 00 01 02 03)"),
        (b"snoop\0\0\0", "is a snoop file"),
        (b"\x04\x22\x4d\x18", "is an lz4 file, not a pcap or pcapng capture; expand it first: unlz4"),
        (gzip.compress(gzip.compress(pcap([]), mtime=0), mtime=0), "is compressed twice"),
        (b"trace.pcap".ljust(257, b"\0") + b"ustar".ljust(255, b"\0") + pcap([]), "is a tar archive, not a pcap or pcapng capture; unpack it"),
        (pcap([])[:20], "cut off after 20 of 24 bytes"),
        (b"\x1f\x8b\x08\x00broken", "cannot be read"),
        (zstandard.compress(pcap([]) * 9)[:15], "cannot be read (the compressed data ends too early: it is cut off)"),
    ],
)
def test_what_is_no_capture_is_named(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "trace.pcap"
    path.write_bytes(content)
    assert reason in error(path)


def test_missing_directory_and_unreadable(tmp_path: Path) -> None:
    assert "no such file" in error(tmp_path / "missing")
    assert "holds no pcap or pcapng capture" in error(tmp_path)
    if os.geteuid():
        closed = tmp_path / "closed"
        closed.write_bytes(pcap([]))
        closed.chmod(0)
        assert "permission denied" in error(closed)


def test_no_file_at_all_is_an_error_too() -> None:
    with pytest.raises(CaptureError), CaptureReader([]):
        pass


def test_one_bad_file_of_a_set_is_named(tmp_path: Path) -> None:
    good, bad = tmp_path / "good", tmp_path / "bad"
    good.write_bytes(pcap([]))
    bad.write_bytes(b"text")
    with pytest.raises(CaptureError, match="bad: is a text file"), CaptureReader([good, bad]):
        pass


def test_a_link_type_that_is_not_decoded_is_named(tmp_path: Path) -> None:
    path = tmp_path / "bluetooth"
    path.write_bytes(pcap([Packet(bytes(20))], link_type=187))
    assert "BLUETOOTH_HCI_H4" in error(path)
    path.write_bytes(section() + interface(187) + enhanced(Packet(bytes(20))))
    assert "BLUETOOTH_HCI_H4" in error(path)
    path.write_bytes(section() + interface(187) + interface(1) + enhanced(Packet(bytes(20))) + enhanced(Packet(bytes(20)), number=1))
    assert ("EN10MB", "BLUETOOTH_HCI_H4") == analyze(path, path.read_bytes())[0].link_types


def test_a_capture_without_packets_is_read(tmp_path: Path) -> None:
    summary, connections, _ = analyze(tmp_path / "trace", pcap([]))
    assert (0, None, None, False, []) == (summary.packets, summary.start_ns, summary.end_ns, summary.truncated_file, connections)


@pytest.mark.parametrize(
    "damage",
    [
        struct.pack("<IIII", 1, 1, 0xFFFFFFFF, 60),
        struct.pack("<IIII", 1, 1, 17 << 20, 60) + bytes(100),
        struct.pack("<IIII", 1, 1, 16 << 20, 60) + bytes(100),
    ],
)
def test_a_record_that_claims_too_much_ends_the_reading_in_bounded_memory(tmp_path: Path, damage: bytes) -> None:
    tracemalloc.start()
    summary, _, _ = analyze(tmp_path / "trace", pcap(Talk().opened().packets) + damage)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (3, True, 1) == (summary.packets, summary.truncated_file, len(summary.notes))
    assert peak < 48 << 20


@pytest.mark.parametrize(
    "damage",
    [
        struct.pack("<III", 6, 0xFFFFFFF0, 0) + bytes(64),
        struct.pack("<III", 6, 8, 0) + bytes(64),
        struct.pack("<III", 0x77, 0, 0) + bytes(64),
        struct.pack("<III", 0x77, 0xFFFFFFF0, 0) + bytes(64),
        struct.pack("<III", 0x0A0D0D0A, 28, 0x12345678) + bytes(64),
        struct.pack("<III", 0x0A0D0D0A, 12, 0x1A2B3C4D) + bytes(64),
        struct.pack("<III", 1, 0x7FFFFFFF, 0) + bytes(64),
        block(6, struct.pack("<IIIII", 7, 0, 0, 4, 4) + bytes(4)),
        block(6, struct.pack("<IIIII", 0, 0, 0, 400, 400) + bytes(4)),
        block(1, b"12"),
        block(6, struct.pack("<IIIII", 0, 0, 0, 4, 4) + bytes(4))[:-4] + bytes(4),
    ],
)
def test_a_block_that_contradicts_itself_ends_the_reading(tmp_path: Path, damage: bytes) -> None:
    summary, _, _ = analyze(tmp_path / "trace", pcapng(Talk().opened().packets) + damage)
    assert (3, True, 1) == (summary.packets, summary.truncated_file, len(summary.notes))


def test_very_many_interfaces_are_refused(tmp_path: Path) -> None:
    summary, _, _ = analyze(tmp_path / "trace", section() + interface() * 65_600)
    assert "interfaces" in summary.notes[0]


@pytest.mark.slow
@pytest.mark.parametrize("make", [pcap, pcapng])
def test_flipped_bytes_never_break_the_way_through(tmp_path: Path, make: object) -> None:
    talk = Talk().opened().client(b"GET / HTTP/1.1\r\n\r\n").server(b"x" * 300).client().wait(70)
    talk.client(seq=talk.next[0] - 1).server()
    data = make(talk.packets)  # type: ignore[operator]
    rng = random.Random(20)
    for _ in range(500):
        broken = bytearray(data)
        for _ in range(rng.randrange(1, 12)):
            broken[rng.randrange(4, len(broken))] = rng.randrange(256)
        try:
            summary, _, _ = analyze(tmp_path / "trace", bytes(broken))
        except CaptureError:
            continue
        assert summary.packets == summary.tcp_packets + summary.other_packets + summary.undecodable_packets


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("form", [{"nano": True}, {"nano": False}, {"modified": True}])
@pytest.mark.parametrize("second", [pcap([Packet(bytes(60))]), pcap([Packet(bytes(60))], order=">", nano=False)])
def test_captures_put_together_by_cat_are_no_packet_of_the_far_future(
    tmp_path: Path, order: str, form: dict[str, bool], second: bytes
) -> None:
    first = pcap([Packet(bytes(60))] * 3, order=order, **form)
    summary, *_ = analyze(tmp_path / "trace", first + second)
    assert (3, True) == (summary.packets, summary.truncated_file)
    assert summary.end_ns == summary.start_ns
    (note,) = summary.notes
    assert f"damaged at byte {len(first)} (another capture begins there" in note
    assert "3 packets before it could be read" in note


def test_a_record_longer_than_the_file_is_damage_and_no_cut(tmp_path: Path) -> None:
    summary, *_ = analyze(tmp_path / "trace", pcap([Packet(bytes(60))]) + struct.pack("<IIII", 1, 2, 1 << 20, 1 << 20) + bytes(4000))
    assert summary.truncated_file
    assert "damaged at byte 100 (a packet or block of 1,048,592 bytes stands there, more than the file has)" in summary.notes[0]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 2, 0, -1)), "unknown version 2.0"),
        (section() + enhanced(Packet(bytes(60))), "a packet block contradicts itself"),
        (pcap([Packet(bytes(60))])[:60], "ends in the middle of a packet or block"),
        (pcap([Packet(bytes(60))]) + struct.pack("<IIII", 1, 2, 1 << 30, 1 << 30), "a record claims more than 16777216 bytes"),
    ],
)
def test_where_nothing_is_found_in_a_damaged_capture_the_damage_is_said(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "trace"
    path.write_bytes(content)
    with pytest.raises(NothingMatchedError, match=said):
        analyze_capture([path])
