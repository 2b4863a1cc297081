"""The bytes of an open file: of a compressed one what it expands to, of a pipe also those that were only looked at."""

import io
from typing import IO, Final, Protocol, cast

from captool.capture.source import Pipe
from captool.capture.zstd_frames import WholeFrames, begins_frame

GZIP: Final = b"\x1f\x8b"


CUT: Final = "the compressed data ends too early: it is cut off"


class PiecewiseStream(Protocol):
    """A decompressor that can stop at each piece that it expanded."""

    def readinto1(self, buffer: memoryview, /) -> int:
        """Fill the buffer's beginning; 0 at the end."""
        ...

    def close(self) -> None:
        """Close the decompressor."""
        ...


class ByteStream(Protocol):
    """What is used of an open file, expanded or not."""

    def readinto(self, buffer: memoryview, /) -> int | None:
        """Fill the buffer; 0 at the end."""
        ...

    def close(self) -> None:
        """Close the file."""
        ...


def look(pipe: Pipe, size: int) -> bytes:
    """The next bytes of a pipe, which stay unread."""
    head = bytearray(size)
    fill = read_up_to(pipe, head, 0, size)
    pipe.unread(bytes(head[:fill]))
    return bytes(head[:fill])


def open_stream(file: io.FileIO | Pipe | io.BytesIO) -> ByteStream:
    """The bytes of an open file, expanded where it is compressed (by content, not by name)."""
    if isinstance(file, Pipe):
        magic = look(file, 4)
    else:
        magic = file.read(4) or b""
        file.seek(0)
    if magic.startswith(GZIP):
        import gzip
        import zlib

        buffered = io.BufferedReader(file)
        return Expanded(gzip.GzipFile(fileobj=buffered, mode="rb"), (zlib.error, EOFError, OSError))
    if begins_frame(magic):
        import zstandard

        frames = WholeFrames(file)
        reader = zstandard.ZstdDecompressor().stream_reader(cast("IO[bytes]", frames), closefd=False, read_across_frames=True)
        return Expanded(reader, (zstandard.ZstdError,), frames)
    return file


class DamageError(OSError):
    """A compressed file that expands no further."""


class WindowError(OSError):
    """A zstd file that can be expanded only with more memory than a capture may take."""


class Expanded:
    """A compressed file's bytes; gives what expands before a damage, at which it raises DamageError or WindowError, also when asked again.

    `frames` tells of a decompressor that is content with less whether the file is whole.
    """

    def __init__(self, stream: PiecewiseStream, errors: tuple[type[Exception], ...], frames: WholeFrames | None = None) -> None:
        self._stream = stream
        self._errors = errors
        self._frames = frames
        self._fault: OSError | None = None

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill the buffer's beginning; 0 at the end of the file."""
        if self._fault is None:
            try:
                # One piece of compressed data at a time: `readinto` would drop what it has expanded when the next piece is damaged.
                got = self._stream.readinto1(buffer)
                if got or self._frames is None or self._frames.whole:
                    return got
                self._fault = DamageError(CUT)
            except self._errors as error:
                self._fault = DamageError(CUT) if isinstance(error, EOFError) else fault(error)
        raise self._fault

    def close(self) -> None:
        """Close the decompressor; the file under it is closed by its owner."""
        self._stream.close()


def fault(error: Exception) -> OSError:
    """What a decompressor complained of."""
    words = str(error)
    if words.startswith("Not a gzipped file"):
        return DamageError("what follows the compressed data is no gzip data")
    if "too much memory" in words:
        return WindowError("was compressed by zstd --long with more than 128 MiB to look back; expand it first: zstd -d --long=31 FILE")
    return DamageError(f"the compressed data is damaged: {words}")


def read_up_to(stream: ByteStream, buffer: bytearray, start: int, end: int) -> int:
    """Fill `buffer[start:end]` from the stream; returns where the bytes end, short of `end` only at the end of the file.

    An error is raised when it brings no byte; until then what was read before it counts.
    """
    view = memoryview(buffer)
    begin = start
    try:
        while start < end:
            got = stream.readinto(view[start:end])
            if not got:
                break
            start += got
    except OSError:
        if start == begin:
            raise
    finally:
        view.release()
    return start
