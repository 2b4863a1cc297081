"""Frames of container output, cut anywhere, against a reader that has everything at once."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from captool.dockerapi.stdcopy import Payload, StdcopyReader, only_whole_frames

FRAMES = st.lists(st.tuples(st.integers(0, 3), st.binary(max_size=40)), max_size=12)


def frame(kind: int, data: bytes) -> bytes:
    return bytes((kind, 0, 0, 0)) + len(data).to_bytes(4) + data


def naive(stream: bytes) -> tuple[bytes, bytes]:
    """stdout and stderr of a whole stream of frames, as Docker's own reader would write them."""
    printed = {"stdout": b"", "stderr": b""}
    while stream:
        size = int.from_bytes(stream[4:8])
        printed["stdout" if stream[0] < 2 else "stderr"] += stream[8 : 8 + size]
        stream = stream[8 + size :]
    return printed["stdout"], printed["stderr"]


def printed(payloads: list[Payload]) -> tuple[bytes, bytes]:
    return tuple(b"".join(data for output, data in payloads if output == name) for name in ("stdout", "stderr"))  # type: ignore[return-value]


@settings(deadline=None)
@given(FRAMES, st.data())
def test_frames_cut_anywhere_match_the_naive_reader(frames: list[tuple[int, bytes]], data: st.DataObject) -> None:
    stream = b"".join(frame(kind, payload) for kind, payload in frames)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=10)))
    reader = StdcopyReader()
    found = []
    for start, end in pairwise([0, *cuts, len(stream)]):
        found += reader.feed(stream[start:end])
    found += reader.finish()
    assert naive(stream) == printed(found)
    assert ("multiplexed" if frames else "empty", False) == (reader.kind, reader.out_of_step)


STREAMS = st.one_of(
    FRAMES.map(lambda frames: b"".join(frame(kind, payload) for kind, payload in frames)),
    st.tuples(FRAMES, st.binary(max_size=30)).map(lambda both: b"".join(frame(kind, payload) for kind, payload in both[0]) + both[1]),
    st.lists(st.sampled_from([b"\0", b"\1", b"\2", b"\3", b"\4", b"\0\0\0\5", b"text"]), max_size=40).map(b"".join),
)


@settings(deadline=None)
@given(STREAMS, st.data())
def test_output_that_is_counted_is_what_would_have_been_read(stream: bytes, data: st.DataObject) -> None:
    """Cut anywhere, with holes, read and counted by turns: the reader that counts against the one that gives the payload out."""
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    reading, counting = StdcopyReader(), StdcopyReader()
    for start, end in pairwise([0, *cuts, len(stream)]):
        part, wanted = stream[start:end], data.draw(st.sampled_from([0, 3, 1000]))
        if not data.draw(st.integers(0, 3)):
            missing = data.draw(st.none() | st.integers(0, 50))
            reading.lose(missing)
            counting.lose(missing)
        payloads = reading.feed(part)
        if data.draw(st.booleans()):
            counted = counting.count(memoryview(bytearray(part)), wanted)
            stdout, stderr = printed(payloads)
            assert (len(stdout), len(stderr)) == (counted.stdout_bytes, counted.stderr_bytes)
            assert b"".join(payload.data for payload in payloads)[:wanted] == counted.text
            assert part[: counted.end].endswith(b"".join(payload.data for payload in payloads)[-1:])
            assert bool(stdout + stderr) == bool(counted.end)
        else:
            assert payloads == counting.feed(part)
        state = [(one.kind, one.out_of_step, one.seeking, one.passed_over, one.missing) for one in (reading, counting)]
        assert state[0] == state[1]
    assert reading.finish() == counting.finish()


@settings(deadline=None)
@given(st.binary(max_size=300), st.integers(1, 20))
def test_no_byte_is_invented_and_raw_output_loses_none(stream: bytes, size: int) -> None:
    reader = StdcopyReader()
    found = []
    for start in range(0, len(stream), size):
        found += reader.feed(stream[start : start + size])
    found += reader.finish()
    whole = StdcopyReader()
    assert printed(found) == printed([*whole.feed(stream), *whole.finish()])
    if reader.kind == "raw":
        assert (stream, b"") == printed(found)
    assert sum(len(payload.data) for payload in found) <= len(stream)


@pytest.mark.parametrize("first", [b"$ ", b"\x1b[0m", b"\x01a", b"\x02\0\0x", b"\x04\0\0\0\0\0\0\1", b"\x01", b"\0\0\0"])
def test_anything_else_than_a_header_is_raw_output(first: bytes) -> None:
    reader = StdcopyReader()
    found = [*reader.feed(first), *reader.finish()]
    assert ("raw", (first, b"")) == (reader.kind, printed(found))


def test_a_header_cut_by_the_end_is_a_frame_without_payload() -> None:
    reader = StdcopyReader()
    assert [] == [*reader.feed(b"\x01\0\0\0\0\0"), *reader.finish()]
    assert reader.kind == "multiplexed"


def test_a_frame_that_claims_four_gigabytes_is_passed_on_as_it_comes() -> None:
    reader = StdcopyReader()
    assert [] == reader.feed(b"\x02\0\0\0\xff\xff\xff\xff")
    data = bytes(1 << 16)
    for _ in range(100):
        (payload,) = reader.feed(data)
        assert payload.output == "stderr"
        assert payload.data is data


def test_output_behind_broken_frames_is_kept_as_stdout() -> None:
    reader = StdcopyReader()
    assert [("stderr", b"e")] == reader.feed(frame(2, b"e"))
    assert [("stdout", b"\x07broken")] == reader.feed(b"\x07broken")
    assert [("stdout", frame(2, b"e"))] == reader.feed(frame(2, b"e"))
    assert ("multiplexed", True) == (reader.kind, reader.out_of_step)


# Holes


def naive_whole(data: bytes) -> bool:
    while data:
        size = int.from_bytes(data[4:8])
        if len(data) < 8 or data[0] not in {1, 2, 3} or any(data[1:4]) or not size or len(data) < 8 + size:
            return False
        data = data[8 + size :]
        if not data:
            return True
    return False


@settings(deadline=None)
@given(FRAMES, st.integers(0, 60), st.integers(0, 60))
def test_whole_frames_are_told_as_the_naive_reader_tells_them(frames: list[tuple[int, bytes]], front: int, back: int) -> None:
    data = b"".join(frame(kind, payload) for kind, payload in frames)
    for piece in (data, data[front:], data[: max(len(data) - back, 0)]):
        assert naive_whole(piece) == only_whole_frames(piece)


def test_frames_are_found_again_behind_a_hole() -> None:
    reader = StdcopyReader()
    long = frame(2, b"half of this is missing")
    assert [("stdout", b"one")] == reader.feed(frame(1, b"one"))
    reader.lose()
    assert [] == reader.feed(long[12:])
    assert [] == reader.feed(frame(1, b"in one piece with ") + long[:5])
    assert [("stderr", b"two"), ("stdout", b"three")] == reader.feed(frame(2, b"two") + frame(1, b"three"))
    assert [("stdout", b"fo")] == reader.feed(frame(1, b"four")[:10])
    assert [("stdout", b"ur")] == reader.feed(b"ur")
    assert (1, 19 + 26 + 5, "multiplexed", False) == (reader.holes, reader.passed_over, reader.kind, reader.seeking)


def test_the_rest_of_a_frame_is_not_taken_for_what_comes_behind_a_hole() -> None:
    reader = StdcopyReader()
    reader.feed(frame(1, b"x" * 100)[:20])
    reader.lose()
    assert [("stderr", b"later")] == reader.feed(frame(2, b"later"))


def test_raw_output_has_no_frames_to_lose() -> None:
    reader = StdcopyReader()
    reader.feed(b"$ ls\r\n")
    reader.lose(70)
    assert [("stdout", b"behind")] == reader.feed(b"behind")
    assert ("raw", 1, 0, (70, 0)) == (reader.kind, reader.holes, reader.passed_over, reader.missing)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(1, 3), st.binary(min_size=1, max_size=40)), min_size=1, max_size=8), st.data())
def test_a_hole_of_known_size_inside_a_frame_costs_what_it_holds_and_nothing_else(frames: list[tuple[int, bytes]], data: st.DataObject) -> None:
    number = data.draw(st.integers(0, len(frames) - 1))
    kind, payload = frames[number]
    begin = data.draw(st.integers(0, len(payload) - 1))
    end = data.draw(st.integers(begin + 1, len(payload)))
    streams = [frame(*one) for one in frames]
    before = b"".join(streams[:number]) + streams[number][: 8 + begin]
    behind = streams[number][8 + end :] + b"".join(streams[number + 1 :])
    reader = StdcopyReader()
    found = reader.feed(before)
    reader.lose(end - begin)
    for part in (behind[at : at + 5] for at in range(0, len(behind), 5)):
        found += reader.feed(part)
    kept = [*frames[:number], (kind, payload[:begin] + payload[end:]), *frames[number + 1 :]]
    assert naive(b"".join(frame(*one) for one in kept)) == printed(found)
    assert ((end - begin, 0) if kind == 1 else (0, end - begin), 0, False) == (reader.missing, reader.passed_over, reader.seeking)


@settings(deadline=None)
@given(st.integers(1, 60), st.data())
def test_two_frames_in_a_row_are_found_in_pieces_of_any_size(size: int, data: st.DataObject) -> None:
    """A hole hides a header, and what follows comes in segments that do not end where frames do: it costs that frame and the next."""
    frames = [(1 + number % 2, bytes([65 + number]) * data.draw(st.integers(1, 50))) for number in range(12)]
    streams = [frame(*one) for one in frames]
    reader = StdcopyReader()
    reader.feed(b"".join(streams[:2]))
    reader.lose(3)
    rest = b"".join(streams[2:])[3:]
    found = [payload for at in range(0, len(rest), size) for payload in reader.feed(rest[at : at + size])]
    for output, whole in zip(printed(found), naive(b"".join(streams)), strict=True):
        assert whole.endswith(output)
    assert sum(len(one.data) for one in found) + reader.passed_over <= len(rest)
    if size >= 58:  # so that a header is found in each piece
        assert not reader.seeking


def test_a_frame_may_end_far_behind_the_piece_in_which_it_begins() -> None:
    reader = StdcopyReader()
    reader.feed(frame(1, b"one"))
    reader.lose(4)
    rest = b"x" * 5000 + frame(2, b"y" * 30_000) + frame(1, b"z" * 3000) + frame(2, b"end")
    found = [payload for at in range(0, len(rest), 1448) for payload in reader.feed(rest[at : at + 1448])]
    assert (b"z" * 3000, b"end") == printed(found)
    assert (5000 + 8 + 30_000, False) == (reader.passed_over, reader.seeking)


def test_what_only_looks_like_a_header_is_let_go() -> None:
    reader = StdcopyReader()
    reader.feed(frame(1, b"one"))
    reader.lose(4)
    assert [] == reader.feed(b"\1\0\0\0\0\0\0\4binary" + b"\2\0\0\0\0\0\0\x20")
    assert [("stderr", b"two"), ("stdout", b"th")] == reader.feed(b"text" * 8 + frame(2, b"two") + frame(1, b"three")[:10])


def test_a_hole_beyond_the_frame_takes_the_rest_of_it_and_hides_where_the_next_begins() -> None:
    reader = StdcopyReader()
    reader.feed(frame(2, b"x" * 100)[:20])
    reader.lose(89)  # the other 88 and a byte of the header behind them
    assert [] == reader.feed(frame(1, b"unknown")[1:])
    assert [("stdout", b"later")] == reader.feed(frame(1, b"later"))
    assert ((0, 88), 14, 1) == (reader.missing, reader.passed_over, reader.holes)


def test_what_is_no_header_behind_a_hole_is_passed_over_until_frames_are_found() -> None:
    reader = StdcopyReader()
    reader.feed(frame(1, b"x" * 100)[:20])
    reader.lose(10)
    assert [("stdout", b"x" * 78)] == reader.feed(b"x" * 78 + b"no header")
    assert (True, False, 9) == (reader.seeking, reader.out_of_step, reader.passed_over)
    assert [("stderr", b"later")] == reader.feed(frame(2, b"later"))


@pytest.mark.parametrize("piece", [b"text", bytes(64), frame(1, b""), frame(0, b"zeros"), b"\x01\0\0", frame(1, b"a") + b"\x01"])
def test_a_hole_before_the_first_byte_decides_nothing(piece: bytes) -> None:
    reader = StdcopyReader()
    reader.lose()
    assert [] == [*reader.feed(piece), *reader.finish()]
    assert ("empty", len(piece)) == (reader.kind, reader.passed_over)
