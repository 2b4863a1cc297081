"""The keepalive options of a socket that another process has open.

pidfd_getfd(2) gives a second descriptor of the same socket (Linux 5.6); getsockopt(2) on it reads and changes nothing. The kernel allows it
to whoever may trace the process (ptrace(2), PTRACE_MODE_ATTACH_REALCREDS): root, and mostly the process's own user.
"""

import ctypes
import os
import socket
import stat
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from captool.session_keys.live_sockets import Holder
from captool.units import SECOND_NS

_PIDFD_GETFD: Final = 438  # the same on every architecture
_TCP_USER_TIMEOUT: Final = 18
_MS: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class SocketOptions:
    """SO_KEEPALIVE, TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_KEEPCNT and TCP_USER_TIMEOUT (0: none); times in nanoseconds."""

    keepalive: bool
    idle_ns: int
    interval_ns: int
    probes: int
    user_timeout_ns: int

    @property
    def period_ns(self) -> int:
        """Between two probes while nothing else crosses and each is answered.

        An answer starts the idle time anew, but the timer comes back after the interval first, so it is the longer of the two.
        """
        return max(self.idle_ns, self.interval_ns)


def socket_options(holder: Holder, inode: int) -> SocketOptions | None:
    """The options of the socket that the holder has open; None where the kernel does not allow it, or the socket has gone meanwhile."""
    with suppress(OSError):
        process = os.pidfd_open(holder.process)
        try:
            call = ctypes.CDLL(None, use_errno=True).syscall
            descriptor = call(_PIDFD_GETFD, process, holder.descriptor, 0)
        finally:
            os.close(process)
        if descriptor >= 0:
            return _read(descriptor, inode)
    return None


def _read(descriptor: int, inode: int) -> SocketOptions | None:
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISSOCK(status.st_mode) or status.st_ino != inode:
            return None  # the number is another's by now
        with socket.socket(fileno=os.dup(descriptor)) as copy:
            tcp = socket.IPPROTO_TCP
            return SocketOptions(
                keepalive=bool(copy.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)),
                idle_ns=copy.getsockopt(tcp, socket.TCP_KEEPIDLE) * SECOND_NS,
                interval_ns=copy.getsockopt(tcp, socket.TCP_KEEPINTVL) * SECOND_NS,
                probes=copy.getsockopt(tcp, socket.TCP_KEEPCNT),
                user_timeout_ns=copy.getsockopt(tcp, _TCP_USER_TIMEOUT) * _MS,
            )
    finally:
        os.close(descriptor)
