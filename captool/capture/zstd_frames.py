"""Where the frames of a zstd file end (RFC 8878 3.1): its decompressor takes the end of a file for the end of what is in it."""

import io
from collections.abc import Generator
from typing import Final

from captool.capture.source import Pipe

FRAME: Final = 0xFD2FB528
SKIPPABLE: Final = 0x184D2A50  # with 16 values; pzstd begins its files with such a frame
DICTIONARY_ID: Final = (0, 1, 2, 4)  # bytes of it, by the header's descriptor
CONTENT_SIZE: Final = (0, 2, 4, 8)
RLE: Final = 1  # a block that is one byte, many times


def begins_frame(magic: bytes) -> bool:
    """Whether these are the first four bytes of a zstd file."""
    number = int.from_bytes(magic, "little")
    return len(magic) == 4 and (number == FRAME or number & ~15 == SKIPPABLE)


class WholeFrames:
    """Hands the bytes of a zstd file on, and looks only at how long their parts are."""

    def __init__(self, file: io.FileIO | Pipe | io.BytesIO) -> None:
        self._file = file
        self._between = True
        self._held = b""
        self._parts = self._layout()
        self._wanted = next(self._parts)

    @property
    def whole(self) -> bool:
        """Whether the bytes so far end where a frame ends."""
        return self._between and not self._held

    def read(self, size: int) -> bytes:
        """The next bytes; none at the end."""
        data = self._file.read(size) or b""
        at = 0
        while at < len(data):
            if self._wanted < 0:
                step = min(-self._wanted, len(data) - at)
                self._wanted += step
                over = self._wanted == 0
            else:
                step = self._wanted - len(self._held)
                self._held += data[at : at + step]
                over = len(self._held) == self._wanted
            at += step
            if over:
                number, self._held = int.from_bytes(self._held, "little"), b""
                self._wanted = self._parts.send(number)
        return data

    def _layout(self) -> Generator[int, int, None]:
        """The size of each part: of one that is looked at, and sent as a number then, or minus that of one that is passed."""
        while True:
            self._between = True
            magic = yield 4
            self._between = False
            if magic & ~15 == SKIPPABLE:
                size = yield 4
                if size:
                    yield -size
                continue
            descriptor = yield 1
            single = descriptor >> 5 & 1  # then its content's size stands in place of a window's
            yield -(1 - single + DICTIONARY_ID[descriptor & 3] + (CONTENT_SIZE[descriptor >> 6] or single))
            last = False
            while not last:
                block = yield 3
                last = bool(block & 1)
                size = 1 if block >> 1 & 3 == RLE else block >> 3
                if size:
                    yield -size
            if descriptor & 4:
                yield -4  # its checksum
