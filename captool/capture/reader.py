"""Capture files -> chunks of packets: opens, recognises, orders the files of a set, and says what could not be read.

One buffer is filled again and again with `readinto` (quicker than mapping the file: no page faults), so memory does not
depend on the length of a capture. A file that ends in the middle of a packet, or goes wrong, gives all packets before that.
"""

import io
import os
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Protocol, Self, cast

from captool.capture import linktype
from captool.capture.frames import COLUMNS_FULL, CORRUPT, Frames
from captool.capture.pcap import HEADER_LENGTH, MAGICS, PcapFile
from captool.capture.pcapng import PcapngFile
from captool.capture.source import Pipe, capture_files, open_source
from captool.capture.summary import CaptureSummary, ClockStep
from captool.errors import CaptureError
from captool.units import counted

CHUNK: Final = 1 << 19  # together with the rows of some thousand connections it fits a second-level cache
SPARE: Final = 1 << 18
ROWS: Final = 16384
LINK_TYPES_NAMED: Final = 8  # in an error message; a hostile file has thousands

FIRST_PACKET: Final = CHUNK  # of a file, beside others, this much is read to learn when it begins
NAMED_EMPTY: Final = 10
OVERLAP_NS: Final = 10_000_000

SECTION_HEADER_BYTES: Final = b"\x0a\x0d\x0d\x0a"
GZIP: Final = b"\x1f\x8b"
ZSTD: Final = b"\x28\xb5\x2f\xfd"
FOREIGN: Final = {
    b"snoop\0": "a snoop file",
    b"\x1f\x9d": "a file made by compress",
    b"BZh": "a bzip2 file",
    b"\xfd7zXZ": "an xz file",
    b"iptrace ": "an AIX iptrace file",
    b"PK\x03\x04": "a zip archive",
    b"\x7fELF": "a program",
    b"-----BEGIN": "a PEM file",
}


class DecoderCounts(Protocol):
    """What the summary needs to know of the decoder."""

    tcp_packets: int
    other_packets: int
    undecodable_packets: int
    snapped_packets: int
    bytes: int
    start_ns: int
    end_ns: int
    clock_steps: int
    clock_step_ns: int
    clock_step_packet: int

    def notes(self) -> list[str]:
        """Sentences about packets that could not be used."""
        ...


class TrackerCounts(Protocol):
    """What the summary needs to know of the tracker."""

    duplicate_packets: int

    def notes(self) -> list[str]:
        """Sentences about limits that were reached."""
        ...


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


class EmptyFileError(CaptureError):
    """A file without a byte."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path}: is empty; nothing was recorded (did tcpdump start, and was it stopped with SIGINT?)")


class ForeignFileError(CaptureError):
    """A file that is something else than a capture."""


class CaptureReader:
    """The packets of one capture that lies in one file or several (a rotated set), in order of time of their first packets.

    A directory stands for the captures in it, told by their content; `-` is standard input. Packets are numbered through all files.
    Empty files beside others are noted and left out. `wait`, if given, is asked at the end of the last file whether there will be more.

    Raises CaptureError, on entry or while reading, for a file that is missing, unreadable or of a format that is not known, for a
    single one that is empty, for a directory without a capture, and for a capture all of whose packets have a link type that is not
    decoded.
    """

    def __init__(
        self, paths: Iterable[Path | str], chunk_size: int = CHUNK, wait: Callable[[io.FileIO | Pipe], bool] | None = None
    ) -> None:
        self.paths = [Path(path) for path in paths]
        self.chunk_size = chunk_size
        self.wait = wait
        self.bytes_read = 0
        self.total_bytes = 0
        self.packets = 0
        self.truncated_file = False
        self._notes: list[str] = []
        self._formats: list[str] = []
        self._link_types: dict[int, int] = {}
        self._dropped: int | None = None
        self._secrets: list[tuple[str, bytes]] = []
        self._file: io.FileIO | Pipe | None = None
        self._pipes: dict[Path, Pipe] = {}
        self._last_ns: int | None = None
        self._overlapping = False

    def __enter__(self) -> Self:
        if not self.paths:
            raise CaptureError("no capture file was named; give at least one")
        named = self.paths
        self.paths, in_directory, self._notes = capture_files(named)
        starts = self._starts(frozenset(in_directory))
        if not starts:
            raise CaptureError(f"{', '.join(map(str, named))}: holds no pcap or pcapng capture; name the files or another directory")
        # Files without a packet come last: they matter only for their secrets.
        self.paths = sorted(starts, key=lambda path: (starts[path] is None, starts[path] or 0))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
        for pipe in self._pipes.values():
            pipe.close()
        self._pipes.clear()

    def chunks(self) -> Iterator[Frames]:
        """All packets, chunk by chunk; each chunk is valid until the next one is asked for."""
        buffer = bytearray(self.chunk_size + SPARE)
        frames = Frames(buffer, self.chunk_size, ROWS)
        for path in self.paths:
            yield from self._file_chunks(path, frames)
        decoded = [number for number in self._link_types if number in linktype.DECODED]
        if self.packets and not decoded:
            numbers = sorted(self._link_types)
            names = ", ".join(linktype.name(number) for number in numbers[:LINK_TYPES_NAMED])
            names += f" and {len(numbers) - LINK_TYPES_NAMED} more" if len(numbers) > LINK_TYPES_NAMED else ""
            raise CaptureError(
                f"{self.paths[0]}: all packets have the link type {names}, which captool does not decode; "
                "record on an Ethernet, cooked (-i any), loopback or tunnel interface"
            )

    def take_secrets(self) -> list[tuple[str, bytes]]:
        """Key logs found in the files since the last call, each with its origin."""
        taken, self._secrets = self._secrets, []
        return taken

    def summary(self, decoder: DecoderCounts, tracker: TrackerCounts) -> CaptureSummary:
        """What the capture was, once all chunks went through `decoder` and `tracker`."""
        return CaptureSummary(
            files=tuple(str(path) for path in self.paths),
            format=", ".join(dict.fromkeys(self._formats)),
            link_types=tuple(linktype.name(number) for number in sorted(self._link_types)),
            packets=self.packets,
            bytes=decoder.bytes,
            start_ns=decoder.start_ns if self.packets else None,
            end_ns=decoder.end_ns if self.packets else None,
            truncated_file=self.truncated_file,
            snapped_packets=decoder.snapped_packets,
            duplicate_packets=tracker.duplicate_packets,
            dropped_packets=self._dropped,
            tcp_packets=decoder.tcp_packets,
            other_packets=decoder.other_packets,
            undecodable_packets=decoder.undecodable_packets,
            notes=(*self._notes, *decoder.notes(), *tracker.notes()),
            clock_step=self._clock_step(decoder),
        )

    def _clock_step(self, decoder: DecoderCounts) -> ClockStep | None:
        """Steps back of the clock; where files overlap in time a note says so, and the clock is not to blame."""
        if not decoder.clock_steps or self._overlapping:
            return None
        return ClockStep(decoder.clock_steps, decoder.clock_step_ns, decoder.clock_step_packet)

    def _starts(self, in_directory: frozenset[Path]) -> dict[Path, int | None]:
        """Each file that is a capture, with the time of its first packet where the order matters."""
        starts: dict[Path, int | None] = {}
        empty: list[Path] = []
        passed_over: dict[Path, int] = {}
        for path in self.paths:
            try:
                starts[path] = self._check(path)
            except EmptyFileError:
                if len(self.paths) == 1:
                    raise
                empty.append(path)
            except ForeignFileError:
                if path not in in_directory:
                    raise
                passed_over[path.parent] = passed_over.get(path.parent, 0) + 1
        if empty and not starts:
            raise EmptyFileError(empty[0])
        self._notes += [f"{path}: is empty, as tcpdump leaves it when it is killed before its first write" for path in empty[:NAMED_EMPTY]]
        if len(empty) > NAMED_EMPTY:
            self._notes.append(f"{len(empty) - NAMED_EMPTY} more files are empty")
        self._notes += [f"{folder}: {counted(count, 'other file')} passed over (not a capture)" for folder, count in passed_over.items()]
        return starts

    def _check(self, path: Path) -> int | None:
        """Raise CaptureError if `path` is no capture; else the time of its first packet where the order matters."""
        alone = len(self.paths) == 1
        opened = None
        try:
            opened = open_source(path)
            if isinstance(opened, Pipe):
                self._pipes[path] = opened
                if alone:
                    return None  # what comes out of it is recognised when it is read
                stream = open_stream(io.BytesIO(look(opened, FIRST_PACKET)))
            else:
                self.total_bytes += os.fstat(opened.fileno()).st_size
                stream = open_stream(opened)
            buffer = bytearray(HEADER_LENGTH if alone else FIRST_PACKET)
            fill = read_up_to(stream, buffer, 0, HEADER_LENGTH)
            file, position = recognise(path, buffer, fill)
            if alone:
                return None
            fill = read_up_to(stream, buffer, fill, FIRST_PACKET)
            frames = Frames(buffer, FIRST_PACKET, 1)
            file.walk(frames, position, fill)
        except OSError as error:
            raise unreadable(path, error) from error
        finally:
            if opened is not None and path not in self._pipes:
                opened.close()
        return frames.ts_ns[0] if frames.count else None

    def _file_chunks(self, path: Path, frames: Frames) -> Iterator[Frames]:  # noqa: PLR0915 - one loop, read in one go
        try:
            self._file = self._pipes.pop(path, None) or open_source(path)
            stream = open_stream(self._file)
            fill = read_up_to(stream, frames.buffer, 0, frames.spare)
        except OSError as error:
            raise unreadable(path, error) from error
        file, position = recognise(path, frames.buffer, fill)
        self._formats.append(file.format)
        reader_offset = self.bytes_read
        before = 0  # bytes of the file that were moved out of the buffer
        ended = started = False
        while True:
            frames.count = 0
            position, needed = file.walk(frames, position, fill)
            self._take_blocks(path, file)
            if frames.count:
                self._note_overlap(path, frames.ts_ns[0], first=not started)
                started = True
                self._last_ns = frames.last_ts_ns
                frames.first_packet = self.packets + 1
                self.packets += frames.count
                self.bytes_read = reader_offset + self._file.tell()
                yield frames
            if needed == COLUMNS_FULL:
                continue
            if needed == CORRUPT:
                self.truncated_file = True
                self._notes.append(
                    f"{path}: damaged at byte {before + position} ({file.fault}); "
                    f"the {self.packets} packets before it were read"
                )
                break
            if ended and self.wait is not None and path == self.paths[-1] and self.wait(self._file):
                ended = False
            if ended:
                if position < fill or needed == 1:
                    self.truncated_file = True
                    self._notes.append(
                        f"{path}: ends in the middle of a packet or block (the last whole one ends at byte {before + position}, "
                        f"the file at {before + fill})"
                    )
                break
            rest = fill - position
            frames.buffer[:rest] = frames.buffer[position:fill]
            before += position
            position, fill = 0, rest
            if needed > frames.spare:
                grow(frames, needed)
            try:
                got = read_up_to(stream, frames.buffer, fill, frames.spare)
            except OSError as error:
                self.truncated_file = True
                self._notes.append(f"{path}: cannot be read beyond byte {before + fill} ({reason(error)})")
                break
            ended = got == fill
            fill = got
        self._take_blocks(path, file)
        for number, packets in file.link_types.items():
            self._link_types[number] = self._link_types.get(number, 0) + packets
        if file.dropped_packets is not None:
            self._dropped = (self._dropped or 0) + file.dropped_packets
        self.bytes_read = reader_offset + self._file.tell()
        self._file.close()
        self._file = None

    def _note_overlap(self, path: Path, start_ns: int, *, first: bool) -> None:
        if first and self._last_ns is not None and start_ns < self._last_ns - OVERLAP_NS:
            self._overlapping = True
            self._notes.append(
                f"{path}: begins {(self._last_ns - start_ns) / 1e9:.3f} s before the end of the file before it; they were read one "
                "after the other, not in order of time: merge files recorded at the same time with mergecap first"
            )

    def _take_blocks(self, path: Path, file: PcapFile | PcapngFile) -> None:
        if isinstance(file, PcapngFile) and file.secrets:
            self._secrets.extend((str(path), text) for text in file.secrets)
            file.secrets.clear()


def recognise(path: Path, buffer: bytearray, fill: int) -> tuple[PcapFile | PcapngFile, int]:
    """The format of a file by its first bytes, and where its records begin; raises CaptureError for any other file."""
    if fill == 0:
        raise EmptyFileError(path)
    magic = bytes(buffer[:4])
    if magic == SECTION_HEADER_BYTES:
        return PcapngFile(), 0
    if magic in MAGICS:
        if fill < HEADER_LENGTH:
            raise CaptureError(f"{path}: the pcap header is cut off after {fill} of {HEADER_LENGTH} bytes; record again")
        return PcapFile(bytes(buffer[:HEADER_LENGTH])), HEADER_LENGTH
    head = bytes(buffer[: min(fill, 64)])
    what = next((name for begin, name in FOREIGN.items() if head.startswith(begin)), None)
    if what is None:
        text = all(byte in b"\t\n\r\f" or byte >= 0x20 for byte in head) and b"\x7f" not in head
        what = "a text file" if text else f"of an unknown format (it begins with {head[:4].hex(' ')})"
    raise ForeignFileError(f"{path}: is {what}, not a pcap or pcapng capture; convert other captures with: editcap -F pcapng IN OUT")


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

        buffered = io.BufferedReader(file)
        return Expanded(gzip.GzipFile(fileobj=buffered, mode="rb"), (zlib.error, EOFError, OSError))
    if magic == ZSTD:
        import zstandard

        reader = zstandard.ZstdDecompressor().stream_reader(cast("IO[bytes]", file), closefd=False, read_across_frames=True)
        return Expanded(reader, (zstandard.ZstdError,))
    return file


class Expanded:
    """A compressed file's bytes; gives what expands before a damage, and raises OSError at it."""

    def __init__(self, stream: PiecewiseStream, errors: tuple[type[Exception], ...]) -> None:
        self._stream = stream
        self._errors = errors

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill the buffer's beginning; 0 at the end of the file."""
        try:
            # One piece of compressed data at a time: `readinto` would drop what it has expanded when the next piece is damaged.
            return self._stream.readinto1(buffer)
        except self._errors as error:
            raise OSError(f"the compressed data is damaged: {error}") from error

    def close(self) -> None:
        """Close the decompressor; the file under it is closed by its owner."""
        self._stream.close()


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


def grow(frames: Frames, needed: int) -> None:
    """Make room for a record larger than the buffer; the walkers bound `needed`."""
    larger = bytearray(needed + SPARE)
    larger[: len(frames.buffer)] = frames.buffer
    frames.use(larger)
    frames.spare = needed


def reason(error: Exception) -> str:
    """The reason inside an error, in words."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__


def unreadable(path: Path, error: Exception) -> CaptureError:
    """The CaptureError for a file that cannot be opened or read."""
    if isinstance(error, FileNotFoundError):
        return CaptureError(f"{path}: no such file; check the path")
    if isinstance(error, PermissionError):
        return CaptureError(f"{path}: permission denied; make the file readable for this user")
    return CaptureError(f"{path}: cannot be read ({reason(error)}); copy the file again or record again")
