"""What the timing of probes tells: measured on real kernels, late and never early."""

import pytest

from captool.direction import Direction
from captool.findings.probes import asked_for, sender_hint
from tests.tables import S, keepalive


@pytest.mark.parametrize(
    ("seen", "asked"), [(15.23, 15), (15.10, 15), (10.11, 10), (10.24, 10), (31.1, 30), (30.2, 30), (4.02, 4), (1.02, 1), (7300, 7200), (14.8, 14)]
)
def test_the_time_asked_for_is_the_longest_usual_one_that_is_not_later(seen: float, asked: int) -> None:
    assert asked == asked_for(round(seen * S))


def test_the_first_distance_tells_the_pooled_connections_of_the_runner() -> None:
    side = keepalive("present", probes=3, interval_ns=round(15.1 * S), first_probe_ns=round(10.11 * S))
    assert "Runner 17.11" in (sender_hint(side, Direction.TO_SERVER) or "")
    assert "dockerd 19.03.9" in (sender_hint(side, Direction.TO_CLIENT) or "")


def test_one_probe_tells_nothing() -> None:
    assert sender_hint(keepalive("present", probes=1), Direction.TO_SERVER) is None
