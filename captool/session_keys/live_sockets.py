"""TCP sockets that exist now on some ports, in every network namespace, and the processes that own them: sock_diag(7), proc_pid_fd(5)."""

import ctypes
import os
import re
import socket
import threading
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

MAX_NAMESPACES: Final = 256
ESTABLISHED, LISTEN = 1, 10  # include/net/tcp_states.h
ALL_STATES: Final = 0xFFF
_CLONE_NEWNET: Final = 0x40000000
_FIRST_PID_NAMESPACE: Final = 0xEFFFFFFC  # PROC_PID_INIT_INO in include/linux/proc_ns.h
_SOCKET: Final = re.compile(r"socket:\[(\d+)\]")


@dataclass(frozen=True, slots=True)
class LiveSocket:
    """A TCP socket: its two ends (address, port), its state by the kernel's number, its inode (0 once no process has it)."""

    local: tuple[str, int]
    remote: tuple[str, int]
    state: int
    inode: int


def live_sockets(ports: Collection[int]) -> tuple[LiveSocket, ...]:
    """All TCP sockets with one of these ports at either end. Namespaces and processes that go away meanwhile are left out."""
    found: dict[LiveSocket, None] = {}

    def look(descriptor: int) -> None:
        # a thread of its own, for entering a namespace concerns the calling thread, and this one ends with it
        with suppress(OSError):
            if ctypes.CDLL(None, use_errno=True).setns(descriptor, _CLONE_NEWNET) == 0:
                found.update(dict.fromkeys(_in_this_namespace(ports)))

    with suppress(OSError):
        found.update(dict.fromkeys(_in_this_namespace(ports)))
    for path in _other_namespaces():
        with suppress(OSError):
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                thread = threading.Thread(target=look, args=(descriptor,), daemon=True)
                thread.start()
                thread.join()
            finally:
                os.close(descriptor)
    return tuple(found)


def owners(sockets: Collection[LiveSocket]) -> dict[int, int]:
    """The process that has each socket open, by the socket's inode; of several, which share it, the first."""
    wanted = {each.inode for each in sockets if each.inode}
    found: dict[int, int] = {}
    for process in processes() if wanted else ():
        with suppress(OSError):
            for descriptor in os.listdir(f"/proc/{process}/fd"):  # noqa: PTH208 (names only; this directory can be long)
                with suppress(OSError):
                    match = _SOCKET.fullmatch(os.readlink(f"/proc/{process}/fd/{descriptor}"))  # noqa: PTH115
                    if match and (inode := int(match[1])) in wanted:
                        found.setdefault(inode, process)
    return found


def processes() -> Iterator[int]:
    """The ids of all processes that can be seen from here."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            yield int(entry.name)


def knows_all_processes() -> bool:
    """Whether process ids mean here what they mean to the kernel: in a container with a pid namespace of its own they do not."""
    with suppress(OSError):
        return os.stat("/proc/self/ns/pid").st_ino == _FIRST_PID_NAMESPACE  # noqa: PTH116
    return False


def _other_namespaces() -> list[str]:
    """A path to each network namespace that some process lives in, other than our own."""
    with suppress(OSError):
        known = {os.stat("/proc/self/ns/net").st_ino}  # noqa: PTH116
        paths = []
        for process in processes():
            path = f"/proc/{process}/ns/net"
            with suppress(OSError):
                inode = os.stat(path).st_ino  # noqa: PTH116
                if inode not in known and len(known) < MAX_NAMESPACES:
                    known.add(inode)
                    paths.append(path)
        return paths
    return []


def _in_this_namespace(ports: Collection[int]) -> Iterator[LiveSocket]:
    from pyroute2 import DiagSocket
    from pyroute2.netlink import NLM_F_MATCH, NLM_F_REQUEST, NLM_F_ROOT
    from pyroute2.netlink.diag import SOCK_DIAG_BY_FAMILY, inet_diag_req
    from pyroute2.netlink.exceptions import NetlinkError

    with suppress(NetlinkError), DiagSocket() as diagnosis:
        for family in (socket.AF_INET, socket.AF_INET6):
            for port in ports:
                for end in ("idiag_sport", "idiag_dport"):  # the kernel picks them out; get_sock_stats() does so in new releases only
                    request = inet_diag_req()
                    request["sdiag_family"], request["sdiag_protocol"] = family, socket.IPPROTO_TCP
                    request["idiag_states"], request["idiag_ext"] = ALL_STATES, 0
                    request[end] = port
                    for each in diagnosis.nlm_request(request, SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST | NLM_F_ROOT | NLM_F_MATCH):
                        yield LiveSocket(
                            (_address(each["idiag_src"]), each["idiag_sport"]),
                            (_address(each["idiag_dst"]), each["idiag_dport"]),
                            each["idiag_state"],
                            each["idiag_inode"],
                        )


def _address(text: str) -> str:
    """Sockets of IPv6 that talk IPv4 are shown with the addresses that are on the wire."""
    return text.removeprefix("::ffff:")
