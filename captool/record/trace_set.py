"""The files of a trace: one, or a ring that is cut between two packets, so every packet is in exactly one file.

captool cuts tcpdump's stream itself. tcpdump never opens, closes or restarts anything meanwhile, so a cut costs no packet, needs no
traffic, and size, time and count work together.
"""

from bisect import bisect_right
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from captool.record.packet_stream import FILE_HEADER, PacketRun, PacketStream
from captool.record.trace_file import TraceFile, WrittenFile


@dataclass(frozen=True, slots=True)
class Rotation:
    """When a new file is begun: before one would exceed `size` bytes, and every `period_ns`. `keep` files are kept, the oldest go."""

    size: int | None = None
    period_ns: int | None = None
    keep: int | None = None

    @property
    def rotates(self) -> bool:
        """Whether the trace is more than one file."""
        return self.size is not None or self.period_ns is not None


ONE_FILE: Final = Rotation()


class TraceSet:
    """Everything that a recording writes. `packets` and `size` are of all files, those that the ring has dropped (`removed`) as well.

    `cut` is called after a file was closed and the next one begun.
    """

    def __init__(self, path: Path, rotation: Rotation, *, replace: bool, clock_ns: Callable[[], int], cut: Callable[[], None]) -> None:
        self.path, self.rotation = path, rotation
        self.packets = 0
        self.size = 0
        self.removed = 0
        self.closed: list[WrittenFile] = []
        self._clock_ns, self._cut = clock_ns, cut
        self._stream = PacketStream()
        self._number = 0
        self._ticks = 0
        self._file = self._next_file(replace=replace)

    @property
    def current(self) -> Path:
        """The file that grows."""
        return self._file.path

    def take_place(self) -> None:
        """The recording has begun."""
        self._file.take_place()

    def write(self, data: bytes) -> None:
        """Write all packets that are whole by now. Raises DiskFullError, and MissingToolError for a broken stream."""
        without_header = not self._stream.header
        run = self._stream.feed(data)
        if without_header and self._stream.header:
            self._begin()
        start, end = 0, len(run.ends)
        while start < end:
            fit = self._fit(run.ends, start)
            self._append_counted(run, start, fit)
            start = fit
            if start < end:
                self.rotate()

    def tick(self, elapsed_ns: int) -> None:
        """Begin a new file when its time has come. A file without packets goes on: quiet hours push nothing out of the ring."""
        period = self.rotation.period_ns
        if period is not None and elapsed_ns // period > self._ticks:
            self._ticks = elapsed_ns // period
            if self._file.packets:
                self.rotate()

    def next_tick_ns(self) -> int | None:
        """When `tick` is due, in nanoseconds since the beginning."""
        return None if self.rotation.period_ns is None else (self._ticks + 1) * self.rotation.period_ns

    def rotate(self) -> None:
        """Close the file and begin the next one. Raises DiskFullError."""
        self._file.close()
        self.closed.append(self._file.written())
        while self.rotation.keep is not None and len(self.closed) >= self.rotation.keep:
            with suppress(OSError):
                self.closed[0].path.unlink()
            del self.closed[0]
            self.removed += 1
        self._file = self._next_file(replace=False)
        self._begin()
        self._cut()

    def close(self) -> tuple[WrittenFile, ...]:
        """Close the last file, which is removed if it is not the only one and holds nothing; all files that there are."""
        self._file.close()
        if self._file.packets == 0 and self.closed:
            self._file.discard()
        elif not self.closed or self.closed[-1].path != self._file.path:  # no disk space may have been left for a next one
            self.closed.append(self._file.written())
        return tuple(self.closed)

    def discard(self) -> None:
        """Close the last file and remove it if it holds nothing."""
        self._file.discard()

    def _fit(self, ends: list[int], start: int) -> int:
        """The first packet from `start` on that belongs into the next file; a packet larger than a file gets one of its own."""
        if self.rotation.size is None:
            return len(ends)
        room = self.rotation.size - self._file.size
        fit = bisect_right(ends, (ends[start - 1] if start else 0) + room)
        return max(fit, start + 1) if self._file.packets == 0 else max(fit, start)

    def _append_counted(self, run: PacketRun, start: int, end: int) -> None:
        before = self._file.packets, self._file.size
        try:
            self._file.append(self._stream, run, start, end)
        finally:
            self.packets += self._file.packets - before[0]
            self.size += self._file.size - before[1]

    def _begin(self) -> None:
        self._file.begin(self._stream.header)
        self.size += FILE_HEADER

    def _next_file(self, *, replace: bool) -> TraceFile:
        if not self.rotation.rotates:
            return TraceFile(self.path, replace=replace)
        self._number += 1
        whole = datetime.fromtimestamp(self._clock_ns() // 1_000_000_000, UTC)
        name = f"{self.path.stem}-{whole:%Y%m%dT%H%M%SZ}-{self._number:06}{self.path.suffix}"
        return TraceFile(self.path.with_name(name), replace=replace)
