"""Key logs that other programs write while a recording runs (SSLKEYLOGFILE, RFC 9850): what appears in them is kept beside the trace."""

import os
import stat
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from captool.errors import UsageError
from captool.units import counted

LOOK_S: Final = 0.5
MAX_TAKEN: Final = 1 << 20  # bytes at a time
MAX_KEPT: Final = 1 << 28  # of one key log: more than a million secrets


class GivenKeyLog:
    """The whole lines of `source`, copied to `copy` (0600) as they appear. A source that shrinks is read from its beginning again.

    `lines` have been kept so far; `problem` is the reason why the last look failed, "" for none.
    """

    def __init__(self, source: Path, copy: Path) -> None:
        self.source = source
        self.lines = 0
        self.problem = ""
        self._copy = copy
        self._offset = self._kept = 0

    def look(self) -> None:
        """Take what is new; never raises."""
        try:
            while self._take():
                pass
        except OSError as error:
            self.problem = (error.strerror or str(error)).lower()
        else:
            self.problem = ""

    def _take(self) -> bool:
        # Not waiting for a writer, should it have become a pipe meanwhile.
        descriptor = os.open(self.source, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise OSError(0, "not a file")
            if status.st_size < self._offset:
                self._offset = 0
            file.seek(self._offset)
            data = file.read(MAX_TAKEN)
        end = data.rfind(b"\n") + 1
        if not end and len(data) == MAX_TAKEN:  # no key log has such a line
            end = MAX_TAKEN
        if not end or self._kept + end > MAX_KEPT:
            return False
        self._keep(data[:end])
        self._offset += end
        return len(data) == MAX_TAKEN

    def _keep(self, whole_lines: bytes) -> None:
        self._copy.parent.mkdir(mode=0o700, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(self._copy, flags, 0o600), "ab") as file:
            file.write(whole_lines)
        self._kept += len(whole_lines)
        self.lines += whole_lines.count(b"\n")


@contextmanager
def taken_along(key_logs: Sequence[Path], bundle: Path, say: Callable[[str], None]) -> Iterator[Callable[[], None]]:
    """What starts a thread that copies into `bundle` whatever is new in the key logs, also once more at the end of the body.

    A key log may appear only later. `say` gets what came of each. Raises UsageError for one that is there and is no file.
    """
    for source in key_logs:
        if source.exists() and not source.is_file():
            raise UsageError(f"--keylog {source}: is not a file; name the one that the program writes (SSLKEYLOGFILE)")
    taken = [GivenKeyLog(source, bundle / f"given-{number}.log") for number, source in enumerate(key_logs, 1)]
    stop = threading.Event()

    def run() -> None:
        while not stop.wait(LOOK_S):
            for one in taken:
                one.look()

    thread = threading.Thread(target=run, name="captool-key-logs", daemon=True)
    try:
        yield thread.start if taken else (lambda: None)
    finally:
        stop.set()
        if thread.ident is not None:
            thread.join()
    for one in taken:
        one.look()
        if one.problem:
            say(f"key log {one.source}: {one.problem}, {counted(one.lines, 'line')} kept; does the program honour SSLKEYLOGFILE?")
        else:
            say(f"key log {one.source}: {counted(one.lines, 'line')} kept in {bundle}")
