"""Network namespaces to record in: named ones (ip-netns(8)), those of a path, and those of containers."""

import ctypes
import os
import re
import shutil
import socket
import subprocess
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from captool.errors import MissingToolError, UsageError

NAMED: Final = Path("/run/netns")
CLONE_NEWNET: Final = 0x40000000
INSPECTORS: Final = ("docker", "podman")
_ID: Final = re.compile(r"[0-9a-f]{12,64}")


@dataclass(frozen=True, slots=True)
class NetworkNamespace:
    """An open network namespace. `shown` is what the user called it, `inode` the kernel's number of it."""

    shown: str
    descriptor: int
    inode: int

    def enter(self) -> None:
        """Move the calling thread into it. Raises OSError."""
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.setns(self.descriptor, CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    def interfaces(self) -> dict[str, int]:
        """The interfaces in it and their numbers; none where it may not be entered."""
        found: dict[str, int] = {}

        def look() -> None:
            # a thread of its own, for entering a namespace concerns the calling thread, and this one ends with it
            with suppress(OSError):
                self.enter()
                found.update({name: number for number, name in socket.if_nameindex()})

        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
        return found


def named_namespace(word: str) -> NetworkNamespace:
    """The namespace of a name under /run/netns, or of a path such as /proc/1234/ns/net. Raises UsageError, MissingToolError."""
    path = Path(word) if "/" in word else NAMED / word
    try:
        return _opened(path, word)
    except FileNotFoundError:
        existing = sorted(entry.name for entry in NAMED.iterdir()) if NAMED.is_dir() else []
        raise UsageError(f"{path}: there is no such network namespace; existing ones: {', '.join(existing) or 'none'}") from None


def container_namespace(word: str) -> NetworkNamespace:
    """The namespace of a running container, by name or id (12 digits of it at least). Raises UsageError, MissingToolError.

    Docker or podman are asked; where neither knows it, an id is looked for among the control groups of all processes.
    """
    process = _inspected(word) or _by_control_group(word)
    if process is None:
        raise UsageError(f"there is no running container {word}; docker ps lists them (without docker, give its id)")
    try:
        return _opened(Path(f"/proc/{process}/ns/net"), f"container {word}")
    except FileNotFoundError:
        raise UsageError(f"container {word} has just ended; start it again") from None


def _opened(path: Path, shown: str) -> NetworkNamespace:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise
    except PermissionError:
        raise MissingToolError(f"{path}: not allowed to open the network namespace; run captool as root") from None
    except OSError as error:
        raise UsageError(f"{path}: {(error.strerror or str(error)).lower()}; name a network namespace") from None
    # NS_GET_NSTYPE, ioctl_ns(2): what is no namespace at all does not know it
    if ctypes.CDLL(None, use_errno=True).ioctl(descriptor, 0xB703, 0) != CLONE_NEWNET:
        os.close(descriptor)
        raise UsageError(f"{path}: is no network namespace; name one, such as /proc/PID/ns/net")
    return NetworkNamespace(shown, descriptor, os.fstat(descriptor).st_ino)


def _inspected(word: str) -> int | None:
    for program in INSPECTORS:
        found = shutil.which(program)
        if found is None:
            continue
        command = [found, "inspect", "--type", "container", "--format", "{{.State.Pid}}", "--", word]
        with suppress(OSError, subprocess.TimeoutExpired):
            done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=10, stdin=subprocess.DEVNULL)
            if done.returncode == 0 and done.stdout.strip().isdecimal() and int(done.stdout):  # 0: it is not running
                return int(done.stdout)
    return None


def _by_control_group(word: str) -> int | None:
    """The process that was there first in the container with this id."""
    if not _ID.fullmatch(word):
        return None
    inside = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with suppress(OSError, ValueError, IndexError):
                if word in (entry / "cgroup").read_text(encoding="utf-8", errors="replace"):
                    started = int((entry / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[19])
                    inside.append((started, int(entry.name)))
    return min(inside)[1] if inside else None
