"""The files of a recording that goes on, as its recorder names them: one path a line on a pipe, whose end is the recording's."""

import io
import json
import os
import select
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final

from captool.capture.pcap import HEADER_LENGTH
from captool.capture.source import Pipe

POLL_S: Final = 0.25
LINES: Final = 1 << 16


def named(path: Path) -> bytes:
    """The line that names a file."""
    return json.dumps(os.fspath(path.absolute())).encode() + b"\n"


class ToldFiles:
    """Gives the files one after the other (`following`), and waits at the end of each (as `wait` of `CaptureReader`) for what comes.

    A file is over when the next one is named, or the pipe ends: the recorder has closed it then. `idle` is called some four times a
    second while nothing comes.
    """

    def __init__(self, pipe: int, idle: Callable[[], None]) -> None:
        self._pipe, self._idle = pipe, idle
        self._rest = b""
        self._names: deque[Path] = deque()
        self._ended = False

    def following(self) -> Path | None:
        """The next file, once it is named; None when the recording has ended."""
        while not self._names and not self._ended:
            self._listen(POLL_S)
            self._idle()
        return self._names.popleft() if self._names else None

    def begun(self, path: Path) -> bool:
        """Whether there is a capture's header in the file; waits for it while the file grows. Raises OSError."""
        while True:
            over = self._over()
            if path.stat().st_size >= HEADER_LENGTH:
                return True
            if over:
                return False
            self._listen(POLL_S)
            self._idle()

    def __call__(self, file: io.FileIO | Pipe) -> bool:
        """Wait until there is more to read in `file`; False when nothing more will come."""
        while True:
            over = self._over()  # before the look at the size: what was written last is read
            if os.fstat(file.fileno()).st_size > file.tell():
                return True
            if over:
                return False
            self._listen(POLL_S)
            self._idle()

    def _over(self) -> bool:
        self._listen(0)
        return bool(self._names) or self._ended

    def _listen(self, seconds: float) -> None:
        if self._ended:
            return
        if not select.select([self._pipe], [], [], seconds)[0]:
            return
        data = os.read(self._pipe, LINES)
        self._ended = not data
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._names.extend(Path(json.loads(line)) for line in lines)
