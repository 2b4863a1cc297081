"""Files of one capture that were recorded at the same time: every packet once, in order of time, wherever chunks happen to end."""

import os
import struct
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import SECOND, START, Packet, Row, Talk, block, enhanced, ethernet, interface, ip, option, pcap, pcapng, rows, section, tcp
from captool.capture import reader as reader_module
from captool.capture.frames import Frames
from captool.capture.growing import Following
from captool.capture.merge import FULL, NEVER, Source, merge
from captool.capture.reader import MAX_OPEN, CaptureReader
from captool.capture.summary import CaptureSummary
from captool.errors import CaptureError
from captool.packets.decode import Decoder
from captool.tcp.connection import TcpConnection
from captool.tcp.tracker import Tracker

MS = 1_000_000


def at(*times_ms: int, file: int = 0) -> list[Packet]:
    """Packets of a file at these times, told apart by their bytes."""
    return [Packet(bytes([file, number]) * (20 + 7 * number), START + time * MS) for number, time in enumerate(times_ms)]


def written(folder: Path, *files: bytes) -> list[Path]:
    """The files, under names whose order is not the one in which they are given."""
    paths = [folder / f"{97 * (number + 1) % 101:03}.pcap" for number in range(len(files))]
    for path, data in zip(paths, files, strict=True):
        path.write_bytes(data)
    return paths


def slowly_merged(*files: list[Packet], link_types: tuple[int, ...] = ()) -> list[Row]:
    """All packets in order of time, then of file: a packet behind a later one of its file is as late as that one."""
    keyed = []
    for file, packets in enumerate(files):
        link_type = link_types[file] if link_types else 1
        latest_ns = -1
        for packet in packets:
            latest_ns = max(latest_ns, packet.ts_ns)
            keyed.append((latest_ns, file, (packet.ts_ns, packet.frame, packet.original or len(packet.frame), link_type)))
    return [row for _, _, row in sorted(keyed, key=lambda one: one[:2])]


def read(*paths: Path, wait: object = None, chunk_size: int = 1 << 16) -> tuple[CaptureSummary, list[TcpConnection]]:
    decoder, tracker = Decoder(), Tracker(gap_ns=SECOND)
    with CaptureReader(paths, wait=wait, chunk_size=chunk_size) as reader:  # type: ignore[arg-type]
        for frames in reader.chunks():
            tracker.add(frames, decoder.decode(frames))
        tracker.finish()
        return reader.summary(decoder, tracker), tracker.take_closed()


@pytest.fixture
def talk() -> Talk:
    said = Talk().opened().client(b"question").server(b"answer").client().wait(100).client(b"again").server(b"more").client()
    return said.client(flags=17).server(flags=17).client()


def later(packets: list[Packet], ns: int) -> list[Packet]:
    return [Packet(packet.frame, packet.ts_ns + ns, packet.original) for packet in packets]


@pytest.mark.parametrize("second", [pcap, pcapng])
@pytest.mark.parametrize("chunk_size", [128, 1 << 16])
def test_a_connection_recorded_on_two_interfaces_is_one_connection(tmp_path: Path, talk: Talk, second: object, chunk_size: int) -> None:
    paths = written(tmp_path, pcap(talk.packets), second(later(talk.packets, 20_000)))  # type: ignore[operator]
    summary, (one,) = read(*paths, chunk_size=chunk_size)
    _, (alone,) = read(paths[0])
    assert len(talk.packets) == summary.duplicate_packets
    assert 2 * len(talk.packets) == summary.packets
    facts = ("client", "server", "start_ns", "packets", "payload_bytes", "close", "history", "longest_gap_ns", "retransmissions", "stream_holes")
    assert {name: getattr(alone, name) for name in facts} == {name: getattr(one, name) for name in facts}


def test_what_each_interface_saw_of_a_connection_is_put_together(tmp_path: Path, talk: Talk) -> None:
    to_server = [packet for packet in talk.packets if b"\x09\x48" == packet.frame[36:38]]
    to_client = [packet for packet in talk.packets if b"\x09\x48" == packet.frame[34:36]]
    summary, (one,) = read(*written(tmp_path, pcap(to_server), pcap(to_client)))
    assert len(talk.packets) == summary.packets
    whole = tmp_path / "whole"
    whole.write_bytes(pcap(talk.packets))
    assert [one] == read(whole)[1]


def test_merging_is_said_with_the_files_and_rotation_is_not(tmp_path: Path) -> None:
    paths = written(tmp_path, pcap(at(0, 100)), pcap(at(50, file=1)), pcap(at(200, 300, file=2)), pcap(at(295, 400, file=3)))
    notes = read(*paths)[0].notes
    assert 1 == len(notes)
    assert notes[0].startswith(f"{paths[0]}, {paths[1]}: overlap in time; their packets were merged in order of time")


def test_packets_of_one_time_come_in_the_order_in_which_the_files_were_named(tmp_path: Path) -> None:
    files = [at(0, 1, 1, 2, file=file) for file in range(5)]
    paths = written(tmp_path, *map(pcap, files))
    assert slowly_merged(*files) == rows(*paths)
    assert slowly_merged(*reversed(files)) == rows(*reversed(paths))


def test_files_that_follow_each_other_are_handed_on_without_merging(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def merge(*_: object) -> int:
        raise AssertionError("merged")

    monkeypatch.setattr(reader_module, "merge", merge)
    files = [at(1, 0, 2), at(2, 4, 3, file=1), [], at(5, file=2)]
    paths = written(tmp_path, *map(pcap, files))
    assert slowly_merged(*files) == rows(paths[3], paths[0], paths[2], paths[1], chunk_size=100)


def test_a_clock_that_steps_loses_no_packet_and_stalls_nothing(tmp_path: Path) -> None:
    forward_and_back = at(0, 10, 3_600_000, 3_600_010, 20, 30)
    backward = at(5, 15, -60_000, -59_990, file=1)
    quiet = at(12, 18, 25, file=2)
    files = forward_and_back, backward, quiet
    assert slowly_merged(*files) == rows(*written(tmp_path, *map(pcap, files)))


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 5])
def test_every_place_where_a_chunk_can_end(tmp_path: Path, count: int) -> None:
    files = [at(*range(file, 40, count + file % 2), file=file)[:6] for file in range(count)]
    paths = written(tmp_path, *(pcap(packets) if file % 2 else pcapng(packets) for file, packets in enumerate(files)))
    expected = slowly_merged(*files)
    for chunk_size in range(32, 420):
        assert expected == rows(*paths, chunk_size=chunk_size)


FILES = st.lists(
    st.tuples(
        st.sampled_from(["pcap", "modified", "pcapng"]),
        st.sampled_from(["<", ">"]),
        st.integers(0, 30),
        st.lists(st.tuples(st.integers(-4, 8), st.integers(0, 90)), max_size=25),
    ),
    min_size=2,
    max_size=6,
)


@given(FILES, st.integers(32, 2000), st.randoms())
def test_any_files_give_what_sorting_all_their_packets_gives(tmp_path_factory: pytest.TempPathFactory, files: object, chunk_size: int, chance: object) -> None:
    folder = tmp_path_factory.mktemp("files")
    all_packets, datas = [], []
    for file, (form, order, begin, steps) in enumerate(files):  # type: ignore[arg-type, var-annotated]
        packets, time = [], begin
        for number, (step, size) in enumerate(steps):
            time = max(time + step, 0)
            packets.append(Packet(bytes([file, number]) + bytes(size), START + time * MS))
        all_packets.append(packets)
        datas.append(pcapng(packets, order) if form == "pcapng" else pcap(packets, order=order, modified=form == "modified"))
    named = list(zip(written(folder, *datas), all_packets, strict=True))
    chance.shuffle(named)  # type: ignore[attr-defined]
    # What has no packet matters nowhere, in the order of names neither.
    assert slowly_merged(*(packets for _, packets in named)) == rows(*(path for path, _ in named), chunk_size=chunk_size)
    for path, _ in named:
        path.unlink()


def test_files_without_a_packet_or_a_byte_change_nothing(tmp_path: Path) -> None:
    files = at(0, 10, 20), at(5, 15, file=1)
    paths = written(tmp_path, pcap(files[0]), b"", pcap(files[1]), pcap([]), section())
    assert slowly_merged(*files) == rows(*paths)


def test_a_truncated_and_a_damaged_file_end_early_and_the_others_go_on(tmp_path: Path) -> None:
    files = at(0, 10, 20), at(1, 5, 15, file=1), at(2, 12, 30, 40, file=2)
    damaged = pcap(files[1])
    damaged += struct.pack("<IIII", 0, 0, 1 << 30, 0)
    paths = written(tmp_path, pcap(files[0])[:-1], damaged, pcap(files[2]))
    summary, _ = read(*paths)
    assert slowly_merged(files[0][:2], files[1], files[2]) == rows(*paths)
    assert summary.truncated_file
    assert any(note.startswith(f"{paths[0]}: ends in the middle of a packet") for note in summary.notes)
    assert any(note.startswith(f"{paths[1]}: damaged at byte") and "3 packets before it could be read" in note for note in summary.notes)


def test_each_packet_keeps_the_link_type_of_its_file(tmp_path: Path) -> None:
    files = at(0, 10, 20), at(5, 15, file=1), at(6, 30, file=2)
    paths = written(tmp_path, *(pcap(packets, link_type) for packets, link_type in zip(files, (1, 276, 101), strict=True)))
    assert slowly_merged(*files, link_types=(1, 276, 101)) == rows(*paths)
    assert ("EN10MB", "RAW", "LINUX_SLL2") == read(*paths)[0].link_types


@pytest.mark.parametrize("chunk_size", [64, 1 << 16])
def test_secrets_and_drop_counters_of_every_file_are_taken(tmp_path: Path, chunk_size: int) -> None:
    def file(packets: list[Packet], text: bytes, drops: int) -> bytes:
        secrets = block(10, struct.pack("<II", 0x544C534B, len(text)) + text)
        counter = block(5, struct.pack("<III", 0, 0, 0) + option(5, struct.pack("<Q", drops)))
        first, *others = packets
        return section() + interface() + enhanced(first) + secrets + b"".join(map(enhanced, others)) + counter

    paths = written(tmp_path, file(at(0, 10, 20), b"ONE", 3), file(at(5, 15, file=1), b"TWO", 4))
    with CaptureReader(paths, chunk_size=chunk_size) as reader:
        assert 5 == sum(frames.count for frames in reader.chunks())
        assert {(str(paths[0]), b"ONE"), (str(paths[1]), b"TWO")} == set(reader.take_secrets())
    assert 7 == read(*paths)[0].dropped_packets


def test_a_first_packet_behind_a_large_block_of_secrets_is_in_its_place(tmp_path: Path) -> None:
    files = at(0, 20), at(10, 30, file=1)
    secrets = block(10, struct.pack("<II", 0x544C534B, 1 << 20) + bytes(1 << 20))
    late = section() + interface() + secrets + b"".join(map(enhanced, files[1]))
    assert slowly_merged(*files) == rows(*written(tmp_path, pcap(files[0]), late))


@pytest.mark.parametrize("chunk_size", [100, 1 << 19])
def test_a_packet_larger_than_the_buffer_is_merged(tmp_path: Path, chunk_size: int) -> None:
    files = [*at(0, 10), Packet(bytes(3 << 20), START + 12 * MS), *at(20)], at(5, 11, 13, file=1)
    assert slowly_merged(*files) == rows(*written(tmp_path, *map(pcap, files)), chunk_size=chunk_size)


def test_packets_without_a_time_and_without_a_byte_are_merged(tmp_path: Path) -> None:
    timeless = section() + interface() + block(3, struct.pack("<I", 4) + b"abcd") * 2
    empty = [Packet(b"", START), Packet(b"", START + 1)]
    found = rows(*written(tmp_path, pcap(empty), timeless))
    assert [(0, b"abcd", 4, 1)] * 2 + slowly_merged(empty) == found


def test_as_many_files_as_may_be_open_are_merged_and_more_are_refused(tmp_path: Path) -> None:
    files = [at(file, 1000, file=file) for file in range(MAX_OPEN + 1)]
    paths = written(tmp_path, *map(pcap, files))
    assert slowly_merged(*files[:-1]) == rows(*paths[:-1], chunk_size=1000)
    with pytest.raises(CaptureError, match=rf"{paths[-1].name}: overlaps in time with 64 other files.*mergecap -w"):
        rows(*paths, chunk_size=1000)
    one_after_the_other = [at(2 * file, 2 * file + 1, file=file) for file in range(MAX_OPEN + 1)]
    paths = written(tmp_path, *map(pcap, one_after_the_other))
    assert slowly_merged(*one_after_the_other) == rows(*paths, chunk_size=1000)


def test_no_file_stays_open(tmp_path: Path) -> None:
    paths = written(tmp_path, *(pcap(at(file, 50, file=file)) for file in range(5)))
    before = os.listdir("/proc/self/fd")  # noqa: PTH208 - the numbers are wanted
    rows(*paths)
    with CaptureReader(paths, chunk_size=60) as reader:
        next(reader.chunks())
    assert before == os.listdir("/proc/self/fd")  # noqa: PTH208


def test_growing_files_are_both_read_on(tmp_path: Path) -> None:
    files = at(0, 10, 20, 30, 40), at(5, 15, 25, 35, file=1)
    datas = [pcap(packets) for packets in files]
    paths = written(tmp_path, *(data[: len(data) // 2] for data in datas))
    writers = [path.open("ab", buffering=0) for path in paths]

    def sleep(_seconds: float) -> None:
        for writer, data in zip(writers, datas, strict=True):
            if not writer.closed:
                writer.write(data[len(data) // 2 :])
                writer.close()

    summary, _ = read(*paths, wait=Following(lambda: False, sleep))
    assert (9, False) == (summary.packets, summary.truncated_file)
    assert slowly_merged(*files) == rows(*paths)


def test_a_finished_file_of_a_rotated_set_is_not_waited_for(tmp_path: Path) -> None:
    paths = written(tmp_path, pcap(at(0, 10)), pcap(at(20, 30, file=1)))
    asked: list[str] = []
    with paths[0].open("ab"):
        summary, _ = read(*paths, wait=lambda file: asked.append(Path(f"/proc/self/fd/{file.fileno()}").readlink()))
    assert ([paths[1]], 4) == (asked, summary.packets)


def test_pipes_are_merged_as_files_are(tmp_path: Path) -> None:
    files = at(0, 10, 20), at(5, 15, file=1)
    pipes = [tmp_path / "one", tmp_path / "other"]
    writers = []
    for pipe, packets in zip(pipes, files, strict=True):
        os.mkfifo(pipe)
        writers.append(threading.Thread(target=pipe.write_bytes, args=(pcap(packets),)))
        writers[-1].start()
    with CaptureReader(pipes) as reader:
        assert [5] == [frames.count for frames in reader.chunks()]
        assert 0 < reader.bytes_read
    for writer in writers:
        writer.join()


def test_a_conversation_scattered_over_files_packet_by_packet_is_whole(tmp_path: Path, talk: Talk) -> None:
    whole = tmp_path / "whole"
    whole.write_bytes(pcap(talk.packets))
    paths = written(tmp_path, *(pcap(talk.packets[file::5]) for file in range(5)))
    assert read(whole)[1] == read(*reversed(paths))[1]


def frames_of(packets: list[Packet], rows: int = 8, spare: int = 1000) -> Frames:
    frames = Frames(bytearray(spare + 100), spare, rows)
    place = 0
    for row, packet in enumerate(packets):
        frames.ts_ns[row], frames.offset[row], frames.captured[row] = packet.ts_ns, place, len(packet.frame)
        frames.buffer[place : place + len(packet.frame)] = packet.frame
        place += len(packet.frame)
    frames.count = len(packets)
    return frames


def test_a_full_chunk_is_said_to_be_full_by_bytes_and_by_rows() -> None:
    packet = Packet(ethernet(ip(tcp())))
    for into in (frames_of([], spare=2 * len(packet.frame) + 1), frames_of([], rows=2)):
        one, other = Source(frames_of([packet] * 3)), Source(frames_of([packet]))
        assert FULL == merge([one, other], into, NEVER, 2)
        assert (2, 2, 0) == (into.count, one.row, other.row)


def test_rows_that_point_outside_of_their_buffer_are_refused() -> None:
    for field, value in (("offset", -1), ("offset", 1 << 20), ("captured", 1 << 20), ("captured", -1)):
        frames = frames_of(at(0))
        getattr(frames, field)[0] = value
        with pytest.raises(IndexError):
            merge([Source(frames)], frames_of([]), NEVER, 1)
    with pytest.raises(IndexError):
        merge([Source(frames_of([]))], frames_of([]), NEVER, 1)
