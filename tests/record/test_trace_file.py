import errno
import hashlib
import os
import stat
import struct

import pytest

from captool.errors import MissingToolError, UsageError
from captool.record.trace_file import DiskFullError, TraceFile

HEADER = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1)


def packet(length: int, order: str = "<") -> bytes:
    return struct.pack(f"{order}IIII", 1, 2, length, length) + bytes(range(256)) * (length // 256) + bytes(length % 256)


def test_a_trace_is_private_and_holds_what_was_written(tmp_path):
    data = HEADER + packet(60) + packet(1514) + packet(0)
    trace = TraceFile(tmp_path / "t.pcap", replace=False)
    trace.write(data)
    trace.close()
    assert (3, len(data), hashlib.sha256(data).hexdigest()) == (trace.packets, trace.size, trace.sha256())
    assert data == trace.path.read_bytes()
    assert stat.S_IMODE(trace.path.stat().st_mode) == 0o600


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("magic", [0xA1B2C3D4, 0xA1B23C4D])
def test_the_file_ends_after_a_whole_packet_at_every_byte(tmp_path, order, magic):
    header = struct.pack(f"{order}IHHiIII", magic, 2, 4, 0, 0, 262144, 1)
    data = header + packet(5, order) + packet(300, order) + packet(0, order) + packet(7, order)
    boundaries = {24, 24 + 21, 24 + 21 + 316, 24 + 21 + 316 + 16, len(data)}
    trace = TraceFile(tmp_path / "t.pcap", replace=False)
    for position in range(len(data)):
        trace.write(data[position : position + 1])
        assert trace.path.stat().st_size == trace.size
        assert trace.size in boundaries | {0}
    assert (4, len(data)) == (trace.packets, trace.size)


def test_a_full_disk_leaves_whole_packets(tmp_path, monkeypatch):
    trace = TraceFile(tmp_path / "t.pcap", replace=False)
    real, room = os.write, [24 + 116 + 50]

    def small_disk(descriptor, data):
        if room[0] == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = real(descriptor, data[: room[0]])
        room[0] -= written
        return written

    monkeypatch.setattr(os, "write", small_disk)
    with pytest.raises(DiskFullError, match="the disk is full; make room"):
        trace.write(HEADER + packet(100) + packet(100) + packet(100))
    trace.discard()
    assert (HEADER + packet(100)) == trace.path.read_bytes()
    assert (1, hashlib.sha256(trace.path.read_bytes()).hexdigest()) == (trace.packets, trace.sha256())


def test_a_trace_without_packets_is_removed_and_one_with_packets_never(tmp_path):
    for data, stays in ((HEADER, False), (b"", False), (HEADER + packet(1), True)):
        trace = TraceFile(tmp_path / "t.pcap", replace=True)
        trace.write(data)
        trace.discard()
        assert stays == trace.path.exists()


def test_what_is_no_pcap_and_a_broken_packet_header_are_said(tmp_path):
    with pytest.raises(MissingToolError, match="no pcap file"):
        TraceFile(tmp_path / "a.pcap", replace=False).write(b"x" * 100)
    trace = TraceFile(tmp_path / "b.pcap", replace=False)
    trace.write(HEADER + packet(4))
    with pytest.raises(MissingToolError, match="broken packet header"):
        trace.write(struct.pack("<IIII", 1, 2, 1 << 30, 1 << 30))
    assert HEADER + packet(4) == trace.path.read_bytes()


def test_an_existing_trace_is_not_touched_unless_it_is_to_be_replaced(tmp_path):
    path = tmp_path / "t.pcap"
    path.write_text("precious")
    (tmp_path / "hard-link").hardlink_to(path)
    with pytest.raises(UsageError, match="--force"):
        TraceFile(path, replace=False)
    assert path.read_text() == "precious"
    trace = TraceFile(path, replace=True)
    trace.write(HEADER)
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
