"""Payload of segments -> in-order stream pieces, for the connections whose content is wanted.

Where segments overlap, the bytes that could be handed on first are kept and later ones for the same offset are dropped; a
segment in order goes before one that waits above a hole. That is what Linux does (net/ipv4/tcp_input.c, tcp_data_queue).
What arrives above a hole waits, within a bound. A hole is given up, and reported in the next piece, when the receiver
acknowledged past it (so the capture missed it), when the bound is reached, or at the end. Holes are never filled with bytes.
Bytes sent again are compared with those first seen while these are at hand, that is in the same chunk; that they differ is said.

Compiled, and runs uncompiled as well. A segment leaves four numbers and no object; its bytes are copied once, when its run ends.
"""

# ruff: noqa: F821, FURB136 - memcpy and the making of bytes come from reassembly.pxd; min and max would be Python calls

import array
import heapq

import cython

from captool.tcp.connection import StreamPiece
from captool.units import counted

# A segment that the capture shows after its own acknowledgement (several queues, -i any) comes within this time.
GRACE_NS = cython.declare(cython.longlong, 10_000_000)
CONNECTIONS_NAMED = 5
WAITING_OVERHEAD = cython.declare(cython.longlong, 200)  # what one waiting segment costs beside its bytes

# One row for each segment of a run: the stream offset of the first byte that it brought, its packet and time, and where its bytes are: in
# the chunk's buffer, or, below 0, in the list of those that had waited.
BEGIN = cython.declare(cython.Py_ssize_t, 0)
PACKET = cython.declare(cython.Py_ssize_t, 1)
TIME = cython.declare(cython.Py_ssize_t, 2)
PLACE = cython.declare(cython.Py_ssize_t, 3)
FIELDS = cython.declare(cython.Py_ssize_t, 4)
FEW = cython.declare(cython.Py_ssize_t, 8)
UNUSED_KEPT = cython.declare(cython.Py_ssize_t, 4)  # of the runs that ended, with the room they have, for those that begin
NOTHING = bytearray()


@cython.final
@cython.cclass
class Stream:
    """One direction: `delivered` is the offset of the next byte to hand on, `waiting` a heap of later segments."""

    def __init__(self) -> None:
        self.from_start = False
        self.delivered = 0
        self.missing = 0
        self.cut = False
        self.waiting = []  # (offset, packet, time, bytes, length)
        self.waiting_bytes = 0
        self.hole_acked_ns = -1


@cython.final
@cython.cclass
class Run:
    """A piece that is still growing: `count` rows of segments with `size` bytes, and those bytes that had `waited`."""

    def __init__(self) -> None:
        self.room = FEW
        self.rows = array.array("q", bytes(8 * FIELDS * FEW))
        self.waited = []
        self.count = 0
        self.size = 0

    @cython.cfunc
    def add(self, begin: cython.longlong, packet: cython.longlong, ts_ns: cython.longlong, place: cython.longlong) -> cython.int:
        """Note one more segment."""
        at: cython.Py_ssize_t = self.count * FIELDS
        if self.count == self.room:
            rows: cython.longlong[::1] = array.array("q", bytes(16 * at))
            rows[:at] = self.rows
            self.rows = rows
            self.room = 2 * self.room
        self.rows[at + BEGIN] = begin
        self.rows[at + PACKET] = packet
        self.rows[at + TIME] = ts_ns
        self.rows[at + PLACE] = place
        self.count += 1
        return 0


@cython.final
@cython.cclass
class Talk:
    """One connection: its two directions, and the run that is growing, None where none is."""

    def __init__(self, number: cython.longlong) -> None:
        self.number = number
        self.to_server = Stream()
        self.to_client = Stream()
        self.run = None

    @cython.cfunc
    def stream(self, direction: cython.longlong) -> Stream:
        """The stream of a direction."""
        return self.to_client if direction else self.to_server


@cython.final
@cython.cclass
class Reassembly:
    """The streams of all wanted connections, and the pieces that are ready."""

    def __init__(self, max_buffer: int, shards: int = 1) -> None:
        self.max_buffer = max_buffer
        self.max_buffer_in_all = 16 * max_buffer // shards
        self.waiting_in_all = 0
        self.given_up = 0
        self.differing = {}  # packets that sent other bytes again, by connection
        self.talks = {}
        self.running = {}  # the connections with a run, in the order in which they spoke in this chunk
        self.latest = Talk(-1)
        self.pieces = []
        self.unused = []
        self.data = NOTHING

    def notes(self) -> list:
        """Sentences if the bound was reached, and if bytes sent again were not the same."""
        notes: list = []
        if self.given_up:
            notes.append(f"{self.given_up} holes in TCP streams were given up because too much data waited behind them")
        if self.differing:
            named = ", ".join(map(str, list(self.differing)[:CONNECTIONS_NAMED]))
            more = f" and {len(self.differing) - CONNECTIONS_NAMED} more" if len(self.differing) > CONNECTIONS_NAMED else ""
            notes.append(
                f"{counted(sum(self.differing.values()), 'packet')} sent bytes again that differ from those first seen "
                f"(connections {named}{more}); the first ones were kept, as Linux does"
            )
        return notes

    def begin_chunk(self, buffer: bytearray) -> None:
        """Payload places refer to `buffer` until `end_chunk`."""
        self.data = buffer

    def end_chunk(self) -> None:
        """Hand on all runs: their bytes are copied out of the buffer."""
        for talk in self.running.values():
            self.emit(talk)
        self.running.clear()
        self.data = NOTHING

    def take(self) -> list:
        """The pieces that are ready."""
        taken: list = self.pieces
        self.pieces = []
        return taken

    @cython.cfunc
    def find(self, connection: cython.longlong) -> Talk:
        """The streams of a connection, None where it has said nothing yet."""
        talk: Talk = self.latest
        if talk.number != connection:
            talk = self.talks.get(connection)
            if talk is not None:
                self.latest = talk
        return talk

    @cython.cfunc
    def segment(
        self,
        connection: cython.longlong,
        direction: cython.longlong,
        offset: cython.longlong,
        length: cython.longlong,
        captured: cython.longlong,
        start: cython.longlong,
        packet: cython.longlong,
        ts_ns: cython.longlong,
        from_start: cython.bint,
        acked: cython.longlong,
    ) -> cython.int:
        """Take in payload: `captured` of `length` bytes are at `start` in the chunk's buffer."""
        talk: Talk = self.find(connection)
        stream: Stream
        if talk is None:
            talk = Talk(connection)
            self.talks[connection] = talk
            self.latest = talk
        stream = talk.stream(direction)
        stream.from_start = from_start
        if start < 0 or captured < 0 or start + captured > len(self.data):
            raise IndexError("payload outside of the chunk")
        if offset <= stream.delivered:
            if offset < stream.delivered:
                self.compare(talk, direction, offset, captured, start)
            self.deliver(talk, direction, stream, offset, length, captured, start, None, packet, ts_ns)
            if stream.waiting:
                self.deliver_waiting(talk, direction, stream)
            return 0
        heapq.heappush(stream.waiting, (offset, packet, ts_ns, bytes(self.data[start : start + captured]), length))
        stream.waiting_bytes += captured + WAITING_OVERHEAD
        self.waiting_in_all += captured + WAITING_OVERHEAD
        if stream.waiting_bytes > self.max_buffer or self.waiting_in_all > self.max_buffer_in_all:
            self.given_up += 1
            self.give_up(talk, direction, stream)
        else:
            self.judge_hole(talk, direction, stream, acked, ts_ns)
        return 0

    @cython.cfunc
    def acknowledged(
        self, connection: cython.longlong, direction: cython.longlong, acked: cython.longlong, ts_ns: cython.longlong
    ) -> cython.int:
        """The receiver of `direction` acknowledged up to `acked`, or said so again."""
        talk: Talk = self.find(connection)
        if talk is not None and talk.stream(direction).waiting:
            self.judge_hole(talk, direction, talk.stream(direction), acked, ts_ns)
        return 0

    def stop(self, connection: int) -> None:
        """Forget the streams of a connection."""
        talk: Talk = self.talks.pop(connection, None)
        self.running.pop(connection, None)
        if talk is not None:
            self.waiting_in_all -= talk.to_server.waiting_bytes + talk.to_client.waiting_bytes
            self.latest = Talk(-1)

    def finish(self, connection: int) -> None:
        """The connection is over: hand on what waits, with the holes before it."""
        talk: Talk = self.talks.pop(connection, None)
        direction: cython.longlong
        if talk is None:
            return
        for direction in range(2):
            while talk.stream(direction).waiting:
                self.give_up(talk, direction, talk.stream(direction))
        if talk.run is not None:
            self.emit(talk)
        self.running.pop(connection, None)
        self.latest = Talk(-1)

    @cython.cfunc
    def judge_hole(
        self, talk: Talk, direction: cython.longlong, stream: Stream, acked: cython.longlong, ts_ns: cython.longlong
    ) -> cython.int:
        """Give the first hole up if it was acknowledged a while ago."""
        if acked < stream.waiting[0][0]:
            stream.hole_acked_ns = -1
        elif stream.hole_acked_ns < 0:
            stream.hole_acked_ns = ts_ns
        elif ts_ns - stream.hole_acked_ns >= GRACE_NS:
            self.give_up(talk, direction, stream)
        return 0

    @cython.cfunc
    def give_up(self, talk: Talk, direction: cython.longlong, stream: Stream) -> cython.int:
        """Declare the first hole missing and deliver what follows it."""
        begins: cython.longlong = stream.waiting[0][0]
        stream.missing += begins - stream.delivered
        stream.delivered = begins
        self.deliver_waiting(talk, direction, stream)
        return 0

    @cython.cfunc
    def deliver_waiting(self, talk: Talk, direction: cython.longlong, stream: Stream) -> cython.int:
        """Hand on what waited and does so no longer."""
        while stream.waiting and stream.waiting[0][0] <= stream.delivered:
            offset, packet, ts_ns, payload, length = heapq.heappop(stream.waiting)
            stream.waiting_bytes -= len(payload) + WAITING_OVERHEAD
            self.waiting_in_all -= len(payload) + WAITING_OVERHEAD
            self.deliver(talk, direction, stream, offset, length, len(payload), 0, payload, packet, ts_ns)
        stream.hole_acked_ns = -1
        return 0

    @cython.cfunc
    def deliver(
        self,
        talk: Talk,
        direction: cython.longlong,
        stream: Stream,
        offset: cython.longlong,
        length: cython.longlong,
        captured: cython.longlong,
        start: cython.longlong,
        waited: bytes | None,
        packet: cython.longlong,
        ts_ns: cython.longlong,
    ) -> cython.int:
        """Hand on what is new of a segment that begins at or below `stream.delivered`: `waited`, or bytes of the chunk's buffer."""
        end: cython.longlong = offset + length
        known: cython.longlong = stream.delivered - offset
        run: Run = talk.run
        if end <= stream.delivered:
            return 0
        if captured > known:
            if run is None or run.direction != direction or stream.missing:
                if run is not None:
                    self.emit(talk)
                run = self.unused.pop() if self.unused else Run()
                run.direction = direction
                run.offset = stream.delivered
                run.missing = stream.missing
                run.cut = stream.cut
                run.from_start = stream.from_start
                talk.run = run
                self.running[talk.number] = talk
                stream.missing = 0
                stream.cut = False
            if waited is not None:
                run.waited.append(waited[known:])
                run.add(stream.delivered, packet, ts_ns, -len(run.waited))
            else:
                run.add(stream.delivered, packet, ts_ns, start + known)
            run.size += captured - known
            stream.delivered += captured - known
        if stream.delivered < end:  # the snap length cut the rest
            stream.missing += end - stream.delivered
            stream.cut = True
            stream.delivered = end
        return 0

    @cython.cfunc
    def compare(
        self, talk: Talk, direction: cython.longlong, offset: cython.longlong, captured: cython.longlong, start: cython.longlong
    ) -> cython.int:
        """Note it if bytes of a segment, which begins at `offset`, are others than those handed on already."""
        run: Run = talk.run
        low: cython.Py_ssize_t = 0
        high: cython.Py_ssize_t
        at: cython.Py_ssize_t
        first: cython.longlong
        last: cython.longlong
        begin: cython.longlong
        until: cython.longlong
        if run is None or run.direction != direction:
            return 0
        high = run.count
        while high - low > 1:  # the last row that begins at or below the offset, or the first one
            at = (low + high) // 2
            if run.rows[at * FIELDS + BEGIN] <= offset:
                low = at
            else:
                high = at
        for at in range(low, run.count):
            begin = run.rows[at * FIELDS + BEGIN]
            if begin >= offset + captured:
                break
            until = run.rows[(at + 1) * FIELDS + BEGIN] if at + 1 < run.count else run.offset + run.size
            first = begin if begin > offset else offset
            last = until if until < offset + captured else offset + captured
            if first < last:
                again = bytes(self.data[start + first - offset : start + last - offset])
                place: cython.longlong = run.rows[at * FIELDS + PLACE]
                if place < 0:
                    before = run.waited[-1 - place][first - begin : last - begin]
                else:
                    before = bytes(self.data[place + first - begin : place + last - begin])
                if again != before:
                    self.differing[talk.number] = self.differing.get(talk.number, 0) + 1
                    return 0
        return 0

    @cython.cfunc
    def emit(self, talk: Talk) -> cython.int:
        """Hand a run on, and put it aside for the next one."""
        run: Run = talk.run
        at: cython.Py_ssize_t
        count: cython.Py_ssize_t = run.count
        offsets = array.array("q", bytes(8 * count))
        packets = array.array("q", bytes(8 * count))
        times_ns = array.array("q", bytes(8 * count))
        offset_column: cython.longlong[::1] = offsets
        packet_column: cython.longlong[::1] = packets
        time_column: cython.longlong[::1] = times_ns
        for at in range(count):
            offset_column[at] = run.rows[at * FIELDS + BEGIN]
            packet_column[at] = run.rows[at * FIELDS + PACKET]
            time_column[at] = run.rows[at * FIELDS + TIME]
        self.pieces.append(
            StreamPiece(
                talk.number, run.direction, run.offset, self.gather(run), run.missing, run.cut, run.from_start, offsets, packets, times_ns
            )
        )
        talk.run = None
        if len(self.unused) < UNUSED_KEPT:
            run.count = 0
            run.size = 0
            run.waited.clear()
            self.unused.append(run)
        return 0

    @cython.cfunc
    def gather(self, run: Run) -> bytes:
        """The bytes of a run as one."""
        at: cython.Py_ssize_t
        place: cython.longlong
        length: cython.longlong
        filled: cython.longlong = 0
        waited: bytes
        if cython.compiled:
            data: bytes = PyBytes_FromStringAndSize(cython.NULL, run.size)
            target: cython.p_char = PyBytes_AS_STRING(data)
        else:
            parts = []
        for at in range(run.count):
            place = run.rows[at * FIELDS + PLACE]
            length = (run.rows[(at + 1) * FIELDS + BEGIN] if at + 1 < run.count else run.offset + run.size) - run.rows[at * FIELDS + BEGIN]
            if not cython.compiled:
                parts.append(run.waited[-1 - place] if place < 0 else self.data[place : place + length])
            elif length < 0 or filled + length > run.size:
                raise IndexError("more bytes than a run has")
            elif place < 0:
                waited = run.waited[-1 - place]
                if length > len(waited):
                    raise IndexError("more bytes than had waited")
                memcpy(target + filled, PyBytes_AS_STRING(waited), length)
            else:
                if length > len(self.data) - place:
                    raise IndexError("bytes outside of the chunk")
                memcpy(target + filled, cython.address(self.data[place]), length)
            filled += length
        if filled != run.size:  # the rest would be whatever was in memory
            raise IndexError("fewer bytes than a run has")
        return data if cython.compiled else b"".join(parts)
