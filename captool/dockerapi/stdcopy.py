"""Docker's framing of container output: stream bytes in, payload of stdout and stderr out.

Each frame is {type, 0, 0, 0, length as 32 bits big-endian} and its payload (moby api/pkg/stdcopy; API description of
ContainerAttach, "Stream format"). A container with a TTY sends its output raw, without frames. The Content-Type does not tell
the two apart: daemons before API 1.42 say `raw-stream` for both, and Podman always does. The first bytes tell.
"""

# ruff: noqa: FURB136 - min would be a call

import re
import struct
from typing import Final, Literal, NamedTuple

import cython

HEADER = cython.declare(cython.Py_ssize_t, 8)
STDIN = cython.declare(cython.int, 0)
STDOUT = cython.declare(cython.int, 1)
STDERR = cython.declare(cython.int, 2)
SYSTEM_ERROR = cython.declare(cython.int, 3)

Kind = Literal["multiplexed", "raw", "empty"]
Output = Literal["stdout", "stderr"]

# Type 0 is written to stdout by Docker's own reader; type 3 is the daemon saying why the stream fails.
OUTPUTS: Final[dict[int, Output]] = {STDIN: "stdout", STDOUT: "stdout", STDERR: "stderr", SYSTEM_ERROR: "stderr"}

# The first half of a header as one number; the second half is the length.
_WORDS: Final = {kind << 24: output for kind, output in OUTPUTS.items()}
_WORD_AND_LENGTH: Final = struct.Struct(">II")

# How a header looks behind a hole, with a length below 64 KiB: dockerd copies 32 KiB at a time.
_SOUGHT: Final = re.compile(rb"[\1-\3]\0{5}(?!\0\0)..", re.DOTALL)


class Payload(NamedTuple):
    """Some output, without its header: a whole frame's or what has come of it."""

    output: Output
    data: bytes


class Printed(NamedTuple):
    """Output that was only counted: bytes of each stream, its beginning, and where in the data that brought it its last byte ends."""

    stdout_bytes: int
    stderr_bytes: int
    text: bytes
    end: int


def may_be_header(head: bytes) -> bool:
    """Whether these first bytes (eight are looked at) can be those of a frame header."""
    return not head or (head[0] in OUTPUTS and not any(head[1:4]))


def only_whole_frames(data: bytes) -> bool:
    """Whether a piece is nothing but whole frames of output, none empty (zeros in a payload would look like many of those)."""
    position = 0
    while len(data) - position >= HEADER:
        word, length = _WORD_AND_LENGTH.unpack_from(data, position)
        if word == STDIN or word not in _WORDS or not length:
            return False
        position += HEADER + length
    return position == len(data) and position > 0


class StdcopyReader:
    """Takes a stream apart as it comes; nothing but an unfinished header is ever kept.

    `kind` is `empty` until the first bytes decide. Frames that stop making sense (`out_of_step`) leave the rest of the stream
    unreadable, as they do for Docker's own reader: it is passed on as stdout.

    Behind a hole (`lose`) that lies inside a frame, and whose size is known, the rest of that frame comes. Behind any other nobody knows
    where a frame begins, nor whose a payload is: reading goes on with the first piece that is nothing but whole frames, since the daemon
    writes each with one call, so that records and segments often are; or with a header that stands where another one says that its frame
    ends. What comes before it is passed over; so is what makes no sense behind a hole. `holes` counts the holes, `passed_over` those
    bytes; `missing` are the bytes of stdout and of stderr that are known to lie in the holes.
    """

    __slots__ = ("_ahead", "_head", "_left", "_output", "holes", "kind", "missing", "out_of_step", "passed_over", "seeking")

    def __init__(self) -> None:
        self.kind: Kind = "empty"
        self.out_of_step = False
        self.seeking = False
        self.holes = 0
        self.passed_over = 0
        self.missing = (0, 0)
        self._head = b""
        self._left = 0
        self._output: Output = "stdout"
        self._ahead = -1  # while seeking: so many bytes further on the next header would stand, if what was found is one

    def feed(self, data: bytes) -> list[Payload]:
        """The payload in more bytes of the stream, in order."""
        if self.seeking:
            begin = self._pass_over(data)
            if begin < 0:
                return []
            data = data[begin:]
        if self.kind == "raw" or self.out_of_step:
            return [Payload("stdout", data)] if data else []
        found: list[Payload] = []
        position: cython.Py_ssize_t = 0
        size: cython.Py_ssize_t = len(data)
        end: cython.Py_ssize_t
        while position < size:
            if self._left:
                end = min(position + self._left, size)
                self._left -= end - position
                found.append(Payload(self._output, data if end - position == size else data[position:end]))
                position = end
                continue
            if not self._head and size - position >= HEADER:
                word, length = _WORD_AND_LENGTH.unpack_from(data, position)
                output = _WORDS.get(word)
                if output is None:
                    return [*found, *self._give_up(data[position:])]
                self.kind = "multiplexed"
                self._output = output
                self._left = length
                position += HEADER
                continue
            missing = HEADER - len(self._head)
            head = self._head + data[position : position + missing]
            position += missing
            if not may_be_header(head):
                return [*found, *self._give_up(head + data[position:])]
            if len(head) == HEADER:
                self.kind = "multiplexed"
                self._output = OUTPUTS[head[0]]
                self._left = int.from_bytes(head[4:])
                head = b""
            self._head = head
        return found

    def count(self, data: memoryview, text_bytes: cython.Py_ssize_t) -> Printed:  # noqa: PLR0912, PLR0915  # without a call for each frame
        """Read more bytes of the stream as `feed` does, but only count the payload; at most its first `text_bytes` are kept.

        `data` is a buffer of bytes that can be written to, as the compiler wants it; nothing is written.
        """
        view: cython.uchar[::1] = data
        position: cython.Py_ssize_t = 0
        size: cython.Py_ssize_t = len(data)
        left: cython.Py_ssize_t
        taken: cython.Py_ssize_t
        ended: cython.Py_ssize_t = 0
        printed: cython.Py_ssize_t[2] = [0, 0]
        which: cython.Py_ssize_t
        text: bytes = b""
        wanted: cython.Py_ssize_t = text_bytes
        while position < size:
            if self.seeking:
                taken = self._pass_over(bytes(data[position:]))
                if taken < 0:
                    break
                position += taken
            if self.kind == "multiplexed" and not (self._head or self.seeking or self.out_of_step):
                left = self._left  # no attribute is touched for a frame
                which = 1 if self._output == "stderr" else 0
                while left or size - position >= HEADER:
                    if not left:
                        if view[position] > SYSTEM_ERROR or view[position + 1] | view[position + 2] | view[position + 3]:
                            break
                        which = 1 if view[position] >= STDERR else 0
                        left = view[position + 4]
                        left = left << 24 | view[position + 5] << 16 | view[position + 6] << 8 | view[position + 7]
                        position += HEADER
                    taken = left if left < size - position else size - position
                    if taken:
                        if wanted:
                            shown: cython.Py_ssize_t = taken if taken < wanted else wanted
                            text += bytes(data[position : position + shown])
                            wanted -= shown
                        printed[which] += taken
                        position += taken
                        left -= taken
                        ended = position
                    if position == size:
                        break
                self._left = left
                self._output = "stderr" if which else "stdout"
            if position < size:  # a header that is cut or makes no sense, or no frames at all
                framed = not (self.kind == "raw" or self.out_of_step)
                part = bytes(data[position : position + HEADER - len(self._head)] if framed else data[position:])
                position += len(part)
                for payload in self.feed(part):
                    printed[1 if payload.output == "stderr" else 0] += len(payload.data)
                    text += payload.data[:wanted]
                    wanted = text_bytes - len(text)
                    ended = position if payload.data else ended
                if self.seeking:
                    self.passed_over += size - position
                    break
        return Printed(printed[0], printed[1], text, ended)

    def lose(self, missing: int | None = None) -> None:
        """Bytes are missing before the next ones, `missing` of them where that is known. A raw stream has no frames to lose."""
        self.holes += 1
        if self.kind == "raw":
            self._miss("stdout", missing or 0)
            return
        inside = 0 if missing is None or self.seeking or self.out_of_step else min(missing, self._left)
        self._miss(self._output, inside)
        self._left -= inside
        if inside and inside == missing:
            return
        self.seeking = True
        self._head = b""
        self._left = 0
        self._ahead = -1

    def _pass_over(self, data: bytes) -> int:
        """Where in these bytes frames begin again; what comes before is passed over. -1 where that is not known yet: all of it is."""
        begin = 0 if only_whole_frames(data) else self._found(data)
        if begin < 0:
            self.passed_over += len(data)
            return -1
        self.passed_over += begin
        self.seeking = self.out_of_step = False
        self.kind = "multiplexed"
        self._ahead = -1
        return begin

    def _found(self, data: bytes) -> int:
        """Where the first of two frames begins, the second of which stands where the first one ends; -1 where there is none."""
        size, start, ahead = len(data), 0, self._ahead
        self._ahead = -1
        if ahead >= 0:
            if ahead + HEADER > size:
                self._ahead = ahead - size if ahead >= size else -1  # a header that is cut is let go
                return -1
            if _SOUGHT.match(data, ahead):
                return ahead
            start = ahead
        while (found := _SOUGHT.search(data, start)) is not None:
            start = found.start()
            following = start + HEADER + (data[start + 6] << 8 | data[start + 7])
            if following + HEADER > size:
                self._ahead = following - size if following >= size else -1
                return -1
            if _SOUGHT.match(data, following):
                return start
            start += 1
        return -1

    def finish(self) -> list[Payload]:
        """The stream ended. A few bytes that might have become the first header, and did not, were raw output."""
        head, self._head = self._head, b""
        if not head or self.kind != "empty":
            return []
        if len(head) >= 4:
            self.kind = "multiplexed"
            return []
        return self._give_up(head)

    def _miss(self, output: Output, size: int) -> None:
        stdout, stderr = self.missing
        self.missing = (stdout + size, stderr) if output == "stdout" else (stdout, stderr + size)

    def _give_up(self, rest: bytes) -> list[Payload]:
        self._head = b""
        if self.holes:
            self.seeking = True
            self._ahead = -1
            self.passed_over += len(rest)
            return []
        if self.kind == "empty":
            self.kind = "raw"
        else:
            self.out_of_step = True
        return [Payload("stdout", rest)]
