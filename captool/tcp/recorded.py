"""What was recorded of each connection of a capture: its packets, as far as the log keeps them, without the copies of `-i any`."""

from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from captool.capture.summary import CaptureSummary
from captool.tcp.byte_ranges import Crossing
from captool.tcp.connection import Endpoint, TcpConnection
from captool.tcp.layout import ACK, SYN
from captool.tcp.packet_log import PacketLog

# Marks below this are identifications of IPv4: no sender gives the same packet the same one again. Above, 33 bits are what the packet says
# of itself, and what stands above them is the place of its capture.
IDENTIFICATIONS: Final = 1 << 16
PLACE_BIT: Final = 33
# Copies that nothing names come within a millisecond (copies.py), those of a client's SYN, and where it was copied all, within five.
COPY_NS: Final = 1_000_000
NAMED_COPY_NS: Final = 5_000_000
# By how many packets in all the connections are recognised and the clocks are put together, in blocks of 16 from each end.
SAMPLE: Final = 200_000


class Recorded(NamedTuple):
    """A capture that was read: what it was, its connections, and its packets as far as they are kept."""

    capture: CaptureSummary
    connections: Sequence[TcpConnection]
    log: PacketLog


class Conversations:
    """The packets of each connection of a capture: the log knows pairs of ends, which connections share one after the other."""

    def __init__(self, recorded: Recorded) -> None:
        self.recorded = recorded
        self.by_ends: dict[frozenset[Endpoint], list[TcpConnection]] = defaultdict(list)
        for connection in sorted(recorded.connections, key=lambda one: one.last_packet.packet):
            self.by_ends[frozenset((connection.client, connection.server))].append(connection)
        self._after = {
            later.id: earlier.last_packet.packet
            for sharing in self.by_ends.values()
            for earlier, later in pairwise(sharing)
        }

    @property
    def sampled_blocks(self) -> int:
        """How many blocks of packets of each end of a conversation stand for it."""
        return min(max(SAMPLE // 32 // max(len(self.recorded.connections), 1), 1), 64)

    def digest(self, connection: TcpConnection) -> list[tuple[int, int, int, int]]:
        """What the log says of each direction in short."""
        after, until = self._after.get(connection.id, 0), connection.last_packet.packet
        return self.recorded.log.digest(connection.client, connection.server, after, until)

    def packets(self, connection: TcpConnection, ends: int = 0) -> tuple[list[Crossing], list[Crossing]]:
        """The packets to the server and to the client, without copies; with `ends` only the first and the last ones."""
        directions = (Sent(), Sent())
        after, until = self._after.get(connection.id, 0), connection.last_packet.packet
        rows = self.recorded.log.rows(connection.client, connection.server, ends)
        for from_client, ts, number, seq, ack, flags, length, mark, hops in rows:
            if after < number <= until:
                place = mark >> PLACE_BIT
                plain = mark & ((1 << PLACE_BIT) - 1) or -1 if place > 0 else mark
                packet = Crossing(ts, number, seq, ack, flags, length, plain, hops)
                directions[not from_client].add(packet, place if place > 0 else -hops)
        return directions[0].packets, directions[1].packets


class Sent:
    """The packets of one direction, each once: the tracker's rules (tcp/segment.py, tcp/copies.py) on what the log keeps."""

    def __init__(self) -> None:
        self.packets: list[Crossing] = []
        self._named: set[tuple[int, ...]] = set()
        self._seen: dict[tuple[int, ...], tuple[int, dict[int, int]]] = {}  # of the others: since when, and how often at each place
        self._copied = False

    def add(self, packet: Crossing, place: int) -> None:
        """Take in a packet captured at `place`, unless it is a copy."""
        name = packet[2:7]
        if 0 <= packet.mark < IDENTIFICATIONS:
            copy = name in self._named
            self._named.add(name)
        else:
            copy = self._is_copy(packet, name, place)
        if not copy:
            self.packets.append(packet)

    def _is_copy(self, packet: Crossing, name: tuple[int, ...], place: int) -> bool:
        opening = packet.flags & (SYN | ACK) == SYN
        seen = self._seen.get(name)
        if seen is None or packet.ts_ns - seen[0] > (NAMED_COPY_NS if opening or self._copied else COPY_NS):
            self._seen[name] = packet.ts_ns, {place: 1}
            return False
        places = seen[1]
        here = places.get(place, 0)
        places[place] = here + 1
        if here < max((count for at, count in places.items() if at != place), default=0):
            return True
        self._copied |= opening
        return self._copied
