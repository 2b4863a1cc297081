"""The analysis of a capture while it is being recorded: what became true of its connections, as it does.

    packets -> tcp -> tls -> http, dockerapi -> (each connection as it stands now) -> verdicts

The stages are those of `captool.connections`. Memory depends on the number of open connections: those that ended are let go.
"""

import heapq
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from captool.capture.frames import Frames
from captool.capture.summary import IcmpError
from captool.capture_clock import CaptureClock
from captool.connections import DOCKER_PORTS
from captool.conversation import Conversation
from captool.direction import Direction
from captool.findings.finding import Severity
from captool.findings.gaps import chosen_timeouts, keepalive_window_ns
from captool.findings.icmp import LATE_NS, of_its_time
from captool.findings.path_so_far import Remark
from captool.findings.silence import request_line
from captool.findings.so_far import NEVER, Judging, Told, next_look_ns, remarks
from captool.findings.tables import Settings
from captool.keys.growing import GrowingKeys
from captool.middlebox.catalogue import IdleTimeout
from captool.packets.decode import Decoder
from captool.packets.icmp import IcmpErrors
from captool.summing_up import PieceReader, SummingUp
from captool.tcp.connection import Endpoint, StreamPiece, TcpConnection
from captool.tcp.tracker import Tracker
from captool.units import SECOND_NS, seconds

if TYPE_CHECKING:
    from captool.dockerapi.exchange import LostOutput
    from captool.http.exchange import HttpExchange

GAP_NS: Final = 2 * SECOND_NS
# A secret is known about when its handshake is over, and not always before the packets of it are.
KEYS_COME_NS: Final = 2 * SECOND_NS
MAX_HELD: Final = 32 << 20
# A request that is not answered by then is worth a word.
LONG_REQUEST_NS: Final = 2 * SECOND_NS
SERVER_DONE: Final = ("SF", "S3")  # what goes on behind a FIN of the server is no answer
MAX_REFUSED: Final = 4096  # pairs of ends of which ICMP errors are kept until their connection is looked at


class Verdict(NamedTuple):
    """A sentence about a connection. `request` is what was asked on it last, None where that cannot be read."""

    ts_ns: int
    severity: Severity
    client: Endpoint
    server: Endpoint
    request: str | None
    sentence: str


@dataclass(slots=True)
class Followed:
    """An open connection: what was told of it, what is spoken on it, and when to look again although nothing came.

    `unread` counts the pieces that wait for secrets. `listed_ns` is the earliest time for which it stands in the list of those to look at,
    which may be before `look_ns`.
    """

    told: Told = field(default_factory=Told)
    conversation: PieceReader | None = None
    unread: int = 0
    request: str | None = None
    told_request: int = -1
    told_locked: bool = False
    ends: frozenset[tuple[str, int]] = frozenset()
    look_ns: int = NEVER
    listed_ns: int = NEVER


class LiveAnalysis:
    """Give it the packets as they are recorded, and ask for verdicts now and then.

    `catalogue` and `half_closed` are those of `findings.tables.Tables`. `monotonic_ns` tells how long secrets were waited for. `keys` is
    asked for new ones before anything is decrypted.
    """

    def __init__(
        self,
        settings: Settings,
        catalogue: tuple[IdleTimeout, ...],
        half_closed: tuple[IdleTimeout, ...],
        keys: GrowingKeys,
        *,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        chosen = chosen_timeouts(settings, catalogue)
        self._judging = Judging(chosen or catalogue, (*chosen, *half_closed), bool(chosen))
        self._window_ns = keepalive_window_ns(settings, catalogue)
        self._keys, self._monotonic_ns = keys, monotonic_ns
        self._packets = 0
        self.begin_anew()

    def begin_anew(self) -> None:
        """Packets are missing: nothing is known of any connection any more."""
        self._decoder = Decoder()
        self._clock = CaptureClock(self._window_ns, self._monotonic_ns)
        self._tracker = Tracker(DOCKER_PORTS, gap_ns=min(GAP_NS, self._window_ns), keepalive_window_ns=self._window_ns)
        self._followed: dict[int, Followed] = {}
        self._held: deque[tuple[int, StreamPiece | TcpConnection]] = deque()
        self._held_bytes = 0
        self._heard_ns = 0
        self._looked_at_packet = self._packets
        self._due: list[tuple[int, int]] = []
        self._spoken: set[int] = set()
        self._refusals = IcmpErrors()
        self._refused: dict[frozenset[tuple[str, int]], list[IcmpError]] = {}

    def clock_was_set(self, ahead_ns: int) -> None:
        """The clock of the packets, which is this machine's, was set by so much just now: idle times that have begun are not believed."""
        self._clock.was_set(ahead_ns, self._packets + 1)

    @property
    def open_connections(self) -> int:
        """How many connections something is remembered of."""
        return len(self._followed)

    @property
    def latest_ns(self) -> int:
        """The time of the latest packet; after the packets' clock was set back, of the last one."""
        return int(self._clock.latest_ns)

    def take(self, frames: Frames) -> bool:
        """Take in a chunk of packets, numbered on from those of the chunks before; whether the packets' clock was set back in it."""
        frames.first_packet = self._packets + 1
        self._packets += frames.count
        before_ns = self._decoder.end_ns
        segments = self._decoder.decode(frames)
        self._tracker.add(frames, segments)
        self._refusals.add(frames, segments, self._decoder.other_packets)
        set_back = self._clock.take(frames, segments, self._decoder, before_ns)
        now = self._monotonic_ns()
        for piece in self._tracker.take_pieces():
            self._held.append((now, piece))
            self._followed.setdefault(piece.connection, Followed()).unread += 1
            self._held_bytes += len(piece.data)
        self._held.extend((now, tcp) for tcp in self._tracker.take_closed())
        return set_back

    def verdicts(self, now_ns: int, *, ended: bool = False) -> Iterator[Verdict]:
        """What became true since the last call, all packets up to `now_ns` being known; with `ended` no secret is waited for.

        Nothing is said while it is not clear whether a jump of the packets' time was time that passed.
        """
        settled = self._clock.settled(now_ns, ended=ended)
        yield from self._read_streams(self._monotonic_ns() - (-1 if ended else KEYS_COME_NS), settled=settled)
        if not settled:
            return
        self._heard_ns = now_ns if ended else now_ns - KEYS_COME_NS
        if self._held and isinstance(first := self._held[0][1], StreamPiece):
            self._heard_ns = min(self._heard_ns, first.mark_times_ns[0])
        for number in self._to_look_at(now_ns):
            tcp = self._tracker.as_of(number, now_ns)
            if tcp is not None:
                yield from self._about(tcp, self._followed.setdefault(number, Followed()), now_ns)

    def _to_look_at(self, now_ns: int) -> list[int]:
        """Connections on which something came or was read, and those whose time has come."""
        self._gather_refusals(now_ns)
        numbers = {*self._tracker.active_since(self._looked_at_packet), *self._spoken}
        if self._refused:
            numbers.update(number for number, followed in self._followed.items() if followed.ends in self._refused)
        self._looked_at_packet = self._packets
        self._spoken = set()
        while self._due and self._due[0][0] <= now_ns:
            due_ns, number = heapq.heappop(self._due)
            followed = self._followed.get(number)
            if followed is None or followed.listed_ns != due_ns:
                continue
            followed.listed_ns = NEVER
            if followed.look_ns <= now_ns:
                numbers.add(number)
            else:  # something came meanwhile
                self._list(number, followed)
        return sorted(numbers)

    def _gather_refusals(self, now_ns: int) -> None:
        """The ICMP errors since the last look, by the ends that they are about; those that no connection took are forgotten soon."""
        for ends, errors in list(self._refused.items()):
            if errors[-1].last_ns < now_ns - LATE_NS:
                del self._refused[ends]
        found = self._refusals.found()
        if found:
            self._refusals = IcmpErrors()
            for error in found if len(self._refused) < MAX_REFUSED else ():
                self._refused.setdefault(frozenset((error.source, error.destination)), []).append(error)

    def _list(self, number: int, followed: Followed) -> None:
        """See to it that the connection is looked at in time. Of a busy one the time is put off again and again: one place is enough."""
        if followed.look_ns < followed.listed_ns:
            followed.listed_ns = followed.look_ns
            heapq.heappush(self._due, (followed.listed_ns, number))

    def _about(self, tcp: TcpConnection, followed: Followed, now_ns: int) -> Iterator[Verdict]:
        measured, tcp = tcp, self._clock.believed(tcp)
        followed.ends = frozenset((tcp.client[:2], tcp.server[:2]))
        errors = tuple(error for error in self._refused.pop(followed.ends, ()) if of_its_time(tcp, error))
        found = list(_said(followed, tcp, now_ns, self._heard_ns))
        found += remarks(tcp, followed.told, self._judging, partial(_output_lost, followed, tcp), errors)
        for remark in sorted(found, key=lambda remark: remark.ts_ns):
            yield Verdict(remark.ts_ns, remark.severity, tcp.client, tcp.server, followed.request, remark.sentence)
        # An idle time that is not believed is not looked at again.
        idle_ns = NEVER if tcp.gaps[-1:] != measured.gaps[-1:] else next_look_ns(tcp, followed.told, self._judging)
        followed.look_ns = min(idle_ns, _request_due_ns(followed))
        self._list(tcp.id, followed)

    def _read_streams(self, until_ns: int, *, settled: bool) -> Iterator[Verdict]:
        """Read what has waited for secrets long enough, and let go of the connections that ended, if they can be judged."""
        if self._held and self._held[0][0] <= until_ns:
            self._keys.look()
        while self._held and (self._held[0][0] <= until_ns or self._held_bytes > MAX_HELD):
            one = self._held[0][1]
            if isinstance(one, TcpConnection) and not settled and self._held_bytes <= MAX_HELD:
                return
            self._held.popleft()
            if isinstance(one, TcpConnection):
                yield from self._about(one, self._followed.pop(one.id, Followed()), one.end_ns)
                continue
            self._held_bytes -= len(one.data)
            followed = self._followed.setdefault(one.connection, Followed())
            followed.unread -= 1
            if followed.conversation is None:
                followed.conversation = SummingUp(self._keys.ring)(one)
            if followed.conversation.wants_more:
                followed.conversation.feed(one, self._acknowledged(one.connection))
                self._spoken.add(one.connection)
            if not followed.conversation.wants_more:
                self._tracker.stop_stream(one.connection)


    def _acknowledged(self, number: int) -> int:
        """How far the client acknowledged the server's stream, as far as is known of a connection that may have ended meanwhile."""
        try:
            return self._tracker.acknowledged(number, Direction.TO_CLIENT)
        except KeyError:
            return 0


def _output_lost(followed: Followed, tcp: TcpConnection) -> "tuple[bool, LostOutput | None]":
    conversation = followed.conversation
    return followed.unread == 0, conversation.output_lost(tcp) if isinstance(conversation, Conversation) else None


def _said(followed: Followed, tcp: TcpConnection, now_ns: int, heard_ns: int) -> Iterator[Remark]:
    """What was asked on the connection, or why that cannot be read. What was said up to `heard_ns` has been read."""
    conversation = followed.conversation
    if not isinstance(conversation, Conversation):
        return
    if not followed.told_locked and (tls := conversation.locked) is not None:
        followed.told_locked = True
        yield Remark(now_ns, "info", f"cannot be decrypted so far: {tls.detail or tls.reason}".rstrip("."))
    latest = conversation.latest_request
    if latest is None:
        return
    number, http = latest
    followed.request = request_line(http)
    over = tcp.conn_state in SERVER_DONE or (tcp.reset is not None and tcp.reset.moment.ts_ns <= heard_ns)
    lasting = http.end is None and http.response_followed and not over and heard_ns - http.request.ts_ns >= LONG_REQUEST_NS
    if number != followed.told_request and (http.hijack is not None or lasting):
        followed.told_request = number
        yield _asked(http, heard_ns)


def _asked(http: "HttpExchange", heard_ns: int) -> Remark:
    if http.hijack is not None and http.response is not None:
        return Remark(http.response.ts_ns, "info", f"its stream is open ({http.status})")
    waited = seconds(heard_ns - http.request.ts_ns)
    if http.response is not None:
        return Remark(heard_ns, "info", f"the answer ({http.status}) goes on {waited} after the request")
    return Remark(heard_ns, "info", f"no answer so far, {waited} after the request")


def _request_due_ns(followed: Followed) -> int:
    """When the latest request will have waited for long."""
    conversation = followed.conversation
    latest = conversation.latest_request if isinstance(conversation, Conversation) else None
    if latest is None or latest[0] == followed.told_request or latest[1].end is not None:
        return NEVER
    return latest[1].request.ts_ns + LONG_REQUEST_NS + KEYS_COME_NS
