"""Jumps of the capture's time that the clocks of the senders deny: the recording machine's clock was set forward.

Whoever sends TCP timestamps (RFC 7323) tells with each packet how his own clock went on. Where the time of a capture jumps ahead by seconds
and the senders' clocks do not, no such time passed for them. Only a chunk that reaches over so much time is looked through.
Compiled by Cython (pure-Python mode) and runs unchanged without it.
"""

# ruff: noqa: D102, D103, FBT003, FURB136
# (the compiler makes plain comparisons of chained ones, Python calls of min, max and `in`)

import array
from typing import Final, NamedTuple

import cython

from captool.capture.summary import ClockJump

if not cython.compiled:  # compiled, they come from sender_clock.pxd
    from captool.capture.frames import Frames
    from captool.capture.literals import MASK32
    from captool.packets.link import u32
    from captool.packets.options import timestamp_mark
    from captool.packets.segments import Segments

NONE = cython.declare(cython.longlong, -1)
JUMP_NS = cython.declare(cython.longlong, 5_000_000_000)
# So many segments before a jump, and after it, are looked at; before one of many, as quiet captures have them, fewer.
LOOK = cython.declare(cython.Py_ssize_t, 1024)
MANY = cython.declare(cython.longlong, 64)
GLANCE = cython.declare(cython.Py_ssize_t, 16)
KEPT = cython.declare(cython.Py_ssize_t, 32)  # so many of them if they are in chunks before
FIELDS = cython.declare(cython.Py_ssize_t, 7)
SECOND_NS: Final = 1_000_000_000
MAX_EXAMINED: Final = 1024
MAX_JUMPS: Final = 64
SENDERS: Final = 2
BUSY: Final = 3
# RFC 7323 5.4: between a tick a millisecond and a tick a second. Fewer ticks than these do not measure a clock.
SLOWEST_TICK_NS: Final = SECOND_NS
TICKS: Final = 5

Sender = tuple[int, int, int, int, int]
Sample = tuple[Sender, int, int]  # who sent it, TSval, time


class Known(NamedTuple):
    """The first and the last sample of a sender before a jump."""

    first_value: int
    first_ns: int
    value: int
    ns: int


@cython.final
@cython.cclass
class SenderClocks:
    """Chunks of a capture, in order -> `jumps`.

    `open_jumps` counts those that some senders were heard after and none confirmed: whoever sees only a part of them cannot judge these.
    """

    open_jumps = cython.declare(cython.longlong, visibility="readonly")
    found: list
    latest_ns: cython.longlong
    examined: cython.longlong
    ring: cython.longlong[::1]
    written: cython.longlong
    pending: object

    def __init__(self) -> None:
        self.found = []
        self.open_jumps = 0
        self.latest_ns = -1
        self.examined = 0
        self.ring = array.array("q", bytes(8 * KEPT * FIELDS))  # the last segments of the chunks before
        self.written = 0
        self.pending = None

    def add(self, frames: Frames, segments: Segments) -> None:
        """Take in one chunk."""
        row: cython.Py_ssize_t
        ts: cython.longlong
        latest: cython.longlong = self.latest_ns
        begin: cython.Py_ssize_t = 0
        end: cython.Py_ssize_t
        look: cython.Py_ssize_t
        ts_ns: cython.longlong[::1] = frames.ts_ns
        for row in range(frames.count if segments.latest_ns - latest > JUMP_NS else 0):
            ts = ts_ns[row]
            if ts > latest:
                if ts - latest > JUMP_NS and latest >= 0 and self.examined < MAX_EXAMINED:
                    self.examined += 1
                    end = first_segment(segments, row)
                    self.settle(frames, segments, begin, end, True)
                    look = LOOK if self.examined <= MANY else GLANCE
                    before = self.kept() if end < look else []
                    before += samples(frames, segments, end - look if end > look else 0, end)
                    self.pending = Pending(latest, ts, frames.first_packet + row, before)
                    begin = end
                latest = ts
        self.latest_ns = segments.latest_ns
        self.settle(frames, segments, begin, segments.count, False)
        self.keep(frames, segments)

    @cython.cfunc
    def keep(self, frames: Frames, segments: Segments) -> cython.int:
        row: cython.Py_ssize_t
        at: cython.Py_ssize_t
        for row in range(segments.count - KEPT if segments.count > KEPT else 0, segments.count):
            at = self.written % KEPT * FIELDS
            segments.tell_ends(row)
            self.ring[at] = segments.source_high[row]
            self.ring[at + 1] = segments.source_low[row]
            self.ring[at + 2] = segments.destination_high[row]
            self.ring[at + 3] = segments.destination_low[row]
            self.ring[at + 4] = segments.ports[row]
            self.ring[at + 5] = timestamp(frames, segments, row)
            self.ring[at + 6] = frames.ts_ns[segments.frame[row]]
            self.written += 1
        return 0

    @cython.cfunc
    def kept(self) -> list:
        """The samples in the ring, in order of time."""
        number: cython.longlong
        at: cython.Py_ssize_t
        found: list = []
        for number in range(self.written - KEPT if self.written > KEPT else 0, self.written):
            at = number % KEPT * FIELDS
            sender = (self.ring[at], self.ring[at + 1], self.ring[at + 2], self.ring[at + 3], self.ring[at + 4])
            found.append((sender, self.ring[at + 5], self.ring[at + 6]))
        return found

    @cython.cfunc
    def settle(
        self, frames: Frames, segments: Segments, begin: cython.Py_ssize_t, end: cython.Py_ssize_t, over: cython.bint
    ) -> cython.int:
        """Let the last jump hear the segments from `begin` to `end`; `over`: then there is another one."""
        if self.pending is None:
            return 0
        enough = self.pending.hear(samples(frames, segments, begin, end if end < begin + LOOK else begin + LOOK))
        if enough or over or end >= begin + LOOK:
            self.close()
        return 0

    @cython.cfunc
    def close(self) -> cython.int:
        jump = self.pending.jump()
        if self.pending.after and not self.pending.confirmed:
            self.open_jumps += 1
        self.pending = None
        if jump is not None:
            self.found.append(jump)
            if len(self.found) > MAX_JUMPS:
                self.found.remove(min(self.found, key=by_length))
        return 0

    def jumps(self) -> tuple[ClockJump, ...]:
        """The jumps that were no passing of time, or may have been none; of more than 64 the longest."""
        if self.pending is not None:
            self.close()
        return tuple(self.found)


def by_length(jump: ClockJump) -> int:
    return jump.ahead_ns


class Pending:
    """One jump: what was known of the senders before it, and what was heard of them after it."""

    __slots__ = ("after", "before", "before_ns", "confirmed", "heard", "ns", "packet")

    def __init__(self, before_ns: int, ns: int, packet: int, before: list[Sample]) -> None:
        self.before_ns, self.ns, self.packet = before_ns, ns, packet
        self.before: dict[Sender, Known] = {}
        for sender, value, ts in before:
            known = self.before.get(sender)
            self.before[sender] = Known(value, ts, value, ts) if known is None else known._replace(value=value, ns=ts)
        self.after: dict[Sender, tuple[int, int]] = {}
        self.heard = 0
        self.confirmed = False  # by the clock of a sender: so much time passed

    def hear(self, heard: list[Sample]) -> bool:
        """Take in what came after the jump; whether nothing more is awaited."""
        for sender, value, ts in heard:
            if ts - self.ns > SECOND_NS:
                return True
            if sender in self.before:
                self.after.setdefault(sender, (value, ts))
        self.heard += len(heard)
        return self.heard >= LOOK or len(self.after) == len(self.before)

    def jump(self) -> ClockJump | None:
        """The jump, if the senders' clocks deny it (`senders` of them), or if none tells and three busy connections went on as before."""
        length = self.ns - self.before_ns
        denying: dict[Sender, int] = {}
        for sender, (value, ts) in self.after.items():
            known = self.before[sender]
            if value < 0 or known.value < 0:
                continue
            ticks = (value - known.value + 0x80000000 & 0xFFFFFFFF) - 0x80000000
            ahead = ts - known.ns - (ticks + 1) * _slowest_tick(known)
            if ticks < 0 or ahead < max(length // 2, SECOND_NS):
                self.confirmed = True
                return None
            denying[sender] = ahead
        hosts = {sender[:2] for sender in denying}
        if len(hosts) >= SENDERS:
            return ClockJump(self.packet, min(denying.values()), len(denying))
        busy = {
            frozenset(((sender[0], sender[1], sender[4] >> 16), (sender[2], sender[3], sender[4] & 0xFFFF)))
            for sender in self.after
            if self.before_ns - self.before[sender].ns < SECOND_NS
        }
        return ClockJump(self.packet, length, 0) if len(busy) >= BUSY and not denying else None


def _slowest_tick(known: Known) -> int:
    """Nanoseconds that a tick of the sender's clock takes at most, from its packets before the jump, else from RFC 7323."""
    ticks = known.value - known.first_value
    return min((known.ns - known.first_ns) // (ticks - 1), SLOWEST_TICK_NS) if ticks >= TICKS else SLOWEST_TICK_NS


@cython.cfunc
def first_segment(segments: Segments, row: cython.Py_ssize_t) -> cython.Py_ssize_t:
    """The first segment of frame `row` or of a later one."""
    low: cython.Py_ssize_t = 0
    high: cython.Py_ssize_t = segments.count
    middle: cython.Py_ssize_t
    while low < high:
        middle = (low + high) // 2
        if segments.frame[middle] < row:
            low = middle + 1
        else:
            high = middle
    return low


@cython.cfunc
def samples(frames: Frames, segments: Segments, begin: cython.Py_ssize_t, end: cython.Py_ssize_t) -> list:
    """The samples in these segments; TSval is -1 where there is none."""
    row: cython.Py_ssize_t
    found: list = []
    for row in range(begin, end):
        segments.tell_ends(row)
        sender = (
            segments.source_high[row],
            segments.source_low[row],
            segments.destination_high[row],
            segments.destination_low[row],
            segments.ports[row],
        )
        found.append((sender, timestamp(frames, segments, row), frames.ts_ns[segments.frame[row]]))
    return found


@cython.cfunc
def timestamp(frames: Frames, segments: Segments, row: cython.Py_ssize_t) -> cython.longlong:
    """TSval of a segment whose ends were told, -1 without. Its header, before the payload, is told by its length, ports and number."""
    data: cython.uchar[::1] = frames.data
    payload: cython.Py_ssize_t = segments.payload_offset[row]
    header: cython.Py_ssize_t
    at: cython.Py_ssize_t
    mark: cython.longlong
    begin: cython.Py_ssize_t = frames.offset[segments.frame[row]]
    end: cython.Py_ssize_t = begin + frames.captured[segments.frame[row]]
    if payload > len(data) or begin <= payload - 24 < end < payload:  # the snap length cut the header
        return NONE
    for header in range(24, 64, 4):
        at = payload - header
        if at < 0:
            return NONE
        if data[at + 12] >> 4 << 2 != header or u32(data, at) != segments.ports[row] or u32(data, at + 4) != segments.seq[row]:
            continue
        mark = timestamp_mark(data, at + 20, payload)
        return mark & MASK32 if mark >= 0 else NONE
    return NONE
