"""Duplicate acknowledgements that a changed window hides: a SACK shows them (RFC 6675 2)."""

from pathlib import Path

import pytest

from captool.direction import Direction
from tests.builders import ISN_NEAR_WRAP, Packet, Talk, analyze, connection, sack, tsval

SIZE = 1448


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "trace.pcap"


def tail_arrives(options: bytes | None = None, *, isn: int = 5000, window: int = 501, seq: int | None = None, **said: int) -> Talk:
    """A large and a small segment; both are sent again, and the client says that the small one came, with a window that is larger."""
    talk = Talk(server_isn=isn).opened().client(b"GET /").server(b"200").client()
    head = talk.next[1]
    talk.server(b"x" * SIZE).server(b"y" * 100).server(b"y" * 100, seq=head + SIZE)
    talk.client(ack=head, window=window, options=sack((head + SIZE, head + SIZE + 100)) if options is None else options, seq=seq, **said)
    return talk.server(b"x" * SIZE, seq=head).wait(1).server(b"x" * SIZE, seq=head)


def asked_again(path: Path, talk: Talk) -> int:
    sent = connection(path, talk).unanswered[Direction.TO_CLIENT]
    assert sent is not None
    return sent.duplicate_acks


@pytest.mark.parametrize("isn", [5000, ISN_NEAR_WRAP, 2**32 - 1500])
def test_a_block_above_the_acknowledgement_makes_it_a_duplicate_whatever_the_window(path: Path, isn: int) -> None:
    assert 1 == asked_again(path, tail_arrives(isn=isn))


def test_a_window_that_opens_without_it_is_no_duplicate(path: Path) -> None:
    assert 0 == asked_again(path, tail_arrives(b""))
    assert 0 == asked_again(path, tail_arrives(tsval(7)))
    assert 1 == asked_again(path, tail_arrives(b"", window=500))


def test_blocks_are_found_behind_other_options_and_behind_one_that_tells_of_bytes_that_came_twice(path: Path) -> None:
    twice, above = (5001, 5004), (5004 + SIZE, 5104 + SIZE)
    assert 1 == asked_again(path, tail_arrives(tsval(7) + sack(above)))
    assert 1 == asked_again(path, tail_arrives(tsval(7) + sack(twice, above)))
    assert 0 == asked_again(path, tail_arrives(tsval(7) + sack(twice)))


@pytest.mark.parametrize(
    "options",
    [
        bytes([5, 0, 0, 0]),  # an option without a length goes nowhere
        bytes([5, 40, 0, 0]),  # longer than the header
        bytes([1, 1, 1, 5]),  # cut off
        bytes([0, 0]) + sack((6000, 6100))[2:],  # behind the end of the options
        bytes([1, 1, 5, 6]) + (6000).to_bytes(4),  # half a block
        sack((6100, 6000)),  # ends before it begins
    ],
)
def test_options_that_say_nothing_are_read_to_their_end(path: Path, options: bytes) -> None:
    assert 0 == asked_again(path, tail_arrives(options))


def test_a_frame_that_was_cut_in_its_options_says_nothing(path: Path) -> None:
    """A snap length that leaves the fixed header: what would follow it in the buffer belongs to other packets."""
    whole = tail_arrives()
    index = next(i for i, one in enumerate(whole.packets) if len(one.frame) == 66)
    whole.packets[index] = Packet(whole.packets[index].frame[:54], whole.packets[index].ts_ns, 66)
    _, (seen,), _ = analyze(path, whole.packets)
    sent = seen.unanswered[Direction.TO_CLIENT]
    assert sent is not None
    assert 0 == sent.duplicate_acks
