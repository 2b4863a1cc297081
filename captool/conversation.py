"""What is said on one connection: stream pieces from TCP on their way through TLS, HTTP and the Docker API."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from captool.direction import Direction, Moment
from captool.keys.material import KeyRing
from captool.protocol import protocol_of
from captool.tcp.connection import StreamPiece, TcpConnection

if TYPE_CHECKING:  # each is imported by the first connection that needs it
    from captool.dockerapi.conversation import DockerConversation, OutputSink
    from captool.dockerapi.exchange import DockerExchange, LostOutput
    from captool.http.exchange import HttpExchange
    from captool.http.losses import HttpLosses
    from captool.tls.conversation import TlsConversation
    from captool.tls.plaintext_run import PlaintextRun
    from captool.tls.sealed_runs import SealedRuns
    from captool.tls.summary import TlsSummary

PlaintextSink = Callable[[Direction, bytes, Moment], None]


class Conversation:
    """Joins the layers for one connection; feed it the connection's pieces in the order in which the tracker gives them.

    The first piece decides what is spoken (protocol.py). What is neither TLS nor HTTP is read only if `plaintext` is wanted.

    `output` is called with everything that containers printed, `plaintext` with all application bytes, as they become readable.

    Large pieces are left to another thread where there is one (`sealed`), and what they bring is known only after `catch_up`: this is among
    those `waiting` then.
    """

    def __init__(
        self,
        ring: KeyRing,
        first: StreamPiece,
        *,
        output: "OutputSink | None" = None,
        plaintext: PlaintextSink | None = None,
        sealed: "SealedRuns | None" = None,
    ) -> None:
        protocol = protocol_of(first)
        self._tls = tls_conversation(ring, sealed) if protocol == "tls" else None
        self._acknowledged: int | None = None
        self._sealed = sealed
        self._read = protocol is not None or plaintext is not None
        self._heard = [False, False]
        self._docker: DockerConversation | None = None
        self._output = output
        self._plaintext = plaintext

    def feed(self, piece: StreamPiece, acknowledged: int | None) -> None:
        """Read a piece; `acknowledged` is how far the client has acknowledged the server's stream by now, None where it was not heard."""
        if not self._read:
            return
        if self._tls is not None:
            self.catch_up()
            for run in self._tls.read(piece):
                self._take(run, acknowledged)
            if self._tls.behind and self._sealed is not None:
                self._acknowledged = acknowledged
                self._sealed.waiting.append(self)
            return
        docker = self._docker_conversation()
        if piece.missing_before:
            docker.lose(Direction(piece.direction), (piece.missing_before, piece.missing_before))
        elif not (piece.from_start or self._heard[piece.direction]) and docker.waiting > 1:
            docker.lose(Direction(piece.direction))  # the server, whose beginning the capture lacks
        self._heard[piece.direction] = True
        for data, end, moment in by_segment(piece):
            if self._plaintext:
                self._plaintext(Direction(piece.direction), data, moment)
            docker.feed(Direction(piece.direction), data, moment, end, acknowledged)

    def catch_up(self) -> None:
        """Take what the last piece brought, if that was left to another thread."""
        if self._tls is not None and self._tls.behind:
            for run in self._tls.catch_up():
                self._take(run, self._acknowledged)

    def _take(self, run: "PlaintextRun", acknowledged: int | None) -> None:
        """Read decrypted records, many at once as soon as they are a hijacked stream that nobody listens to, and have arrived."""
        docker, direction = self._docker_conversation(), run.direction
        if run.after_loss:
            docker.lose(direction, self._tls.take_lost(direction) if self._tls is not None else None)
        record = 0
        while record < run.count:
            until = record
            if self._plaintext is None and docker.joins(direction):
                until = run.acknowledged(record, acknowledged if direction is Direction.TO_CLIENT else None)
            if until > record:
                feed_stream(docker, run, record, until, acknowledged)
                record = until
                continue
            data, moment = run.content(record), run.moment(record)
            if self._plaintext:
                self._plaintext(direction, data, moment)
            docker.feed(direction, data, moment, run.stream_end(record), acknowledged)
            record += 1

    @property
    def wants_more(self) -> bool:
        """False once no further byte can change what is known."""
        if self._tls is not None:
            return self._tls.wants_more
        return self._plaintext is not None or (self._read and (self._docker is None or self._docker.wants_more))

    @property
    def latest_request(self) -> "tuple[int, HttpExchange] | None":
        """The number and the state by now of the exchange whose request came last, None before the first one could be read."""
        return self._docker.latest_request if self._docker is not None else None

    @property
    def losses(self) -> "HttpLosses | None":
        """What could not be read of the HTTP by now, None where nothing is missing."""
        return self._docker.losses if self._docker is not None else None

    @property
    def locked(self) -> "TlsSummary | None":
        """What is known of a TLS session of which nothing can be read any more, by now; None while something may still be."""
        return self._tls.locked if self._tls is not None else None

    def output_lost(self, tcp: TcpConnection) -> "LostOutput | None":
        """Container output that was sent and not acknowledged by now, of all exchanges together."""
        return self._docker.lost(_acknowledged(tcp)) if self._docker is not None else None

    def finish(self, tcp: TcpConnection) -> "tuple[TlsSummary | None, tuple[DockerExchange, ...]]":
        """What the connection said, once TCP is done with it."""
        self.catch_up()
        exchanges: tuple[DockerExchange, ...] = ()
        tls = self._tls.summary() if self._tls else None
        if self._docker is not None:
            for direction in Direction:
                if self._tls is not None and self._tls.ends_unread(direction):
                    self._docker.lose(direction, None if self._tls.gave_up(direction) else self._tls.take_lost(direction))
            exchanges = self._docker.finish(tcp.last_packet, _acknowledged(tcp), closed=_is_over(tcp, tls))
        return tls, exchanges

    def _docker_conversation(self) -> "DockerConversation":
        if self._docker is None:
            from captool.dockerapi.conversation import DockerConversation

            self._docker = DockerConversation(self._output)
        return self._docker


def _is_over(tcp: TcpConnection, tls: "TlsSummary | None") -> bool:
    """Whether the server has nothing more to say: a client that closes its side alone (an attach whose input has ended) still listens."""
    if tcp.close == "fin":
        closed = (alert for alert in (tls.alerts if tls else ()) if alert.description == "close_notify")
        return "f" in tcp.history or any(alert.direction == Direction.TO_CLIENT for alert in closed)
    return tcp.close == "rst"


def _acknowledged(tcp: TcpConnection) -> int | None:
    """How far the client acknowledged the server's stream; None where it was not heard."""
    return tcp.acknowledged_offset.to_client if tcp.packets.to_server else None


def tls_conversation(ring: KeyRing, sealed: "SealedRuns | None") -> "TlsConversation":
    """A TLS session that is read with the keys of `ring`."""
    from captool.tls.conversation import TlsConversation

    return TlsConversation(ring, resume_after_loss=True, sealed=sealed)


def feed_stream(docker: "DockerConversation", run: "PlaintextRun", first: int, last: int, acknowledged: int | None) -> None:
    """Feed the records from `first` to before `last` of a hijacked stream."""
    begin = run.until(first)

    def moment_of(place: int) -> Moment:
        return run.moment(run.record_at(begin + place))

    data = memoryview(run.data)[begin : run.until(last)]
    docker.feed_stream(run.direction, data, run.stream_end(last - 1), acknowledged, moment_of)


def by_segment(piece: StreamPiece) -> Iterator[tuple[bytes, int, Moment]]:
    """The bytes of each segment of a piece, the stream offset behind them, and the packet that brought them."""
    ends = [*piece.mark_offsets[1:], piece.offset + len(piece.data)]
    start = piece.offset
    for end, packet, ts_ns in zip(ends, piece.mark_packets, piece.mark_times_ns, strict=True):
        if end > start:
            yield piece.data[start - piece.offset : end - piece.offset], end, Moment(packet, ts_ns)
            start = end
