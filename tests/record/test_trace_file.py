import errno
import hashlib
import os
import stat
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from captool.errors import MissingToolError, UsageError
from captool.record.packet_stream import PacketStream
from captool.record.trace_file import DiskFullError, TraceFile
from captool.record.trace_set import ONE_FILE, Rotation, TraceSet

HEADER = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1)
NOON_NS = 1_795_000_000 * 10**9


def packet(length: int, order: str = "<", seconds: int = 1) -> bytes:
    return struct.pack(f"{order}IIII", seconds, 2, length, length) + bytes(range(256)) * (length // 256) + bytes(length % 256)


def trace_set(path: Path, rotation: Rotation = ONE_FILE, *, replace: bool = False, cuts: list[int] | None = None) -> TraceSet:
    made = TraceSet(path, rotation, replace=replace, clock_ns=lambda: NOON_NS, cut=lambda: cuts.append(1) if cuts is not None else None)
    made.take_place()
    return made


def packets_in(path: Path) -> list[bytes]:
    data = path.read_bytes()
    assert data[:24] == HEADER
    found, position = [], 24
    while position < len(data):
        end = position + 16 + struct.unpack_from("<I", data, position + 8)[0]
        found.append(data[position:end])
        position = end
    assert position == len(data)
    return found


def test_a_trace_is_private_and_holds_what_was_written(tmp_path):
    data = HEADER + packet(60) + packet(1514, seconds=3) + packet(0, seconds=2)
    trace = trace_set(tmp_path / "t.pcap")
    trace.write(data)
    (written,) = trace.close()
    assert (3, len(data), hashlib.sha256(data).hexdigest()) == (written.packets, written.size, written.sha256)
    assert (1_000_002_000, 2_000_002_000) == (written.first_ns, written.last_ns)
    assert (3, len(data)) == (trace.packets, trace.size)
    assert data == written.path.read_bytes()
    assert stat.S_IMODE(written.path.stat().st_mode) == 0o600


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("magic", [0xA1B2C3D4, 0xA1B23C4D])
def test_the_file_ends_after_a_whole_packet_at_every_byte(tmp_path, order, magic):
    header = struct.pack(f"{order}IHHiIII", magic, 2, 4, 0, 0, 262144, 1)
    data = header + packet(5, order) + packet(300, order) + packet(0, order) + packet(7, order)
    boundaries = {24, 24 + 21, 24 + 21 + 316, 24 + 21 + 316 + 16, len(data)}
    trace = trace_set(tmp_path / "t.pcap")
    for position in range(len(data)):
        trace.write(data[position : position + 1])
        assert trace.current.stat().st_size == trace.size
        assert trace.size in boundaries | {0}
    assert (4, len(data)) == (trace.packets, trace.size)
    fraction_ns = 2 if magic == 0xA1B23C4D else 2000
    assert {1_000_000_000 + fraction_ns} == {one.first_ns for one in trace.close()}


def small_disk(monkeypatch, room, fault=errno.ENOSPC):
    real = os.write

    def write(descriptor, data):
        if room[0] == 0:
            raise OSError(fault, os.strerror(fault))
        written = real(descriptor, data[: room[0]])
        room[0] -= written
        return written

    monkeypatch.setattr(os, "write", write)


def test_a_full_disk_leaves_whole_packets(tmp_path, monkeypatch):
    trace = trace_set(tmp_path / "t.pcap")
    small_disk(monkeypatch, [24 + 116 + 50])
    with pytest.raises(DiskFullError, match="the disk is full; make room"):
        trace.write(HEADER + packet(100) + packet(100, seconds=9) + packet(100))
    (written,) = trace.close()
    assert (HEADER + packet(100)) == written.path.read_bytes()
    assert (1, hashlib.sha256(written.path.read_bytes()).hexdigest()) == (written.packets, written.sha256)
    assert (1, 1_000_002_000) == (trace.packets, written.last_ns)


def test_a_disk_that_fails_otherwise_is_not_called_full(tmp_path, monkeypatch):
    trace = trace_set(tmp_path / "t.pcap")
    small_disk(monkeypatch, [24 + 116 + 50], errno.EIO)
    with pytest.raises(UsageError, match="input/output error") as failure:
        trace.write(HEADER + packet(100) + packet(100))
    assert not isinstance(failure.value, DiskFullError)
    assert [packet(100)] == packets_in(trace.close()[0].path)


def test_a_disk_that_is_full_at_a_cut_leaves_the_files_before_it(tmp_path, monkeypatch):
    trace = trace_set(tmp_path / "t.pcap", Rotation(size=200))
    small_disk(monkeypatch, [24 + 116])
    with pytest.raises(DiskFullError):
        trace.write(HEADER + packet(100) + packet(100))
    trace.discard()
    (written,) = trace.close()
    assert [written.path] == list(tmp_path.iterdir())
    assert [packet(100)] == packets_in(written.path)


def test_a_trace_without_packets_is_removed_and_one_with_packets_never(tmp_path):
    for data, stays in ((HEADER, False), (b"", False), (HEADER + packet(1), True)):
        trace = trace_set(tmp_path / "t.pcap", replace=True)
        trace.write(data)
        trace.discard()
        assert stays == (tmp_path / "t.pcap").exists()


def test_what_is_no_pcap_and_a_broken_packet_header_are_said(tmp_path):
    with pytest.raises(MissingToolError, match="no pcap file"):
        trace_set(tmp_path / "a.pcap").write(b"x" * 100)
    trace = trace_set(tmp_path / "b.pcap")
    trace.write(HEADER + packet(4) + struct.pack("<IIII", 1, 2, 1 << 30, 1 << 30))
    assert HEADER + packet(4) == trace.current.read_bytes()
    with pytest.raises(MissingToolError, match="broken packet header"):
        trace.write(b"x")
    assert HEADER + packet(4) == trace.current.read_bytes()


def test_an_existing_trace_is_not_touched_unless_it_is_to_be_replaced(tmp_path):
    path = tmp_path / "t.pcap"
    path.write_text("precious")
    (tmp_path / "hard-link").hardlink_to(path)
    with pytest.raises(UsageError, match="--force"):
        TraceFile(path, replace=False)
    assert path.read_text() == "precious"
    trace = TraceFile(path, replace=True)
    trace.begin(HEADER)
    assert path.read_text() == "precious"
    trace.take_place()
    trace.close()
    assert (HEADER, "precious") == (path.read_bytes(), (tmp_path / "hard-link").read_text())


def test_a_recording_that_cannot_begin_does_not_cost_the_trace_that_it_was_to_replace(tmp_path):
    path = tmp_path / "t.pcap"
    path.write_text("precious")
    TraceFile(path, replace=True).discard()
    assert path.read_text() == "precious"
    assert [path] == list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["missing/t.pcap", "folder", "dangling"])
def test_a_place_that_cannot_be_written_is_a_usage_error(tmp_path, name):
    (tmp_path / "folder").mkdir()
    (tmp_path / "dangling").symlink_to(tmp_path / "target")
    with pytest.raises(UsageError, match="choose another"):
        TraceFile(tmp_path / name, replace=True)
    assert not (tmp_path / "target").exists()


def test_files_of_a_set_are_cut_before_they_exceed_their_size_and_are_named_by_time(tmp_path):
    cuts: list[int] = []
    trace = trace_set(tmp_path / "t.pcap", Rotation(size=300), cuts=cuts)
    wanted = [packet(length) for length in (100, 100, 100, 900, 10, 10)]
    trace.write(HEADER + b"".join(wanted))
    files = trace.close()
    assert [2, 1, 1, 2] == [one.packets for one in files]
    assert wanted == [each for one in files for each in packets_in(one.path)]
    assert len(cuts) == 3
    assert all(one.size <= 300 or one.packets == 1 for one in files)
    assert [f"t-20261118T110640Z-00000{number}.pcap" for number in (1, 2, 3, 4)] == [one.path.name for one in files]
    assert sorted(one.path for one in files) == [one.path for one in files] == sorted(tmp_path.iterdir())


def test_time_cuts_without_traffic_and_empty_files_go_on(tmp_path):
    trace = trace_set(tmp_path / "t.pcap", Rotation(period_ns=10))
    trace.write(HEADER)
    for now in (9, 10, 25):
        trace.tick(now)
    assert (1, 30) == (len(list(tmp_path.iterdir())), trace.next_tick_ns())
    trace.write(packet(1))
    trace.tick(29)
    assert len(list(tmp_path.iterdir())) == 1
    trace.tick(31)
    assert [1, 0] == [len(packets_in(path)) for path in sorted(tmp_path.iterdir())]
    assert [1] == [one.packets for one in trace.close()]
    assert len(list(tmp_path.iterdir())) == 1  # the last one held nothing


def test_the_ring_keeps_the_last_files(tmp_path):
    trace = trace_set(tmp_path / "t.pcap", Rotation(size=150, period_ns=10, keep=2))
    trace.write(HEADER)
    for number in range(7):
        trace.write(packet(100, seconds=number))
        trace.tick(10 * (number + 1))
        assert len(list(tmp_path.iterdir())) <= 2
    files = trace.close()
    assert [6] == [struct.unpack_from("<I", each)[0] for one in files for each in packets_in(one.path)]
    assert (6, 7) == (trace.removed, trace.packets)


@settings(max_examples=settings.default.max_examples // 2)
@given(
    lengths=st.lists(st.integers(0, 700), max_size=60),
    size=st.integers(1, 1500),
    pieces=st.lists(st.integers(1, 900), min_size=1, max_size=20),
    ticks=st.sets(st.integers(0, 40)),
)
def test_every_packet_is_in_exactly_one_file_however_the_stream_is_cut(tmp_path_factory, lengths, size, pieces, ticks):
    folder = tmp_path_factory.mktemp("set")
    wanted = [packet(length, seconds=number) for number, length in enumerate(lengths)]
    data = HEADER + b"".join(wanted)
    trace = trace_set(folder / "t.pcap", Rotation(size=size, period_ns=1))
    position = turn = 0
    while position < len(data):
        step = pieces[turn % len(pieces)]
        trace.write(data[position : position + step])
        position, turn = position + step, turn + 1
        if turn in ticks:
            trace.tick(turn)
    files = trace.close()
    assert wanted == [each for one in files for each in packets_in(one.path)]
    assert sorted(folder.iterdir()) == [one.path for one in files]
    for one in files:
        content = one.path.read_bytes()
        assert (one.size, one.sha256) == (len(content), hashlib.sha256(content).hexdigest())
        assert one.size <= max(size, 24) or one.packets == 1


def test_a_stream_that_says_nothing_has_no_header():
    stream = PacketStream()
    assert stream.feed(HEADER[:23]).ends == []
    assert stream.header == b""
    assert stream.feed(HEADER[23:]).data == b""
    assert stream.header == HEADER
