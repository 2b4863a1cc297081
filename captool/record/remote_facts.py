"""What a remote host says of itself before it records (remote.sh): its tcpdump, interfaces, connections, and its clock beside ours."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

from captool.record.circumstances import OFFLOADS, Circumstances
from captool.session_keys.open_connections import OpenConnection
from captool.units import SECOND_NS

_OWNER: Final = re.compile(r'users:\(\("([^"]*)",pid=(\d+)')
_TIME: Final = re.compile(r"(\d{1,12})(?:\.(\d{9}))?(?!\d)", re.ASCII)
# ethtool -k names them at length
_OFFLOADS: Final = {"tcp-segmentation-offload": "tso", "generic-segmentation-offload": "gso", "generic-receive-offload": "gro"}


@dataclass(frozen=True, slots=True)
class Clock:
    """The remote clock minus ours, in nanoseconds: it lies within `uncertainty_ns` of `offset_ns`."""

    offset_ns: int
    uncertainty_ns: int


@dataclass(frozen=True, slots=True)
class Facts:
    """`connection` is that of ssh as the remote host sees it: client address and port, server address and port; None without TCP.

    `may_record` is false where neither the user nor sudo may open a network interface. `interfaces` are names and numbers. `sockets` are
    lines of ss, None where that is not known.
    """

    uid: str
    user: str
    name: str
    system: str
    tcpdump: str
    version: str
    may_record: bool
    connection: tuple[str, int, str, int] | None
    interfaces: dict[str, int]
    offloads: dict[str, list[str]]
    synchronized: bool | None
    sockets: list[str] | None

    def circumstances(self, ports: Iterable[int], machine: str) -> Circumstances:
        """As a recording on this machine finds them."""
        found, names = _open_connections(self.sockets or [], frozenset(ports))
        offloads = tuple((name, tuple(word for word in OFFLOADS if word in which)) for name, which in self.offloads.items())
        return Circumstances(found, tuple(names.items()), offloads, self.synchronized, machine, open_known=self.sockets is not None)

    def without_ssh(self, expression: str) -> str:
        """The filter that leaves out the ssh connection itself: each of its packets recorded would be sent through it, and recorded.

        It stands in front, for `vlan` and its like in the user's filter move everything behind them (pcap-filter(7)).
        """
        if self.connection is None:
            return expression
        client, client_port, server, server_port = self.connection
        ours = f"not (tcp and host {client} and host {server} and port {client_port} and port {server_port})"
        return f"{ours} and ({expression})" if expression else ours


def read_facts(lines: Iterable[str]) -> Facts:
    """From the lines of remote.sh; what does not look as it should is left out."""
    said: dict[str, list[str]] = {}
    for line in lines:
        word, _, rest = line.partition(" ")
        said.setdefault(word, []).append(rest.strip())

    def one(word: str) -> str:
        return said.get(word, [""])[0]

    numbered = (rest.partition(" ") for rest in said.get("interface", ()))
    offloads: dict[str, list[str]] = {}
    for name, _, offload in (rest.partition(" ") for rest in said.get("offload", ())):
        if offload in _OFFLOADS:
            offloads.setdefault(name, []).append(_OFFLOADS[offload])
    return Facts(
        uid=one("uid"),
        user=one("user"),
        name=one("name"),
        system=one("system"),
        tcpdump=one("tcpdump"),
        version="\n".join(said.get("version", ())),
        may_record=one("may") == "yes",
        connection=_connection(one("connection")),
        interfaces={name: int(number) for number, _, name in numbered if number.isascii() and number.isdecimal() and len(number) < 10},
        offloads=offloads,
        synchronized={"yes": True, "no": False}.get(one("synchronized")),
        sockets=said.get("socket", []) if "sockets" in said else None,
    )


def clock_offset(rounds: Iterable[tuple[int, str, int]]) -> Clock | None:
    """From questions: our time before each, the answer (`date +%s.%N`), our time after it. None where no answer is a time.

    The remote host looked at its clock between our two times, so each round bounds the offset from both sides.
    """
    best: Clock | None = None
    for before, answer, after in rounds:
        if (found := _TIME.match(answer)) is None:
            continue
        told = int(found[1]) * SECOND_NS + int(found[2] or 0)
        low, high = told - after, told - before + (0 if found[2] else SECOND_NS)
        one = Clock((low + high) // 2, (high - low + 1) // 2)
        if best is None or one.uncertainty_ns < best.uncertainty_ns:
            best = one
    return best


def _connection(text: str) -> tuple[str, int, str, int] | None:
    """SSH_CONNECTION (ssh(1)); None where sshd was not reached by TCP."""
    words = text.split()
    try:
        client, client_port, server, server_port = words
        ends = [str(ip_address(end.partition("%")[0])) for end in (client, server)]
        return ends[0], int(client_port), ends[1], int(server_port)
    except ValueError:
        return None


def _open_connections(lines: Iterable[str], ports: frozenset[int]) -> tuple[tuple[OpenConnection, ...], dict[int, str]]:
    """From `ss -Htnp state established`: queues, local end, remote end, and their process where it may be seen."""
    found: dict[tuple[tuple[str, int], tuple[str, int]], OpenConnection] = {}
    names: dict[int, str] = {}
    for line in lines:
        words = line.split()
        if len(words) < 4 or (local := _end(words[2])) is None or (remote := _end(words[3])) is None:
            continue
        client, server = (remote, local) if local[1] in ports else (local, remote)
        owner = _OWNER.search(line)
        process = int(owner[2]) if owner and len(owner[2]) < 12 else None
        if process is not None and owner is not None:
            names[process] = owner[1]
        if (known := found.get((client, server))) is None or known.process is None:
            found[client, server] = OpenConnection(client, server, process)
    return tuple(sorted(found.values(), key=lambda one: (one.server, one.client))), names


def _end(text: str) -> tuple[str, int] | None:
    """Of `10.0.0.2%eth0:2376` or `[::ffff:10.0.0.2]:2376`."""
    address, _, port = text.rpartition(":")
    try:
        parsed = ip_address(address.strip("[]").partition("%")[0])
        return str(getattr(parsed, "ipv4_mapped", None) or parsed), int(port)
    except ValueError:
        return None
