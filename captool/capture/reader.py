"""Capture files -> chunks of packets of one capture: orders the files, merges those that overlap in time, and sums up.

A file that begins when the one before it has ended (a rotated set) is handed on chunk by chunk as it was read. Files recorded at the
same time on several interfaces are merged packet by packet, so that what passed two of them is seen as copies of one packet. A file is
opened when the time of its first packet has come: memory depends on how many are open at once, never on their length.
"""

import io
import os
from bisect import bisect
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol, Self

from captool.capture import linktype
from captool.capture.capture_file import HEAD, SPARE, DamagedFileError, EmptyFileError, ForeignFileError, OpenFile, make_room, unreadable
from captool.capture.frames import Frames, Stage, room
from captool.capture.merge import BEGINS, FULL, NEVER, merge
from captool.capture.pcap import HEADER_LENGTH
from captool.capture.read_ahead import AVAILABLE, Aside, ReadAhead
from captool.capture.source import Pipe, capture_files, open_source
from captool.capture.stream import look
from captool.capture.summary import CaptureSummary, ClockStep, DecoderCounts, TrackerCounts
from captool.errors import CaptureError
from captool.units import counted

CHUNK: Final = 1 << 20  # what Python does for each chunk costs little beside it, and it fits a third-level cache
ROWS: Final = 8192
LONG: Final = 4  # chunks, from which on a file is read ahead
LINK_TYPES_NAMED: Final = 8  # in an error message; a hostile file has thousands

FIRST_PACKET: Final = 1 << 19  # of a pipe, beside other files, this much is looked at to learn when it begins
FILES_NAMED: Final = 10  # in a note
MAX_OPEN: Final = 64
OVERLAP_NS: Final = 10_000_000  # by less than this the files of a rotated set overlap, where packets come from several queues


class NextFile(Protocol):
    """Gives the file in which a capture goes on (`captool.capture.growing.Following.next_file`)."""

    def __call__(self, read: Collection[Path], latest_ns: int, *, others: bool) -> Path | None:
        """A file beside those `read`, None if there is none."""
        ...


class CaptureReader:
    """The packets of one capture that lies in one file or several: a rotated set, or files recorded at the same time.

    A directory stands for the captures in it, told by their content; `-` is standard input. Packets come, and are numbered, in order of
    time: of all files the one whose next packet is the earliest is read on, of equal ones the one named first. Empty files beside
    others are noted and left out, and so are those of a directory that are damaged from their first bytes on. `wait`, if given, is asked
    at the end of a file whether there will be more, once all files have begun, and `next_file` in which file it goes on when one has
    ended; files that are removed meanwhile are noted then. A pipe ends soon after `stopped()` has become true.

    Raises CaptureError, on entry or while reading, for a file that is missing, unreadable or of a format that is not known, for a
    single one that is empty, for a directory without a capture, for more than `MAX_OPEN` files that overlap in time, and for a capture all
    of whose packets have a link type that is not decoded.
    """

    def __init__(
        self,
        paths: Iterable[Path | str],
        chunk_size: int = CHUNK,
        wait: Callable[[io.FileIO | Pipe], bool] | None = None,
        next_file: NextFile | None = None,
        stopped: Callable[[], bool] | None = None,
    ) -> None:
        self._asked = [Path(path) for path in paths]
        self.paths = self._asked
        self.chunk_size = chunk_size
        self.wait = wait
        self._next_file = next_file
        self._stopped = stopped
        self._latest_ns = 0  # of the files that have ended
        self.bytes_read = 0
        self.total_bytes = 0
        self.packets = 0
        self.truncated_file = False
        self._notes: list[str] = []
        self._formats: list[str] = []
        self._link_types: dict[int, int] = {}
        self._dropped: int | None = None
        self._secrets: list[tuple[str, bytes]] = []
        self._pipes: dict[Path, Pipe] = {}
        self._begins: dict[Path, int] = {}  # the time of each file's first packet; NEVER: without one, or alone
        self._named: dict[Path, int] = {}  # the place of each file among those that were named
        self._reading: list[OpenFile] = []  # in the order in which they were named
        self._all_begun = False
        self._idle: list[Frames] = []
        self._stage: Stage | None = None
        self._ahead: ReadAhead | None = None
        self._aside: Aside | None = None
        self._merged: Frames | None = None  # packets of several files; most captures need none
        self._overlapping: set[Path] = set()

    def __enter__(self) -> Self:
        if not self.paths:
            raise CaptureError("no capture file was named; give at least one")
        self.paths, in_directory, self._notes = capture_files(self._asked)
        self._begins = begins = self._beginnings(frozenset(in_directory))
        self._named = {path: place for place, path in enumerate(begins)}
        # Files without a packet come last: they matter only for their secrets.
        self.paths = sorted(begins, key=lambda path: begins[path])
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in self._reading:
            file.close()
        for pipe in self._pipes.values():
            pipe.close()
        self._reading.clear()
        self._pipes.clear()

    def chunks(self, stage: Stage | None = None) -> Iterator[Frames]:
        """All packets, chunk by chunk; each chunk is valid until the next one is asked for.

        With `stage`, files are read ahead where that can be done, and chunks are given over which the stage went already.
        """
        self._stage = stage
        for path in tuple(self.paths):
            yield from self._before(path)
            self._begin(path)
        yield from self._before(None)
        yield from self._handed_over_merged()
        self._note_overlap()
        decoded = [number for number in self._link_types if number in linktype.DECODED]
        if self.packets and not decoded:
            numbers = sorted(self._link_types)
            names = ", ".join(linktype.name(number) for number in numbers[:LINK_TYPES_NAMED])
            names += f" and {len(numbers) - LINK_TYPES_NAMED} more" if len(numbers) > LINK_TYPES_NAMED else ""
            raise CaptureError(
                f"{self.paths[0]}: all packets have the link type {names}, which captool does not decode; "
                "record on an Ethernet, cooked (-i any), loopback or tunnel interface"
            )

    def set_aside(self, aside: Aside) -> None:
        """Let the thread that reads ahead, where there is one, do this as well."""
        self._aside = aside
        if self._ahead is not None:
            self._ahead.set_aside(aside)

    @property
    def may_bring_secrets(self) -> bool:
        """Whether one of the files so far is of a format that can hold secrets, perhaps behind the packets that they open."""
        return "pcapng" in self._formats

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
            clock_step=ClockStep(decoder.clock_steps, decoder.clock_step_ns, decoder.clock_step_packet) if decoder.clock_steps else None,
        )

    def _beginnings(self, in_directory: frozenset[Path]) -> dict[Path, int]:
        """Each file that is a capture, with the time of its first packet where the order matters."""
        begins: dict[Path, int] = {}
        size = FIRST_PACKET if len(self.paths) > 1 else HEAD
        frames = Frames(bytearray(size), size, 1)
        empty: list[Path] = []
        left_out: list[tuple[Path, ForeignFileError | DamagedFileError]] = []
        for path in self.paths:
            try:
                begins[path] = self._check(path, frames)
            except EmptyFileError:
                if len(self.paths) == 1 and path not in in_directory:
                    raise
                empty.append(path)
            except (ForeignFileError, DamagedFileError) as error:
                if path not in in_directory:
                    raise
                left_out.append((path, error))
            except CaptureError:
                if path not in in_directory or not self._was_removed(path):
                    raise
        if not begins and (named := [path for path in empty if path not in in_directory]):
            raise EmptyFileError(named[0])
        damaged = [str(error) for _, error in left_out if isinstance(error, DamagedFileError)]
        passed_over = Counter(path.parent for path, error in left_out if isinstance(error, ForeignFileError))
        if not begins:
            counts = {"empty file": len(empty), "damaged file": len(damaged), "other file": passed_over.total()}
            inside = " and ".join(counted(count, what) for what, count in counts.items() if count)
            raise CaptureError(
                f"{', '.join(map(str, self._asked))}: holds no pcap or pcapng capture{f' (only {inside})' if inside else ''}; "
                "name the files or another directory"
            )
        self._note([f"{path}: is empty, as tcpdump leaves it when it is killed before its first write" for path in empty], "are empty")
        self._note(damaged, "cannot be read")
        self.truncated_file = bool(damaged)
        self._notes += [f"{folder}: {counted(count, 'other file')} passed over (not a capture)" for folder, count in passed_over.items()]
        return begins

    def _note(self, sentences: list[str], what: str) -> None:
        """Note what is true of several files, the first of them by name."""
        self._notes += sentences[:FILES_NAMED]
        if len(sentences) > FILES_NAMED:
            self._notes.append(f"{len(sentences) - FILES_NAMED} more files {what}")

    def _check(self, path: Path, frames: Frames) -> int:
        """Raise CaptureError if `path` is no capture; else the time of its first packet where the order matters, or `NEVER`."""
        alone = len(self.paths) == 1
        opened = None
        try:
            opened = open_source(path, self._stopped)
            if isinstance(opened, Pipe):
                self._pipes[path] = opened
                if alone:
                    return NEVER  # what comes out of it is recognised when it is read
                file = OpenFile(path, io.BytesIO(look(opened, FIRST_PACKET)), frames)
            else:
                size = os.fstat(opened.fileno()).st_size
                self.total_bytes += size
                if alone and self.wait is not None and size < HEADER_LENGTH:
                    return NEVER  # not even its header has been written yet
                file = OpenFile(path, opened, frames)
            return frames.ts_ns[0] if not alone and file.next_chunk() else NEVER
        except OSError as error:
            raise unreadable(path, error) from error
        finally:
            if opened is not None and path not in self._pipes:
                opened.close()

    def _before(self, path: Path | None) -> Iterator[Frames]:
        """The chunks of the files that are being read, up to the first packet of the next file, or to their end.

        The last of them may stay in `_merged`, to be filled further.
        """
        begins_ns, named = (NEVER, -1) if path is None else (self._begins[path], self._named[path])
        while self._reading:
            named_before = bisect(self._reading, named, key=lambda file: self._named[file.path])
            first = self._reading[0]
            if len(self._reading) == 1 and not first.row and first.comes_by(begins_ns if named_before else begins_ns - 1):
                yield from self._handed_over_merged()
                yield from self._handed_over(first.frames)
                self._advance(first)
                continue
            if self._merged is None:
                self._merged = self._frames()
                self._merged.count = self._merged.last_ts_ns = 0  # it may have been a file's that ended damaged
            merged = self._merged
            largest = max(file.frames.spare for file in self._reading)
            if largest > merged.spare:
                make_room(merged, largest)
            reached = merge(self._reading, merged, begins_ns, named_before)
            if reached == BEGINS:
                return
            if reached == FULL:
                yield from self._handed_over_merged()
            else:
                self._advance(self._reading[reached])

    def _handed_over_merged(self) -> Iterator[Frames]:
        if self._merged is not None and self._merged.count:
            yield from self._handed_over(self._merged)

    def _handed_over(self, frames: Frames) -> Iterator[Frames]:
        frames.first_packet = self.packets + 1
        self.packets += frames.count
        yield frames
        frames.count = 0

    def _was_removed(self, path: Path) -> bool:
        """Whether a ring that is being followed has dropped the file; it is noted then."""
        if self._next_file is None or path.exists():
            return False
        self._notes.append(f"{path}: was removed before it could be read; packets are missing there")
        return True

    def _go_on(self) -> None:
        """Begin the file in which the set goes on after one of it has ended, if there is one."""
        if self._next_file is None or not self._all_begun:
            return
        path = self._next_file(frozenset(self.paths), self._latest_ns, others=bool(self._reading))
        if path is not None:
            self.paths.append(path)
            self._named[path] = len(self.paths)
            self._begins[path] = NEVER
            self._begin(path)

    def _begin(self, path: Path) -> None:
        if len(self._reading) == MAX_OPEN:
            raise CaptureError(
                f"{path}: overlaps in time with {MAX_OPEN} other files, more than are merged at once; "
                "put some of them together first with: mergecap -w OUT IN..."
            )
        self._all_begun = path == self.paths[-1]
        try:
            source = self._pipes.pop(path, None) or open_source(path, self._stopped)
            try:
                file = OpenFile(path, source, self._frames(), self._will_grow if self.wait else None, self._ahead_of(source))
            except BaseException:
                source.close()
                raise
        except OSError as error:
            if self._was_removed(path):
                self._go_on()
                return
            raise unreadable(path, error) from error
        if file.format not in self._formats:
            self._formats.append(file.format)
        self.bytes_read += file.bytes_read
        self._reading.append(file)
        self._reading.sort(key=lambda file: self._named[file.path])
        self._advance(file)
        if file.frames.count:
            self._begins[path] = min(self._begins[path], file.frames.ts_ns[0])

    def _advance(self, file: OpenFile) -> None:
        """Go on to the file's next chunk, or close it at its end."""
        before = file.bytes_read
        more = file.next_chunk()
        self.bytes_read += file.bytes_read - before
        self._secrets += file.take_secrets()
        if more:
            return
        file.close()
        self._reading.remove(file)
        self._idle.append(file.own_frames)
        self._notes += file.notes()
        self.truncated_file = self.truncated_file or file.truncated
        for number, packets in file.link_types.items():
            self._link_types[number] = self._link_types.get(number, 0) + packets
        if file.dropped_packets is not None:
            self._dropped = (self._dropped or 0) + file.dropped_packets
        for other in self._reading:
            if file.frames.last_ts_ns - self._begins[other.path] > OVERLAP_NS:
                self._overlapping |= {file.path, other.path}
        self._latest_ns = max(self._latest_ns, file.frames.last_ts_ns)
        self._go_on()

    def _frames(self) -> Frames:
        return self._idle.pop() if self._idle else self._new_frames()

    def _new_frames(self) -> Frames:
        return Frames(room(self.chunk_size + SPARE), self.chunk_size, ROWS)

    def _ahead_of(self, source: io.FileIO | Pipe) -> ReadAhead | None:
        """What reads this file ahead: of several that are read at a time, only the one that began alone, if it has enough for it."""
        if not AVAILABLE or self._stage is None or self._reading or isinstance(source, Pipe):
            return None
        if os.fstat(source.fileno()).st_size < LONG * self.chunk_size:
            return None
        if self._ahead is None:
            self._ahead = ReadAhead(self._new_frames, self._stage)
            if self._aside is not None:
                self._ahead.set_aside(self._aside)
        return self._ahead

    def _will_grow(self, source: io.FileIO | Pipe) -> bool:
        return self.wait is not None and self._all_begun and self.wait(source)

    def _note_overlap(self) -> None:
        if not self._overlapping:
            return
        paths = [str(path) for path in self.paths if path in self._overlapping]
        named = ", ".join(paths[:FILES_NAMED]) + (f" and {len(paths) - FILES_NAMED} more" if len(paths) > FILES_NAMED else "")
        self._notes.append(
            f"{named}: overlap in time; their packets were merged in order of time and are numbered in it, "
            "those of equal times in the order in which the files were named (mergecap: in the reverse order)"
        )
