"""Frames of container output, cut anywhere, against a reader that has everything at once."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from captool.dockerapi.stdcopy import Payload, StdcopyReader

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
