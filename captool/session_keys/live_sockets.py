"""TCP sockets that exist now on some ports, in every network namespace, and the processes that own them: sock_diag(7), proc_pid_fd(5)."""

import ctypes
import os
import re
import socket
import struct
import sys
import threading
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

MAX_NAMESPACES: Final = 256
MAX_SOCKETS: Final = 20_000  # of one look; a Docker host has some dozens
ESTABLISHED, LISTEN = 1, 10  # include/net/tcp_states.h
ALL_STATES: Final = 0xFFF
# idiag_timer, as inet_sk_diag_fill() in net/ipv4/inet_diag.c sets it: a retransmission or window probe that is due hides the socket's
NO_TIMER, RETRANSMIT_TIMER, SOCKET_TIMER, TIME_WAIT_TIMER, WINDOW_PROBE_TIMER = range(5)
_INET_DIAG_INFO: Final = 1 << 1  # ask for struct tcp_info
_MS: Final = 1_000_000
_CLONE_NEWNET: Final = 0x40000000
_FIRST_PID_NAMESPACE: Final = 0xEFFFFFFC  # PROC_PID_INIT_INO in include/linux/proc_ns.h
_SOCKET: Final = re.compile(r"socket:\[(\d+)\]")


@dataclass(frozen=True, slots=True)
class SocketCondition:
    """What a socket is doing, as `ss -tnoi` shows it: times in nanoseconds, None where this kernel does not tell.

    `timer` is the one that fires next (NO_TIMER to WINDOW_PROBE_TIMER), in `timer_ns`; `attempts` is how often it fired without an answer.
    `sent_ago_ns`, `received_ago_ns` and `acknowledged_ago_ns` are the times since the last data sent, data received and ACK received.
    `unacknowledged` counts segments, `send_queue` the bytes not acknowledged yet, `receive_queue` the bytes (of a listener: the
    connections) that its program has not taken yet. `peer_window` is the window that the peer offers, in bytes.
    """

    timer: int
    timer_ns: int
    attempts: int
    receive_queue: int
    send_queue: int
    sent_ago_ns: int | None
    received_ago_ns: int | None
    acknowledged_ago_ns: int | None
    unacknowledged: int | None
    retransmissions: int | None
    peer_window: int | None


@dataclass(frozen=True, slots=True)
class LiveSocket:
    """A TCP socket: its two ends (address, port), its state by the kernel's number, its inode (0 once no process has it).

    `namespace` is the inode of its network namespace, and `condition` is there if it was asked for; neither makes it another socket.
    """

    local: tuple[str, int]
    remote: tuple[str, int]
    state: int
    inode: int
    namespace: int = field(default=0, compare=False)
    condition: SocketCondition | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Holder:
    """A process that has a socket open, and under which descriptor."""

    process: int
    descriptor: int


def live_sockets(ports: Collection[int], *, conditions: bool = False) -> tuple[LiveSocket, ...]:
    """All TCP sockets with one of these ports at either end, MAX_SOCKETS at most; with their conditions if asked for.

    Namespaces and processes that go away meanwhile are left out.
    """
    found: dict[LiveSocket, None] = {}

    def take() -> None:
        for each in _in_this_namespace(ports, conditions):
            if len(found) >= MAX_SOCKETS:
                return
            found.setdefault(each)

    def look(descriptor: int) -> None:
        # a thread of its own, for entering a namespace concerns the calling thread, and this one ends with it
        with suppress(OSError):
            if ctypes.CDLL(None, use_errno=True).setns(descriptor, _CLONE_NEWNET) == 0:
                take()

    with suppress(OSError):
        take()
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
    return {inode: holder.process for inode, holder in holders(sockets).items()}


def holders(sockets: Collection[LiveSocket]) -> dict[int, Holder]:
    """The process and the descriptor under which each socket is open, by the socket's inode; of several the first."""
    wanted = {each.inode for each in sockets if each.inode}
    found: dict[int, Holder] = {}
    for process in processes() if wanted else ():
        with suppress(OSError):
            for descriptor in os.listdir(f"/proc/{process}/fd"):  # noqa: PTH208 (names only; this directory can be long)
                with suppress(OSError):
                    match = _SOCKET.fullmatch(os.readlink(f"/proc/{process}/fd/{descriptor}"))  # noqa: PTH115
                    if match and (inode := int(match[1])) in wanted:
                        found.setdefault(inode, Holder(process, int(descriptor)))
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


def _in_this_namespace(ports: Collection[int], conditions: bool) -> Iterator[LiveSocket]:  # noqa: FBT001
    from pyroute2 import DiagSocket
    from pyroute2.netlink import NLM_F_MATCH, NLM_F_REQUEST, NLM_F_ROOT
    from pyroute2.netlink.diag import SOCK_DIAG_BY_FAMILY, inet_diag_req
    from pyroute2.netlink.exceptions import NetlinkError

    namespace = os.stat("/proc/thread-self/ns/net").st_ino  # noqa: PTH116
    with suppress(NetlinkError), DiagSocket() as diagnosis:
        for family in (socket.AF_INET, socket.AF_INET6):
            for port in ports:
                for end in ("idiag_sport", "idiag_dport"):  # the kernel picks them out; get_sock_stats() does so in new releases only
                    request = inet_diag_req()
                    request["sdiag_family"], request["sdiag_protocol"] = family, socket.IPPROTO_TCP
                    request["idiag_states"], request["idiag_ext"] = ALL_STATES, _INET_DIAG_INFO if conditions else 0
                    request[end] = port
                    for each in diagnosis.nlm_request(request, SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST | NLM_F_ROOT | NLM_F_MATCH):
                        yield LiveSocket(
                            (_address(each["idiag_src"]), each["idiag_sport"]),
                            (_address(each["idiag_dst"]), each["idiag_dport"]),
                            each["idiag_state"],
                            each["idiag_inode"],
                            namespace,
                            _condition(each) if conditions else None,
                        )


def _condition(answer: Any) -> SocketCondition:  # noqa: ANN401 (pyroute2 has no types)
    info = _tcp_info(answer)

    def number(offset: int) -> int | None:
        return int.from_bytes(info[offset : offset + 4], sys.byteorder) if offset + 4 <= len(info) else None

    def time_ns(offset: int) -> int | None:
        value = number(offset)
        return None if value is None else value * _MS

    return SocketCondition(
        timer=answer["idiag_timer"],
        timer_ns=answer["idiag_expires"] * _MS,
        attempts=answer["idiag_retrans"],
        receive_queue=answer["idiag_rqueue"],
        send_queue=answer["idiag_wqueue"],
        sent_ago_ns=time_ns(44),
        received_ago_ns=time_ns(52),
        acknowledged_ago_ns=time_ns(56),
        unacknowledged=number(24),
        retransmissions=number(100),
        peer_window=number(228),  # Linux 5.4
    )


def _tcp_info(answer: Any) -> bytes:  # noqa: ANN401
    """The struct tcp_info of include/uapi/linux/tcp.h as this kernel has it.

    It grew over time; pyroute2's own reader takes what follows a shorter one for its last fields.
    """
    for slot in answer["attrs"]:
        if slot.name == "INET_DIAG_INFO":
            attribute = slot.cell[1]  # not decoded yet
            (length,) = struct.unpack_from("=H", attribute.data, attribute.offset)
            return bytes(attribute.data[attribute.offset + 4 : attribute.offset + length])
    return b""


def _address(text: str) -> str:
    """Sockets of IPv6 that talk IPv4 are shown with the addresses that are on the wire."""
    return text.removeprefix("::ffff:")
