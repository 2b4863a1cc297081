"""tcpdump: where it is, how it is called, and what its messages mean."""

import os
import re
import shutil
import socket
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from captool.errors import CaptoolError, MissingToolError, UsageError

SNAP_LENGTH: Final = 262144  # the largest that libpcap takes; a record cut short cannot be decrypted
KERNEL_BUFFER_KIB: Final = 32768
HANDOVER_S: Final = 1.0  # the longest that the kernel keeps a packet before tcpdump gets it (its pcap_set_timeout)
# root's directories, which an ordinary user's PATH does not name
SYSTEM_DIRECTORIES: Final = ("/usr/local/sbin", "/usr/sbin", "/sbin")
LISTENING: Final = re.compile(r"listening on (.+?), link-type (\S+)")
_COUNTER: Final = re.compile(r"^(\d+) packets? (captured|received by filter|dropped by kernel|dropped by interface)", re.MULTILINE)

_DROPPED: Final = re.compile(r"captured, .* (\d+) packets? dropped by kernel")


@dataclass(frozen=True, slots=True)
class Versions:
    """Of the programs that made a trace; None where `tcpdump --version` does not say it."""

    captool: str
    tcpdump: str | None
    libpcap: str | None


@dataclass(frozen=True, slots=True)
class Counters:
    """What tcpdump counted, None where it died before it could say. Received minus captured were never handed over."""

    captured: int | None = None
    received_by_filter: int | None = None
    dropped_by_kernel: int | None = None
    dropped_by_interface: int | None = None


def find_tcpdump() -> str:
    """The program's path; raises MissingToolError."""
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), *SYSTEM_DIRECTORIES))
    program = shutil.which("tcpdump", path=path)
    if program is None:
        raise MissingToolError("tcpdump is not installed; install it, for example: apt-get install tcpdump")
    return program


def versions(captool: str, program: str) -> Versions:
    """The versions of tcpdump here and its libpcap, for the manifest."""
    try:
        done = subprocess.run([program, "--version"], check=False, capture_output=True, text=True, timeout=10, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired):
        return Versions(captool, None, None)
    return versions_in(captool, done.stdout + done.stderr)


def versions_in(captool: str, said: str) -> Versions:
    """From what `tcpdump --version` said."""
    found = {name: match[1] for name in ("tcpdump", "libpcap") if (match := re.search(rf"{name} version (\S+)", said))}
    return Versions(captool, found.get("tcpdump"), found.get("libpcap"))


def one_interface(
    interfaces: tuple[str, ...], expression: str, existing: Callable[[], Mapping[str, int]], host: str | None = None
) -> tuple[str, str]:
    """The interface and the filter that record all `interfaces` in one process, in the order in which packets came.

    Several are recorded through `any`, whose packets say which interface they passed (`ifindex`, libpcap 1.10). `existing` gives the
    numbers of the interfaces where tcpdump runs, `host` is its name where that is not here. Raises UsageError for an interface that does
    not exist.
    """
    if len(interfaces) == 1 or "any" in interfaces:
        return ("any" if "any" in interfaces else interfaces[0]), expression
    numbers = existing()
    for name in interfaces:
        if name not in numbers:
            raise _no_interface(name, numbers, host)
    each = dict.fromkeys(f"ifindex {numbers[name]}" for name in interfaces)
    which = " or ".join(each) if len(each) == 1 else f"({' or '.join(each)})"
    return "any", f"{which} and ({expression})" if expression else which


def interfaces_here() -> dict[str, int]:
    """The network interfaces and their numbers."""
    return {name: number for number, name in socket.if_nameindex()}


def arguments(program: str, interface: str, expression: str, count: int | None, user: str | None) -> list[str]:
    """The command line; `user` is whom tcpdump becomes once it listens, where it starts as root, else None.

    The trace goes to standard output, so that captool creates the file and no privilege is in the way.

    Not in immediate mode: there libpcap reserves room for the largest packet in the kernel's buffer for every single one, and a burst
    of 50,000 packets lost a quarter of itself where the ordinary ring lost none, with the same 16 MiB (tcpdump 4.99.3, libpcap 1.10.3).
    The price is that packets come up to HANDOVER_S late, which the end of a recording waits for.
    """
    words = [program, "-i", interface, "-n", "-U", "-s", str(SNAP_LENGTH), "-B", str(KERNEL_BUFFER_KIB), "-w", "-"]
    if count is not None:
        words += ["-c", str(count)]
    if user is not None:
        words += ["-Z", user]  # else Debian's becomes its own, which fails in containers that have no such user or may not change it
    return [*words, "--", expression] if expression else words


def counters(messages: str) -> Counters:
    """The counts that tcpdump prints when it ends."""
    found = {what.replace(" ", "_"): int(number) for number, what in _COUNTER.findall(messages)}
    return Counters(**found)


def dropped_so_far(messages: str) -> int | None:
    """What the kernel has dropped, as of the last counters that tcpdump printed on SIGUSR1."""
    found = _DROPPED.findall(messages)
    return int(found[-1]) if found else None


def failure(messages: str, interface: str, expression: str, existing: Mapping[str, int], host: str | None = None) -> CaptoolError:
    """What tcpdump's messages mean for the user, and what to do about it. `host` is where it ran, None for here."""
    where = f" of {host}" if host else ""
    said_lines = [line for line in messages.splitlines() if line.strip() and not _DROPPED.search(line)]
    lines = [line.removeprefix("tcpdump: ") for line in said_lines if not line.startswith("tcpdump: verbose")]
    said = " ".join(lines) or "it said nothing"
    if "ermission" in said or "not permitted" in said:
        who = "log in there as root, with all its capabilities" if host else "run captool as root"
        return MissingToolError(
            f"not allowed to record on {interface}{where}; {who}, or let tcpdump do it: setcap cap_net_raw,cap_net_admin=eip TCPDUMP"
        )
    if re.search(r"No such device|doesn't exist|not found|Invalid adapter index", said):
        return _no_interface(interface, existing, host)
    if re.search(r"filter expression|syntax error|expression rejected|unknown host|aid qualifier|illegal token|unknown port", said):
        return UsageError(f"tcpdump does not understand the filter {expression!r}: {said}; see man 7 pcap-filter")
    if "is not up" in said or "Network is down" in said:
        return UsageError(f"interface {interface}{where} is down; bring it up: ip link set {interface} up")
    return MissingToolError(f"tcpdump{f' on {host}' if host else ''} ended: {said}")


def _no_interface(name: str, existing: Mapping[str, int], host: str | None) -> UsageError:
    return UsageError(f"there is no interface {name}{f' on {host}' if host else ''}; existing ones: {', '.join([*existing, 'any'])}")
