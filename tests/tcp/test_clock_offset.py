"""Two clocks, known from packets that both captures recorded: the truth is always within the bounds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from captool.tcp.clock_offset import MAX_DRIFT_PPM, MAX_SPANS, ClockBounds

S = 1_000_000_000
MS = 1_000_000
packets = st.lists(
    st.tuples(st.integers(0, 3600 * S), st.integers(0, 200 * MS), st.booleans()), min_size=1, max_size=40
)  # time, delay, first capture first


def gathered(sent, offset_at):
    bounds = ClockBounds()
    for ts, delay, first_first in sent:
        bounds.add(ts, offset_at(ts) + (delay if first_first else -delay), first_first=first_first)
    return bounds.offset()


@given(packets, st.integers(-(10**15), 10**15), st.integers(-MAX_DRIFT_PPM, MAX_DRIFT_PPM))
def test_truth_is_within_the_bounds_at_every_time(sent, offset, drift):
    def truth(ts):
        return offset + ts * drift // 1_000_000

    clock = gathered(sent, truth)
    assert clock.consistent
    for ts in (0, 1800 * S, 3600 * S, *(ts for ts, _, _ in sent)):
        middle, uncertainty = clock.at(ts)
        assert abs(truth(ts) - middle) <= uncertainty + 1
    assert abs(truth(clock.at_ns) - clock.offset_ns) <= clock.uncertainty_ns + 1


@given(packets, st.integers(-(10**15), 10**15))
def test_time_of_the_second_clock_becomes_one_of_the_first(sent, offset):
    clock = gathered(sent, lambda _: offset)
    for ts, _, _ in sent:
        first, uncertainty = clock.first_clock(ts + offset)
        assert abs(first - ts) <= uncertainty + 1


def test_packets_of_both_directions_give_the_offset_within_half_a_round_trip():
    clock = gathered([(10 * S, 3 * MS, True), (10 * S, 1 * MS, False)], lambda _: 5 * S)
    assert (5 * S + 1 * MS, 2 * MS) == (clock.offset_ns, clock.uncertainty_ns)
    assert clock.drift_ppm is None


def test_packets_of_one_direction_leave_seconds_of_doubt():
    clock = gathered([(10 * S, 3 * MS, True)], lambda _: 0)
    assert 2 * S < clock.uncertainty_ns < 3 * S


def test_drift_is_given_where_packets_prove_it():
    sent = [(ts * S, 1 * MS, way) for ts in range(0, 3600, 30) for way in (True, False)]
    clock = gathered(sent, lambda ts: ts * 50 // 1_000_000)
    assert clock.drift_ppm == pytest.approx(50, abs=clock.drift_uncertainty_ppm)
    assert clock.drift_uncertainty_ppm < 1
    assert gathered(sent, lambda _: 7).drift_ppm is None


def test_clock_that_was_set_is_noticed():
    sent = [(ts * S, 1 * MS, way) for ts in range(0, 600, 30) for way in (True, False)]
    assert not gathered(sent, lambda ts: 5 * S if ts > 300 * S else 0).consistent


def test_memory_is_bounded_whatever_the_times():
    bounds = ClockBounds()
    for number in range(3 * MAX_SPANS):
        bounds.add(number * 100 * S, 5, first_first=number % 2 == 0)
    assert MAX_SPANS // 2 <= len(bounds.offset().times) <= MAX_SPANS
    assert ClockBounds().offset() is None
