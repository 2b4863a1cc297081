"""The user that tcpdump becomes once it listens: it needs no privilege any more, since it writes to a pipe and captool to the files."""

import os
import pwd
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

USERS: Final = ("tcpdump", "nobody")  # Debian's and Fedora's packages of tcpdump make the first
CAP_SETGID, CAP_SETUID = 6, 7  # linux/capability.h
PROC: Final = Path("/proc/self")
# Reads until captool has gone, however it went, and then ends tcpdump.
GUARD: Final = 'read -r _; kill "$1" 2>/dev/null'


def user_of_tcpdump(proc: Path = PROC) -> str | None:
    """For `tcpdump -Z`: the first of `USERS` that there is and that it may become, else user 0. None where captool is not root."""
    if os.geteuid() != 0:
        return None
    root = pwd.getpwuid(0).pw_name
    if not _may_change_user(proc):
        return root
    for name in USERS:
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        if _is_mapped(proc / "uid_map", user.pw_uid) and _is_mapped(proc / "gid_map", user.pw_gid):
            return name
    return root


def _may_change_user(proc: Path) -> bool:
    """Whether this process has the capabilities for it, and may say which groups it is in (user_namespaces(7))."""
    status = dict(line.split(":\t", 1) for line in _text(proc / "status").splitlines() if ":\t" in line)
    capabilities = int(status.get("CapEff", "0"), 16)
    wanted = 1 << CAP_SETGID | 1 << CAP_SETUID
    return capabilities & wanted == wanted and _text(proc / "setgroups").strip() != "deny"


def _is_mapped(table: Path, number: int) -> bool:
    """Whether a user or group has a number in this user namespace: lines of first number here, first number outside, how many."""
    rows = (tuple(map(int, line.split())) for line in _text(table).splitlines())
    return any(first <= number < first + count for first, _, count in rows)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""


@contextmanager
def ended_with_captool(process: "subprocess.Popen[bytes]") -> Iterator[None]:
    """A shell beside tcpdump that ends it when captool is killed.

    The kernel would do that (PR_SET_PDEATHSIG), but not any more for a process that has changed its user (prctl(2)).
    """
    guard = subprocess.Popen(
        ["/bin/sh", "-c", GUARD, "captool-guard", str(process.pid)],
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        yield
    finally:
        guard.kill()
        guard.wait()
        if guard.stdin is not None:
            guard.stdin.close()
