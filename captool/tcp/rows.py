"""The rows of all open connections (layout.py says what is in them), and the lists that are kept beside them.

A row is found by its slot, a side and what is listed for it by its place: 2 * slot + direction in which it sends. Everything
that follows connections works on `Rows`. Invariant: outside of the taking in of one segment the hot row is current, and while it
says `STEADY` the full row is not; whoever reads or writes the full row calls `unpack` before it and `pack` after a change. A slot that the
table or a list names is below `slots`, so that nobody needs to check where in the arrays a field of a row is.
"""

# ruff: noqa: D102, D103, F403, F405, FURB136
# (layout.py is the vocabulary; the compiler makes plain comparisons of chained ones, Python calls of min, max and `in`)

import array
from collections import deque

import cython

from captool.capture.frames import room

if not cython.compiled:  # compiled, they come from rows.pxd
    from captool.capture.columns import longs
    from captool.capture.literals import HALF32, MASK32
    from captool.tcp.copies import PlacedPackets
    from captool.tcp.layout import *

# Numbers above 31 bits would be Python objects to the compiler if they stood in the expressions.
ONE = cython.declare(cython.longlong, 1)

MAX_LINGERING = 8192  # of all shards together

# Of BITS: what must be set and what must not be where a segment goes as predicted.
STEADY_BITS = cython.declare(cython.longlong, BASED | ACK_KNOWN)
STEADY_MASK = cython.declare(cython.longlong, BASED | ACK_KNOWN | AWAITING | RESET | FINISHED | RESENDING | HOLED)


@cython.cfunc
@cython.inline
@cython.exceptval(check=False)
def max_of(one: cython.longlong, other: cython.longlong) -> cython.longlong:
    return one if one > other else other


@cython.cfunc
def to_cache_line(numbers: cython.longlong[::1]) -> cython.longlong:
    """The first of these numbers that begins a cache line: rows begin there, as the layout assumes."""
    return (-cython.cast(cython.Py_ssize_t, cython.address(numbers[0])) & 63) >> 3 if cython.compiled else 0


@cython.cclass
class Rows:
    """State of the open connections.

    `holes`, `probing`, `shut_windows`, `outages`, `repeats`, `syns` and `overtaken` are kept by place, `gaps` and `resets` by slot.
    `linger` holds (until when, slot, connection) of those that ended; of more than `max_lingering` the oldest go early, and `limited` is
    set. `assembly` takes the payload of connections that are `WANTED`. `seen` are identities and times of the last packets of all, by their
    numbers, `recent_packets` those of packets that were not predicted; `placed_packets` are those that only the place of capture tells
    apart.
    """

    def __init__(self, gap_ns: int, assembly: object, shards: int = 1) -> None:
        self.gap_ns = gap_ns
        self.assembly = assembly
        self.slots = 0
        self.origin = 0
        self.hot_origin = 0
        self.state = memoryview(array.array("q", [0]))
        self.hot = memoryview(array.array("q", [0]))
        self.seen = array.array("q", bytes(8 * SEEN))
        self.grow(256)
        self.free = []
        self.holes = {}
        self.gaps = {}
        self.probing = {}
        self.shut_windows = {}
        self.outages = {}
        self.repeats = {}
        self.syns = {}
        self.overtaken = {}
        self.resets = {}
        self.linger = deque()
        self.max_lingering = MAX_LINGERING // shards
        self.limited = False
        self.duplicate_packets = 0
        self.recent_packets = array.array("q", bytes(8 * SETS * WAYS))
        self.placed_packets = PlacedPackets()

    @cython.cfunc
    @cython.boundscheck(False)  # there is room for `slots` rows
    def take_slot(self) -> cython.longlong:
        """A slot whose rows are those of a connection of which nothing is known."""
        slot: cython.longlong
        direction: cython.longlong
        side: cython.longlong
        at: cython.longlong
        if self.free:
            slot = self.free.pop()
        else:
            slot = self.slots
            self.slots += 1
            if self.origin + self.slots * ROW > len(self.state) or self.hot_origin + self.slots * HOT_ROW > len(self.hot):
                self.grow(2 * self.slots)
        conn: cython.p_longlong = longs(self.state, self.origin + slot * ROW)
        hot: cython.p_longlong = longs(self.hot, self.hot_origin + slot * HOT_ROW)
        for at in range(ROW):
            conn[at] = 0
        conn[IDLE_SINCE] = -1
        for direction in range(2):
            side = SIDES + SIDE * direction
            conn[side + ACKED] = -1
            conn[side + WINDOW] = 1
            conn[side + SYN_SEQ] = -1
            conn[side + FIN_OFFSET] = -1
        for at in range(HOT_ROW):
            hot[at] = 0
        return slot

    @cython.cfunc
    def free_slot(self, slot: cython.longlong) -> cython.int:
        self.state[self.origin + slot * ROW + ID] = -2
        self.halves[2 * self.hot_origin + slot * HALVES + HOT_FLAGS] = 0
        self.free.append(slot)
        return 0

    @cython.cfunc
    def grow(self, slots: cython.longlong) -> cython.int:
        hot_room = memoryview(room(8 * (slots * HOT_ROW + 8)))  # `take_slot` clears what it takes
        state = memoryview(room(8 * (slots * ROW + 8))).cast("q")
        hot = hot_room.cast("q")
        origin: cython.longlong = to_cache_line(state)
        hot_origin: cython.longlong = to_cache_line(hot)
        kept: cython.longlong = self.slots - 1 if self.slots else 0  # `slots` counts the one that there is no room for yet
        state[origin : origin + kept * ROW] = self.state[self.origin : self.origin + kept * ROW]
        hot[hot_origin : hot_origin + kept * HOT_ROW] = self.hot[self.hot_origin : self.hot_origin + kept * HOT_ROW]
        self.origin = origin
        self.hot_origin = hot_origin
        self.state = state
        self.hot = hot
        self.halves = hot_room.cast("I")
        return 0

    @cython.cfunc
    @cython.boundscheck(False)
    def unpack(self, slot: cython.longlong) -> cython.int:
        """Bring what the hot row knows better over to the full row."""
        hot: cython.longlong = self.hot_origin + slot * HOT_ROW
        half: cython.longlong = 2 * hot
        conn: cython.longlong = self.origin + slot * ROW
        flags: cython.longlong = self.halves[half + HOT_FLAGS]
        base: cython.longlong
        direction: cython.longlong
        side: cython.longlong
        if not flags & STEADY:
            return 0
        for direction in range(2):
            side = conn + SIDES + SIDE * direction
            base = self.state[side + BASE]
            self.state[side + NEXT] += (self.halves[half + HOT_NEXT + direction] - base - self.state[side + NEXT]) & MASK32
            self.state[side + ACKED] += (self.halves[half + HOT_ACKED + direction] - base - self.state[side + ACKED]) & MASK32
            self.state[side + PACKETS] += self.halves[half + HOT_COUNT + direction] & 0xFFFF
            self.halves[half + HOT_COUNT + direction] &= ~0xFFFF & MASK32
            self.state[side + LAST_NS] = self.hot[hot + HOT_NS + direction]
            self.state[side + LAST_PACKET] = self.halves[half + HOT_PACKET + direction]
            if flags & NEWEST_IS_LAST << direction:
                self.state[side + NEWEST_NS] = self.state[side + LAST_NS]
                self.state[side + NEWEST_PACKET] = self.state[side + LAST_PACKET]
            if not flags & FIRST_KNOWN << direction:
                self.state[side + FIRST_PACKET] = 0
        if flags & IDLE:
            self.state[conn + IDLE_SINCE] = self.last_ns(conn)
            self.state[conn + IDLE_PACKET] = max_of(self.state[conn + SIDES + LAST_PACKET], self.state[conn + SIDES + SIDE + LAST_PACKET])
        else:
            self.state[conn + IDLE_SINCE] = -1
        return 0

    @cython.cfunc
    @cython.boundscheck(False)
    def pack(self, slot: cython.longlong) -> cython.int:
        """Bring the full row over to the hot row, and find out whether the next segment may do as predicted."""
        hot: cython.longlong = self.hot_origin + slot * HOT_ROW
        half: cython.longlong = 2 * hot
        conn: cython.longlong = self.origin + slot * ROW
        client: cython.longlong = conn + SIDES
        server: cython.longlong = conn + SIDES + SIDE
        state: cython.longlong = self.state[conn + STATE]
        flags: cython.longlong = self.halves[half + HOT_FLAGS] & (HOT_IPV6 | SWAPPED)
        direction: cython.longlong
        side: cython.longlong
        steady: cython.bint = state & OPENED != 0
        for direction in range(2):
            side = conn + SIDES + SIDE * direction
            self.halves[half + HOT_NEXT + direction] = (self.state[side + BASE] + self.state[side + NEXT]) & MASK32
            self.halves[half + HOT_ACKED + direction] = (self.state[side + BASE] + self.state[side + ACKED]) & MASK32
            self.hot[hot + HOT_NS + direction] = self.state[side + LAST_NS]
            self.halves[half + HOT_PACKET + direction] = self.state[side + LAST_PACKET] & MASK32
            if (
                self.state[side + BITS] & STEADY_MASK != STEADY_BITS
                or self.state[side + WINDOW] == 0
                or self.state[side + ACKED] > self.state[side + NEXT]
                or self.state[side + NEXT] - self.state[side + ACKED] >= HALF32
                or self.state[side + LAST_PACKET] > MASK32
            ):
                steady = False
            if self.state[side + FIRST_PACKET]:
                flags |= FIRST_KNOWN << direction
            if state >> (9 * direction) & LETTER_ACK:
                flags |= ACK_EXPECTED << direction
            if state >> (9 * direction) & LETTER_DATA and self.state[side + BITS] & DATA_SEEN:
                flags |= DATA_EXPECTED << direction
        if self.state[conn + IDLE_SINCE] >= 0:
            flags |= IDLE
            if state & STIRRED or self.state[conn + IDLE_PACKET] != max_of(
                self.state[client + LAST_PACKET], self.state[server + LAST_PACKET]
            ):
                steady = False
        if state & WANTED:
            flags |= ONE << CONTENT_SHIFT
        if steady:
            flags |= STEADY
        self.halves[half + HOT_FLAGS] = flags | self.state[conn + LIMIT_CODE] << LIMIT_SHIFT
        return 0

    @cython.cfunc
    @cython.inline
    @cython.boundscheck(False)
    def last_ns(self, conn: cython.longlong) -> cython.longlong:
        """Time of the connection's last packet."""
        client: cython.longlong = conn + SIDES
        server: cython.longlong = conn + SIDES + SIDE
        if self.state[client + LAST_PACKET] > self.state[server + LAST_PACKET]:
            return self.state[client + LAST_NS]
        return self.state[server + LAST_NS]

    @cython.cfunc
    @cython.boundscheck(False)
    def note_letters(self, conn: cython.longlong, direction: cython.longlong, letters: cython.longlong) -> cython.int:
        """Append the history letters that are new, five bits each: 1 + number of the letter, + 9 for the server's."""
        bit: cython.longlong
        shift: cython.longlong
        for bit in range(9 * direction, 9 * direction + 9):
            if letters << (9 * direction) >> bit & 1 and not self.state[conn + STATE] >> bit & 1:
                self.state[conn + STATE] |= ONE << bit
                shift = 0
                while self.state[conn + HISTORY] >> shift & 31:
                    shift += 5
                    if shift == 60:
                        break
                if shift < 60:
                    self.state[conn + HISTORY] |= (bit + 1) << shift
                else:
                    shift = 0
                    while self.state[conn + HISTORY_MORE] >> shift & 31:
                        shift += 5
                    self.state[conn + HISTORY_MORE] |= (bit + 1) << shift
        return 0
