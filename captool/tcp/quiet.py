"""The gaps of a connection that are long enough to keep. Runs once for each of those, not for each packet."""

from typing import Final, NamedTuple

MAX_GAPS: Final = 64
MAX_INTERVALS: Final = 1024


class SeenGap(NamedTuple):
    """A gap as the tracker keeps it; probes of the client and of the server."""

    start_ns: int
    duration_ns: int
    client_probes: int
    server_probes: int
    silence_ns: int
    after_packet: int
    ended_by: str
    ended_by_packet: int | None


def keep_gap(gaps: list[SeenGap], gap: SeenGap) -> None:
    """Append a gap; of more than `MAX_GAPS` the shortest (the first of equals) is dropped."""
    gaps.append(gap)
    if len(gaps) > MAX_GAPS:
        gaps.remove(min(gaps, key=lambda kept: kept.duration_ns))


def keep_interval(intervals: list[int], distance_ns: int, number: int) -> None:
    """Note the distance of two probes; of many, the latest are kept."""
    if len(intervals) < MAX_INTERVALS:
        intervals.append(distance_ns)
    else:
        intervals[number % MAX_INTERVALS] = distance_ns
