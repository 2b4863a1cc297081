"""One capture file -> its packets, chunk by chunk: recognises it, and says what could not be read.

The buffer is filled again and again with `readinto` (quicker than mapping the file: no page faults), so memory does not depend
on the length of a file. One that ends in the middle of a packet, or goes wrong, gives all packets before that.
"""

import io
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Final

from captool.capture.frames import Frames
from captool.capture.merge import Source
from captool.capture.pcap import HEADER_LENGTH, MAGICS, PcapFile
from captool.capture.pcapng import PcapngFile
from captool.capture.read_ahead import ReadAhead
from captool.capture.source import Pipe
from captool.capture.stream import DamageError, WindowError, open_stream, read_up_to
from captool.capture.walk import COLUMNS_FULL, CORRUPT
from captool.errors import CaptureError
from captool.units import counted

SPARE: Final = 1 << 18
USUAL_RECORD: Final = 1 << 19  # tcpdump records up to 256 KiB of a packet
HEAD: Final = 512  # bytes by which a file is told

SECTION_HEADER_BYTES: Final = b"\x0a\x0d\x0d\x0a"
CONVERT: Final = "convert it first, for example with: editcap -F pcapng IN OUT"
RECORD: Final = "record one with: captool record -w FILE, or tcpdump -w FILE"
# What a file is by its first bytes, and what to do.
FOREIGN: Final = {
    b"snoop\0": ("a snoop file", CONVERT),
    b"\x1f\x9d": ("a file made by compress", "expand it first: uncompress FILE.Z"),
    b"BZh": ("a bzip2 file", "expand it first: bunzip2 FILE"),
    b"\xfd7zXZ": ("an xz file", "expand it first: unxz FILE"),
    b"iptrace ": ("an AIX iptrace file", CONVERT),
    b"\x04\x22\x4d\x18": ("an lz4 file", "expand it first: unlz4 FILE"),
    b"\x1f\x8b": ("compressed twice", "expand it first: gunzip FILE"),
    b"\x28\xb5\x2f\xfd": ("compressed twice", "expand it first: zstd -d FILE"),
    b"PK\x03\x04": ("a zip archive", "expand it first: unzip FILE"),
    b"\x7fELF": ("a program", RECORD),
    b"-----BEGIN": ("a PEM file", "give keys with --keys"),
}
TAR_MAGIC_AT: Final = 257
TAR_MAGIC: Final = b"ustar"


class EmptyFileError(CaptureError):
    """A file without a byte."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path}: is empty; nothing was recorded (did tcpdump start, and was it stopped with SIGINT?)")


class ForeignFileError(CaptureError):
    """A file that is something else than a capture."""


class DamagedFileError(CaptureError):
    """A file so damaged, or cut so early, that not even what it is can be told."""


class OpenFile(Source):
    """One file of a capture while it is read; its present chunk is in `frames`, which nobody else may use until it is closed.

    `wait`, if given, is asked at the end of the file whether there will be more. With `ahead`, which nobody else may use until then either,
    a file that has all its bytes and is not compressed is read ahead; `frames` is one of its chunks then, and `own_frames` what was given.

    Raises ForeignFileError, DamagedFileError or CaptureError for what is no capture, OSError for what cannot be read.
    """

    def __init__(
        self,
        path: Path,
        source: io.FileIO | Pipe | io.BytesIO,
        frames: Frames,
        wait: Callable[[io.FileIO | Pipe], bool] | None = None,
        ahead: ReadAhead | None = None,
    ) -> None:
        super().__init__(frames)
        self.own_frames = frames
        self._spare = frames.spare
        frames.count = 0
        frames.last_ts_ns = 0
        self.path = path
        self.packets = 0
        self.truncated = False
        self._notes: list[str] = []
        self._source = source
        self._wait = wait
        self._stream = open_stream(source)
        self._ahead = ahead if wait is None and self._stream is source and isinstance(source, io.FileIO) else None
        frames.fill = read_up_to(self._stream, frames.buffer, 0, frames.spare)
        while frames.fill < HEADER_LENGTH and wait is not None and not isinstance(source, io.BytesIO) and wait(source):
            frames.fill = read_up_to(self._stream, frames.buffer, frames.fill, frames.spare)
        if frames.fill < HEADER_LENGTH and self._stream is not source:
            frames.fill = read_up_to(self._stream, frames.buffer, frames.fill, frames.spare)  # raises what cut it so short
        self.bytes_read = source.tell()
        self._file, frames.reached = recognise(path, frames.buffer, frames.fill)
        self._chunks = self._walk()

    @property
    def format(self) -> str:
        """`pcap` or `pcapng`."""
        return self._file.format

    @property
    def link_types(self) -> dict[int, int]:
        """Packets seen of each link type."""
        return self._file.link_types

    @property
    def dropped_packets(self) -> int | None:
        """What the file says was dropped, None where it says nothing."""
        return self._file.dropped_packets

    def notes(self) -> list[str]:
        """Sentences about the file, once it has ended."""
        untimed = self._file.untimed_packets
        if not untimed:
            return self._notes
        return [
            *self._notes,
            f"{self.path}: {counted(untimed, 'packet')} of {self.packets:,} came without a time (simple packet blocks) and count as "
            "recorded together with the one before; how long anything took, and who was silent, cannot be told there",
        ]

    def close(self) -> None:
        """Close the file; `own_frames` may be used for another one."""
        if self._ahead is not None:
            self._ahead.stop()
        self._source.close()

    def next_chunk(self) -> bool:
        """Replace the present chunk by the next one that has a packet; False at the end of the file."""
        self.row = 0
        return next(self._chunks, False)

    def take_secrets(self) -> list[tuple[str, bytes]]:
        """Key logs found in the file since the last call, each with its origin."""
        if not isinstance(self._file, PcapngFile):
            return []
        taken, self._file.secrets = self._file.secrets, []
        return [(str(self.path), text) for text in taken]

    def _walk(self) -> Iterator[bool]:
        before = 0  # bytes of the file in front of those in the buffer
        ended = False
        while True:
            frames = self.frames
            self._file.walk(frames)
            if frames.count:
                self.packets += frames.count
                yield True
                frames.count = 0
                if self._ahead is not None and frames.needed > 0:
                    before += yield from self._read_ahead(self._ahead)
                    frames = self.frames
                    if frames.needed <= 0:
                        continue
            if frames.needed == COLUMNS_FULL:
                continue
            if frames.needed == CORRUPT:
                self.truncated = True
                self._damaged(before + frames.reached, self._file.fault)
                return
            if ended and self._wait is not None and not isinstance(self._source, io.BytesIO) and self._wait(self._source):
                ended = False
            if ended:
                if frames.needed > USUAL_RECORD:
                    self.truncated = True
                    fault = f"a packet or block of {frames.needed:,} bytes stands there, more than the file has"
                    self._damaged(before + frames.reached, fault)
                elif frames.reached < frames.fill or frames.needed == 1:
                    self.truncated = True
                    self._notes.append(
                        f"{self.path}: ends in the middle of a packet or block (the last whole one ends at byte {before + frames.reached}, "
                        f"the file at {before + frames.fill}), as when the recorder is killed or the disk is full"
                    )
                return
            rest = frames.fill - frames.reached
            frames.buffer[:rest] = frames.buffer[frames.reached : frames.fill]
            before += frames.reached
            frames.reached, frames.fill = 0, rest
            make_room(frames, max(self._spare, frames.needed))
            try:
                frames.fill = read_up_to(self._stream, frames.buffer, rest, frames.spare)
            except OSError as error:
                self.truncated = True
                self._notes.append(f"{self.path}: cannot be read beyond byte {before + rest} ({reason(error)})")
                return
            self.bytes_read = self._source.tell()
            ended = frames.fill == rest

    def _damaged(self, place: int, fault: str) -> None:
        packets = counted(self.packets, "packet")
        self._notes.append(f"{self.path}: damaged at byte {place} ({fault}); {packets} before it could be read")

    def _read_ahead(self, ahead: ReadAhead) -> Generator[bool, None, int]:
        """Give the chunks that come ahead; returns how far the beginning of the buffer went on in the file.

        The last chunk stays in `frames`: if it was given, without packets, else to be walked on.
        """
        passed = 0
        if ahead.start(self._source.fileno(), self._file.walker(), self.frames):
            while True:
                reached, rest = self.frames.reached, self.frames.fill - self.frames.reached  # the next call gives the chunk back
                frames = ahead.next()
                if frames is None:
                    break
                passed += reached
                self.bytes_read += frames.fill - rest
                self.frames = frames
                self._file.count(frames)
                if frames.needed < 0:
                    ahead.stop()  # it has, before what stands there
                elif frames.count:
                    self.packets += frames.count
                    yield True
                    frames.count = 0
        return passed


def recognise(path: Path, buffer: bytearray, fill: int) -> tuple[PcapFile | PcapngFile, int]:
    """The format of a file by its first bytes, and where its records begin; raises CaptureError for any other file."""
    if fill == 0:
        raise EmptyFileError(path)
    magic = bytes(buffer[:4])
    if magic == SECTION_HEADER_BYTES:
        return PcapngFile(), 0
    if magic in MAGICS:
        if fill < HEADER_LENGTH:
            raise DamagedFileError(f"{path}: the pcap header is cut off after {fill} of {HEADER_LENGTH} bytes; record again")
        return PcapFile(bytes(buffer[:HEADER_LENGTH])), HEADER_LENGTH
    head = bytes(buffer[: min(fill, 64)])
    known = next((known for begin, known in FOREIGN.items() if head.startswith(begin)), None)
    if known is None and fill >= HEAD and buffer[TAR_MAGIC_AT : TAR_MAGIC_AT + len(TAR_MAGIC)] == TAR_MAGIC:
        known = "a tar archive", "unpack it first: tar -xf FILE"
    if known is None and all(byte in b"\t\n\r\f" or byte >= 0x20 for byte in head) and b"\x7f" not in head:
        known = "a text file", RECORD
    what, remedy = known or (f"of an unknown format (it begins with {head[:4].hex(' ')})", CONVERT)
    raise ForeignFileError(f"{path}: is {what}, not a pcap or pcapng capture; {remedy}")


def make_room(frames: Frames, needed: int) -> None:
    """Let the chunk have as many bytes, perhaps for a record larger than the buffer; the walkers bound `needed`."""
    if needed + SPARE > len(frames.buffer):
        larger = bytearray(needed + SPARE)
        larger[: len(frames.buffer)] = frames.buffer
        frames.use(larger)
    frames.spare = needed


def reason(error: Exception) -> str:
    """The reason inside an error, in words."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__


def unreadable(path: Path, error: Exception) -> CaptureError:
    """The CaptureError for a file that cannot be opened or read."""
    if isinstance(error, WindowError):
        return CaptureError(f"{path}: {error}")
    if isinstance(error, DamageError):
        return DamagedFileError(f"{path}: cannot be read ({reason(error)}); copy the file again or record again")
    if isinstance(error, FileNotFoundError):
        return CaptureError(f"{path}: no such file; check the path")
    if isinstance(error, PermissionError):
        return CaptureError(f"{path}: permission denied; make the file readable for this user")
    return CaptureError(f"{path}: cannot be read ({reason(error)}); copy the file again or record again")
