"""How far the clocks of two captures are apart, from packets that both of them recorded.

A packet that passed the first capture and then the second shows that the second clock is ahead by at most the difference of its two
times, one of the other direction by at least that (the delay only adds to the one and takes from the other; Paxson, "On Calibrating
Measurements of Packet Transit Times", 1998; NTP, RFC 5905 section 8). So the offset is known as an interval, and what follows from it.
"""

from bisect import bisect_right
from dataclasses import dataclass
from typing import Final

from captool.units import SECOND_NS

# How fast two clocks may drift apart between two packets, in millionths: the kernel slews by 500 (adjtimex(2)); quartz is better.
MAX_DRIFT_PPM: Final = 500
# Where packets of one direction only are known in both captures: how long one may have been under way.
MAX_TRANSIT_NS: Final = 5 * SECOND_NS
SPAN_NS: Final = 10 * SECOND_NS
MAX_SPANS: Final = 4096
DRIFT_SPAN_NS: Final = 60 * SECOND_NS


@dataclass(frozen=True, slots=True)
class ClockOffset:
    """The second capture's clock minus the first's, in nanoseconds, and how it changes.

    `offset_ns` lies within `uncertainty_ns` of the truth at `at_ns` (first clock). `drift_ppm` is None where the packets do not show
    that the clocks run differently; else it lies within `drift_uncertainty_ppm`. `consistent` is false where no two clocks that drift
    by at most 500 millionths explain the packets: a clock was set meanwhile. `times`, `lowest` and `highest` are bounds of the offset
    at points of time, which hold further away by as much less as the clocks may have drifted.
    """

    offset_ns: int
    uncertainty_ns: int
    at_ns: int
    drift_ppm: float | None
    drift_uncertainty_ppm: float | None
    consistent: bool
    times: tuple[int, ...]
    lowest: tuple[int, ...]
    highest: tuple[int, ...]

    def at(self, ts_ns: int) -> tuple[int, int]:
        """Offset and uncertainty at a time of the first clock."""
        after = bisect_right(self.times, ts_ns)
        near = [index for index in (after - 1, after) if 0 <= index < len(self.times)]
        drifted = [may_drift(ts_ns - self.times[index]) for index in near]
        low = max(self.lowest[index] - away for index, away in zip(near, drifted, strict=True))
        high = min(self.highest[index] + away for index, away in zip(near, drifted, strict=True))
        return (low + high) // 2, (abs(high - low) + 1) // 2

    def first_clock(self, ts_ns: int) -> tuple[int, int]:
        """A time of the second clock on the first, and its uncertainty."""
        offset, _ = self.at(ts_ns - self.offset_ns)
        offset, uncertainty = self.at(ts_ns - offset)
        return ts_ns - offset, uncertainty


class ClockBounds:
    """Gathers what packets say of the offset; memory is bounded whatever the number of packets and their times."""

    def __init__(self) -> None:
        self._span_ns = SPAN_NS
        self._spans: dict[int, tuple[int, int | None, int | None]] = {}

    def add(self, ts_ns: int, difference_ns: int, *, first_first: bool) -> None:
        """A packet recorded at `ts_ns` by the first capture, and `difference_ns` later on the second's clock by the second.

        `first_first`: it passed the first capture before the second.
        """
        self._note(ts_ns, None if first_first else difference_ns, difference_ns if first_first else None)
        while len(self._spans) > MAX_SPANS:
            known, self._spans, self._span_ns = self._spans, {}, 2 * self._span_ns
            for span in known.values():
                self._note(*span)

    def _note(self, ts_ns: int, low: int | None, high: int | None) -> None:
        """Bounds at a time, brought to the first time of its span."""
        at_ns, lowest, highest = self._spans.get(ts_ns // self._span_ns, (ts_ns, None, None))
        drifted = may_drift(ts_ns - at_ns)
        if low is not None:
            lowest = low - drifted if lowest is None else max(lowest, low - drifted)
        if high is not None:
            highest = high + drifted if highest is None else min(highest, high + drifted)
        self._spans[ts_ns // self._span_ns] = (at_ns, lowest, highest)

    def offset(self) -> ClockOffset | None:
        """What is known; None without a single packet."""
        if not self._spans:
            return None
        spans = sorted(self._spans.values())
        times = tuple(ts for ts, _, _ in spans)
        lowest = envelope([(ts, -low if low is not None else None) for ts, low, _ in spans])
        highest = envelope([(ts, high) for ts, _, high in spans])
        if lowest is None and highest is not None:
            lowest = [MAX_TRANSIT_NS - value for value in highest]
        elif highest is None and lowest is not None:
            highest = [MAX_TRANSIT_NS - value for value in lowest]
        if lowest is None or highest is None:
            return None
        low, high = [-value for value in lowest], highest
        middle = min(range(len(times)), key=lambda index: abs(high[index] - low[index]))
        drift = _drift([(ts, low, high) for ts, low, high in spans if low is not None and high is not None])
        return ClockOffset(
            offset_ns=(low[middle] + high[middle]) // 2,
            uncertainty_ns=(abs(high[middle] - low[middle]) + 1) // 2,
            at_ns=times[middle],
            drift_ppm=drift[0] if drift else None,
            drift_uncertainty_ppm=drift[1] if drift else None,
            consistent=all(below <= above for below, above in zip(low, high, strict=True)),
            times=times,
            lowest=tuple(low),
            highest=tuple(high),
        )


def may_drift(duration_ns: int) -> int:
    """How far the clocks may drift apart in this time."""
    return abs(duration_ns) * MAX_DRIFT_PPM // 1_000_000 + (duration_ns != 0)


def envelope(bounds: list[tuple[int, int | None]]) -> list[int] | None:
    """Upper bounds at points of time, each as low as any other allows for the drift between them; None where there are none."""
    if all(bound is None for _, bound in bounds):
        return None
    best: list[int | None] = [None] * len(bounds)
    for order in (range(len(bounds)), range(len(bounds) - 1, -1, -1)):
        before: tuple[int, int] | None = None
        for index in order:
            ts, own = bounds[index]
            known = [value for value in (own, best[index]) if value is not None]
            if before is not None:
                known.append(before[1] + may_drift(ts - before[0]))
            if known:
                best[index] = min(known)
                before = (ts, min(known))
    return [value for value in best if value is not None]


def _drift(spans: list[tuple[int, int, int]]) -> tuple[float, float] | None:
    """Millionths and their uncertainty where the offset at the end cannot be that of the beginning."""
    if len(spans) < 2 or spans[-1][0] - spans[0][0] < DRIFT_SPAN_NS:
        return None
    (begin, begin_low, begin_high), (end, end_low, end_high) = spans[0], spans[-1]
    least, most = (end_low - begin_high) / (end - begin), (end_high - begin_low) / (end - begin)
    if least <= 0 <= most or least > most:
        return None
    return (least + most) / 2 * 1e6, (most - least) / 2 * 1e6
