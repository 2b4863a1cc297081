"""Payload in order: pieces, marks, holes, overlaps, bounds."""

import tracemalloc
from pathlib import Path

import pytest

from captool.tcp.connection import StreamPiece
from tests.builders import ACK, FIN, ISN_NEAR_WRAP, PSH, SYN, Talk, analyze, stream


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "trace.pcap"


def pieces(path: Path, talk: Talk, **settings: int) -> list[StreamPiece]:
    return analyze(path, talk.packets, **settings)[2]


@pytest.mark.parametrize("chunk_size", [200, 500, 1 << 20])
@pytest.mark.parametrize("isn", [7, ISN_NEAR_WRAP])
def test_bytes_come_in_order_whatever_the_chunks(path: Path, isn: int, chunk_size: int) -> None:
    talk = Talk(client_isn=isn, server_isn=isn).opened()
    for number in range(50):
        talk.client(b"%03d" % number).server(b"<%03d>" % number)
    _, _, found = analyze(path, talk.packets, chunk_size=chunk_size)
    assert b"".join(b"%03d" % number for number in range(50)) == stream(found, 0)
    assert b"".join(b"<%03d>" % number for number in range(50)) == stream(found, 1)
    assert [(number // 2 * (3 + 2 * (number % 2)), number % 2) for number in range(100)] == [(p.offset, p.direction) for p in found]
    assert all(piece.from_start for piece in found)


def test_a_run_is_one_piece_with_a_mark_for_each_segment(path: Path) -> None:
    talk = Talk().opened().client(b"ab").client(b"cd").client(b"ef").server(b"ok")
    first, second = pieces(path, talk)
    assert (b"abcdef", [0, 2, 4], [4, 5, 6]) == (first.data, list(first.mark_offsets), list(first.mark_packets))
    assert [packet.ts_ns for packet in talk.packets[3:6]] == list(first.mark_times_ns)
    assert (b"ok", 1) == (second.data, second.direction)


def test_segments_out_of_order_by_thousands_are_put_in_order(path: Path) -> None:
    talk = Talk().opened()
    for number in range(3000):
        talk.client(b"%05d" % number)
    talk.server()
    talk.packets[3:3003] = [*talk.packets[4:3003], talk.packets[3]]
    assert b"".join(b"%05d" % number for number in range(3000)) == stream(pieces(path, talk), 0)


def test_the_bytes_that_came_first_are_kept(path: Path) -> None:
    talk = Talk().opened().client(b"abcdef")
    talk.client(b"XYZdefghi", seq=talk.next[0] - 6).client(b"hIJ", seq=talk.next[0] - 2)
    assert b"abcdefghiJ" == stream(pieces(path, talk), 0)


def test_bytes_sent_again_that_differ_are_said(path: Path) -> None:
    talk = Talk().opened().client(b"abcdef").client(b"ghi").client(b"efGH", seq=1000 + 1 + 4).client(b"bcd", seq=1000 + 1 + 1)
    summary, _, pieces = analyze(path, talk.packets)
    assert b"abcdefghi" == stream(pieces, 0)
    (note,) = summary.notes
    assert note.startswith("1 packet sent bytes again that differ from those first seen (connections 0)")


def test_an_overlap_that_carries_a_fin_adds_no_byte(path: Path) -> None:
    talk = Talk().opened().client(b"abcdef")
    talk.client(b"cdef", seq=talk.next[0] - 4, flags=ACK | PSH | FIN).server()
    _, (seen,), found = analyze(path, talk.packets)
    assert (b"abcdef", 6, 0) == (stream(found, 0), seen.payload_bytes.to_server, seen.unacknowledged_bytes.to_server)


def test_what_the_receiver_acknowledged_and_the_capture_missed_is_a_hole(path: Path) -> None:
    talk = Talk().opened().client(b"abc").client(b"defg", captured=False).client(b"hij").server().wait(1).server(b"x").client(b"k")
    _, (seen,), found = analyze(path, talk.packets)
    assert [(0, 0, b"abc"), (7, 4, b"hij"), (10, 0, b"k")] == [(p.offset, p.missing_before, p.data) for p in found if not p.direction]
    assert (4, 7) == (seen.stream_holes.to_server, seen.payload_bytes.to_server)


def test_an_acknowledgement_that_the_capture_shows_before_its_data_makes_no_hole(path: Path) -> None:
    talk = Talk().opened().client(b"abc").client(b"def").client(b"ghi").server()
    talk.packets[4:] = [talk.packets[5], talk.packets[6], talk.packets[4]]
    for number, packet in enumerate(talk.packets[3:]):
        packet.ts_ns = talk.packets[3].ts_ns + 1000 * number
    assert b"abcdefghi" == stream(pieces(path, talk), 0)
    assert [0] == [piece.missing_before for piece in pieces(path, talk)]


def test_a_hole_that_never_fills_is_told_at_the_end(path: Path) -> None:
    talk = Talk().opened().client(b"abc").client(b"def", captured=False).client(b"ghi")
    _, (seen,), found = analyze(path, talk.packets)
    assert [(0, 0, b"abc"), (6, 3, b"ghi")] == [(piece.offset, piece.missing_before, piece.data) for piece in found]
    assert 0 == seen.stream_holes.to_server


def test_several_stale_segments_in_a_row_are_dropped(path: Path) -> None:
    talk = Talk().opened()
    talk.client(b"abcdef", captured=False).client(b"xyz", seq=talk.next[0] - 4).client(b"xyz", seq=talk.next[0] - 4)
    talk.client(b"xyz", seq=talk.next[0] - 4).client(b"uv").client(b"abcdef", seq=talk.client_isn + 1)
    assert b"abcdefuv"[:6] == stream(pieces(path, talk), 0)[:6]
    assert 8 == len(stream(pieces(path, talk), 0))


def test_a_jump_of_a_gigabyte_costs_no_memory(path: Path) -> None:
    talk = Talk().opened().client(b"abc")
    talk.client(b"far", seq=talk.next[0] + 2**30)
    tracemalloc.start()
    _, (seen,), found = analyze(path, talk.packets)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20
    assert [0, 2**30] == [piece.missing_before for piece in found]
    assert 6 == seen.payload_bytes.to_server


def test_data_waiting_behind_a_hole_is_bounded(path: Path) -> None:
    talk = Talk().opened().client(b"abc", captured=False)
    for _ in range(100):
        talk.client(b"x" * 1000)
    summary, _, found = analyze(path, talk.packets, max_buffer=20_000)
    assert 3 == found[0].missing_before
    assert 100_000 == sum(len(piece.data) for piece in found)
    assert "gave up" not in "".join(summary.notes)
    assert any("given up" in note for note in summary.notes)


def test_segments_cut_by_a_snap_length_leave_marked_holes(path: Path) -> None:
    talk = Talk().opened().client(b"a" * 100, cut=60).client(b"b" * 100, cut=60).server()
    summary, (seen,), found = analyze(path, talk.packets)
    assert [(0, 0, False, 40), (100, 60, True, 40)] == [(p.offset, p.missing_before, p.snapped, len(p.data)) for p in found]
    assert (2, 2) == (seen.snapped_segments, summary.snapped_packets)


def test_mid_stream_offsets_begin_at_the_first_byte_seen(path: Path) -> None:
    talk = Talk().opened().client(b"early").server(b"reply").client(b"abc").server(b"def").client()
    talk.packets = talk.packets[5:]
    found = pieces(path, talk)
    assert [(0, b"abc", False), (0, b"def", False)] == [(piece.offset, piece.data, piece.from_start) for piece in found]


def test_only_the_syn_ack_was_captured_and_still_the_first_byte_is_known(path: Path) -> None:
    talk = Talk().opened().client(b"abc", captured=False).client(b"def").server()
    talk.packets = talk.packets[1:]
    _, (seen,), found = analyze(path, talk.packets)
    assert [(3, 3, True)] == [(piece.offset, piece.missing_before, piece.from_start) for piece in found]
    assert ("10.0.0.1", False) == (seen.client.ip, seen.client_guessed)


def test_data_on_the_syn_is_the_beginning_of_the_stream(path: Path) -> None:
    talk = Talk().client(b"fast", flags=SYN, ack=0).server(flags=SYN | ACK).client(b" open")
    assert b"fast open" == stream(pieces(path, talk), 0)


def test_a_reset_with_a_reason_in_it_adds_nothing_to_the_stream(path: Path) -> None:
    talk = Talk().opened().client(b"abc").server(b"No tcp, reset", flags=4)
    _, (seen,), found = analyze(path, talk.packets)
    assert (b"", 0, "rst") == (stream(found, 1), seen.payload_bytes.to_client, seen.close)


def test_a_second_syn_ack_with_another_number_does_not_glue_two_streams_together(tmp_path: Path) -> None:
    talk = Talk().server(flags=SYN | ACK).server(b"first", flags=PSH)
    talk.server(flags=SYN | ACK, seq=9000).server(b"second", flags=PSH, seq=9001)
    _, _, pieces = analyze(tmp_path / "trace", talk.packets)
    assert [(0, 0, b"first"), (4000, 3995, b"second")] == [(piece.offset, piece.missing_before, piece.data) for piece in pieces]
