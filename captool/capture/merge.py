"""Packets of files that were recorded at the same time -> one chunk of them in order of time (a k-way merge).

Compiled by Cython (pure-Python mode) and runs unchanged without it. Only the next packet of each file is compared: the packets of one file
keep their order, also those of several queues or of a clock that stepped, each comes out once, and the order is the same in every run.
"""

# ruff: noqa: F821, PLR1730, SIM110
# (memcpy is known to the compiler, from merge.pxd; it makes plain loops and comparisons of what would be Python calls of all, min and max)

import array

import cython

if not cython.compiled:  # compiled, it comes from merge.pxd
    from captool.capture.frames import Frames

# What `merge` returns where that is not the place of a source without a packet left:
FULL = -1
BEGINS = -2  # the next packet is the first one of the file that is to begin

NEVER = (1 << 63) - 1  # later than any packet

# What `take` returns:
GAVE_WAY = cython.declare(cython.int, 0)
NOTHING_LEFT = cython.declare(cython.int, 1)
NO_ROOM = cython.declare(cython.int, 2)


@cython.cclass
class Source:
    """The present chunk of one file, and the first of its rows that was not taken yet (0 <= `row` <= `frames.count`)."""

    def __init__(self, frames: Frames) -> None:
        self.frames = frames
        self.row = 0

    @cython.boundscheck(False)
    def comes_by(self, last_ns: cython.longlong) -> cython.bint:
        """Whether no packet that is left of the chunk is later than `last_ns`."""
        row: cython.Py_ssize_t
        if last_ns >= NEVER - 1:
            return True
        for row in range(self.row, self.frames.count):
            if self.frames.ts_ns[row] > last_ns:
                return False
        return True


@cython.boundscheck(False)
def merge(sources: list, into: Frames, begins_ns: cython.longlong, named_before: cython.Py_ssize_t) -> cython.Py_ssize_t:
    """Move packets of `sources` into `into`, the earliest first, until something is to be done.

    Each of the sources has a packet left; they stand in the order in which their files were named, and of packets of the same time that of
    the file named first goes first. The next file to begin has its first packet at `begins_ns`, and `named_before` of the sources
    were named before it.

    Returns the place of a source that has no packet left, `FULL` (no room for the next packet) or `BEGINS`.
    """
    count: cython.Py_ssize_t = len(sources)
    heads: cython.longlong[::1] = array.array("q", bytes(8 * count))
    place: cython.Py_ssize_t
    first: cython.Py_ssize_t
    last_ns: cython.longlong
    head_ns: cython.longlong
    state: cython.int
    source: Source
    into.staged = into.ordered = False
    for place in range(count):
        source = sources[place]
        if source.row < 0 or source.row >= source.frames.count:
            raise IndexError("a source without a packet left")
        heads[place] = source.frames.ts_ns[source.row]
    while True:
        first = 0
        for place in range(1, count):
            if heads[place] < heads[first]:
                first = place
        last_ns = begins_ns if first < named_before else begins_ns - 1
        if heads[first] > last_ns:
            return BEGINS
        for place in range(count):  # up to the packet of another source that goes before
            if place != first:
                head_ns = heads[place] if first < place else heads[place] - 1
                if head_ns < last_ns:
                    last_ns = head_ns
        source = sources[first]
        state = take(source, into, last_ns)
        if state == NOTHING_LEFT:
            return first
        if state == NO_ROOM:
            return FULL
        heads[first] = source.frames.ts_ns[source.row]


@cython.cfunc
@cython.boundscheck(False)
@cython.exceptval(-2)
def take(source: Source, into: Frames, last_ns: cython.longlong) -> cython.int:
    """Move the next packets of one source, as long as they are not later than `last_ns`."""
    frames: Frames = source.frames
    out: cython.Py_ssize_t = into.count
    rows: cython.Py_ssize_t = len(into.ts_ns)
    room: cython.Py_ssize_t = into.spare
    size: cython.Py_ssize_t = len(frames.data)
    end: cython.Py_ssize_t = 0  # of the bytes in `into`
    at: cython.Py_ssize_t
    length: cython.Py_ssize_t
    row: cython.Py_ssize_t
    state: cython.int = NOTHING_LEFT
    if room > len(into.data):
        raise IndexError("more room than buffer")
    if out:
        end = into.offset[out - 1] + into.captured[out - 1]
    row = source.row
    while row < frames.count:
        if frames.ts_ns[row] > last_ns:
            state = GAVE_WAY
            break
        at = frames.offset[row]
        length = frames.captured[row]
        if at < 0 or length < 0 or at + length > size:
            raise IndexError("a frame lies outside of the chunk")
        if out >= rows or end + length > room:
            state = NO_ROOM
            break
        if cython.compiled:
            if length:
                memcpy(cython.address(into.data[end]), cython.address(frames.data[at]), length)
        else:
            into.buffer[end : end + length] = frames.buffer[at : at + length]
        into.ts_ns[out] = frames.ts_ns[row]
        into.offset[out] = end
        into.captured[out] = length
        into.original[out] = frames.original[row]
        into.link_type[out] = frames.link_type[row]
        end += length
        out += 1
        row += 1
    if out:
        into.last_ts_ns = into.ts_ns[out - 1]
    into.count = out
    source.row = row
    return state
