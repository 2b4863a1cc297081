"""The trace on disk: whole packets only, private to its owner, counted and hashed as they are written."""

import contextlib
import errno
import fcntl
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from captool.errors import UsageError
from captool.record.packet_stream import PacketRun, PacketStream

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class DiskFullError(UsageError):
    """The trace cannot grow any more; what was written is whole."""


@dataclass(frozen=True, slots=True)
class WrittenFile:
    """A file of a trace that is finished: its packets, bytes and hash, the times (nanoseconds since 1970) of its first and last packet."""

    path: Path
    packets: int
    size: int
    sha256: str
    first_ns: int | None
    last_ns: int | None


class TraceFile:
    """A pcap file that is filled from a PacketStream.

    `packets` and `size` tell what is in the file. It ends after a whole packet at any moment, also when the disk is full. A file that
    it is to replace stays until `take_place`, so that a recording that cannot begin costs nobody a trace.
    """

    def __init__(self, path: Path, *, replace: bool) -> None:
        self.path = path
        self.packets = 0
        self.size = 0
        self._first_ns: int | None = None
        self._last_ns: int | None = None
        self._hash = hashlib.sha256()
        self._place = path.with_name(f".{path.name}.{os.getpid()}.part") if replace and _is_file(path) else path
        self._descriptor = _create(self._place, path)
        with contextlib.suppress(OSError):  # some network file systems have no locks
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # by which others see that it still grows

    def take_place(self) -> None:
        """Replace the file of that name, if there is one: the recording has begun."""
        if self._place != self.path:
            self._place.replace(self.path)
            self._place = self.path

    def begin(self, header: bytes) -> None:
        """Write the file header. Raises DiskFullError."""
        self._put(header, [len(header)])

    def append(self, stream: PacketStream, run: PacketRun, start: int, end: int) -> None:
        """Write packets `start` to `end` (not included) of a run. Raises DiskFullError; then those that fit are there."""
        if start == end:
            return
        begin = run.ends[start - 1] if start else 0
        before = self.packets
        try:
            self._put(run.data[begin : run.ends[end - 1]], [boundary - begin for boundary in run.ends[start:end]], packets=True)
        finally:
            if written := self.packets - before:
                if self._first_ns is None:
                    self._first_ns = stream.time_ns(run, start)
                self._last_ns = stream.time_ns(run, start + written - 1)

    def written(self) -> WrittenFile:
        """What is in the file by now."""
        return WrittenFile(self.path, self.packets, self.size, self._hash.hexdigest(), self._first_ns, self._last_ns)

    def close(self) -> None:
        """Close the file; it stays where it is."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def discard(self) -> None:
        """Close the file and remove it, unless it holds packets: those are never deleted."""
        self.close()
        if self.packets == 0:
            with contextlib.suppress(OSError):
                self._place.unlink()

    def _put(self, data: bytes, ends: list[int], *, packets: bool = False) -> None:
        written = 0
        view = memoryview(data)
        try:
            while written < len(data):
                written += os.write(self._descriptor, view[written:])
        except OSError as error:
            whole = [boundary for boundary in ends if boundary <= written]
            self._count(view[: whole[-1] if whole else 0], len(whole) if packets else 0)
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, self.size)
            if error.errno in _FULL:
                raise DiskFullError(f"{self.path}: the disk is full; make room, or write elsewhere with -w") from None
            raise UsageError(f"{self.path}: {(error.strerror or str(error)).lower()}; write elsewhere with -w") from None
        self._count(view, len(ends) if packets else 0)

    def _count(self, written: memoryview, packets: int) -> None:
        self._hash.update(written)
        self.size += len(written)
        self.packets += packets


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # in a directory that may not be entered, as is told when the file is made
        return False


def _create(place: Path, wanted: Path) -> int:
    try:
        return os.open(place, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_EXCL, 0o600)
    except FileExistsError:
        if place.is_file() and not place.is_symlink():
            raise UsageError(f"{wanted} exists; choose another name with -w, or replace it with --force") from None
        raise UsageError(f"{wanted} exists and is no ordinary file; choose another name with -w") from None
    except OSError as error:
        if error.errno in _FULL:
            raise DiskFullError(f"{wanted}: the disk is full; make room, or write elsewhere with -w") from None
        reason = (error.strerror or str(error)).lower()
        raise UsageError(f"{wanted}: cannot write the trace there: {reason}; choose another place with -w") from None
