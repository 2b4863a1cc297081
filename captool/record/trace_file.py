"""The trace on disk: whole packets only, private to its owner, counted and hashed as they are written."""

import contextlib
import errno
import hashlib
import os
import struct
from pathlib import Path
from typing import Final

from captool.errors import MissingToolError, UsageError

FILE_HEADER: Final = 24
PACKET_HEADER: Final = 16
_ORDERS: Final = {b"\xd4\xc3\xb2\xa1": "<", b"\x4d\x3c\xb2\xa1": "<", b"\xa1\xb2\xc3\xd4": ">", b"\xa1\xb2\x3c\x4d": ">"}
_LARGEST_PACKET: Final = 1 << 20  # four times what tcpdump is asked for: beyond that the stream is broken


class DiskFullError(UsageError):
    """The trace cannot grow any more; what was written is whole."""


class TraceFile:
    """A pcap file that is filled from tcpdump's standard output.

    `packets` and `size` tell what is in the file. It ends after a whole packet at any moment, also when the disk is full. A file that
    it is to replace stays until `take_place`, so that a recording that cannot begin costs nobody a trace.
    """

    def __init__(self, path: Path, *, replace: bool) -> None:
        self.path = path
        self.packets = 0
        self.size = 0
        self._hash = hashlib.sha256()
        self._waiting = b""
        self._length = struct.Struct("=I")
        self._place = path.with_name(f".{path.name}.{os.getpid()}.part") if replace and path.is_file() else path
        self._descriptor = _create(self._place, path)

    def take_place(self) -> None:
        """Replace the file of that name, if there is one: the recording has begun."""
        if self._place != self.path:
            self._place.replace(self.path)
            self._place = self.path

    def write(self, data: bytes) -> None:
        """Write all packets that are whole by now. Raises DiskFullError."""
        data = self._waiting + data
        position = 0
        if self.size == 0:
            if len(data) < FILE_HEADER:
                self._waiting = data
                return
            if (order := _ORDERS.get(data[:4])) is None:
                raise MissingToolError("tcpdump wrote something that is no pcap file; is it an old or patched version?")
            self._length = struct.Struct(f"{order}I")
            position = FILE_HEADER
        ends = self._packet_ends(data, position)
        end = ends[-1] if ends else position
        self._put(data, end, ends, position)
        self._waiting = data[end:]

    def sha256(self) -> str:
        """Of everything that is in the file."""
        return self._hash.hexdigest()

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

    def _packet_ends(self, data: bytes, position: int) -> list[int]:
        ends = []
        available, unpack = len(data), self._length.unpack_from
        while position + PACKET_HEADER <= available:
            captured = unpack(data, position + 8)[0]
            if captured > _LARGEST_PACKET:
                raise MissingToolError("tcpdump wrote a broken packet header; the trace ends before it")
            position += PACKET_HEADER + captured
            if position > available:
                break
            ends.append(position)
        return ends

    def _put(self, data: bytes, end: int, ends: list[int], header: int) -> None:
        written = 0
        view = memoryview(data)
        try:
            while written < end:
                written += os.write(self._descriptor, view[written:end])
        except OSError as error:
            whole = [boundary for boundary in (header, *ends) if boundary <= written]
            self._count(view[: whole[-1] if whole else 0], max(0, len(whole) - 1))
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, self.size)
            full = error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
            reason = "the disk is full" if full else (error.strerror or str(error)).lower()
            raise DiskFullError(f"{self.path}: {reason}; make room, or write elsewhere with -w") from None
        self._count(view[:end], len(ends))

    def _count(self, written: memoryview, packets: int) -> None:
        self._hash.update(written)
        self.size += len(written)
        self.packets += packets


def _create(place: Path, wanted: Path) -> int:
    try:
        return os.open(place, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_EXCL, 0o600)
    except FileExistsError:
        if place.is_file() and not place.is_symlink():
            raise UsageError(f"{wanted} exists; choose another name with -w, or replace it with --force") from None
        raise UsageError(f"{wanted} exists and is no ordinary file; choose another name with -w") from None
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UsageError(f"{wanted}: cannot write the trace there: {reason}; choose another place with -w") from None
