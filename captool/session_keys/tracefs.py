"""Where the kernel's tracing files are: mounted already, or mounted for this process alone, seen by nobody and gone with it.

Spec: Documentation/trace/ftrace.rst; fsopen(2), fsmount(2).
"""

import ctypes
import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from captool.errors import MissingToolError

PLACES: Final = (Path("/sys/kernel/tracing"), Path("/sys/kernel/debug/tracing"))
UPROBE_EVENTS: Final = "uprobe_events"
INSTANCES: Final = "instances"
# numbers since Linux 5.2, the same on every architecture that Go and Python run on
_FSOPEN, _FSCONFIG, _FSMOUNT = 430, 431, 432
_CLOEXEC: Final = 1
_CREATE: Final = 6


class TracingError(MissingToolError):
    """Events cannot be set here: one line with the reason and what to do (exit code 5)."""


@contextmanager
def tracefs(places: tuple[Path, ...] = PLACES) -> Iterator[Path]:
    """The directory of tracefs, with uprobe events in it. Raises TracingError."""
    for place in places:
        if _is_there(place / INSTANCES):
            yield _checked(place)
            return
    descriptor = _mount()
    try:
        yield _checked(Path(f"/proc/self/fd/{descriptor}"))
    finally:
        os.close(descriptor)


def not_allowed() -> TracingError:
    """The error for a process that may not use tracing."""
    if os.geteuid() != 0:
        return TracingError("session keys need root (CAP_SYS_ADMIN), for they are read with kernel events; run captool with sudo")
    return TracingError(
        "session keys: this kernel does not let root set events here (a container without CAP_SYS_ADMIN, or kernel lockdown); "
        "run captool on the host, outside of containers"
    )


def _checked(place: Path) -> Path:
    if not _is_there(place / UPROBE_EVENTS):
        raise TracingError("session keys need uprobe events, and this kernel has none (it was built without CONFIG_UPROBE_EVENTS)")
    if not os.access(place / UPROBE_EVENTS, os.W_OK):
        raise not_allowed()
    return place


def _is_there(path: Path) -> bool:
    try:
        path.stat()
    except PermissionError:
        raise not_allowed() from None
    except OSError:
        return False
    return True


def _mount() -> int:
    """A descriptor of tracefs, mounted nowhere."""
    call = ctypes.CDLL(None, use_errno=True).syscall
    call.restype = ctypes.c_long
    context = -1
    try:
        context = _result(call(_FSOPEN, b"tracefs", _CLOEXEC))
        _result(call(_FSCONFIG, context, _CREATE, None, None, 0))
        return _result(call(_FSMOUNT, context, _CLOEXEC, 0))
    except OSError as error:
        if error.errno in {errno.EPERM, errno.EACCES}:
            raise not_allowed() from None
        if error.errno == errno.ENOSYS:
            raise TracingError("session keys need tracefs; mount it: mount -t tracefs tracefs /sys/kernel/tracing") from None
        raise TracingError("session keys need tracefs, and this kernel has none (it was built without CONFIG_TRACING)") from None
    finally:
        if context >= 0:
            with suppress(OSError):
                os.close(context)


def _result(value: int) -> int:
    if value < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return value
