"""The two directions of a connection, and values that are kept once for each."""

from enum import IntEnum
from typing import Final, Generic, NamedTuple, TypeVar

T = TypeVar("T")


class Direction(IntEnum):
    """Which way data went, seen from the roles of the two sides, not from the place of the capture."""

    TO_SERVER = 0
    TO_CLIENT = 1

    @property
    def opposite(self) -> "Direction":
        """The other direction."""
        return Direction(1 - self)

    @property
    def sender(self) -> str:
        """The side that sends in this direction: `client` or `server`."""
        return "client" if self is Direction.TO_SERVER else "server"


DIRECTIONS: Final = (Direction.TO_SERVER, Direction.TO_CLIENT)  # going through the enumeration itself is slow


class PerDirection(NamedTuple, Generic[T]):
    """One value for each direction; index it with a `Direction`, iterate it as (to_server, to_client)."""

    to_server: T
    to_client: T


class Moment(NamedTuple):
    """Where in the capture something was seen: packet number (from 1) and time (nanoseconds since 1970, UTC)."""

    packet: int
    ts_ns: int
