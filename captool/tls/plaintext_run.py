"""Decrypted application data as the layers above take it: many records at once, in one buffer.

Compiled; run from the checkout it is the same plain Python. A record leaves its plaintext, behind that of the one before it, and two
numbers; which packet brought it is looked up for those of which it is asked.
"""

import array
from bisect import bisect_left

import cython

from captool.direction import Direction, Moment
from captool.tls.summary import Plaintext

FEW = 4  # records that there is room for at first


@cython.final
@cython.cclass
class PlaintextRun:
    """Authenticated application data of `count` records of one direction that follow each other; `data` is all of it, as one buffer.

    `after_loss` says that data of this direction is missing just before it. Records are numbered from 0.
    """

    def __init__(self, direction: Direction, marks: object, packets: object, times_ns: object, room: cython.Py_ssize_t = FEW) -> None:
        self.direction = direction
        self.after_loss = False
        self.count = 0
        self.data = b""
        self.room = room
        self.rows = array.array("q", bytes(16 * room))  # of each record: the stream offset behind it, the end of its plaintext in `data`
        self.marks = marks
        self.packets = packets
        self.times_ns = times_ns

    @cython.cfunc
    def add(self, stream_end: cython.longlong, end: cython.longlong) -> cython.int:
        """One more record."""
        if self.count == self.room:
            rows: cython.longlong[::1] = array.array("q", bytes(32 * self.room))
            rows[: 2 * self.room] = self.rows
            self.rows = rows
            self.room = 2 * self.room
        self.rows[2 * self.count] = stream_end
        self.rows[2 * self.count + 1] = end
        self.count += 1
        return 0

    def until(self, record: cython.Py_ssize_t) -> cython.Py_ssize_t:
        """Where in `data` the plaintext of the records before this one ends."""
        return self.rows[2 * record - 1] if record else 0

    def content(self, record: cython.Py_ssize_t) -> bytes:
        """The plaintext of one record."""
        return bytes(memoryview(self.data)[self.until(record) : self.rows[2 * record + 1]])

    def stream_end(self, record: cython.Py_ssize_t) -> int:
        """The stream offset just behind the record."""
        return self.rows[2 * record]

    def moment(self, record: cython.Py_ssize_t) -> Moment:
        """The packet that completed the record, and its time."""
        at: cython.Py_ssize_t = mark_of(self.marks, self.rows[2 * record])
        return Moment(self.packets[at], self.times_ns[at])

    def record_at(self, position: cython.Py_ssize_t) -> cython.Py_ssize_t:
        """The record that holds the byte `data[position]`."""
        low: cython.Py_ssize_t = 0
        high: cython.Py_ssize_t = self.count
        middle: cython.Py_ssize_t
        while low < high:
            middle = (low + high) // 2
            if self.rows[2 * middle + 1] <= position:
                low = middle + 1
            else:
                high = middle
        return low

    def acknowledged(self, record: cython.Py_ssize_t, offset: object) -> cython.Py_ssize_t:
        """The first record from `record` on that ends behind this stream offset; `count` where none does, and for None."""
        last: cython.Py_ssize_t = self.count
        reach: cython.longlong
        if offset is not None:
            reach = offset
            while last > record and self.rows[2 * last - 2] > reach:
                last -= 1
        return last

    def records(self) -> list:
        """Each record by itself, as `Plaintext`."""
        record: cython.Py_ssize_t
        found: list = []
        for record in range(self.count):
            lost: cython.bint = self.after_loss and record == 0
            found.append(Plaintext(self.direction, self.content(record), self.rows[2 * record], *self.moment(record), lost))
        return found


def single_record(direction: Direction, content: bytes, stream_end: int, packet: int, ts_ns: int, after_loss: bool) -> PlaintextRun:  # noqa: FBT001
    """A run of one record."""
    run = PlaintextRun(direction, (0,), (packet,), (ts_ns,))
    run.data = bytearray(content)  # a buffer like that of all others
    run.after_loss = after_loss
    run.add(stream_end, len(content))
    return run


def mark_of(marks: object, stream_end: cython.longlong) -> int:
    """The index of the segment that brought the byte before `stream_end`."""
    return bisect_left(marks, stream_end, 1) - 1
