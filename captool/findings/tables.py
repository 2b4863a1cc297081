"""What the findings are made from: every stage's result for each connection, and what the user said about the network."""

from collections.abc import Iterable
from pathlib import PurePath
from typing import TYPE_CHECKING, Final, NamedTuple

from captool.capture.summary import CaptureSummary, IcmpError
from captool.middlebox.catalogue import IdleTimeout
from captool.tcp.connection import TcpConnection

if TYPE_CHECKING:  # a capture without TLS and HTTP is told without these layers
    from captool.dockerapi.exchange import DockerExchange
    from captool.http.losses import HttpLosses
    from captool.other_side import Counterpart, OtherSide
    from captool.tcp.pairs import Side
    from captool.tls.summary import TlsSummary


NEITHER: Final = (None, None)  # what is told of each direction, where nothing is: rules pass over most connections at this


class Settings(NamedTuple):
    """What the analysis was asked: durations in nanoseconds, None where the user named no timeout and no network."""

    idle_timeout_ns: int | None = None
    network: str | None = None
    ports: tuple[int, ...] = (2375, 2376)


class Connection(NamedTuple):
    """One connection on every layer. `tls` is None where there is no TLS; `exchanges` is empty where nothing could be read.

    `counterpart` is the same connection in the capture of the other side, None without one or where that does not have it.
    `losses` tells what could not be read of the HTTP, None where nothing is missing. `icmp` are the ICMP errors about its packets.
    """

    tcp: TcpConnection
    machine: str | None
    tls: "TlsSummary | None"
    exchanges: "tuple[DockerExchange, ...]"
    counterpart: "Counterpart | None" = None
    losses: "HttpLosses | None" = None
    icmp: tuple[IcmpError, ...] = ()

    @property
    def id(self) -> int:
        """The connection's number, from 0 in order of the first packet."""
        return self.tcp.id


UNREAD: Final = (None, (), None, None, ())  # of a connection whose content nobody reads


class Tables(NamedTuple):
    """Everything a rule may look at; `other_side` is None where no capture of the other side was given.

    `eventful` are those of the connections that something happened on: most rules concern no others, of which a capture may have thousands.
    `catalogue` has the timeouts of established connections, `half_closed` those of connections of which one side sent its FIN.
    """

    capture: CaptureSummary
    settings: Settings
    connections: tuple[Connection, ...]
    eventful: tuple[Connection, ...]
    catalogue: tuple[IdleTimeout, ...]
    keys_given: bool
    other_side: "OtherSide | None" = None
    half_closed: tuple[IdleTimeout, ...] = ()


def eventful(connections: Iterable[Connection]) -> tuple[Connection, ...]:
    """The connections on which something happened, or whose content was read."""
    return tuple([one for one in connections if one.tcp.eventful or one[2:] != UNREAD])


def capture_name(tables: Tables, side: "Side") -> str:
    """The name of the file, or of what several files are together; where the names are the same, the path."""
    captures: list[CaptureSummary] = [tables.capture, *([tables.other_side.capture] if tables.other_side else [])]
    files = captures[side != "trace"].files
    if len(files) > 1:
        return "the trace" if side == "trace" else "the other side's capture"
    name = PurePath(files[0]).name
    return name if [name] == [PurePath(file).name for one in captures for file in one.files if PurePath(file).name == name] else files[0]
