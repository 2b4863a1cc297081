"""The packets of one chunk of a capture, as columns; the packet bytes stay where they are.

Compiled by Cython (pure-Python mode) and runs unchanged without it.
"""

# ruff: noqa: ARG002, F821, FBT003 - what makes bytearrays and arrays comes from frames.pxd

import array

import cython

LONGS, INTS, WORDS = array.array("q"), array.array("i"), array.array("I")


def room(size: cython.Py_ssize_t) -> bytearray:
    """A buffer in which whatever was in memory stands: nothing is looked at before it was read from a file.

    To fill megabytes with zeros takes as long as much else at the start, and whoever fills them next would do the same.
    """
    return PyByteArray_FromStringAndSize(cython.NULL, size) if cython.compiled else bytearray(size)


@cython.ccall
def column(like: array.array, rows: cython.Py_ssize_t) -> array.array:
    """Room for so many numbers of a kind, whatever was in memory, as in `room`."""
    return clone(like, rows, False) if cython.compiled else array.array(like.typecode, bytes(like.itemsize * rows))


@cython.cclass
class Frames:
    """The packets of one chunk: columns over `buffer`, valid until the next chunk is asked for.

    Row i, 0 <= i < `count`, is packet number `first_packet + i`: its bytes are
    `buffer[offset[i] : offset[i] + captured[i]]`, `original[i]` is its length on the wire, `link_type[i]` a LINKTYPE number,
    `ts_ns[i]` nanoseconds since 1970. The bytes from `spare` to the buffer's end belong to the decoder (reassembled datagrams).
    `data` is the buffer as the compiled modules see it.

    `fill` is where the file's bytes in the buffer end, and `reached` where the walk over them (walk.py) ended: behind the last whole
    record. `needed` says why, in the words of walk.py. `ordered` says that no packet of the chunk is older than the one before it; where
    it is not set, one may be. `decoded` is what the decoder keeps of the chunk, and `staged` says that the decoder's stage went over it.
    """

    def __init__(self, buffer: bytearray, spare: int, rows: int) -> None:
        self.use(buffer)
        self.spare = spare
        self.count = 0
        self.first_packet = 1
        self.last_ts_ns = 0
        self.fill = 0
        self.reached = 0
        self.needed = 0
        self.decoded = None
        self.staged = False
        self.ordered = False
        self.ts_ns = column(LONGS, rows)
        self.offset = column(INTS, rows)
        self.captured = column(INTS, rows)
        self.original = column(WORDS, rows)
        self.link_type = column(INTS, rows)

    @cython.ccall
    def use(self, buffer: bytearray) -> object:
        """Take another buffer (a bytearray); the columns refer to it from now on."""
        self.buffer = buffer
        self.data = memoryview(buffer)
        return None


@cython.cclass
class Stage:
    """What the next layer does with each chunk without Python's objects, so that a thread beside Python's can do it."""

    def prepare(self, frames: Frames) -> None:
        """Make room in `frames.decoded`; called once for each `Frames`, before `work`."""

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def work(self, frames: Frames) -> cython.int:
        """Go over the chunk, and set `frames.staged`; nothing here."""
        return 0
