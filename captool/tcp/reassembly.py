"""Payload of segments -> in-order stream pieces, for the connections whose content is wanted.

Where segments overlap, the bytes that could be handed on first are kept and later ones for the same offset are dropped; a
segment in order goes before one that waits above a hole. That is what Linux does (net/ipv4/tcp_input.c, tcp_data_queue).
What arrives above a hole waits, within a bound. A hole is given up, and reported in the next piece, when the receiver
acknowledged past it (so the capture missed it), when the bound is reached, or at the end. Holes are never filled with bytes.
Bytes sent again are compared with those first seen while these are at hand, that is in the same chunk; that they differ is said.
"""

# ruff: noqa: FBT001 - called for each segment, by position

import heapq
from bisect import bisect_right

from captool.tcp.connection import StreamPiece
from captool.units import counted

# A segment that the capture shows after its own acknowledgement (several queues, -i any) comes within this time.
GRACE_NS = 10_000_000
CONNECTIONS_NAMED = 5
WAITING_OVERHEAD = 200  # what one waiting segment costs beside its bytes


class Stream:
    """One direction: `delivered` is the offset of the next byte to hand on, `waiting` a heap of later segments."""

    __slots__ = ("cut", "delivered", "from_start", "hole_acked_ns", "missing", "waiting", "waiting_bytes")

    def __init__(self) -> None:
        self.from_start = False
        self.delivered = 0
        self.missing = 0
        self.cut = False
        self.waiting: list[tuple[int, int, int, bytes, int]] = []
        self.waiting_bytes = 0
        self.hole_acked_ns = -1


class Run:
    """A piece that is still growing: places in the chunk's buffer, or bytes that had waited."""

    __slots__ = ("begins", "cut", "direction", "from_start", "mark_offsets", "mark_packets", "mark_times_ns", "missing", "offset", "parts")

    def __init__(self, direction: int, offset: int, missing: int, cut: bool, from_start: bool) -> None:
        self.direction = direction
        self.offset = offset
        self.missing = missing
        self.cut = cut
        self.from_start = from_start
        self.parts: list[memoryview | bytes] = []
        self.begins: list[int] = []  # the stream offset of each part
        self.mark_offsets: list[int] = []
        self.mark_packets: list[int] = []
        self.mark_times_ns: list[int] = []


class Reassembly:
    """The streams of all wanted connections, and the pieces that are ready."""

    def __init__(self, max_buffer: int, shards: int = 1) -> None:
        self.max_buffer = max_buffer
        self.max_buffer_in_all = 16 * max_buffer // shards
        self.waiting_in_all = 0
        self.given_up = 0
        self.differing: dict[int, int] = {}  # packets that sent other bytes again, by connection
        self._streams: dict[int, tuple[Stream, Stream]] = {}
        self._runs: dict[int, Run] = {}
        self._pieces: list[StreamPiece] = []
        self._view = memoryview(b"")

    def notes(self) -> list[str]:
        """Sentences if the bound was reached, and if bytes sent again were not the same."""
        notes = []
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
        self._view = memoryview(buffer)

    def end_chunk(self) -> None:
        """Hand on all runs: their bytes are copied out of the buffer."""
        for connection, run in self._runs.items():
            self._emit(connection, run)
        self._runs.clear()
        self._view.release()
        self._view = memoryview(b"")

    def take(self) -> list[StreamPiece]:
        """The pieces that are ready."""
        taken, self._pieces = self._pieces, []
        return taken

    def segment(
        self,
        connection: int,
        direction: int,
        offset: int,
        length: int,
        captured: int,
        start: int,
        packet: int,
        ts_ns: int,
        from_start: bool,
        acked: int,
    ) -> None:
        """Take in payload: `captured` of `length` bytes are at `start` in the chunk's buffer."""
        streams = self._streams.get(connection)
        if streams is None:
            streams = self._streams[connection] = (Stream(), Stream())
        stream = streams[direction]
        stream.from_start = from_start
        payload = self._view[start : start + captured]
        if offset <= stream.delivered:
            if offset < stream.delivered:
                self._compare(connection, direction, offset, payload)
            self._deliver(connection, direction, stream, offset, length, payload, packet, ts_ns)
            if stream.waiting:
                self._deliver_waiting(connection, direction, stream)
            return
        heapq.heappush(stream.waiting, (offset, packet, ts_ns, bytes(payload), length))
        stream.waiting_bytes += captured + WAITING_OVERHEAD
        self.waiting_in_all += captured + WAITING_OVERHEAD
        if stream.waiting_bytes > self.max_buffer or self.waiting_in_all > self.max_buffer_in_all:
            self.given_up += 1
            self._give_up(connection, direction, stream)
        else:
            self._acknowledged(connection, direction, stream, acked, ts_ns)

    def acknowledged(self, connection: int, direction: int, acked: int, ts_ns: int) -> None:
        """The receiver of `direction` acknowledged up to `acked`, or said so again."""
        streams = self._streams.get(connection)
        if streams is not None and streams[direction].waiting:
            self._acknowledged(connection, direction, streams[direction], acked, ts_ns)

    def stop(self, connection: int) -> None:
        """Forget the streams of a connection."""
        self._runs.pop(connection, None)
        for stream in self._streams.pop(connection, ()):
            self.waiting_in_all -= stream.waiting_bytes

    def finish(self, connection: int) -> None:
        """The connection is over: hand on what waits, with the holes before it."""
        streams = self._streams.get(connection)
        if streams is None:
            return
        for direction, stream in enumerate(streams):
            while stream.waiting:
                self._give_up(connection, direction, stream)
        run = self._runs.pop(connection, None)
        if run is not None:
            self._emit(connection, run)
        del self._streams[connection]

    def _acknowledged(self, connection: int, direction: int, stream: Stream, acked: int, ts_ns: int) -> None:
        if acked < stream.waiting[0][0]:
            stream.hole_acked_ns = -1
        elif stream.hole_acked_ns < 0:
            stream.hole_acked_ns = ts_ns
        elif ts_ns - stream.hole_acked_ns >= GRACE_NS:
            self._give_up(connection, direction, stream)

    def _give_up(self, connection: int, direction: int, stream: Stream) -> None:
        """Declare the first hole missing and deliver what follows it."""
        stream.missing += stream.waiting[0][0] - stream.delivered
        stream.delivered = stream.waiting[0][0]
        self._deliver_waiting(connection, direction, stream)

    def _deliver_waiting(self, connection: int, direction: int, stream: Stream) -> None:
        while stream.waiting and stream.waiting[0][0] <= stream.delivered:
            offset, packet, ts_ns, payload, length = heapq.heappop(stream.waiting)
            stream.waiting_bytes -= len(payload) + WAITING_OVERHEAD
            self.waiting_in_all -= len(payload) + WAITING_OVERHEAD
            self._deliver(connection, direction, stream, offset, length, payload, packet, ts_ns)
        stream.hole_acked_ns = -1

    def _deliver(
        self,
        connection: int,
        direction: int,
        stream: Stream,
        offset: int,
        length: int,
        payload: memoryview | bytes,
        packet: int,
        ts_ns: int,
    ) -> None:
        """Hand on what is new of a segment that begins at or below `stream.delivered`."""
        end = offset + length
        if end <= stream.delivered:
            return
        fresh = payload[stream.delivered - offset :]
        if fresh:
            run = self._runs.get(connection)
            if run is None or run.direction != direction or stream.missing:
                if run is not None:
                    self._emit(connection, run)
                run = Run(direction, stream.delivered, stream.missing, stream.cut, stream.from_start)
                self._runs[connection] = run
                stream.missing = 0
                stream.cut = False
            run.parts.append(fresh)
            run.begins.append(stream.delivered)
            run.mark_offsets.append(offset)
            run.mark_packets.append(packet)
            run.mark_times_ns.append(ts_ns)
            stream.delivered += len(fresh)
        if stream.delivered < end:  # the snap length cut the rest
            stream.missing += end - stream.delivered
            stream.cut = True
            stream.delivered = end

    def _compare(self, connection: int, direction: int, offset: int, payload: memoryview) -> None:
        """Note it if bytes of `payload`, which begins at `offset`, are others than those handed on already."""
        run = self._runs.get(connection)
        if run is None or run.direction != direction:
            return
        end = offset + len(payload)
        at = max(0, bisect_right(run.begins, offset) - 1)
        while at < len(run.begins) and run.begins[at] < end:
            begin, part = run.begins[at], run.parts[at]
            first, last = max(begin, offset), min(begin + len(part), end)
            if first < last and part[first - begin : last - begin] != payload[first - offset : last - offset]:
                self.differing[connection] = self.differing.get(connection, 0) + 1
                return
            at += 1

    def _emit(self, connection: int, run: Run) -> None:
        self._pieces.append(
            StreamPiece(
                connection=connection,
                direction=run.direction,
                offset=run.offset,
                data=b"".join(run.parts),
                missing_before=run.missing,
                snapped=run.cut,
                from_start=run.from_start,
                mark_offsets=run.mark_offsets,
                mark_packets=run.mark_packets,
                mark_times_ns=run.mark_times_ns,
            )
        )
