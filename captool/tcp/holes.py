"""Ranges of a stream that were not captured (yet): (begin, end) offsets, in order of appearance, without overlap."""

from typing import Final

MAX_HOLES: Final = 1024
Holes = list[tuple[int, int]]


def add_hole(holes: Holes, begin: int, end: int) -> int:
    """Note a hole. Returns the bytes of the oldest one where there are too many to list: it counts as lost for good."""
    holes.append((begin, end))
    if len(holes) <= MAX_HOLES:
        return 0
    begin, end = holes.pop(0)
    return end - begin


def fill_holes(holes: Holes, begin: int, end: int) -> Holes:
    """What is left of the holes when the bytes from `begin` to `end` came."""
    left = []
    for hole_begin, hole_end in holes:
        if hole_end <= begin or hole_begin >= end:
            left.append((hole_begin, hole_end))
            continue
        if hole_begin < begin:
            left.append((hole_begin, begin))
        if hole_end > end:
            left.append((end, hole_end))
    return left
