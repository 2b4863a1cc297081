"""A stream piece while it grows: a segment leaves four numbers and no object; its bytes are copied once, when the run ends.

Compiled, and runs uncompiled as well.
"""

# ruff: noqa: F821, FURB136 - memcpy and the making of bytes come from run.pxd; min and max would be Python calls

import array

import cython

from captool.capture.frames import LONGS
from captool.tcp.connection import StreamPiece

if not cython.compiled:  # compiled, they come from run.pxd
    from captool.capture.frames import column
    from captool.tcp.named import new

    def numbers_in(kept: array.array) -> array.array:
        """What is read and written of an array; compiled, a pointer: a typed view costs more than the making of the array."""
        return kept

# One row for each segment of a run: the stream offset of the first byte that it brought, its packet and time, and where its bytes are: in
# the chunk's buffer, or, below 0, in the list of those that had waited.
BEGIN = cython.declare(cython.Py_ssize_t, 0)
PACKET = cython.declare(cython.Py_ssize_t, 1)
TIME = cython.declare(cython.Py_ssize_t, 2)
PLACE = cython.declare(cython.Py_ssize_t, 3)
FIELDS = cython.declare(cython.Py_ssize_t, 4)
FEW = cython.declare(cython.Py_ssize_t, 8)


@cython.final
@cython.cclass
class Run:
    """A piece that is still growing: `count` rows of segments of one direction with `size` bytes, and those bytes that had `waited`.

    `offset` is where it begins in the stream, `missing` what is lost just before it (`cut`: by the snap length).
    """

    def __init__(self) -> None:
        self.count = 0
        self.make_room(FEW)
        self.waited = []
        self.size = 0

    @cython.cfunc
    def make_room(self, room: cython.Py_ssize_t) -> cython.int:
        """Have rows for so many segments, with those that are there."""
        at: cython.Py_ssize_t
        kept: array.array = column(LONGS, room * FIELDS)
        rows: cython.p_longlong = numbers_in(kept)
        for at in range(self.count * FIELDS):
            rows[at] = self.rows[at]
        self.kept = kept
        self.rows = rows
        self.room = room
        return 0

    @cython.cfunc
    def add(self, begin: cython.longlong, packet: cython.longlong, ts_ns: cython.longlong, place: cython.longlong) -> cython.int:
        """Note one more segment."""
        at: cython.Py_ssize_t = self.count * FIELDS
        if self.count == self.room:
            self.make_room(2 * self.room)
        self.rows[at + BEGIN] = begin
        self.rows[at + PACKET] = packet
        self.rows[at + TIME] = ts_ns
        self.rows[at + PLACE] = place
        self.count += 1
        return 0

    @cython.cfunc
    def clear(self) -> cython.int:
        """Forget everything but the room."""
        self.count = 0
        self.size = 0
        self.waited.clear()
        return 0

    @cython.cfunc
    @cython.inline
    def end_of(self, at: cython.Py_ssize_t) -> cython.longlong:
        """The stream offset behind the bytes of a row."""
        return self.rows[(at + 1) * FIELDS + BEGIN] if at + 1 < self.count else self.offset + self.size

    @cython.cfunc
    def differs(
        self, data: cython.uchar[::1], offset: cython.longlong, captured: cython.longlong, start: cython.longlong
    ) -> cython.bint:
        """Whether a segment that begins at `offset`, `captured` bytes from `start` on in `data`, brings other bytes than this run has."""
        low: cython.Py_ssize_t = 0
        high: cython.Py_ssize_t = self.count
        at: cython.Py_ssize_t
        first: cython.longlong
        last: cython.longlong
        begin: cython.longlong
        until: cython.longlong
        while high - low > 1:  # the last row that begins at or below the offset, or the first one
            at = (low + high) // 2
            if self.rows[at * FIELDS + BEGIN] <= offset:
                low = at
            else:
                high = at
        for at in range(low, self.count):
            begin = self.rows[at * FIELDS + BEGIN]
            if begin >= offset + captured:
                break
            until = self.end_of(at)
            first = begin if begin > offset else offset
            last = until if until < offset + captured else offset + captured
            if first < last:
                again = bytes(data[start + first - offset : start + last - offset])
                place: cython.longlong = self.rows[at * FIELDS + PLACE]
                if place < 0:
                    before = self.waited[-1 - place][first - begin : last - begin]
                else:
                    before = bytes(data[place + first - begin : place + last - begin])
                if again != before:
                    return True
        return False

    @cython.cfunc
    def piece(self, connection: cython.longlong, data: cython.uchar[::1]) -> object:
        """The run as a piece; `data` is the chunk's buffer."""
        at: cython.Py_ssize_t
        count: cython.Py_ssize_t = self.count
        offsets: array.array = column(LONGS, count)
        packets: array.array = column(LONGS, count)
        times_ns: array.array = column(LONGS, count)
        offset_column: cython.p_longlong = numbers_in(offsets)
        packet_column: cython.p_longlong = numbers_in(packets)
        time_column: cython.p_longlong = numbers_in(times_ns)
        for at in range(count):
            offset_column[at] = self.rows[at * FIELDS + BEGIN]
            packet_column[at] = self.rows[at * FIELDS + PACKET]
            time_column[at] = self.rows[at * FIELDS + TIME]
        data_bytes = self.gather(data)
        # In the order of the fields of StreamPiece.
        fields = (connection, self.direction, self.offset, data_bytes, self.missing, self.cut, self.from_start, offsets, packets, times_ns)
        return new(StreamPiece, fields)

    @cython.cfunc
    def gather(self, chunk: cython.uchar[::1]) -> bytes:
        """The bytes of the run as one."""
        at: cython.Py_ssize_t
        place: cython.longlong
        length: cython.longlong
        filled: cython.longlong = 0
        waited: bytes
        if cython.compiled:
            data: bytes = PyBytes_FromStringAndSize(cython.NULL, self.size)
            target: cython.p_char = PyBytes_AS_STRING(data)
        else:
            parts = []
        for at in range(self.count):
            place = self.rows[at * FIELDS + PLACE]
            length = self.end_of(at) - self.rows[at * FIELDS + BEGIN]
            if not cython.compiled:
                parts.append(self.waited[-1 - place] if place < 0 else chunk[place : place + length])
            elif length < 0 or filled + length > self.size:
                raise IndexError("more bytes than a run has")
            elif place < 0:
                waited = self.waited[-1 - place]
                if length > len(waited):
                    raise IndexError("more bytes than had waited")
                memcpy(target + filled, PyBytes_AS_STRING(waited), length)
            else:
                if length > len(chunk) - place:
                    raise IndexError("bytes outside of the chunk")
                memcpy(target + filled, cython.address(chunk[place]), length)
            filled += length
        if filled != self.size:  # the rest would be whatever was in memory
            raise IndexError("fewer bytes than a run has")
        return data if cython.compiled else b"".join(parts)
