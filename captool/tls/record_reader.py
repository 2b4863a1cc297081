"""Application data taken out of a run of records (RFC 5246 section 6.2, RFC 8446 section 5): the loop that runs for every record.

Compiled, like the stages that touch every packet; run from the checkout it is the same plain Python.
"""

# ruff: noqa: F821 - what makes a bytearray, and its like, comes from record_reader.pxd

import cython

from captool.direction import Direction
from captool.tls.plaintext_run import FEW

if not cython.compiled:  # compiled, they come from record_reader.pxd
    from captool.tls.aead_protection import AeadOpener
    from captool.tls.plaintext_run import PlaintextRun
    from captool.tls.sealed_runs import Portion, SealedRuns

HEADER = cython.declare(cython.Py_ssize_t, 5)
APPLICATION_DATA = cython.declare(cython.int, 23)
VERSION_MAJOR = cython.declare(cython.int, 3)
MAX_FRAGMENT = cython.declare(cython.Py_ssize_t, (1 << 14) + 2048)
OFTEN = cython.declare(cython.Py_ssize_t, 1 << 12)  # as many bytes to a record, for a first guess at how many there will be


@cython.final
@cython.cclass
class RecordReader:
    """Where the reading of one piece stands: `position` is the place in `data` of the next record, `base` the stream offset of `data[0]`.

    `sequence` is that of the direction; `opened` sums up the plaintext bytes. Records that follow each other become one run, whether they
    stood in the same `data` or the first had been cut; all of them together have at most `room` bytes. Another thread may
    open some of them (`sealed`).
    """

    def __init__(
        self,
        direction: Direction,
        marks: object,
        packets: object,
        times_ns: object,
        room: cython.Py_ssize_t,
        sealed: SealedRuns | None = None,
    ) -> None:
        self.position = 0
        self.sequence = 0
        self.opened = 0
        self.data = b""
        self.base = 0
        self.direction = direction
        self.marks = marks
        self.packets = packets
        self.times_ns = times_ns
        self.room = room
        self.out = None
        self.filled = 0
        self.run = None
        self.begin = 0
        self.sealed = sealed

    def turn_to(self, data: bytes, position: cython.Py_ssize_t, base: cython.longlong) -> None:
        """Read on in other bytes."""
        self.data = data
        self.data_view = memoryview(data)
        self.position = position
        self.base = base

    @cython.cfunc
    def begin_run(self) -> PlaintextRun:
        """A run of the records that come next."""
        if self.out is None:
            # No content is longer than its record. What is not filled is never shown, so that it need not be zero.
            if not cython.compiled:
                self.out = bytearray(self.room)
            elif self.sealed is not None and self.room >= self.sealed.enough:
                self.out = self.sealed.lend(self.room)
            else:
                self.out = PyByteArray_FromStringAndSize(cython.NULL, self.room)
            self.out_view = memoryview(self.out)
        self.begin = self.filled
        return PlaintextRun(self.direction, self.marks, self.packets, self.times_ns, FEW + self.room // OFTEN)

    def read(self, opener: object, tls13: cython.bint, released: list) -> None:
        """Open records of application data one after the other until one is incomplete, something else, or does not open."""
        data: bytes = self.data
        size: cython.Py_ssize_t = len(data)
        position: cython.Py_ssize_t = self.position
        before: cython.Py_ssize_t = self.filled
        end: cython.Py_ssize_t
        got: cython.Py_ssize_t
        length: cython.Py_ssize_t
        last: cython.Py_ssize_t = len(released) - 1
        run: PlaintextRun = self.run if last >= 0 and released[last] is self.run else None
        aead: AeadOpener = opener if isinstance(opener, AeadOpener) else None
        while size - position >= HEADER and data[position] == APPLICATION_DATA and data[position + 1] == VERSION_MAJOR:
            length = data[position + 3] << 8 | data[position + 4]
            end = position + HEADER + length
            if end > size or length > MAX_FRAGMENT:
                break
            if run is None:
                run = self.begin_run()
            if aead is not None:
                got = aead.open_into(self.sequence, data, position, end, self.data_view, self.out, self.filled, self.out_view)
            else:
                content = opener(self.sequence, data, position, end)
                got = -1
                if content is not None:
                    got = len(content)
                    self.out_view[self.filled : self.filled + got] = content
            if got < 0:
                break
            if tls13:
                if got == 0 or self.out[self.filled + got - 1] != APPLICATION_DATA:  # another type inside, or padding behind it
                    break
                got -= 1
            self.sequence += 1
            if got:
                self.filled += got
                run.add(self.base + end, self.filled - self.begin)
            position = end
        self.position = position
        self.opened += self.filled - before
        if run is not None and run.count:
            run.data = self.out_view[self.begin : self.filled]
            if run is not self.run:
                self.run = run
                released.append(run)

    def read_beside(self, opener: object, tls13: cython.bint, released: list) -> bool:
        """Leave to another thread what `read` does, where that has the cipher, and there is nothing but application data, and enough of it.

        Where that is so, this gives true, and `take_beside` is to be called before anything else.
        """
        data: bytes = self.data
        size: cython.Py_ssize_t = len(data)
        position: cython.Py_ssize_t = self.position
        portion: cython.Py_ssize_t = position
        portions: cython.Py_ssize_t = 1
        records: cython.Py_ssize_t = 0
        around: cython.Py_ssize_t
        length: cython.Py_ssize_t
        aead: AeadOpener = opener if isinstance(opener, AeadOpener) else None
        if self.sealed is None or aead is None or size - position < self.sealed.enough or not aead.has_another():
            return False
        around = aead.around(tls13)
        while size - position >= HEADER:
            length = HEADER + (data[position + 3] << 8 | data[position + 4])
            if data[position] != APPLICATION_DATA or data[position + 1] != VERSION_MAJOR or not around <= length <= HEADER + MAX_FRAGMENT:
                return False
            if length > size - position:
                break
            if position - portion >= self.sealed.portion:
                portion = position
                portions += 1
            position += length
            records += 1
        content: cython.Py_ssize_t = position - self.position - records * around
        # Behind the content of a record of TLS 1.3 its type is written, for a moment.
        if position - self.position < self.sealed.enough or content + (1 if tls13 else 0) > self.room - self.filled:
            return False
        if not self.sealed.takes(portions, self):
            return False
        self.run_beside = self.run if released and released[len(released) - 1] is self.run else self.begin_run()
        self.count_before = self.run_beside.count
        self.opener = aead
        self.failed = False
        self.records_beside = records
        self.position_beside = position
        self.hand_over(tls13)
        return True

    @cython.cfunc
    @cython.exceptval(-1)
    def hand_over(self, tls13: cython.bint) -> cython.int:
        """Hand the records from `position` to `position_beside` over, in portions, and note where the plaintext of each will be."""
        data: bytes = self.data
        position: cython.Py_ssize_t = self.position
        around: cython.Py_ssize_t = self.opener.around(tls13)
        filled: cython.Py_ssize_t = self.filled
        length: cython.Py_ssize_t
        begun: cython.Py_ssize_t = position
        sequence: cython.longlong = self.sequence
        portion: Portion
        portion.opener = cython.cast(cython.p_void, self.opener)
        portion.tls13 = tls13
        portion.failed = cython.address(self.failed)
        portion.sequence = sequence
        portion.out = cython.cast(cython.p_uchar, PyByteArray_AS_STRING(self.out)) + filled
        while position < self.position_beside:
            if position - begun >= self.sealed.portion:
                portion.records = cython.cast(cython.p_uchar, PyBytes_AS_STRING(data)) + begun
                portion.size = position - begun
                self.sealed.add(portion)
                portion.sequence = sequence
                portion.out = cython.cast(cython.p_uchar, PyByteArray_AS_STRING(self.out)) + filled
                begun = position
            length = HEADER + (data[position + 3] << 8 | data[position + 4])
            position += length
            sequence += 1
            if length > around:
                filled += length - around
                self.run_beside.add(self.base + position, filled - self.begin)
        portion.records = cython.cast(cython.p_uchar, PyBytes_AS_STRING(data)) + begun
        portion.size = position - begun
        self.sealed.add(portion)
        self.sealed.begin()
        self.filled_beside = filled
        return 0

    def take_beside(self, released: list) -> None:
        """What `read` would have brought, if all that was left to the other thread verified; else nothing, and `read` is to say why."""
        run: PlaintextRun = self.run_beside
        self.sealed.finish()
        self.run_beside = None
        if self.failed:
            memset(PyByteArray_AS_STRING(self.out) + self.filled, 0, self.filled_beside - self.filled)
            run.count = self.count_before
            return
        self.sequence += self.records_beside
        self.position = self.position_beside
        self.opened += self.filled_beside - self.filled
        self.filled = self.filled_beside
        if run.count:
            run.data = self.out_view[self.begin : self.filled]
            if run is not self.run:
                self.run = run
                released.append(run)
