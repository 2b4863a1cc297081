"""Three network namespaces in a row: client, router, server. The router is a firewall that forgets idle connections.

    client 10.77.1.2 --- 10.77.1.1 router 10.77.2.1 --- 10.77.2.2 server

Names carry the lab's process id, so several labs run side by side, and a lab that was killed is cleaned up after.
"""

import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from firewall import CLIENT_END, SERVER_END, Firewall, install
from processes import LabError, run

CLIENT_IP = "10.77.1.2"
SERVER_IP = "10.77.2.2"
INTERFACE = "eth0"


@dataclass(frozen=True)
class Network:
    """The names of the three namespaces."""

    client: str
    router: str
    server: str


@contextlib.contextmanager
def network(firewall: Firewall, *, client_buffer: int | None = None) -> Iterator[Network]:
    """Build the namespaces and the firewall; remove them at the end. `client_buffer` is what the client's sockets hold at most, in bytes."""
    remove_leftovers()
    names = Network(*(f"captool-{os.getpid()}-{role}" for role in ("client", "router", "server")))
    with contextlib.ExitStack() as stack:
        for name in (names.client, names.router, names.server):
            run("ip", "netns", "add", name)
            stack.callback(run, "ip", "netns", "delete", name)
            run("ip", "-n", name, "link", "set", "lo", "up")
        _connect(names.router, CLIENT_END, "10.77.1.1/24", names.client, f"{CLIENT_IP}/24", "10.77.1.1")
        _connect(names.router, SERVER_END, "10.77.2.1/24", names.server, f"{SERVER_IP}/24", "10.77.2.1")
        install(firewall, names.router)
        if firewall.lossy:  # packets are lost one by one, not 64 kB at a time
            for name in (names.client, names.server):
                run("ip", "-n", name, "link", "set", INTERFACE, "gso_max_segs", "1")
        if client_buffer is not None:
            sizes = f"net.ipv4.tcp_rmem=4096 {client_buffer} {client_buffer}"
            run("nsenter", f"--net=/run/netns/{names.client}", "sysctl", "-q", "-w", sizes)
        yield names


def _connect(router: str, router_end: str, router_address: str, host: str, address: str, gateway: str) -> None:
    run("ip", "-n", router, "link", "add", router_end, "type", "veth", "peer", "name", INTERFACE, "netns", host)
    run("ip", "-n", router, "address", "add", router_address, "dev", router_end)
    run("ip", "-n", router, "link", "set", router_end, "up")
    run("ip", "-n", host, "address", "add", address, "dev", INTERFACE)
    run("ip", "-n", host, "link", "set", INTERFACE, "up")
    run("ip", "-n", host, "route", "add", "default", "via", gateway)


def remove_leftovers() -> None:
    """Namespaces of a lab that was killed: their process id is nobody's any more."""
    folder = Path("/run/netns")
    for path in folder.iterdir() if folder.is_dir() else ():
        match = re.fullmatch(r"captool-(\d+)-(client|router|server)", path.name)
        if match and not Path("/proc", match[1]).exists():
            with contextlib.suppress(LabError):
                run("ip", "netns", "delete", path.name)
