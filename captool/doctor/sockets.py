"""The live sockets to and from the ports: who has them, what they are doing, what keeps them alive."""

import os
import re
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from captool.doctor.keepalive import PROBING_STATES, SocketKeepalive, keepalive_of
from captool.doctor.kernel import Conntrack
from captool.doctor.outlook import Outlook, outlook
from captool.doctor.path import Path as NetworkPath
from captool.doctor.path import with_conntrack, within_this_machine
from captool.doctor.socket_options import socket_options
from captool.session_keys.live_sockets import LISTEN, Holder, LiveSocket, holders, live_sockets
from captool.session_keys.targets import program_of

# include/net/tcp_states.h, by number from 1
STATES: Final = (
    "established", "syn-sent", "syn-received", "fin-wait-1", "fin-wait-2", "time-wait", "closed", "close-wait", "last-ack", "listening",
    "closing", "new-syn-received",
)  # fmt: skip
_CONTAINER: Final = re.compile(r"(?:^|[/:-])([0-9a-f]{64})(?:\.scope)?$", re.MULTILINE)
_MAX_CGROUP: Final = 1 << 14


@dataclass(frozen=True, slots=True)
class Owner:
    """The process that has a socket open: its program's path, and the container (first 12 digits, where its control group names one)."""

    process: int
    program: str
    contained: bool
    container: str | None


@dataclass(frozen=True, slots=True)
class SocketReport:
    """A socket with what was found out. `keepalive` and `outlook` are None for states in which nothing is kept alive (listening, closing).

    `other` is the other end if that is a socket of this machine too; `silent_ns` the time since the last data or acknowledgement;
    `elsewhere` is set for a socket of another network namespace than ours.
    """

    socket: LiveSocket
    state: str
    owner: Owner | None
    elsewhere: bool
    silent_ns: int | None
    keepalive: SocketKeepalive | None
    other: LiveSocket | None
    outlook: Outlook | None


def look_at_sockets(ports: Collection[int], path: NetworkPath, conntrack: Conntrack | None) -> tuple[SocketReport, ...]:
    """All sockets with one of the ports, in every network namespace that may be seen; connections first, listeners last."""
    sockets = live_sockets(ports, conditions=True)
    held = holders(sockets)
    owned = {inode: _owner(holder) for inode, holder in held.items()}
    keepalives = {each: _keepalive(each, held.get(each.inode)) for each in sockets if each.state in PROBING_STATES}
    ends = {(each.local, each.remote, _place(each)): each for each in sockets}
    here = _namespace()
    reports = []
    for each in sockets:
        keepalive = keepalives.get(each)
        other = ends.get((each.remote, each.local, _place(each)))
        silent = _silent_ns(each)
        its_path = path if other is None and not _loopback(each.remote[0]) else within_this_machine(path)
        if each.namespace == here:
            its_path = with_conntrack(its_path, conntrack)
        reports.append(
            SocketReport(
                socket=each,
                state=state_name(each.state),
                owner=owned.get(each.inode),
                elsewhere=each.namespace != here,
                silent_ns=silent,
                keepalive=keepalive,
                other=other,
                outlook=None
                if keepalive is None
                else outlook(keepalive, None if other is None else keepalives.get(other), silent, its_path),
            )
        )
    return tuple(sorted(reports, key=lambda one: (one.socket.state == LISTEN, one.keepalive is None, one.socket.local, one.socket.remote)))


def state_name(number: int) -> str:
    """The state's name; unknown numbers as such."""
    return STATES[number - 1] if 0 < number <= len(STATES) else f"state {number}"


def container_in(control_groups: str) -> str | None:
    """The first 12 digits of the container's id in /proc/PID/cgroup, None where it names none."""
    match = _CONTAINER.search(control_groups)
    return match[1][:12] if match else None


def _keepalive(each: LiveSocket, holder: Holder | None) -> SocketKeepalive:
    return keepalive_of(each, None if holder is None else socket_options(holder, each.inode))


def _owner(holder: Holder) -> Owner:
    program = program_of(holder.process)
    container = None
    with suppress(OSError), Path(f"/proc/{holder.process}/cgroup").open("rb") as file:
        container = container_in(file.read(_MAX_CGROUP).decode("utf-8", "replace"))
    return Owner(holder.process, program.name, program.contained, container)


def _silent_ns(each: LiveSocket) -> int | None:
    if each.condition is None or each.state not in PROBING_STATES:
        return None
    times = (each.condition.sent_ago_ns, each.condition.received_ago_ns, each.condition.acknowledged_ago_ns)
    known = [time for time in times if time is not None]
    return min(known) if known else None


def _place(each: LiveSocket) -> int:
    """What tells equal loopback addresses of several network namespaces apart."""
    return each.namespace if _loopback(each.local[0]) else 0


def _loopback(address: str) -> bool:
    with suppress(ValueError):
        return ip_address(address).is_loopback
    return False


def _namespace() -> int:
    with suppress(OSError):
        return os.stat("/proc/self/ns/net").st_ino  # noqa: PTH116
    return 0
