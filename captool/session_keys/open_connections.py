"""Connections that were open before the recording: their secrets are gone, so they stay encrypted, and that is said at the start."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from captool.session_keys.live_sockets import ESTABLISHED, LiveSocket

MAX_NAMED: Final = 10


@dataclass(frozen=True, slots=True)
class OpenConnection:
    """An open connection: client and server as (address, port), the process that has one of its ends, if it is known."""

    client: tuple[str, int]
    server: tuple[str, int]
    process: int | None


def open_connections(sockets: Iterable[LiveSocket], owned_by: Mapping[int, int], ports: Iterable[int]) -> tuple[OpenConnection, ...]:
    """The established ones, each once, also where both ends are on this machine; the end with the recorded port is the server."""
    service = frozenset(ports)
    found: dict[tuple[tuple[str, int], tuple[str, int]], OpenConnection] = {}
    for each in sockets:
        if each.state == ESTABLISHED:
            client, server = (each.remote, each.local) if each.local[1] in service else (each.local, each.remote)
            known = found.get((client, server))
            if known is None or known.process is None:
                found[client, server] = OpenConnection(client, server, owned_by.get(each.inode))
    return tuple(sorted(found.values(), key=lambda one: (one.server, one.client)))


def sentences(connections: tuple[OpenConnection, ...], names: Mapping[int, str]) -> tuple[str, ...]:
    """One sentence for each of the first few, one for the others. `names` are the programs of processes."""
    told = []
    for one in connections[:MAX_NAMED]:
        owner = f" ({names.get(one.process, 'process')}, pid {one.process})" if one.process is not None else ""
        ends = f"{shown_end(one.client)} -> {shown_end(one.server)}"
        told.append(f"{ends}{owner} is open already and will stay encrypted: its keys were made before")
    if len(connections) > MAX_NAMED:
        told.append(f"{len(connections) - MAX_NAMED} more connections are open already and will stay encrypted")
    return tuple(told)


def shown_end(end: tuple[str, int]) -> str:
    """Address and port, an IPv6 address in brackets."""
    return f"[{end[0]}]:{end[1]}" if ":" in end[0] else f"{end[0]}:{end[1]}"
