"""What a recording finds when it starts: connections that are open already, interfaces that merge packets, the clock."""

import array
import ctypes
import fcntl
import os
import socket
import struct
import threading
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from captool.record.namespace import NetworkNamespace
from captool.session_keys.live_sockets import live_sockets, owners
from captool.session_keys.open_connections import OpenConnection, open_connections, shown_end
from captool.session_keys.targets import program_of

HERE: Final = "this machine"
MAX_NAMED: Final = 10
SIOCETHTOOL: Final = 0x8946
# include/uapi/linux/ethtool.h
OFFLOADS: Final = {"tso": 0x1E, "gso": 0x23, "gro": 0x2B}
TIME_ERROR: Final = 5  # adjtimex(2)


@dataclass(frozen=True, slots=True)
class Circumstances:
    """`offloads` are those that are on, by interface; `clock_synchronized` is None where the kernel does not tell.

    `open` are established connections to the recorded ports of the recorded host in the recorded namespace; those that are only passed on
    by that host cannot be seen. `machine` is what that host is called in sentences; `open_known` is false where it could not be asked.
    """

    open: tuple[OpenConnection, ...] = ()
    owners: tuple[tuple[int, str], ...] = ()
    offloads: tuple[tuple[str, tuple[str, ...]], ...] = ()
    clock_synchronized: bool | None = None
    machine: str = HERE
    open_known: bool = True

    def document(self) -> dict[str, object]:
        """As it stands in the manifest."""
        names = dict(self.owners)
        return {
            "open_connections": None
            if not self.open_known
            else [
                {
                    "client": shown_end(one.client),
                    "server": shown_end(one.server),
                    "pid": one.process,
                    "program": names.get(one.process) if one.process is not None else None,
                }
                for one in self.open
            ],
            "offloads": {name: list(which) for name, which in self.offloads},
            "clock_synchronized": self.clock_synchronized,
        }

    def sentences(self, *, open_told: bool) -> tuple[str, ...]:
        """For the user; without the open connections where they were told already."""
        told = []
        there = "" if self.machine == HERE else f", on {self.machine}"
        names = dict(self.owners)
        if not self.open_known:
            told.append(f"connections that are open already on {self.machine} are not known: it has no ss (package iproute2)")
        if not open_told:
            for one in self.open[:MAX_NAMED]:
                owner = f" ({names.get(one.process, 'process')}, pid {one.process})" if one.process is not None else ""
                told.append(
                    f"{shown_end(one.client)} -> {shown_end(one.server)}{owner} is open already: "
                    "without its handshake TLS cannot be decrypted; restart the client to have it all"
                )
            if len(self.open) > MAX_NAMED:
                told.append(f"{len(self.open) - MAX_NAMED} more connections are open already")
        for name, which in self.offloads:
            told.append(
                f"{name} merges packets ({', '.join(which)}): sizes and counts in the trace are not those on the wire; "
                f"to see each one{there}: ethtool -K {name} {' '.join(f'{one} off' for one in which)}"
            )
        if self.clock_synchronized is False:
            told.append(f"the clock of {self.machine} is not synchronised; compare its times with other logs with care (chronyc tracking)")
        return tuple(told)


def circumstances(ports: Collection[int], interfaces: tuple[str, ...], namespace: NetworkNamespace | None) -> Circumstances:
    """How things stand now. What cannot be found out is left out."""
    inode = namespace.inode if namespace else os.stat("/proc/self/ns/net").st_ino  # noqa: PTH116
    sockets = [one for one in live_sockets(ports) if one.namespace == inode]
    owned_by = owners(sockets)
    found = open_connections(sockets, owned_by, ports)
    pids = {one.process for one in found if one.process is not None}
    programs = tuple((pid, Path(program_of(pid).name).name) for pid in sorted(pids))
    return Circumstances(found, programs, _inside(namespace, lambda: _offloads(interfaces)), _clock_synchronized())


def _inside(
    namespace: NetworkNamespace | None, look: Callable[[], tuple[tuple[str, tuple[str, ...]], ...]]
) -> tuple[tuple[str, tuple[str, ...]], ...]:
    if namespace is None:
        return look()
    found: list[tuple[tuple[str, tuple[str, ...]], ...]] = []

    def enter_and_look() -> None:
        with suppress(OSError):
            namespace.enter()
            found.append(look())

    thread = threading.Thread(target=enter_and_look)  # of its own: it stays in the namespace that it has entered
    thread.start()
    thread.join()
    return found[0] if found else ()


def _offloads(interfaces: tuple[str, ...]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Of the named interfaces; of `any` nothing is said, for those that carry the traffic are not known."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        asked = {name: tuple(word for word, command in OFFLOADS.items() if _is_on(control, name, command)) for name in interfaces}
    return tuple((name, which) for name, which in asked.items() if which and name not in {"any", "lo"})


def _is_on(control: socket.socket, interface: str, command: int) -> bool:
    value = array.array("I", [command, 0])  # struct ethtool_value
    name = interface.encode()[:15]
    with suppress(OSError):
        fcntl.ioctl(control, SIOCETHTOOL, struct.pack("16sP16x", name, value.buffer_info()[0]))
        return value[1] != 0
    return False


def _clock_synchronized() -> bool | None:
    libc = ctypes.CDLL(None, use_errno=True)
    with suppress(AttributeError):
        state = libc.adjtimex(ctypes.create_string_buffer(512))  # struct timex, all zero: asks, changes nothing
        return None if state < 0 else state != TIME_ERROR
    return None
