"""What this process may see, and whether session keys can be taken here: capabilities, tracefs with uprobe events, kernel lockdown."""

import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from captool.session_keys.live_sockets import knows_all_processes
from captool.session_keys.tracefs import TracingError, tracefs

STATUS: Final = Path("/proc/self/status")
# capabilities(7): to look into other users' processes and containers, and to enter network namespaces
_CAP_SYS_PTRACE, _CAP_SYS_ADMIN = 19, 21
LOCKDOWN: Final = Path("/sys/kernel/security/lockdown")  # kernel_lockdown(7)


@dataclass(frozen=True, slots=True)
class Tracing:
    """`ready` if uprobe events can be set, else `obstacle` says why not. `lockdown` is the kernel's mode, None where it has none.

    `privileged` says whether processes of others and their network namespaces may be looked into. `all_processes` is false in a process
    namespace of its own: the kernel's events name processes by other numbers there.
    """

    ready: bool
    obstacle: str | None
    privileged: bool
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
    return Tracing(obstacle is None, obstacle, may_look_into_others(), lockdown, knows_all_processes())


def may_look_into_others() -> bool:
    """Whether this process has the capabilities for it: root has, unless in a container."""
    with suppress(OSError):
        match = re.search(r"^CapEff:\s*([0-9a-f]+)$", STATUS.read_text(encoding="ascii", errors="replace"), re.MULTILINE)
        wanted = 1 << _CAP_SYS_PTRACE | 1 << _CAP_SYS_ADMIN
        return match is not None and int(match[1], 16) & wanted == wanted
    return False
