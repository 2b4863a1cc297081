"""What would have made a forward-secret connection readable: judged by what its client offers and what both ends call themselves."""

from collections.abc import Iterator
from typing import Final, NamedTuple

from captool.findings.tables import Connection, Tables
from captool.tcp.connection import Endpoint

SESSION_KEYS: Final = (
    "take the session keys while recording, at the client or at the server: `captool record --session-keys auto` reads them from "
    "unmodified Go programs such as docker, dockerd and gitlab-runner, other programs write a key log for --keys where they honour "
    "SSLKEYLOGFILE"
)
# FACTS 3.2: GODEBUG=tlsrsakex=1 does nothing for docker, dockerd and GitLab Runner, and stops programs built with Go 1.27 from starting.
RSA_ONLY: Final = (
    "negotiate TLS 1.2 with a TLS_RSA_ suite where client and server are yours and both still offer one (OpenSSL, curl, "
    "a rebuilt runner, a TLS-terminating proxy; the stock docker CLI, dockerd and GitLab Runner cannot be configured to)"
)
GENERAL: Final = f"Two ways out: {SESSION_KEYS}; or {RSA_ONLY}."
NO_RSA_OFFERED: Final = (
    "No setting of the server makes a private key useful with this client: its ClientHello offers no TLS_RSA_ suite (the stock docker CLI "
    "and GitLab Runner offer none either and cannot be configured to)."
)
# go-connections dropped TLS_RSA_ from its server's suites in February 2018 (504272c), which Docker 18.09 was the first to contain.
LAST_DOCKER_WITH_RSA: Final = (18, 6)
MAX_PROGRAM: Final = 60


class Program(NamedTuple):
    """What an end called itself (User-Agent or Server header), on which connection."""

    name: str
    connection: int


class Programs:
    """The programs at each client address and each server, as far as connections that could be read tell."""

    def __init__(self, tables: Tables) -> None:
        self._clients: dict[str, Program] = {}
        self._servers: dict[Endpoint, Program] = {}
        for connection in tables.eventful:
            for exchange in connection.exchanges:
                for name in _fields(exchange.http.request_headers, "user-agent"):
                    self._clients.setdefault(connection.tcp.client.ip, Program(name, connection.id))
                for name in _fields(exchange.http.response_headers, "server"):
                    self._servers.setdefault(connection.tcp.server, Program(name, connection.id))

    def client(self, connection: Connection) -> Program | None:
        """Who spoke from the client's address, perhaps on another connection: likely, and no proof."""
        return self._clients.get(connection.tcp.client.ip)

    def server(self, connection: Connection) -> Program | None:
        """What the server called itself, perhaps on another connection."""
        return self._servers.get(connection.tcp.server)


def remedy(connection: Connection, programs: Programs) -> str:
    """What to do so that the next recording of this client and this server can be read."""
    tls = connection.tls
    offered = tls.offered_rsa_suites if tls else None
    client, server = programs.client(connection), programs.server(connection)
    known = [f"the client's address was {_called(client)}"] if client else []
    known += [f"the server was {_called(server)}"] if server else []
    whose = f" ({'; '.join(known)})" if known else ""
    if offered is None:
        return f"{GENERAL} {_preflight(connection)}"
    keys = f"{SESSION_KEYS[0].upper()}{SESSION_KEYS[1:]}{whose}."
    if not offered:
        return f"{keys} {NO_RSA_OFFERED} {_preflight(connection)}"
    which = f"one of {len(offered)} TLS_RSA_ suites that this client offers" if len(offered) > 1 else "which this client offers"
    rsa = f"Or let the server accept nothing but TLS 1.2 with {offered[0]} ({which}): {_of_server(server)}."
    return f"{keys} {rsa} {_preflight(connection)}"


def _of_server(server: Program | None) -> str:
    version = _docker_version(server.name) if server else None
    if version is None:
        return "OpenSSL-based servers and TLS-terminating proxies can be told to, dockerd cannot"
    if version <= LAST_DOCKER_WITH_RSA:
        return "dockerd up to 18.06 does where the client offers no ECDHE suite"
    return "dockerd accepts none since 18.09, so it takes a TLS-terminating proxy in front of it"


def _docker_version(name: str) -> tuple[int, int] | None:
    """Major and minor of `Docker/20.10.24 (linux)`, as dockerd calls itself."""
    product, _, version = name.partition(" ")[0].partition("/")
    numbers = version.split(".")[:2]
    if product != "Docker" or len(numbers) < 2 or not all(number.isascii() and number.isdigit() and len(number) < 6 for number in numbers):
        return None
    return int(numbers[0]), int(numbers[1])


def _called(program: Program) -> str:
    return f"{program.name} on connection {program.connection}"


def _preflight(connection: Connection) -> str:
    server = connection.tcp.server
    host = f"[{server.ip}]" if ":" in server.ip else server.ip
    asked = f"`captool doctor --server {host}:{server.port}`"
    return f"{asked} says before recording what the server negotiates, and whether a private key will do."


def _fields(headers: tuple[tuple[str, str], ...], wanted: str) -> Iterator[str]:
    return (value[:MAX_PROGRAM] for name, value in headers if name == wanted and value)
