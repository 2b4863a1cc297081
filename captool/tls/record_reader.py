"""Application data taken out of a run of records (RFC 5246 section 6.2, RFC 8446 section 5): the loop that runs for every record.

Compiled, like the stages that touch every packet; run from the checkout it is the same plain Python.
"""

import cython

from captool.tls.summary import Plaintext

HEADER = 5
APPLICATION_DATA = 23
VERSION_MAJOR = 3
MAX_FRAGMENT = (1 << 14) + 2048


@cython.cclass
class RecordReader:
    """Where the reading of one piece stands. `position` is the place in `data` of the next record, `mark` counts the segments begun.

    `opener` and `sequence` are those of the direction, `base` the stream offset of `data[0]`; `opened` sums up the plaintext bytes.
    """

    position = cython.declare(cython.Py_ssize_t, visibility="public")
    sequence = cython.declare(cython.longlong, visibility="public")
    opened = cython.declare(cython.longlong, visibility="public")
    mark = cython.declare(cython.Py_ssize_t, visibility="public")
    _data = cython.declare(bytes)
    _base = cython.declare(cython.longlong)
    _direction = cython.declare(object)
    _marks = cython.declare(object)
    _packets = cython.declare(object)
    _times = cython.declare(object)

    def __init__(
        self,
        direction: object,
        data: bytes,
        base: cython.longlong,
        marks: object,
        packets: object,
        times_ns: object,
    ) -> None:
        self.position = 0
        self.sequence = 0
        self.opened = 0
        self.mark = 1
        self._data = data
        self._base = base
        self._direction = direction
        self._marks = marks
        self._packets = packets
        self._times = times_ns

    def advance(self, stream_end: cython.longlong) -> cython.Py_ssize_t:
        """The index of the segment that brought the byte before `stream_end`; never goes back."""
        while self.mark < len(self._marks) and self._marks[self.mark] < stream_end:
            self.mark += 1
        return self.mark - 1

    def read(self, opener: object, tls13: cython.bint, released: list) -> None:
        """Open records of application data one after the other until one is incomplete, something else, or does not open."""
        data: bytes = self._data
        size: cython.Py_ssize_t = len(data)
        position: cython.Py_ssize_t = self.position
        end: cython.Py_ssize_t
        at: cython.Py_ssize_t
        length: cython.longlong
        stream_end: cython.longlong
        while size - position >= HEADER and data[position] == APPLICATION_DATA and data[position + 1] == VERSION_MAJOR:
            length = data[position + 3] << 8 | data[position + 4]
            end = position + HEADER + length
            if end > size or length > MAX_FRAGMENT:
                break
            content = opener(self.sequence, data, position, end)
            if content is None:
                break
            if tls13:
                if not content.endswith(b"\x17"):  # another type inside, or padding behind it
                    break
                content = content[: len(content) - 1]
            self.sequence += 1
            if content:
                stream_end = self._base + end
                at = self.advance(stream_end)
                self.opened += len(content)
                released.append(Plaintext(self._direction, content, stream_end, self._packets[at], self._times[at]))
            position = end
        self.position = position
