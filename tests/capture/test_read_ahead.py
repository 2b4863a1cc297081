"""Files that are read ahead by a thread give what the same files give without it, wherever they stop being plain."""

import os
import random
import signal
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from captool.capture.frames import Frames, Stage
from captool.capture.read_ahead import AVAILABLE, ReadAhead
from captool.capture.reader import LONG, CaptureReader
from captool.capture.summary import CaptureSummary
from captool.capture.walk import PcapWalk
from captool.packets.decode import Decoder
from captool.packets.segments import Segments
from captool.tcp.tracker import Tracker
from tests.builders import CLIENT, SERVER, START, Packet, block, enhanced, ethernet, interface, ip, option, pcap, pcapng, section, tcp

CHUNK = 2048
COLUMNS = (
    "seq", "ack", "flags", "window", "hops", "mark", "identity", "ports", "source_high", "source_low", "destination_high",
    "destination_low", "payload_length", "payload_captured", "shape", "ends", "frame",
)  # fmt: skip

needs_the_thread = pytest.mark.usefixtures("the_thread")


@pytest.fixture
def the_thread(without: Callable[[str], None]) -> None:
    if not AVAILABLE:
        without("captool is installed without its compiled modules, so nothing is read ahead")


class Seen(NamedTuple):
    """All that a capture gives: packets as (time, bytes, wire length, link type), rows of segments, secrets, the summary, bytes read."""

    packets: list[tuple[int, bytes, int, int]]
    segments: list[tuple[int, ...]]
    secrets: list[bytes]
    summary: CaptureSummary
    bytes_read: int


def seen(*paths: Path, ahead: bool, chunk_size: int = CHUNK) -> Seen:
    packets, segments, secrets = [], [], []
    decoder, tracker = Decoder(), Tracker()
    with CaptureReader(paths, chunk_size=chunk_size) as reader:
        for frames in reader.chunks(decoder if ahead else None):
            assert frames.first_packet == len(packets) + 1
            for row in range(frames.count):
                at = frames.offset[row]
                data = bytes(frames.buffer[at : at + frames.captured[row]])
                packets.append((frames.ts_ns[row], data, frames.original[row], frames.link_type[row]))
            rows = decoder.decode(frames)
            for row in range(rows.count):
                rows.tell_ends(row)
                segments.append(tuple(getattr(rows, column)[row] for column in COLUMNS))
            tracker.add(frames, rows)
            secrets += [text for _, text in reader.take_secrets()]
        return Seen(packets, segments, secrets, reader.summary(decoder, tracker), reader.bytes_read)


def some_packets(count: int, seed: int = 1, largest: int = 300) -> list[Packet]:
    chance = random.Random(seed)
    packets = []
    for number in range(count):
        payload = chance.randbytes(chance.randrange(largest))
        frame = ethernet(ip(tcp(seq=number, payload=payload), identification=number + 1))
        kept = chance.choice([len(frame)] * 5 + [60])
        packets.append(Packet(frame[:kept], START + number * 1000, len(frame)))
    return packets


def fragments(number: int) -> list[Packet]:
    """A TCP segment in two IPv4 datagrams, with another packet between them."""
    whole = ip(tcp(seq=number, payload=bytes(64)), identification=number)
    head, rest = whole[:20], whole[20:]
    first = head[:2] + struct.pack(">H", 60) + head[4:6] + struct.pack(">H", 0x2000) + head[8:] + rest[:40]
    last = head[:2] + struct.pack(">H", 20 + len(rest) - 40) + head[4:6] + struct.pack(">H", 5) + head[8:] + rest[40:]
    return [Packet(ethernet(one), START) for one in (first, ip(tcp(SERVER, CLIENT), SERVER, CLIENT, 7), last)]


PACKETS = some_packets(300)
SECRETS = block(10, struct.pack("<II", 0x544C534B, 12) + b"CLIENT_RANDO")
DROPS = block(5, struct.pack("<III", 0, 0, 0) + option(5, struct.pack("<Q", 7)))

FILES: dict[str, bytes] = {
    "plain": pcap(PACKETS),
    "microseconds": pcap(PACKETS, nano=False),
    "swapped": pcap(PACKETS, order=">"),
    "modified": pcap(PACKETS, modified=True),
    "pcapng": pcapng(PACKETS),
    "pcapng swapped": pcapng(PACKETS, order=">"),
    "cut in a packet": pcap(PACKETS)[:-20],
    "cut in a header": pcap(PACKETS)[: -len(PACKETS[-1].frame) - 5],
    "damaged": pcap(PACKETS) + struct.pack("<IIII", 0, 0, 1 << 30, 1 << 30) + bytes(5000),
    "a block that contradicts itself": pcapng(PACKETS) + block(6, bytes(20))[:-4] + bytes(4) + bytes(5000),
    "packets larger than the buffer": pcap([*PACKETS, Packet(bytes(3 * CHUNK)), *PACKETS, Packet(bytes(9 * CHUNK)), *PACKETS]),
    "other blocks": pcapng(PACKETS) + SECRETS + DROPS + b"".join(map(enhanced, PACKETS)) + block(0x4D4D, bytes(3 * CHUNK)) + enhanced(PACKETS[0]),
    "a block after every packet": section() + interface() + b"".join(enhanced(one) + SECRETS for one in PACKETS),
    "a second section": pcapng(PACKETS) + section(">") + interface(101, order=">") + b"".join(enhanced(one, order=">") for one in PACKETS),
    "small packets": pcap([Packet(bytes(14), START + number) for number in range(3000)]),
    "fragments": pcap([*PACKETS, *fragments(1000), *PACKETS, *fragments(1001), *fragments(1002), *PACKETS]),
    "a clock that steps back": pcap([*PACKETS, *(Packet(one.frame, one.ts_ns - 3_000_000_000) for one in PACKETS)]),
}  # fmt: skip


@pytest.mark.parametrize("content", FILES.values(), ids=FILES)
@pytest.mark.parametrize("chunk_size", [CHUNK, 600, 5000])
def test_a_file_gives_the_same_read_ahead(tmp_path: Path, content: bytes, chunk_size: int) -> None:
    path = tmp_path / "trace"
    path.write_bytes(content)
    assert len(content) > LONG * chunk_size
    assert seen(path, ahead=False, chunk_size=chunk_size) == seen(path, ahead=True, chunk_size=chunk_size)


@given(
    st.lists(st.one_of(st.binary(max_size=400), st.integers(0, 3)), min_size=20, max_size=80), st.integers(200, 900), st.integers(0, 60),
    st.booleans(),
)  # fmt: skip
def test_any_file_gives_the_same_read_ahead(
    tmp_path_factory: pytest.TempPathFactory, parts: list[bytes | int], chunk_size: int, cut: int, blocks: bool
) -> None:
    path = tmp_path_factory.mktemp("ahead") / "trace"
    others = (SECRETS, DROPS, interface(101), block(0x4D4D, bytes(1000)))
    packets = [Packet(part, START + number) for number, part in enumerate(parts) if isinstance(part, bytes)]
    if blocks:
        content = section() + interface() + b"".join(
            others[part] if isinstance(part, int) else enhanced(Packet(part, START + number)) for number, part in enumerate(parts)
        )  # fmt: skip
    else:
        content = pcap(packets)
    path.write_bytes(content[: max(24, len(content) - cut)] + bytes(cut))
    assert seen(path, ahead=False, chunk_size=chunk_size) == seen(path, ahead=True, chunk_size=chunk_size)


@pytest.mark.parametrize("overlapping", [False, True])
def test_a_set_of_files_gives_the_same_read_ahead(tmp_path: Path, overlapping: bool) -> None:
    paths = [tmp_path / f"{number}.pcap" for number in range(4)]
    for number, path in enumerate(paths):
        begin = 0 if overlapping else number * 1_000_000_000
        path.write_bytes(pcap([Packet(one.frame, one.ts_ns + begin) for one in some_packets(100, number)]))
    assert seen(*paths, ahead=False) == seen(*paths, ahead=True)


def readers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "captool-read-ahead"]


@needs_the_thread
def test_the_thread_ends_when_reading_is_given_up(tmp_path: Path) -> None:
    path = tmp_path / "trace"
    path.write_bytes(FILES["plain"])
    decoder = Decoder()
    with CaptureReader([path], chunk_size=CHUNK) as reader:
        chunks = reader.chunks(decoder)
        for _ in range(3):
            decoder.decode(next(chunks))
        assert 1 == len(readers())
    assert not readers()


def made_ahead() -> tuple[ReadAhead, Frames]:
    """A reader of small chunks, and a chunk of which nothing was read yet."""

    def new_frames() -> Frames:
        return Frames(bytearray(CHUNK + 100), CHUNK, 100)

    first = new_frames()
    first.needed = 16
    return ReadAhead(new_frames, Stage()), first


@needs_the_thread
def test_a_signal_is_heard_while_the_disk_is_slow() -> None:
    reading, writing = os.pipe()
    ahead, first = made_ahead()

    def woken(_number: int, _frame: object) -> None:
        raise InterruptedError

    before = signal.signal(signal.SIGALRM, woken)
    try:
        assert ahead.start(reading, PcapWalk(False, 1000, 16, 1, 1 << 20), first)
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        began = time.monotonic()
        with pytest.raises(InterruptedError):
            ahead.next()
        assert time.monotonic() - began < 5
    finally:
        signal.signal(signal.SIGALRM, before)
        os.close(writing)
        ahead.stop()
        os.close(reading)
    assert not readers()


@needs_the_thread
def test_a_read_error_is_left_to_the_caller(tmp_path: Path) -> None:
    folder = os.open(tmp_path, os.O_RDONLY)
    ahead, first = made_ahead()
    assert ahead.start(folder, PcapWalk(False, 1000, 16, 1, 1 << 20), first)
    assert ahead.next() is None
    assert ahead.next() is None
    os.close(folder)
    assert not readers()


@needs_the_thread
def test_one_reader_reads_several_files_one_after_the_other(tmp_path: Path) -> None:
    path = tmp_path / "trace"
    path.write_bytes(FILES["plain"][24:])
    ahead, first = made_ahead()
    found = []
    for _ in range(3):
        descriptor = os.open(path, os.O_RDONLY)
        assert ahead.start(descriptor, PcapWalk(False, 1, 16, 1, 1 << 20), first)
        count = 0
        while (frames := ahead.next()) is not None:
            count += frames.count
            last = frames
        found.append(count)
        os.close(descriptor)
        first = last  # one of its own, of which nothing is left
        first.reached = first.fill
    assert [len(PACKETS)] * 3 == found


@needs_the_thread
def test_the_stage_is_left_to_a_caller_that_waits(tmp_path: Path) -> None:
    """A reader without a head start gives chunks at once; one whose caller takes its time has the stage done."""
    path = tmp_path / "trace"
    path.write_bytes(FILES["plain"])
    done: list[bool] = []
    decoder = Decoder()
    with CaptureReader([path], chunk_size=CHUNK) as reader:
        for frames in reader.chunks(decoder):
            done.append(frames.staged)
            time.sleep(0.01)
            segments: Segments = decoder.decode(frames)
            assert not frames.staged
            assert segments.row == frames.count
    assert not done[0]
    assert any(done)


