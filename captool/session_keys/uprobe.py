"""Kernel events of one recording: uprobes on programs, socket states, in a trace instance and an event group of its own.

Other users of tracing are not disturbed: definitions are appended, events are enabled in the instance only, and everything is removed at
the end. What a captool that was killed left behind is removed by the next one: the directory of a living recording is locked (flock), a
dead one's is not. Spec: Documentation/trace/uprobetracer.rst, Documentation/trace/ftrace.rst (instances).
"""

import contextlib
import errno
import fcntl
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

from captool.session_keys.tracefs import INSTANCES, UPROBE_EVENTS, TracingError, not_allowed

PREFIX: Final = "captool_"
BUFFER_KIB: Final = 256  # of each CPU; a secret takes about 170 bytes, and they are fetched as they come
SOCKET_STATES: Final = "inet_sock_set_state"
MAX_UPROBES: Final = 1024
_SYN_SENT, _LISTEN = 2, 10  # include/net/tcp_states.h
_CHUNK: Final = 1 << 16
_BUSY_S: Final = 2.0


class EventGroup:
    """The events of one recording. `name` is the name of its group and of its instance."""

    def __init__(self, root: Path, name: str, lock: int) -> None:
        self.name = name
        self._root = root
        self._instance = root / INSTANCES / name
        self._lock = lock
        self._events: list[str] = []
        self._pipe = -1

    def open(self) -> int:
        """Prepare the buffer and open it for reading (it does not block). Returns the descriptor, which becomes readable with events."""
        for option, value in (
            ("trace_clock", "mono"),
            ("buffer_size_kb", str(BUFFER_KIB)),
            ("buffer_percent", "0"),  # readable with the first event, not with a half-full buffer (Linux 5.0)
            ("options/record-tgid", "1"),  # Linux 4.14
        ):
            with contextlib.suppress(OSError):
                _write(self._instance / option, value)
        self._pipe = os.open(self._instance / "trace_pipe", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        return self._pipe

    def add_uprobe(self, descriptor: int, offset: int, arguments: str) -> str:
        """An event at this offset of an open program file; from now on every process that runs it causes it. Returns the event's name.

        The file is named by its descriptor, so what was looked at is what gets the event, in whatever namespace it is, and whatever
        characters its path has. Raises TracingError.
        """
        if len(self._events) >= MAX_UPROBES:
            raise TracingError(f"session keys: {MAX_UPROBES} programs have their event already; no more are added")
        event = f"k{len(self._events)}"
        try:
            _append(self._root / UPROBE_EVENTS, f"p:{self.name}/{event} /proc/self/fd/{descriptor}:{offset:#x} {arguments}")
            self._events.append(event)
            _write(self._instance / "events" / self.name / event / "enable", "1")
        except OSError as error:
            if error.errno in {errno.EPERM, errno.EACCES}:
                raise not_allowed() from None
            raise TracingError(f"the kernel refused the event: {(error.strerror or str(error)).lower()}") from None
        return event

    def watch_sockets(self, ports: Iterable[int]) -> bool:
        """An event whenever a process begins to connect or to listen on one of these TCP ports, in any network namespace.

        False where the kernel has no such event (before Linux 4.16).
        """
        folder = self._instance / "events" / "sock" / SOCKET_STATES
        expression = " || ".join(f"sport == {port} || dport == {port}" for port in ports)
        try:
            _write(folder / "filter", f"(newstate == {_SYN_SENT} || newstate == {_LISTEN}) && ({expression})")
            _write(folder / "enable", "1")
        except OSError:
            return False
        return True

    def read(self) -> bytes:
        """What the kernel has recorded, taken out of its buffer; empty if there is nothing. Raises OSError."""
        try:
            return os.read(self._pipe, _CHUNK)
        except BlockingIOError:
            return b""

    def disable(self) -> None:
        """No more events; what is in the buffer can still be read."""
        with contextlib.suppress(OSError):
            _write(self._instance / "events" / "enable", "0")

    def close(self) -> None:
        """Remove the events and the instance."""
        if self._pipe >= 0:
            os.close(self._pipe)
            self._pipe = -1
        self.disable()
        _remove(self._root, self.name)
        os.close(self._lock)


@contextmanager
def event_group(root: Path) -> Iterator[EventGroup]:
    """A group of one's own below the tracefs at `root`; removed at the end, and leftovers of the dead at the beginning.

    Raises TracingError.
    """
    try:
        with _creation(root):
            remove_leftovers(root)
            name, lock = _make(root)
    except OSError as error:
        if error.errno in {errno.EPERM, errno.EACCES}:
            raise not_allowed() from None
        raise TracingError(f"session keys: tracing cannot be used: {(error.strerror or str(error)).lower()}") from None
    group = EventGroup(root, name, lock)
    try:
        yield group
    finally:
        group.close()


def remove_leftovers(root: Path) -> None:
    """Remove what captool recordings that are no more have left; those of living ones hold a lock."""
    instances = root / INSTANCES
    alive = set()
    for folder in instances.iterdir():
        if not folder.name.startswith(PREFIX):
            continue
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _remove(root, folder.name)
        except BlockingIOError:
            alive.add(folder.name)
        finally:
            os.close(descriptor)
    for group in {group for group, _ in _defined(root)} - alive:
        _remove(root, group)


@contextmanager
def _creation(root: Path) -> Iterator[None]:
    """One captool at a time, so that a new instance is not taken for a leftover before it is locked."""
    descriptor = os.open(root / INSTANCES, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _make(root: Path) -> tuple[str, int]:
    number = 0
    while True:
        name = f"{PREFIX}{os.getpid()}_{number}"
        try:
            (root / INSTANCES / name).mkdir()
            break
        except FileExistsError:
            number += 1
    lock = os.open(root / INSTANCES / name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return name, lock


def _remove(root: Path, group: str) -> None:
    """Remove an instance, which disables its events, and then the definitions. A reader that still has a file open delays it a little."""
    with contextlib.suppress(FileNotFoundError):
        _patiently((root / INSTANCES / group).rmdir)
    for _, event in [each for each in _defined(root) if each[0] == group]:
        _patiently(partial(_append, root / UPROBE_EVENTS, f"-:{group}/{event}"))


def _patiently(step: Callable[[], object]) -> None:
    deadline = time.monotonic() + _BUSY_S
    while True:
        try:
            step()
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno != errno.EBUSY or time.monotonic() > deadline:
                return  # the next captool tries again
            time.sleep(0.02)
        else:
            return


def _defined(root: Path) -> list[tuple[str, str]]:
    """Group and name of each uprobe event that has a captool's name."""
    lines = (root / UPROBE_EVENTS).read_text(errors="replace")
    return re.findall(rf"^[pr]\d*:({PREFIX}\w+)/(\w+) ", lines, re.MULTILINE)


def _append(path: Path, line: str) -> None:
    # O_APPEND, because opening only for writing removes everybody's events
    _put(path, line, os.O_APPEND)


def _write(path: Path, value: str) -> None:
    _put(path, value, 0)


def _put(path: Path, text: str, flags: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC | flags)
    try:
        os.write(descriptor, text.encode() + b"\n")
    finally:
        os.close(descriptor)
