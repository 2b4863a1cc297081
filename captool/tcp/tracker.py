"""TCP segments -> connections: who spoke, when it was quiet, what was probed, sent again, lost, and how it ended.

The stages of a segment's way: table.py finds its connection, prediction.py takes it in if it does as most do, else segment.py, by way of
sequence.py, idle.py and teardown.py. All state is in rows.py; a closed connection lingers for late packets, then
becomes a TcpConnection by closing.py and its state is freed.

These modules are compiled by Cython (pure-Python mode) and run unchanged without it, so arithmetic is masked explicitly. What each
takes from the other compiled ones stands in its .pxd file. An idle connection is never aged out.
"""

# ruff: noqa: F403, F405, FBT003, FURB136, PLR1730
# (layout.py is the vocabulary; the compiler makes plain comparisons of chained ones, Python calls of min, max and `in`)

from collections import deque
from typing import Self

import cython

from captool.tcp.connection import StreamPiece, TcpConnection
from captool.tcp.reassembly import Reassembly

if not cython.compiled:  # compiled, they come from tracker.pxd
    from captool.capture.frames import Frames
    from captool.capture.literals import SELECTIVE
    from captool.packets.segments import Segments
    from captool.tcp.closing import describe
    from captool.tcp.idle import stop_idling
    from captool.tcp.layout import *
    from captool.tcp.prediction import predicted
    from captool.tcp.rows import Rows
    from captool.tcp.segment import segment
    from captool.tcp.table import ConnectionTable
    from captool.tcp.teardown import ended_lingering, starts_anew

BATCH = cython.declare(cython.Py_ssize_t, 64)
# Connections that a SYN opened and nothing answered, newest first: so many are remembered. Linux's own backlog is 4096 for each socket.
MAX_ATTEMPTS = cython.declare(cython.Py_ssize_t, 32768)
NEITHER = cython.declare(tuple, (None, None))


@cython.cfunc
def taken(listed: dict, slot: cython.longlong) -> tuple:
    """What is listed for the two sides of a connection, taken out; None for a side without anything."""
    return (listed.pop(2 * slot, None), listed.pop(2 * slot + 1, None)) if listed else NEITHER


@cython.final
@cython.cclass
class Tracker:
    """Follows all connections of a capture; see the module for what it knows of them.

    `service_ports` tell the server where no SYN was captured. With `only_ports`, connections to other server ports are
    passed over. `gap_ns` is the shortest gap to keep, `keepalive_window_ns` the idle time from which a missing probe is a fact.
    `max_buffer` bounds the bytes that wait for a hole to fill, for one direction; all together may hold 16 times as much.
    Without `streams` no stream pieces are made. One of `shards` that share a capture takes that part of the bounds on all connections
    together. `forgotten_attempts` counts connections that were never opened beyond the SYN, and
    given up because more than 32,768 later ones were tried: a flood takes no memory.
    """

    duplicate_packets = cython.declare(cython.longlong, visibility="readonly")
    connections = cython.declare(cython.longlong, visibility="readonly")
    forgotten_attempts = cython.declare(cython.longlong, visibility="readonly")
    rows: Rows
    table: ConnectionTable
    keepalive_window_ns: cython.longlong
    filtered: cython.bint
    streams: cython.bint
    service: cython.uchar[::1]
    only: cython.uchar[::1]
    by_id: dict
    now: cython.longlong
    closed: list
    finished: cython.longlong
    attempts: object
    max_attempts: cython.Py_ssize_t
    shards: cython.Py_ssize_t

    def __init__(
        self,
        service_ports: tuple[int, ...] = (2375, 2376),
        only_ports: tuple[int, ...] = (),
        gap_ns: int = 2_000_000_000,
        keepalive_window_ns: int = 60_000_000_000,
        max_buffer: int = 4 << 20,
        *,
        streams: bool = True,
        shards: int = 1,
    ) -> None:
        port: cython.Py_ssize_t
        self.rows = Rows(gap_ns, Reassembly(max_buffer, shards), shards)
        self.shards = shards
        self.max_attempts = MAX_ATTEMPTS // shards
        self.table = ConnectionTable()
        self.streams = streams
        self.keepalive_window_ns = keepalive_window_ns
        self.service = bytearray(65536)
        for port in service_ports:
            self.service[port] = 1
        self.only = bytearray(65536)
        for port in only_ports:
            self.only[port] = 1
        self.filtered = len(only_ports) > 0
        self.by_id = {}
        self.duplicate_packets = 0
        self.connections = 0
        self.forgotten_attempts = 0
        self.finished = 0
        self.attempts = deque()
        self.now = 0
        self.closed = []

    def again(self) -> Self:
        """A tracker that knows nothing yet and numbers the connections of the same capture as this one did."""
        service = tuple([port for port in range(65536) if self.service[port]])
        only = tuple([port for port in range(65536) if self.only[port]])
        return Tracker(service, only, streams=self.streams, shards=self.shards)

    def notes(self) -> list[str]:
        """Sentences about limits that were reached."""
        notes: list = self.rows.assembly.notes()
        if self.forgotten_attempts:
            notes.append(
                f"{self.forgotten_attempts} connections were tried with a SYN and never opened; of so many only the last "
                f"{MAX_ATTEMPTS} are kept at a time, these are counted but not listed"
            )
        return notes

    @property
    def limited(self) -> bool:
        """Whether a bound on all connections together was reached, so that what is known of one may depend on others."""
        return self.forgotten_attempts > 0 or len(self.rows.assembly.notes()) > 0 or self.rows.limited

    def add(self, frames: Frames, segments: Segments) -> None:
        """Take in one chunk; its stream pieces and closed connections can be taken afterwards."""
        rows: Rows = self.rows
        table: ConnectionTable = self.table
        row: cython.Py_ssize_t = 0
        ahead: cython.Py_ssize_t = 0
        count: cython.Py_ssize_t = segments.count
        slot: cython.longlong
        rows.assembly.begin_chunk(frames.buffer)
        while row < count:
            if row == ahead:
                ahead = row + BATCH if row + BATCH < count else count
                table.look_ahead(rows, frames, segments, row, ahead)
            row = predicted(rows, table, frames, segments, row, ahead)
            if row < ahead:
                self.take_in(frames, segments, row)
                row += 1
        if segments.latest_ns > self.now:
            self.now = segments.latest_ns
        self.duplicate_packets = rows.duplicate_packets
        rows.assembly.end_chunk()
        slot = ended_lingering(rows, self.now)
        while slot >= 0:
            self.close(slot, True)
            slot = ended_lingering(rows, self.now)

    @cython.cfunc
    def take_in(self, frames: Frames, segments: Segments, row: cython.Py_ssize_t) -> cython.int:
        """Take in a segment that was not predicted."""
        rows: Rows = self.rows
        ts: cython.longlong = frames.ts_ns[segments.frame[row]]
        ports: cython.longlong = segments.end_ports[row]
        place: cython.longlong
        last: cython.longlong
        if self.filtered and not self.only[ports >> 16] and not self.only[ports & 0xFFFF]:
            return 0
        place = self.table.find(rows, segments, row)
        if place >= 0 and segments.flags[row] & SYN and starts_anew(rows, place, segments.seq[row], segments.flags[row]):
            rows.unpack(place >> 1)
            last = rows.last_ns(rows.origin + (place >> 1) * ROW)
            stop_idling(rows, rows.origin + (place >> 1) * ROW, ts, last, "syn", frames.first_packet + segments.frame[row], -1)
            rows.pack(place >> 1)
            self.close(place >> 1, True)
            place = -1
        if place < 0:
            place = self.open(segments, row, ts, frames.first_packet + segments.frame[row])
        rows.unpack(place >> 1)
        segment(
            rows,
            place,
            ts,
            frames.first_packet + segments.frame[row],
            segments.seq[row],
            segments.ack[row],
            segments.flags[row],
            segments.window[row],
            segments.mark[row],
            segments.identity[row],
            segments.hops[row],
            segments.payload_length[row],
            segments.payload_captured[row],
            segments.payload_offset[row],
            segments.shape[row] & SELECTIVE != 0,
        )
        rows.pack(place >> 1)
        return 0

    @cython.cfunc
    def open(
        self, segments: Segments, row: cython.Py_ssize_t, ts: cython.longlong, packet: cython.longlong
    ) -> cython.longlong:
        """Make room for a new connection, `find` having failed; returns 2 * slot + direction of its first segment."""
        rows: Rows = self.rows
        slot: cython.longlong
        conn: cython.longlong
        bits: cython.longlong = WANTED if self.streams else 0
        from_client: cython.bint
        flags: cython.longlong = segments.flags[row]
        source_port: cython.longlong
        destination_port: cython.longlong
        segments.tell_ends(row)
        source_port = segments.ports[row] >> 16
        destination_port = segments.ports[row] & 0xFFFF
        if flags & SYN:
            from_client = not flags & ACK
        else:
            bits |= GUESSED
            if self.service[source_port] != self.service[destination_port]:
                from_client = self.service[destination_port] != 0
            else:
                from_client = source_port >= destination_port
            if not from_client:
                bits |= SERVER_FIRST
        slot = rows.take_slot()
        conn = rows.origin + slot * ROW
        rows.state[conn + START_NS] = ts
        rows.state[conn + START_PACKET] = packet
        if self.filtered and not self.only[destination_port if from_client else source_port]:
            rows.state[conn + ID] = -1
            bits &= ~WANTED
        else:
            rows.state[conn + ID] = self.connections
            self.by_id[self.connections] = slot
            self.connections += 1
        rows.state[conn + STATE] = bits
        if flags & SYN:
            self.attempts.append((slot, rows.state[conn + ID], ts))
            if len(self.attempts) > self.max_attempts:
                self.forget_attempt()
        self.table.insert(rows, slot, segments, row, from_client)
        return slot << 1 | (0 if from_client else 1)

    @cython.cfunc
    def forget_attempt(self) -> cython.int:
        """Give the oldest connection that a SYN opened up, unless it became one or is another by now."""
        rows: Rows = self.rows
        slot: cython.longlong
        number: cython.longlong
        begin: cython.longlong
        conn: cython.longlong
        told: cython.bint
        slot, number, begin = self.attempts.popleft()
        conn = rows.origin + slot * ROW
        if rows.state[conn + ID] != number or rows.state[conn + START_NS] != begin or rows.state[conn + STATE] & (OPENED | LINGERING):
            return 0
        # Bytes in a SYN (RFC 7413) may have been handed on as a piece already.
        told = (rows.state[conn + SIDES + BITS] | rows.state[conn + SIDES + SIDE + BITS]) & DATA_SEEN != 0
        if number >= 0 and not told:
            self.forgotten_attempts += 1
        self.close(slot, told)
        return 0

    @cython.cfunc
    def close(self, slot: cython.longlong, told: cython.bint) -> cython.int:
        """Turn the connection into its summary, if it is to be told, and free its state."""
        rows: Rows = self.rows
        conn: cython.longlong = rows.origin + slot * ROW
        last: cython.longlong
        rows.unpack(slot)
        last = rows.last_ns(conn)
        if rows.state[conn + IDLE_SINCE] >= 0:
            stop_idling(rows, conn, self.now if self.now > last else last, last, "end-of-capture", 0, -1)
        # Taken out in any case: the slot is used again.
        gaps = rows.gaps.pop(slot, None) if rows.gaps else None
        seen_reset = rows.resets.pop(slot, None) if rows.resets else None
        probing = taken(rows.probing, slot)
        shut = taken(rows.shut_windows, slot)
        holes = taken(rows.holes, slot)
        outages = taken(rows.outages, slot)
        repeats = taken(rows.repeats, slot)
        syns = taken(rows.syns, slot)
        overtaken = taken(rows.overtaken, slot)
        if rows.state[conn + ID] >= 0:
            if rows.state[conn + STATE] & WANTED:
                rows.assembly.finish(rows.state[conn + ID])
            if told:
                window_ns = self.keepalive_window_ns
                self.closed.append(
                    describe(rows.state, conn, gaps, probing, shut, seen_reset, holes, window_ns, outages, repeats, syns, overtaken)
                )
            del self.by_id[rows.state[conn + ID]]
        self.table.remove(rows, slot)
        rows.free_slot(slot)
        return 0

    def take_pieces(self) -> list[StreamPiece]:
        """The stream pieces since the last call, in the order of the capture within each connection."""
        return self.rows.assembly.take()

    def take_closed(self) -> list[TcpConnection]:
        """The connections that closed since the last call and for which no late packet is awaited any more."""
        taken, self.closed = self.closed, []
        return taken

    def stop_stream(self, connection: int) -> None:
        """No more pieces of this connection, in either direction; what waits is dropped."""
        slot: cython.longlong = self.by_id.get(connection, -1)
        if slot >= 0:
            self.rows.unpack(slot)
            self.rows.state[self.rows.origin + slot * ROW + STATE] &= ~WANTED
            self.rows.pack(slot)
        self.rows.assembly.stop(connection)

    def acknowledged(self, connection: int, direction: int) -> int:
        """Stream offset up to which the receiver of `direction` acknowledged; KeyError once the connection was closed."""
        slot: cython.longlong = self.by_id[connection]
        side: cython.longlong = self.rows.origin + slot * ROW + SIDES + SIDE * cython.cast(cython.longlong, direction)
        offset: cython.longlong
        self.rows.unpack(slot)
        offset = self.rows.state[side + ACKED]
        if self.rows.state[side + BITS] & FINISHED and offset > self.rows.state[side + FIN_OFFSET]:
            offset = self.rows.state[side + FIN_OFFSET]
        return offset if offset > 0 else 0

    def active_since(self, packet: int) -> list[int]:
        """Numbers of the connections, opened beyond their first SYN and not taken as closed yet, that had a packet after this one."""
        rows: Rows = self.rows
        slot: cython.longlong
        conn: cython.longlong
        after: cython.longlong = packet
        found: list = []
        for slot in range(rows.slots):
            conn = rows.origin + slot * ROW
            if rows.state[conn + ID] >= 0 and rows.state[conn + STATE] & (OPENED | LINGERING):
                rows.unpack(slot)
                if rows.state[conn + SIDES + LAST_PACKET] > after or rows.state[conn + SIDES + SIDE + LAST_PACKET] > after:
                    found.append(rows.state[conn + ID])
        return found

    def as_of(self, connection: int, now_ns: int) -> TcpConnection | None:
        """The summary that the connection would have if the capture ended at `now_ns`; it goes on. None once it was closed."""
        rows: Rows = self.rows
        slot: cython.longlong = self.by_id.get(connection, -1)
        now: cython.longlong = now_ns
        conn: cython.longlong
        last: cython.longlong
        at: cython.longlong
        before: list = []
        if slot < 0:
            return None
        rows.unpack(slot)
        conn = rows.origin + slot * ROW
        for at in range(conn, conn + ROW):
            before.append(rows.state[at])  # noqa: PERF401 - a comprehension has untyped names of its own
        gaps_before = list(rows.gaps.get(slot, ()))
        last = rows.last_ns(conn)
        if rows.state[conn + IDLE_SINCE] >= 0:
            stop_idling(rows, conn, now if now > last else last, last, "end-of-capture", 0, -1)
        gaps = rows.gaps.pop(slot, None)
        probing = (rows.probing.get(2 * slot), rows.probing.get(2 * slot + 1))
        from copy import copy  # only where a connection is told of that goes on

        shut = (copy(rows.shut_windows.get(2 * slot)), copy(rows.shut_windows.get(2 * slot + 1)))  # describing ends them
        holes = (rows.holes.get(2 * slot), rows.holes.get(2 * slot + 1))
        outages = (rows.outages.get(2 * slot), rows.outages.get(2 * slot + 1))
        repeats = (rows.repeats.get(2 * slot), rows.repeats.get(2 * slot + 1))
        syns = (rows.syns.get(2 * slot), rows.syns.get(2 * slot + 1))
        overtaken = (rows.overtaken.get(2 * slot), rows.overtaken.get(2 * slot + 1))
        seen_reset, window_ns = rows.resets.get(slot), self.keepalive_window_ns
        described = describe(rows.state, conn, gaps, probing, shut, seen_reset, holes, window_ns, outages, repeats, syns, overtaken)
        # All as it was.
        if gaps_before:
            rows.gaps[slot] = gaps_before
        for at in range(ROW):
            rows.state[conn + at] = before[at]
        rows.pack(slot)
        return described  # type: ignore[no-any-return]

    def watched_until(self, now_ns: int) -> None:
        """Nothing more came until then: before `finish`, the idle times of open connections last until this time."""
        if now_ns > self.now:
            self.now = now_ns

    def finish(self, most: int = 1 << 62) -> bool:
        """The capture is over: holes will not fill, every connection ends. Take the last pieces and connections after it.

        At most `most` connections end in one call; false says that there are more.
        """
        slot: cython.longlong
        left: cython.longlong = most
        for slot in range(self.finished, self.rows.slots):
            if left == 0:
                break
            self.finished += 1
            if self.rows.state[self.rows.origin + slot * ROW + ID] >= -1:
                self.close(slot, True)
                left -= 1
        self.closed.sort(key=lambda connection: connection.id)
        self.rows.linger.clear()
        return self.finished == self.rows.slots
