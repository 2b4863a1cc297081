"""A capture that is still being written: whether more will come after a file's present end, and in which file it goes on."""

import errno
import fcntl
import io
import os
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Final

from captool.capture.source import POLL_S, Pipe
from captool.capture.succession import Succession

GRACE_S: Final = 1.0  # between the end of a file and the beginning of the next one


class Following:
    """Waits at the end of a growing file; called by the reader there, and true when it is worth reading on.

    It is over when `stopped()` is true, or when nobody has the file open for writing any more: then the kernel grants a read lease
    (fcntl(2), F_SETLEASE), which it does for the file's owner and for root, on local file systems. Elsewhere a later file of the same
    set ends it, or `stopped`. `sleep` takes seconds. `named` are files and directories in whose sets it goes on (`next_file`).
    """

    def __init__(self, stopped: Callable[[], bool], sleep: Callable[[float], None], named: Iterable[Path] = ()) -> None:
        self.stopped = stopped
        self._sleep = sleep
        self._succession = Succession(named)

    def __call__(self, file: io.FileIO | Pipe) -> bool:
        """Wait until there is more to read in `file`; False when nothing more will come."""
        if isinstance(file, Pipe):
            return False
        while not self.stopped():
            closed = self._is_over(file)  # before the look at the size: what it wrote last is read
            if os.fstat(file.fileno()).st_size > file.tell():
                return True
            if closed:
                return False
            self._sleep(POLL_S)
        return False

    def next_file(self, read: Collection[Path], latest_ns: int, *, others: bool) -> Path | None:
        """The file in which the capture goes on after one of those `read` has ended; None if there is none soon.

        `latest_ns` is the time of the latest packet so far. With `others`, files that are still being written, it is not waited for.
        """
        waited = 0.0
        while self._succession:
            if (path := self._succession.next_file(read, latest_ns)) is not None:
                return path
            if others or waited >= GRACE_S or self.stopped():
                break
            self._sleep(POLL_S)
            waited += POLL_S
        return None

    def _is_over(self, file: io.FileIO) -> bool:
        closed = closed_by_its_writer(file)
        return self._succession.went_on(Path(os.fsdecode(file.name))) if closed is None else closed


def closed_by_its_writer(file: io.FileIO) -> bool | None:
    """Whether nobody has the file open for writing; None where the kernel does not tell."""
    try:
        fcntl.fcntl(file.fileno(), fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as error:
        if error.errno not in {errno.EAGAIN, errno.EACCES, errno.EPERM, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP}:
            raise
        return False if error.errno == errno.EAGAIN else None
    fcntl.fcntl(file.fileno(), fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return True
