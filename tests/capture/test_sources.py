"""What may name a capture: directories, repeated files, pipes, growing files; and what may not."""

import contextlib
import gzip
import io
import os
import threading
import time
from pathlib import Path

import pytest
import zstandard

from builders import SECOND, Packet, Talk, ethernet, ip, pcap, tcp
from captool.capture import source
from captool.capture.growing import Following, closed_by_its_writer
from captool.capture.reader import CaptureReader
from captool.capture.summary import CaptureSummary
from captool.errors import CaptureError
from captool.packets.decode import Decoder
from captool.tcp.connection import TcpConnection
from captool.tcp.tracker import Tracker


def read(*paths: Path, wait: Following | None = None) -> tuple[CaptureSummary, list[TcpConnection]]:
    decoder, tracker = Decoder(), Tracker(gap_ns=SECOND)
    with CaptureReader(paths, wait=wait, stopped=wait.stopped if wait else None) as reader:
        for frames in reader.chunks():
            tracker.add(frames, decoder.decode(frames))
        tracker.finish()
        return reader.summary(decoder, tracker), tracker.take_closed()


@pytest.fixture
def talk() -> Talk:
    return Talk().opened().client(b"question").server(b"answer").client().wait(100).client(b"again").server(b"more")


@pytest.fixture
def rotated(tmp_path: Path, talk: Talk) -> Path:
    """A rotated set whose names sort in another order than its times."""
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "trace.pcap10").write_bytes(pcap(talk.packets[4:]))
    (folder / "trace.pcap9").write_bytes(pcap(talk.packets[:4]))
    return folder


def test_a_directory_is_the_rotated_set_in_it(rotated: Path, talk: Talk) -> None:
    summary, (one,) = read(rotated)
    assert len(talk.packets) == summary.packets
    assert [str(rotated / "trace.pcap9"), str(rotated / "trace.pcap10")] == list(summary.files)
    assert one.longest_gap_ns > 100 * 10**9
    assert () == summary.notes


def test_other_files_of_a_directory_are_passed_over_and_said(rotated: Path) -> None:
    (rotated / "notes.txt").write_text("recorded on a Monday")
    (rotated / "deeper").mkdir()
    (rotated / "deeper" / "other.pcap").write_bytes(pcap([Packet(ethernet(ip(tcp())))]))
    os.mkfifo(rotated / "pipe")
    summary, _ = read(rotated)
    assert (f"{rotated}: 1 other file passed over (not a capture)",) == summary.notes
    assert 2 == len(summary.files)


def test_files_and_directories_mix_and_a_file_named_twice_is_read_once(rotated: Path, talk: Talk) -> None:
    file = rotated / "trace.pcap9"
    summary, _ = read(file, rotated)
    assert len(talk.packets) == summary.packets
    assert (f"{file}: named twice; read once",) == summary.notes
    link = rotated.parent / "link"
    link.symlink_to(file)
    assert f"{file}: named twice (also as {link}); read once" in read(link, rotated)[0].notes


def test_an_empty_file_of_a_set_is_noted_and_not_fatal(rotated: Path, talk: Talk) -> None:
    (rotated / "trace.pcap11").write_bytes(b"")
    summary, _ = read(rotated)
    assert len(talk.packets) == summary.packets
    assert any("trace.pcap11: is empty" in note for note in summary.notes)


@pytest.mark.parametrize(
    ("content", "reason"),
    [(gzip.compress(pcap([]), mtime=0)[:12], "it is cut off"), (zstandard.compress(pcap([]))[:9], "it is cut off"), (pcap([])[:10], "after 10")],
)
def test_a_file_of_a_directory_that_is_damaged_from_its_beginning_on_is_noted(
    rotated: Path, talk: Talk, content: bytes, reason: str
) -> None:
    (broken := rotated / "trace.pcap11").write_bytes(content)
    summary, _ = read(rotated)
    assert (len(talk.packets), True) == (summary.packets, summary.truncated_file)
    assert any(note.startswith(f"{broken}: ") and reason in note for note in summary.notes)
    with pytest.raises(CaptureError, match=reason):
        read(rotated / "trace.pcap9", broken)
    for path in rotated.iterdir():
        if path != broken:
            path.unlink()
    with pytest.raises(CaptureError, match=r"capture \(only 1 damaged file\)"):
        read(rotated)


def test_a_directory_without_a_capture_says_what_it_holds(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match=f"^{tmp_path}: holds no pcap or pcapng capture; name the files"):
        read(tmp_path)
    (lock := tmp_path / ".lock").write_bytes(b"")
    with pytest.raises(CaptureError, match=r"holds no pcap or pcapng capture \(only 1 empty file\); name the files"):
        read(tmp_path)
    (tmp_path / "notes.txt").write_text("recorded on a Monday")
    with pytest.raises(CaptureError, match=r"capture \(only 1 empty file and 1 other file\)"):
        read(tmp_path)
    with pytest.raises(CaptureError, match=f"^{lock}: is empty; nothing was recorded"):
        read(lock, tmp_path)


def test_a_foreign_file_that_was_named_is_an_error(rotated: Path) -> None:
    (rotated.parent / "notes.txt").write_text("recorded on a Monday")
    with pytest.raises(CaptureError, match=r"notes\.txt: is a text file"):
        read(rotated, rotated.parent / "notes.txt")


def test_devices_are_refused() -> None:
    for device in ("/dev/zero", "/dev/null"):
        with pytest.raises(CaptureError, match=f"{device}: is a device"):
            read(Path(device))


@pytest.mark.slow
def test_a_directory_with_very_many_entries_is_read(rotated: Path, talk: Talk) -> None:
    for number in range(100_000):
        os.mknod(rotated / f"{number}.log")
    summary, _ = read(rotated)
    assert len(talk.packets) == summary.packets
    assert len(summary.notes) < 20


@pytest.mark.parametrize("squeeze", [bytes, gzip.compress, zstandard.ZstdCompressor().compress])
@pytest.mark.parametrize("step", [1, 7, 100_000])
def test_a_pipe_is_read_as_it_comes(tmp_path: Path, talk: Talk, squeeze: object, step: int) -> None:
    data = squeeze(pcap(talk.packets))  # type: ignore[operator]
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    def write() -> None:
        with pipe.open("wb", buffering=0) as end:
            for at in range(0, len(data), step):
                end.write(data[at : at + step])

    writer = threading.Thread(target=write)
    writer.start()
    summary, (one,) = read(pipe)
    writer.join()
    assert (len(talk.packets), 13) == (summary.packets, one.payload_bytes.to_server)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenth of the times for which pipes are waited for."""
    monkeypatch.setattr(source, "POLL_S", source.POLL_S / 10)
    monkeypatch.setattr(source, "REST_S", source.REST_S / 10)


def stopped_at_question(number: int) -> Following:
    asked: list[int] = []
    return Following(lambda: asked.append(1) or len(asked) >= number, time.sleep)  # type: ignore[func-returns-value]


@pytest.mark.usefixtures("impatient")
def test_a_pipe_that_nobody_writes_to_is_waited_for_until_told_otherwise(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(CaptureError, match="pipe: is empty"):
        read(tmp_path / "pipe", wait=stopped_at_question(3))


@pytest.mark.usefixtures("impatient")
def test_a_pipe_that_its_writer_keeps_open_is_read_until_told_otherwise(tmp_path: Path, talk: Talk) -> None:
    os.mkfifo(pipe := tmp_path / "pipe")
    holding = os.open(pipe, os.O_RDWR)
    os.write(holding, pcap(talk.packets))
    summary, (one,) = read(pipe, wait=stopped_at_question(3))
    os.close(holding)
    assert (len(talk.packets), 13, False) == (summary.packets, one.payload_bytes.to_server, summary.truncated_file)


@pytest.mark.usefixtures("impatient")
def test_a_pipe_whose_writer_never_pauses_ends_soon_after_it_was_told(tmp_path: Path, talk: Talk) -> None:
    os.mkfifo(pipe := tmp_path / "pipe")

    def write() -> None:
        with contextlib.suppress(BrokenPipeError), pipe.open("wb", buffering=0) as end:
            end.write(pcap(talk.packets))
            while True:
                end.write(pcap(talk.packets)[24:])

    writer = threading.Thread(target=write)
    writer.start()
    summary, _ = read(pipe, wait=stopped_at_question(1))
    writer.join()
    assert summary.packets >= len(talk.packets)


@pytest.mark.parametrize("begun", [0, 10])
def test_a_file_that_is_followed_from_before_its_first_byte(tmp_path: Path, talk: Talk, begun: int) -> None:
    data = pcap(talk.packets)
    (path := tmp_path / "growing").write_bytes(data[:begun])
    with path.open("ab", buffering=0) as writer:

        def sleep(_seconds: float) -> None:
            writer.write(data[begun:])
            writer.close()

        summary, _ = read(path, wait=Following(lambda: False, sleep))
    assert (len(talk.packets), False) == (summary.packets, summary.truncated_file)


@pytest.mark.parametrize("cut", range(0, 140, 3))
def test_a_growing_file_is_read_on_from_any_place(tmp_path: Path, talk: Talk, cut: int) -> None:
    data = pcap(talk.packets)
    path = tmp_path / "growing"
    path.write_bytes(data[: 24 + cut])
    with path.open("ab", buffering=0) as writer:

        def sleep(_seconds: float) -> None:
            writer.write(data[24 + cut :])
            writer.close()

        summary, _ = read(path, wait=Following(lambda: False, sleep))
    assert (len(talk.packets), False, ()) == (summary.packets, summary.truncated_file, summary.notes)


def test_following_ends_when_told_though_the_writer_is_there(tmp_path: Path, talk: Talk) -> None:
    path = tmp_path / "growing"
    path.write_bytes(pcap(talk.packets))
    slept: list[float] = []
    with path.open("ab"):
        summary, _ = read(path, wait=Following(lambda: len(slept) == 3, slept.append))
    assert (len(talk.packets), 3) == (summary.packets, len(slept))


def test_the_kernel_tells_when_the_writer_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with path.open("wb"), io.FileIO(path) as reading:
        assert not closed_by_its_writer(reading)
    with io.FileIO(path) as reading:
        assert closed_by_its_writer(reading)
