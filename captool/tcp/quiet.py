"""What a quiet connection shows: gaps, probes, shut windows. Runs once for each of those, not for each packet.

Compiled by Cython (pure-Python mode) and runs unchanged without it.
"""

from typing import Final, NamedTuple

import cython

MAX_GAPS: Final = 64
MAX_INTERVALS: Final = 1024


class SeenGap(NamedTuple):
    """A gap as the tracker keeps it; probes of the client and of the server. `acknowledged_by`: 1 client, 2 server, else 0.

    `missing` names the first byte that was not captured when what ended the gap showed that something was sent before it: offset << 1 |
    direction, -1 for none.
    """

    start_ns: int
    duration_ns: int
    client_probes: int
    server_probes: int
    silence_ns: int
    after_packet: int
    acknowledged_by: int
    ended_by: str
    ended_by_packet: int | None
    missing: int


def keep_gap(gaps: list[SeenGap], gap: SeenGap) -> None:
    """Append a gap; of more than `MAX_GAPS` the shortest (the first of equals) is dropped."""
    gaps.append(gap)
    if len(gaps) > MAX_GAPS:
        gaps.remove(min(gaps, key=lambda kept: kept.duration_ns))


@cython.final
@cython.cclass
class Probing:
    """The keepalive probes of one side: their distances, and those since a packet of the peer's was seen.

    `intervals` are distances from probes after which the peer was heard, `retries` from those after which it was not: Linux waits
    TCP_KEEPIDLE and TCP_KEEPINTVL. `lapse` is the longest time of unanswered probes after which the peer was heard again: how many, the
    first of them and the last (packet, time).
    """

    def __init__(self) -> None:
        self.firsts = []
        self.intervals = []
        self.retries = []
        self.run = 0
        self.first_packet = self.first_ns = 0
        self.before_packet = self.before_ns = 0
        self.last_packet = self.last_ns = 0
        self.heard_packet = -1
        self.lapse = None

    @cython.cfunc
    def probe(
        self, packet: cython.longlong, ts: cython.longlong, heard_packet: cython.longlong, answered: cython.bint
    ) -> cython.int:
        """A probe, sent when `heard_packet` was the peer's last packet (0: none); whether the one before was answered."""
        if heard_packet != self.heard_packet:
            self.lapse = self.lapsed(answered)
            self.heard_packet = heard_packet
            self.run = 0
            self.first_packet = packet
            self.first_ns = ts
        self.run += 1
        self.before_packet = self.last_packet
        self.before_ns = self.last_ns
        self.last_packet = packet
        self.last_ns = ts
        return 0

    @cython.cfunc
    def lapsed(self, answered: cython.bint) -> object:
        """The longest lapse, now that the peer was heard again; whether the last probe was answered."""
        count: cython.longlong = self.run - (1 if answered else 0)
        last_ns: cython.longlong = self.before_ns if answered else self.last_ns
        if count < 2 or (self.lapse is not None and last_ns - self.first_ns <= self.lapse[4] - self.lapse[2]):
            return self.lapse
        return (count, self.first_packet, self.first_ns, self.before_packet if answered else self.last_packet, last_ns)


@cython.cfunc
def keep_distance(distances: list, distance_ns: cython.longlong, number: cython.longlong) -> cython.int:
    """Note the distance of two probes; of many, the latest are kept."""
    if len(distances) < MAX_INTERVALS:
        distances.append(distance_ns)
    else:
        distances[number % MAX_INTERVALS] = distance_ns
    return 0


class Repeats:
    """What one side sent again although its peer had acknowledged it: since it last sent something new (`next`), and longest of all."""

    __slots__ = ("longest", "next", "now")

    def __init__(self) -> None:
        self.longest: tuple[int, int, int, int, int] | None = None
        self.now: tuple[int, int, int, int, int] | None = None  # how often, first packet and time, last packet and time
        self.next = -1

    def repeated(self, packet: int, ts: int, following: int) -> None:
        """It did so in a packet, and `following` is the offset of what it would send new."""
        if self.now is None or following != self.next:
            self.next = following
            self.now = (0, packet, ts, packet, ts)
        times, first, first_ns, _, _ = self.now
        self.now = (times + 1, first, first_ns, packet, ts)
        if self.longest is None or ts - first_ns >= self.longest[4] - self.longest[2]:
            self.longest = self.now


class SynsAgain:
    """One side's SYN, or SYN-ACK, that it sent again: first and last of them (packet, time), how often, how often of that before an answer.

    `answer` is the first packet of the peer's that answers it, where it came after it was sent again.
    """

    __slots__ = ("answer", "early", "first", "last", "times")

    def __init__(self, packet: int, ts: int) -> None:
        self.first = self.last = (packet, ts)
        self.times = self.early = 0
        self.answer: tuple[int, int] | None = None

    def again(self, packet: int, ts: int, answered: bool) -> None:  # noqa: FBT001 - called by compiled code
        """It was sent again; whether the peer had answered it already."""
        self.last = (packet, ts)
        self.times += 1
        if not answered:
            self.early += 1


class ShutWindows:
    """The times in which one side's receive window was 0: the one that lasts, and the longest of those that are over."""

    __slots__ = ("count", "longest", "packet", "probes", "since_ns")

    def __init__(self) -> None:
        self.count = 0
        self.longest: tuple[int, int, int, int, int | None] | None = None
        self.since_ns = self.packet = self.probes = 0

    def shut(self, packet: int, ts: int) -> None:
        """The side said that its window is 0."""
        self.count += 1
        self.packet, self.since_ns, self.probes = packet, ts, 0

    def opened(self, packet: int | None, ts: int) -> None:
        """The window is open again, or (packet None) nothing more is known after `ts`."""
        if not self.packet:
            return
        ended = (max(0, ts - self.since_ns), self.since_ns, self.packet, self.probes, packet)
        if self.longest is None or ended[0] > self.longest[0]:
            self.longest = ended
        self.packet = 0


class SeenReset(NamedTuple):
    """The first RST of a connection. `usual` is the sender's (mark + 1) << 8 | hops before it, 0 where it sent nothing before.

    `offset` is where it stands above what its sender sent. `own_*` is the last packet of its sender before it, `peer_*` that of the
    other side. `acknowledged` is how far its acknowledgement stands above the one before it, `peer_next`
    how much the other side had sent, `beyond` how far it stands above that.
    """

    packet: int
    ts_ns: int
    direction: int
    hops: int
    mark: int
    usual: int
    acknowledges: bool
    window: int
    offset: int
    own_packet: int
    own_ns: int
    peer_packet: int
    peer_ns: int
    acknowledged: int
    peer_next: int
    beyond: int
