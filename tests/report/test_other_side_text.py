"""How two captures fit together, in words: never more exactly than is known."""

from captool.report.other_side_text import clock_difference
from captool.tcp.clock_offset import ClockBounds

S = 1_000_000_000


def clock(*packets):
    bounds = ClockBounds()
    for ts, high, low in packets:
        bounds.add(ts, high, first_first=True)
        bounds.add(ts, low, first_first=False)
    return bounds.offset()


def test_clocks_that_may_be_the_same_agree_within_a_bound():
    assert "the clocks agree within 0.006 ms" == clock_difference(clock((0, 6_000, -4_000)))


def test_offset_is_written_with_the_digits_that_are_known():
    assert "its clock is 3723.456 s ahead, give or take 1 ms" == clock_difference(clock((0, 3723_457_000_000, 3723_455_000_000)))
    assert "its clock is 2 s behind, give or take 1.00 s" == clock_difference(clock((0, -1 * S, -3 * S)))


def test_drift_and_a_set_clock_are_said():
    drifting = clock(*((ts * S, ts * 50_000 + 1000, ts * 50_000 - 1000) for ts in range(0, 3600, 30)))
    assert ", and gains 50.0 ± 0.0 µs each second" in clock_difference(drifting)
    assert "one of the clocks was set meanwhile" in clock_difference(clock((0, 1000, 0), (30 * S, 9 * S, 9 * S - 1000)))
