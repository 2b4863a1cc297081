"""A capture that is still being written: whether more will come after its present end."""

import errno
import fcntl
import io
import os
from collections.abc import Callable

from captool.capture.source import Pipe

POLL_S = 0.2


class Following:
    """Waits at the end of a growing file; called by the reader there, and true when it is worth reading on.

    It is over when `stopped()` is true, or when nobody has the file open for writing any more: then the kernel grants a read lease
    (fcntl(2), F_SETLEASE), which it does for the file's owner and for root, on local file systems. Elsewhere only `stopped` ends it.
    `sleep` takes seconds.
    """

    def __init__(self, stopped: Callable[[], bool], sleep: Callable[[float], None]) -> None:
        self._stopped = stopped
        self._sleep = sleep

    def __call__(self, file: io.FileIO | Pipe) -> bool:
        """Wait until there is more to read in `file`; False when nothing more will come."""
        if isinstance(file, Pipe):
            return False
        while not self._stopped():
            closed = closed_by_its_writer(file)  # before the look at the size: what it wrote last is read
            if os.fstat(file.fileno()).st_size > file.tell():
                return True
            if closed:
                return False
            self._sleep(POLL_S)
        return False


def closed_by_its_writer(file: io.FileIO) -> bool:
    """Whether surely nobody has the file open for writing; False also where the kernel does not tell."""
    try:
        fcntl.fcntl(file.fileno(), fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as error:
        if error.errno not in {errno.EAGAIN, errno.EACCES, errno.EPERM, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP}:
            raise
        return False
    fcntl.fcntl(file.fileno(), fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return True
