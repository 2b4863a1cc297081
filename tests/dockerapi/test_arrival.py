"""Which output the client acknowledged."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from captool.direction import Moment
from captool.dockerapi.arrival import MAX_SPANS, OutputArrival
from captool.dockerapi.stdcopy import Payload


def at(packet: int) -> Moment:
    return Moment(packet, packet * 10)


def test_what_is_acknowledged_is_the_last_output_and_the_rest_is_lost() -> None:
    arrival = OutputArrival()
    arrival.sent([Payload("stdout", b"one\n")], at(1), 100)
    arrival.sent([Payload("stderr", b"two\n")], at(2), 200)
    arrival.sent([Payload("stdout", b"three\n")], at(3), 300)
    assert arrival.last_output is None
    arrival.acknowledge(150)
    arrival.acknowledge(199)
    assert arrival.last_output == at(1)
    lost = arrival.lost()
    assert lost is not None
    assert (6, 4, at(2), b"two\nthree\n") == (lost.stdout_bytes, lost.stderr_bytes, lost.first, lost.text)
    arrival.acknowledge(300)
    assert (at(3), None, 10, 4) == (arrival.last_output, arrival.lost(), arrival.stdout_bytes, arrival.stderr_bytes)


def test_empty_frames_are_no_output() -> None:
    arrival = OutputArrival()
    arrival.sent([Payload("stdout", b"")], at(1), 100)
    arrival.acknowledge(100)
    assert (None, None) == (arrival.last_output, arrival.lost())


def test_text_of_lost_output_is_its_first_200_bytes() -> None:
    arrival = OutputArrival()
    for number in range(50):
        arrival.sent([Payload("stdout", b"%9d\n" % number)], at(number), number // 3)
    lost = arrival.lost()
    assert lost is not None
    assert b"".join(b"%9d\n" % number for number in range(20)) == lost.text


@pytest.mark.parametrize("acknowledged", [0, 1, 5000, 19_990, 20_000])
def test_many_unacknowledged_pieces_take_bounded_memory_and_lose_no_byte(acknowledged: int) -> None:
    arrival = OutputArrival()
    for number in range(1, 20_001):
        arrival.sent([Payload("stdout" if number % 2 else "stderr", b"x")], at(number), number)
    assert len(arrival._pending) <= MAX_SPANS
    arrival.acknowledge(acknowledged)
    lost = arrival.lost()
    missing = lost.stdout_bytes + lost.stderr_bytes if lost else 0
    assert 20_000 - acknowledged <= missing <= 20_000 - acknowledged + 64
    assert (10_000, 10_000) == (arrival.stdout_bytes, arrival.stderr_bytes)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 40), st.booleans(), st.integers(0, 60)), max_size=60))
def test_acknowledgements_at_any_time_match_a_look_at_the_end(steps: list[tuple[int, bool, int]]) -> None:
    arrival = OutputArrival()
    sent: list[tuple[int, int, bool]] = []
    end = reached = 0
    for number, (size, error, acknowledged) in enumerate(steps):
        end += size + 1
        arrival.sent([Payload("stderr" if error else "stdout", bytes(size))], at(number), end)
        sent.append((end, size, error))
        reached = max(reached, min(acknowledged, end))
        arrival.acknowledge(reached)
    missing = [(size, error) for stop, size, error in sent if stop > reached and size]
    lost = arrival.lost()
    expected = (sum(size for size, error in missing if not error), sum(size for size, error in missing if error))
    assert (expected if missing else None) == ((lost.stdout_bytes, lost.stderr_bytes) if lost else None)
