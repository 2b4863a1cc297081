"""The connections that two captures have in common, and which capture is nearer to the client."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from statistics import median
from typing import Final, Literal, NamedTuple

from captool.direction import Direction
from captool.tcp.byte_ranges import Crossing
from captool.tcp.connection import TcpConnection
from captool.tcp.fates import key, recognised
from captool.tcp.layout import ACK
from captool.tcp.recorded import Conversations

Side = Literal["trace", "other-side"]

# How many packets from each end of a conversation name it where its addresses do not, and how many must agree.
NAMING: Final = 4
AGREEING: Final = 2
TRIES: Final = 16
MAX_ROUND_TRIPS: Final = 1024


class Pair(NamedTuple):
    """A connection in both captures; `flipped` says that the other one took the server for the client."""

    trace: TcpConnection
    other: TcpConnection
    flipped: bool

    @property
    def hosts(self) -> tuple[str, str]:
        """Addresses of client and server in the trace."""
        return self.trace.client.ip, self.trace.server.ip


def match(here: Conversations, there: Conversations) -> list[Pair]:
    """The connections that are in both captures: between the same ends, else by the sequence numbers of their packets."""
    pairs = list(_by_ends(here, there))
    matched = {pair.trace.id for pair in pairs}, {pair.other.id for pair in pairs}
    left = [
        [connection for connection in conversations.recorded.connections if connection.id not in known]
        for conversations, known in zip((here, there), matched, strict=True)
    ]
    if left[0] and left[1]:
        pairs += _by_numbers(here, there, *left)
    return sorted(pairs, key=lambda pair: pair.trace.id)


def _by_ends(here: Conversations, there: Conversations) -> Iterator[Pair]:
    for ends, connections in here.by_ends.items():
        candidates, position = there.by_ends.get(ends, []), 0
        for connection in connections if candidates else ():
            for index, candidate in enumerate(candidates[position : position + TRIES], position):
                if _in_common(here, there, connection, candidate, 1) or _in_common(here, there, connection, candidate, 0):
                    yield Pair(connection, candidate, flipped=candidate.client != connection.client)
                    position = index + 1
                    break


def _in_common(here: Conversations, there: Conversations, one: TcpConnection, other: TcpConnection, ends: int) -> bool:
    known = {key(packet) for packets in here.packets(one, ends) for packet in packets}
    return any(key(packet) in known for packets in there.packets(other, ends) for packet in packets)


def _by_numbers(here: Conversations, there: Conversations, some: list[TcpConnection], others: list[TcpConnection]) -> list[Pair]:
    """Connections whose ends were translated; a connection's first and last packets are looked for in the other capture, both ways."""
    votes: Counter[tuple[int, int, bool]] = Counter()
    for swapped, (naming, named, searched, looking) in enumerate(((there, others, here, some), (here, some, there, others))):
        names: dict[tuple[int, int], list[tuple[int, bool]]] = defaultdict(list)
        for connection in named:
            for direction, packets in enumerate(naming.packets(connection)):
                for packet in {*packets[:NAMING], *packets[-NAMING:]}:
                    if packet.flags & ACK:
                        names[packet.seq, packet.ack].append((connection.id, direction == Direction.TO_CLIENT))
        for connection in looking:
            for direction, packets in enumerate(searched.packets(connection)):
                for numbers in {(packet.seq, packet.ack) for packet in packets if packet.flags & ACK}:
                    for name, to_client in names.get(numbers, ())[:TRIES]:
                        ids = (name, connection.id) if swapped else (connection.id, name)
                        votes[*ids, to_client != (direction == Direction.TO_CLIENT)] += 1
    known = ({connection.id: connection for connection in some}, {connection.id: connection for connection in others})
    pairs = []
    for (one, other, flipped), count in votes.most_common():
        if count >= AGREEING and one in known[0] and other in known[1]:
            pairs.append(Pair(known[0].pop(one), known[1].pop(other), flipped))
    return pairs


def client_sides(here: Conversations, there: Conversations, pairs: list[Pair]) -> dict[tuple[str, str], Side]:
    """Which capture is nearer to the client, for each pair of hosts.

    Whatever the clocks say: from a packet to the server until the next one to the client more time passes at the capture that is nearer
    to the client, by the way to the other and back. Where times do not tell, hop limits do: they fall on the way.
    """
    longer: dict[tuple[str, str], list[int]] = defaultdict(list)
    hops: dict[tuple[str, str], int] = defaultdict(int)
    for pair in pairs:
        asked: tuple[Crossing, Crossing] | None = None
        found = longer[pair.hosts]
        for direction, packet, became in recognised_in_both(here, there, pair):
            sign = 1 if direction is Direction.TO_SERVER else -1
            hops[pair.hosts] += sign * ((packet.hop_limit > became.hop_limit) - (packet.hop_limit < became.hop_limit))
            if direction is Direction.TO_SERVER:
                asked = packet, became
            elif asked and len(found) < MAX_ROUND_TRIPS:
                found.append((packet.ts_ns - asked[0].ts_ns) - (became.ts_ns - asked[1].ts_ns))
    sides: dict[tuple[str, str], Side] = {}
    for hosts, differences in longer.items():
        told = (median(differences) if differences else 0) or hops[hosts]
        if told:
            sides[hosts] = "trace" if told > 0 else "other-side"
    return sides


def recognised_in_both(here: Conversations, there: Conversations, pair: Pair) -> Iterator[tuple[Direction, Crossing, Crossing]]:
    """Packets that are once in each capture, in the order of the trace.

    Of the first and the last packets those that their mark confirms are enough; without them all packets are looked at.
    """
    for ends in (here.sampled_blocks, 0):
        ours, theirs = here.packets(pair.trace, ends), there.packets(pair.other, ends)
        found = [
            (direction, packet, became)
            for direction in Direction
            for packet, became in recognised(ours[direction], theirs[direction ^ pair.flipped])
            if not ends or packet.mark == became.mark >= 0
        ]
        if len({direction for direction, _, _ in found}) == len(Direction):
            break
    yield from sorted(found, key=lambda one: one[1].packet)
