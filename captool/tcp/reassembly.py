"""Payload of segments -> in-order stream pieces, for the connections whose content is wanted.

Where segments overlap, the bytes that could be handed on first are kept and later ones for the same offset are dropped; a
segment in order goes before one that waits above a hole. That is what Linux does (net/ipv4/tcp_input.c, tcp_data_queue).
What arrives above a hole waits, within a bound. A hole is given up, and reported in the next piece, when the receiver
acknowledged past it (so the capture missed it), when the bound is reached, or at the end. Holes are never filled with bytes.
Bytes sent again are compared with those first seen while these are at hand, that is in the same chunk; that they differ is said.

Compiled, and runs uncompiled as well. What grows into a piece is in run.py.
"""

import heapq

import cython

from captool.units import counted

if not cython.compiled:  # compiled, it comes from reassembly.pxd
    from captool.tcp.run import Run

# A segment that the capture shows after its own acknowledgement (several queues, -i any) comes within this time.
GRACE_NS = cython.declare(cython.longlong, 10_000_000)
CONNECTIONS_NAMED = 5
WAITING_OVERHEAD = cython.declare(cython.longlong, 200)  # what one waiting segment costs beside its bytes

UNUSED_KEPT = cython.declare(cython.Py_ssize_t, 4)  # of the runs that ended, with the room they have, for those that begin
NO_BYTES = bytearray()


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


NOBODY = cython.declare(Talk, Talk(-1))


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
        self.latest = NOBODY
        self.pieces = []
        self.unused = []
        self.data = NO_BYTES

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
        self.data = NO_BYTES

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
            self.latest = NOBODY

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
        self.latest = NOBODY

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
        if run is not None and run.direction == direction and run.differs(self.data, offset, captured, start):
            self.differing[talk.number] = self.differing.get(talk.number, 0) + 1
        return 0

    @cython.cfunc
    def emit(self, talk: Talk) -> cython.int:
        """Hand a run on, and put it aside for the next one."""
        run: Run = talk.run
        self.pieces.append(run.piece(talk.number, self.data))
        talk.run = None
        if len(self.unused) < UNUSED_KEPT:
            run.clear()
            self.unused.append(run)
        return 0
