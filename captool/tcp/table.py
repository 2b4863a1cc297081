"""Addresses and ports of a segment -> its connection's slot: an open-addressing hash table (Knuth 6.4, linear probing).

An entry is hash << 32 | slot + 1, 0 where free. Invariants: at most half of the table is used; no free entry stands between an
entry and the place that its hash names. Both directions of a connection have the same hash, of 31 bits; the order of its two ends in
the rows is that of their hashes.
"""

# ruff: noqa: D102, F403, F405
# (layout.py is the vocabulary; the compiler makes plain comparisons of chained ones, Python calls of min, max and `in`)

import array

import cython

if not cython.compiled:  # compiled, they come from table.pxd
    from captool.capture.columns import ints, longs
    from captool.capture.frames import Frames
    from captool.capture.literals import BEYOND_IPV4, MASK32
    from captool.packets.segments import Segments
    from captool.tcp.layout import *
    from captool.tcp.rows import Rows



@cython.cclass
class ConnectionTable:
    """The open connections by their two ends."""

    def __init__(self) -> None:
        self.entries = array.array("q", bytes(8 * 1024))
        self.mask = 1023
        self.used = 0

    @cython.cfunc
    @cython.boundscheck(False)
    def look_ahead(
        self, rows: Rows, frames: Frames, segments: Segments, begin: cython.Py_ssize_t, end: cython.Py_ssize_t
    ) -> cython.int:
        """Find where the segments from `begin` to `end` probably belong (`Segments.slot`, -1 for nowhere), and note them as seen.

        The processor is told to fetch their hot rows, many at a time; waiting for one after the other took more than half of the time.
        """
        row: cython.Py_ssize_t
        at: cython.longlong
        hashed: cython.longlong
        entry: cython.longlong
        mask: cython.longlong = self.mask
        entries: cython.p_longlong = longs(self.entries)
        hot: cython.p_longlong = longs(rows.hot, rows.hot_origin)
        full: cython.p_longlong = longs(rows.state, rows.origin)
        seen: cython.p_longlong = longs(rows.seen)
        keys: cython.p_longlong = longs(segments.key)
        slots: cython.p_int = ints(segments.slot)
        frame_column: cython.p_int = ints(segments.frame)
        identities: cython.p_int = ints(segments.identity)
        times: cython.p_longlong = longs(frames.ts_ns)
        for row in range(begin, end):
            hashed = keys[row] >> 1
            at = hashed & mask
            entry = entries[at]
            while entry and entry >> 32 != hashed:
                at = (at + 1) & mask
                entry = entries[at]
            entry = (entry & MASK32) - 1
            slots[row] = cython.cast(cython.int, entry)
            if cython.compiled and entry >= 0:
                fetch(hot + entry * HOT_ROW)
                fetch(full + entry * ROW + SIDES + FIRST_NS)  # what prediction writes of the full row
                fetch(full + entry * ROW + SIDES + SIDE + FIRST_NS)
            at = frame_column[row]
            seen[frames.first_packet + at & SEEN - 1] = (
                cython.cast(cython.longlong, identities[row]) << 32 | (times[at] >> 10 & MASK32)
            )
        return 0

    @cython.cfunc
    @cython.exceptval(check=False)
    def probable(self, hashed: cython.longlong) -> cython.longlong:
        """The slot of the first connection with these 31 bits of hash; -1 for none."""
        at: cython.longlong = hashed & self.mask
        entry: cython.longlong = self.entries[at]
        while entry and entry >> 32 != hashed:
            at = (at + 1) & self.mask
            entry = self.entries[at]
        return (entry & MASK32) - 1

    @cython.cfunc
    def find(self, rows: Rows, segments: Segments, it: cython.Py_ssize_t) -> cython.longlong:
        """2 * slot + direction of the open connection that segment `it` belongs to; -1 for none."""
        key: cython.longlong = segments.key[it] >> 1
        at: cython.longlong = key & self.mask
        entry: cython.longlong
        row: cython.longlong
        while True:
            entry = self.entries[at]
            if entry == 0:
                return -1
            if entry >> 32 == key:
                entry = (entry & MASK32) - 1
                row = rows.hot_origin + entry * HOT_ROW
                if rows.hot[row + ADDRESSES] == segments.ends[it] and rows.halves[2 * row + HOT_PORTS] == segments.end_ports[it]:
                    if not (rows.halves[2 * row + HOT_FLAGS] & HOT_IPV6 or segments.shape[it] & BEYOND_IPV4):
                        break
                    if self.same_ends(rows, entry, segments, it):
                        break
            at = (at + 1) & self.mask
        return entry << 1 | (segments.key[it] & 1 ^ (1 if rows.halves[2 * row + HOT_FLAGS] & SWAPPED else 0))

    @cython.cfunc
    def same_ends(self, rows: Rows, slot: cython.longlong, segments: Segments, it: cython.Py_ssize_t) -> cython.bint:
        """Whether the connection has these whole addresses; the hot row knows half of an IPv6 address."""
        conn: cython.longlong = rows.origin + slot * ROW
        swapped: cython.longlong = segments.key[it] & 1
        high: cython.longlong = (segments.source_high[it] ^ segments.destination_high[it]) & -swapped
        low: cython.longlong = (segments.source_low[it] ^ segments.destination_low[it]) & -swapped
        return (
            rows.state[conn + FIRST_LOW] == segments.source_low[it] ^ low
            and rows.state[conn + SECOND_LOW] == segments.destination_low[it] ^ low
            and rows.state[conn + FIRST_HIGH] == segments.source_high[it] ^ high
            and rows.state[conn + SECOND_HIGH] == segments.destination_high[it] ^ high
        )

    @cython.cfunc
    def insert(
        self, rows: Rows, slot: cython.longlong, segments: Segments, it: cython.Py_ssize_t, from_client: cython.bint
    ) -> cython.int:
        """Note the ends of a new connection in its rows, and where it is; `find` has failed for the segment, whose ends were told."""
        swapped: cython.bint = segments.key[it] & 1 != 0
        conn: cython.longlong = rows.origin + slot * ROW
        hot: cython.longlong = rows.hot_origin + slot * HOT_ROW
        hot_flags: cython.longlong = 0
        key: cython.longlong = segments.key[it] >> 1
        at: cython.longlong
        rows.state[conn + PORTS] = segments.end_ports[it]
        rows.state[conn + FIRST_LOW] = segments.destination_low[it] if swapped else segments.source_low[it]
        rows.state[conn + FIRST_HIGH] = segments.destination_high[it] if swapped else segments.source_high[it]
        rows.state[conn + SECOND_LOW] = segments.source_low[it] if swapped else segments.destination_low[it]
        rows.state[conn + SECOND_HIGH] = segments.source_high[it] if swapped else segments.destination_high[it]
        rows.state[conn + HASH] = key
        if swapped == from_client:
            rows.state[conn + STATE] |= CLIENT_SECOND
            hot_flags |= SWAPPED
        if segments.shape[it] & BEYOND_IPV4:
            hot_flags |= HOT_IPV6  # whatever is not ::ffff:a.b.c.d on both sides
        rows.hot[hot + ADDRESSES] = segments.ends[it]
        rows.halves[2 * hot + HOT_PORTS] = rows.state[conn + PORTS]
        rows.halves[2 * hot + HOT_FLAGS] = hot_flags
        self.used += 1
        if 2 * self.used > self.mask:
            self.grow()
        at = key & self.mask
        while self.entries[at]:
            at = (at + 1) & self.mask
        self.entries[at] = key << 32 | (slot + 1)
        return 0

    @cython.cfunc
    def remove(self, rows: Rows, slot: cython.longlong) -> cython.int:
        at: cython.longlong = rows.state[rows.origin + slot * ROW + HASH] & self.mask
        hole: cython.longlong
        home: cython.longlong
        while (self.entries[at] & MASK32) - 1 != slot:
            at = (at + 1) & self.mask
        # Linear probing without tombstones: later entries of the chain move up into the hole (Knuth 6.4, algorithm R).
        hole = at
        while True:
            at = (at + 1) & self.mask
            if self.entries[at] == 0:
                break
            home = self.entries[at] >> 32 & self.mask
            if (at - home) & self.mask >= (at - hole) & self.mask:
                self.entries[hole] = self.entries[at]
                hole = at
        self.entries[hole] = 0
        self.used -= 1
        return 0

    @cython.cfunc
    def grow(self) -> cython.int:
        size: cython.longlong = 2 * (self.mask + 1)
        old: cython.longlong[::1] = self.entries
        row: cython.longlong
        at: cython.longlong
        self.entries = array.array("q", bytes(8 * size))
        self.mask = size - 1
        for row in range(len(old)):
            if old[row]:
                at = old[row] >> 32 & self.mask
                while self.entries[at]:
                    at = (at + 1) & self.mask
                self.entries[at] = old[row]
        return 0
