"""Whether session keys can be taken on this machine: privileges, tracefs with uprobe events, kernel lockdown."""

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from captool.session_keys.live_sockets import knows_all_processes
from captool.session_keys.tracefs import TracingError, tracefs

LOCKDOWN: Final = Path("/sys/kernel/security/lockdown")  # kernel_lockdown(7)


@dataclass(frozen=True, slots=True)
class Tracing:
    """`ready` if uprobe events can be set, else `obstacle` says why not. `lockdown` is the kernel's mode, None where it has none.

    `all_processes` is false in a process namespace of its own: the kernel's events name processes by other numbers there.
    """

    ready: bool
    obstacle: str | None
    root: bool
    lockdown: str | None
    all_processes: bool


def look_at_tracing() -> Tracing:
    """Look, and set nothing."""
    obstacle = None
    try:
        with tracefs():
            pass
    except TracingError as error:
        obstacle = str(error)
    lockdown = None
    with suppress(OSError):
        chosen = LOCKDOWN.read_text(encoding="ascii", errors="replace")
        lockdown = chosen.partition("[")[2].partition("]")[0] or None
    return Tracing(obstacle is None, obstacle, os.geteuid() == 0, lockdown, knows_all_processes())
