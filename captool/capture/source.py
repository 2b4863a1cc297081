"""Arguments that name a capture -> its files: directories are looked into, standard input and pipes are read as they come."""

import io
import os
import select
import stat
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from captool.errors import CaptureError

STANDARD_INPUT: Final = Path("-")
POLL_S: Final = 0.2
REST_S: Final = 1.0  # for what a recorder still hands over that the same Ctrl-C has stopped


class Pipe(io.RawIOBase):
    """Bytes that come once, from standard input or a named pipe; `unread` puts those back that were only looked at.

    It ends when its writer closes it, or soon after `stopped()` has become true.
    """

    def __init__(self, file: io.FileIO, stopped: Callable[[], bool] | None = None) -> None:
        super().__init__()
        self._file = file
        self._stopped = stopped
        self._deadline: float | None = None
        self._poll = select.poll()
        self._poll.register(file, select.POLLIN)
        self._again = b""
        self._position = 0

    def readable(self) -> bool:
        """True."""
        return True

    def unread(self, data: bytes) -> None:
        """Give these bytes once more, before all others."""
        self._again = data + self._again
        self._position -= len(data)

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        """Fill the buffer's beginning; 0 at the end."""
        if self._again:
            count = min(len(buffer), len(self._again))
            buffer[:count] = self._again[:count]
            self._again = self._again[count:]
        else:
            count = self._file.readinto(buffer) or 0 if self._comes() else 0
        self._position += count
        return count

    def _comes(self) -> bool:
        """Wait for bytes or the writer's end; False where it is not to be waited for any longer."""
        if self._stopped is None:
            return True
        while True:
            if self._deadline is None and self._stopped():
                self._deadline = time.monotonic() + REST_S
            patience = POLL_S if self._deadline is None else self._deadline - time.monotonic()
            if patience <= 0:
                return False
            if self._poll.poll(patience * 1000):
                return True

    def tell(self) -> int:
        """Bytes given so far."""
        return self._position

    def close(self) -> None:
        """Close the pipe."""
        self._file.close()
        super().close()


def open_source(path: Path, stopped: Callable[[], bool] | None = None) -> io.FileIO | Pipe:
    """The file, or what is at the other end of the pipe, which ends as soon as `stopped()`, though nobody has opened that end yet.

    Raises CaptureError for a terminal, OSError for what cannot be opened.
    """
    if path == STANDARD_INPUT:
        descriptor = sys.stdin.fileno() if sys.stdin is not None else 0
        if os.isatty(descriptor):
            raise CaptureError("-: standard input is a terminal; pipe a capture into it: tcpdump -w - | captool analyze -")
        file = io.FileIO(os.dup(descriptor))
    elif stopped is None:
        file = io.FileIO(path)
    else:
        # Without O_NONBLOCK, opening a named pipe waits for somebody who opens it for writing.
        file = io.FileIO(path, opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK))
        os.set_blocking(file.fileno(), True)
    kind = os.fstat(file.fileno()).st_mode
    if stat.S_ISREG(kind) and path != STANDARD_INPUT:
        return file
    if stat.S_ISREG(kind) or stat.S_ISFIFO(kind) or stat.S_ISSOCK(kind):
        return Pipe(file, stopped)
    file.close()
    raise CaptureError(f"{path}: is a device; name a capture file, a directory of them or a pipe")


def capture_files(named: Iterable[Path]) -> tuple[list[Path], list[Path], list[str]]:
    """The files that are named or lie in directories that are named; which of them were found in a directory; notes on repetitions.

    Nothing is recursive; of a directory only regular files are taken, whatever their names. Raises CaptureError.
    """
    files: list[Path] = []
    found: list[Path] = []
    notes: list[str] = []
    seen: dict[tuple[int, int] | Path, Path] = {}
    for path in named:
        inside = _entries(path) if path != STANDARD_INPUT and _is_directory(path) else None
        for one in inside if inside is not None else [path]:
            identity = _identity(one)
            if identity in seen:
                notes.append(f"{one}: named twice (also as {seen[identity]}); read once" if one != seen[identity]
                             else f"{one}: named twice; read once")  # fmt: skip
                continue
            seen[identity] = one
            files.append(one)
            if inside is not None:
                found.append(one)
    return files, found, notes


def _is_directory(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # in a directory that may not be entered; opening it will say so
        return False


def _entries(directory: Path) -> list[Path]:
    try:
        with os.scandir(directory) as entries:
            return sorted(Path(entry.path) for entry in entries if entry.is_file())
    except OSError as error:
        raise CaptureError(f"{directory}: cannot be listed ({error.strerror}); make the directory readable for this user") from error


def _identity(path: Path) -> tuple[int, int] | Path:
    if path == STANDARD_INPUT:
        return path
    try:
        status = path.stat()
    except OSError:
        return path
    return status.st_dev, status.st_ino
