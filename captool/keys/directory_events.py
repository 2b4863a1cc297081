"""What inotify (man 7 inotify) tells of a machines directory: machines that came and went, files that were written.

Not by way of watchdog: to pair the two halves of a rename its reader sleeps for half a second when it meets the first one, and docker-machine
renames config.json at the very beginning of a machine. Two levels are watched and no more, links are not followed.
"""

import ctypes
import errno
import os
import select
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

from captool.keys.caught import WANTED

IN_CLOSE_WRITE: Final = 0x8
IN_MOVED_FROM: Final = 0x40
IN_MOVED_TO: Final = 0x80
IN_CREATE: Final = 0x100
IN_DELETE: Final = 0x200
IN_Q_OVERFLOW: Final = 0x4000
IN_IGNORED: Final = 0x8000
IN_ONLYDIR: Final = 0x1000000
IN_DONT_FOLLOW: Final = 0x2000000
IN_EXCL_UNLINK: Final = 0x4000000
IN_ISDIR: Final = 0x40000000

OF_ROOT: Final = IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_ONLYDIR
OF_MACHINE: Final = IN_CLOSE_WRITE | IN_CREATE | IN_MOVED_TO | IN_ONLYDIR | IN_DONT_FOLLOW | IN_EXCL_UNLINK
EVENT: Final = struct.Struct("@iIII")  # wd, mask, cookie, length of the name
READ_BYTES: Final = 1 << 16


class DirectoryEvents:
    """Calls `catch` with a machine's directory and the files to read in it, `gone` with one that was removed, in a thread of its own.

    `roots` are the machines directories that are heard; `unheard` those with a machine for which the kernel had no watch left;
    `overflowed` says that events were lost since it was last set to False.
    """

    def __init__(self, catch: Callable[[Path, tuple[str, ...]], None], gone: Callable[[Path], None]) -> None:
        self.roots: set[Path] = set()
        self.unheard: set[Path] = set()
        self.overflowed = False
        self._catch, self._gone = catch, gone
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._watches: dict[int, tuple[Path, bool]] = {}  # a directory, and whether it is a root
        self._lock = threading.Lock()
        self._inotify: int | None = None
        self._stop, self._stopped = os.pipe2(os.O_CLOEXEC)
        self._thread = threading.Thread(target=self._run, name="inotify", daemon=True)

    def add(self, root: Path) -> None:
        """Hear of another machines directory. Raises OSError where inotify or a watch is not to be had."""
        if self._inotify is None:
            self._inotify = _checked(self._libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK))
            self._thread.start()
        self._watch(root, is_root=True)
        self.roots.add(root)
        for entry in os.scandir(root):
            if entry.is_dir(follow_symlinks=False) and not entry.name.startswith("."):
                self._watch_machine(root / entry.name)

    def stop(self) -> None:
        """No call comes after this."""
        os.close(self._stopped)
        if self._inotify is not None:
            self._thread.join()
            os.close(self._inotify)
        os.close(self._stop)

    def _watch(self, directory: Path, *, is_root: bool) -> None:
        with self._lock:  # the thread must not see an event of a watch that is not in the table yet
            mask = OF_ROOT if is_root else OF_MACHINE
            watch = _checked(self._libc.inotify_add_watch(self._inotify, os.fsencode(directory), ctypes.c_uint32(mask)))
            self._watches[watch] = (directory, is_root)

    def _watch_machine(self, directory: Path) -> None:
        try:
            self._watch(directory, is_root=False)
        except OSError as error:
            if error.errno not in {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}:
                self.unheard.add(directory.parent)

    def _run(self) -> None:
        inotify = self._inotify
        if inotify is None:
            return
        while True:
            ready, _, _ = select.select([inotify, self._stop], [], [])
            if self._stop in ready:
                return
            try:
                data = os.read(inotify, READ_BYTES)
            except BlockingIOError:
                continue
            offset = 0
            while offset < len(data):
                watch, mask, _, length = EVENT.unpack_from(data, offset)
                offset += EVENT.size
                self._event(watch, mask, os.fsdecode(data[offset : offset + length].rstrip(b"\0")))
                offset += length

    def _event(self, watch: int, mask: int, name: str) -> None:
        if mask & IN_Q_OVERFLOW:
            self.overflowed = True
            return
        with self._lock:
            directory, is_root = self._watches.pop(watch, (None, False)) if mask & IN_IGNORED else self._watches.get(watch, (None, False))
        if directory is None:
            return
        if mask & IN_IGNORED:
            self.roots.discard(directory)
        elif not is_root:
            if name in WANTED:
                self._catch(directory, (name,))
        elif mask & IN_ISDIR and not name.startswith("."):
            if mask & (IN_CREATE | IN_MOVED_TO):
                self._watch_machine(directory / name)
                self._catch(directory / name, WANTED)  # after the watch: what came before it is read now, what comes after it is told
            else:
                self._gone(directory / name)


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
