"""The Docker Engine API on one connection: plaintext of both directions in, exchanges with the output they carried out."""

from collections.abc import Callable
from typing import Final

from captool.direction import Direction, Moment
from captool.dockerapi.arrival import TEXT, OutputArrival
from captool.dockerapi.endpoints import OUTPUT, hijacks, identify
from captool.dockerapi.exchange import ContainerStream, DockerExchange, LostOutput, Output
from captool.dockerapi.stdcopy import Payload, StdcopyReader
from captool.http.conversation import HttpConversation
from captool.http.exchange import HttpExchange
from captool.http.losses import HttpLosses
from captool.http.pieces import StreamData

# Streams of exchanges that are not kept any more are dropped when there are more than this.
MAX_STREAMS: Final = 1024

OutputSink = Callable[[Output], None]
Missing = tuple[int, int]  # bytes, at least and at most


class _Stream:
    """What one exchange carried so far."""

    __slots__ = ("arrival", "holes_told", "missing", "missing_told", "newest", "number", "output_told", "reader", "request", "stdin_bytes")

    def __init__(self, number: int, request: str) -> None:
        self.number = number
        self.request = request
        self.reader = StdcopyReader()
        self.arrival = OutputArrival()
        self.stdin_bytes = 0
        self.holes_told = 0
        self.missing: Missing | None = (0, 0)
        self.missing_told: Missing | None = (0, 0)
        self.output_told = (0, 0)
        self.newest: StreamData | None = None


class DockerConversation:
    """Follows the Docker API on one connection.

    `output`, if given, is called with everything that containers printed or were sent as stdin, raw, in the order of the capture.
    """

    def __init__(self, output: OutputSink | None = None) -> None:
        self._http = HttpConversation(hijacks)
        self._output = output
        self._streams: dict[int, _Stream] = {}
        self._current = -1

    def joins(self, direction: Direction) -> bool:
        """Whether plaintext of this direction may go to `feed_stream`."""
        stream = self._streams.get(self._http.answering)
        return self._output is None and self._http.is_stream(direction) and not (stream and stream.reader.seeking)

    @property
    def not_http(self) -> bool:
        """Whether the first bytes were not HTTP."""
        return self._http.not_http

    @property
    def http2(self) -> bool:
        """Whether the connection became HTTP/2, which is not read."""
        return self._http.http2

    @property
    def exchange_count(self) -> int:
        """How many requests were seen; `finish` gives at most the first and the last 256 of them."""
        return self._http.exchange_count

    @property
    def waiting(self) -> int:
        """How many requests wait for an answer."""
        return self._http.waiting

    @property
    def losses(self) -> HttpLosses | None:
        """What could not be read of the HTTP by now, None where nothing is missing."""
        return self._http.losses()

    @property
    def latest_request(self) -> tuple[int, HttpExchange] | None:
        """The number and the state by now of the exchange whose request came last."""
        number = self._http.exchange_count - 1
        http = self._http.exchange(number) if number >= 0 else None
        return None if http is None else (number, http)

    @property
    def wants_more(self) -> bool:
        """False once no further byte can change what is known."""
        return self._http.wants_more

    def feed(self, direction: Direction, data: bytes, moment: Moment, stream_end: int, acknowledged: int | None) -> None:
        """Read more plaintext.

        `stream_end` is the offset in the direction's TCP stream that its receiver must acknowledge for the data to have arrived,
        `acknowledged` how far the client has acknowledged the server's stream by now (None: that cannot be seen).
        """
        for piece in self._http.feed(direction, data, moment, stream_end):
            stream = self._stream(piece.exchange)
            if stream is None:
                continue
            if piece.direction is Direction.TO_SERVER:
                stream.stdin_bytes += len(piece.data)
                if self._output:
                    self._output(Output("stdin", piece.data, piece.moment, stream.number, stream.request))
                continue
            stream.arrival.acknowledge(acknowledged)
            stream.newest = piece
            if self._output and stream.holes_told < stream.reader.holes:
                self._output(_hole(stream, piece.moment))
            self._print(stream, stream.reader.feed(piece.data), piece)

    def feed_stream(
        self, direction: Direction, data: memoryview, stream_end: int, acknowledged: int | None, moment_of: Callable[[int], Moment]
    ) -> None:
        """Read many bytes of a hijacked stream at once, where `joins` says so; they are only counted.

        The client must have acknowledged all of them (or its acknowledgements cannot be seen), `stream_end` and `acknowledged` are as in
        `feed`. `moment_of` tells when the byte at a place in `data` came.
        """
        number = self._http.pass_stream(direction, len(data))
        stream = self._stream(number)
        if stream is None:
            return
        if direction is Direction.TO_SERVER:
            stream.stdin_bytes += len(data)
            return
        stream.arrival.acknowledge(acknowledged)
        moment = moment_of(len(data) - 1)
        stream.newest = StreamData(number, direction, b"", moment, stream_end, "hijacked")
        printed = stream.reader.count(data, TEXT)
        if printed.end:
            moment = moment if printed.end == len(data) else moment_of(printed.end - 1)
            stream.arrival.counted(printed.stdout_bytes, printed.stderr_bytes, printed.text, moment, stream_end)

    def lose(self, direction: Direction, missing: Missing | None = None) -> None:
        """A hole: bytes of this direction are missing, at least and at most so many where that is known.

        A hijacked stream goes on behind it, HTTP with the next message that can be found.
        """
        stream = self._opened(self._http.answering) if direction is Direction.TO_CLIENT else None
        if stream is not None:
            inside = missing if self._http.is_stream(direction) else None  # a hole in a body may hold more than the rest of it
            stream.reader.lose(inside[0] if inside is not None and inside[0] == inside[1] else None)
            stream.missing = None if inside is None or stream.missing is None else _both(stream.missing, inside)
        self._http.lose(direction, missing[0] if missing is not None and missing[0] == missing[1] else None)

    def lost(self, acknowledged: int | None) -> LostOutput | None:
        """Output of all streams together that was sent and that the client has not acknowledged by now; None where there is none."""
        for stream in self._streams.values():
            stream.arrival.acknowledge(acknowledged)
        found = [lost for stream in self._streams.values() if (lost := stream.arrival.lost())]
        if not found:
            return None
        first = min(found, key=lambda lost: lost.first.packet)
        return first._replace(
            stdout_bytes=sum(lost.stdout_bytes for lost in found), stderr_bytes=sum(lost.stderr_bytes for lost in found)
        )

    def finish(self, moment: Moment, acknowledged: int | None, *, closed: bool) -> tuple[DockerExchange, ...]:
        """The connection ended (`closed`: by its ends, in view). Output beyond `acknowledged` did not arrive."""
        self._http.finish(moment, closed=closed)
        for stream in self._streams.values():
            if stream.newest is not None:
                self._print(stream, stream.reader.finish(), stream.newest)
            stream.arrival.acknowledge(acknowledged)
        numbered = zip(self._http.exchange_numbers(), self._http.exchanges(), strict=True)
        return tuple(self._exchange(number, http) for number, http in numbered)

    def _exchange(self, number: int, http: HttpExchange) -> DockerExchange:
        call = identify(http.method, http.target)
        stream = self._streams.get(number) or (_Stream(number, "") if _carries_output(http) else None)
        return DockerExchange(http, call.operation, call.container, _summary(stream) if stream else None)

    def _stream(self, number: int) -> _Stream | None:
        if number != self._current:
            self._current = number
            self._opened(number)
        return self._streams.get(number)

    def _opened(self, number: int) -> _Stream | None:
        """The stream of an exchange; None where that carries no output."""
        http = self._http.exchange(number)
        if http is not None and _carries_output(http):
            self._streams.setdefault(number, _Stream(number, f"{http.method} {http.target}"))
        if len(self._streams) > MAX_STREAMS:
            kept = set(self._http.exchange_numbers())
            self._streams = {number: stream for number, stream in self._streams.items() if number in kept}
        return self._streams.get(number)

    def _print(self, stream: _Stream, payloads: list[Payload], piece: StreamData) -> None:
        stream.arrival.sent(payloads, piece.moment, piece.stream_end)
        if self._output:
            for payload in payloads:
                self._output(Output(payload.output, payload.data, piece.moment, stream.number, stream.request))


def _carries_output(http: HttpExchange) -> bool:
    return http.status in {101, 200} and identify(http.method, http.target).operation in OUTPUT


def _summary(stream: _Stream) -> ContainerStream:
    arrival = stream.arrival
    return ContainerStream(
        kind=stream.reader.kind,
        stdin_bytes=stream.stdin_bytes,
        stdout_bytes=arrival.stdout_bytes,
        stderr_bytes=arrival.stderr_bytes,
        last_output=arrival.last_output,
        lost=arrival.lost(),
        holes=stream.reader.holes,
        unattributed_bytes=stream.reader.passed_over,
        missing=stream.missing if stream.reader.holes else None,
        missing_stdout=stream.reader.missing[0],
        missing_stderr=stream.reader.missing[1],
    )


def _both(one: Missing, other: Missing) -> Missing:
    return one[0] + other[0], one[1] + other[1]


def _hole(stream: _Stream, moment: Moment) -> Output:
    """What is missing of a stream since that was told last."""
    now, told = stream.missing, stream.missing_told
    missing = None if now is None or told is None else (now[0] - told[0], now[1] - told[1])
    (stdout, stderr), before = stream.reader.missing, stream.output_told
    stream.holes_told, stream.missing_told, stream.output_told = stream.reader.holes, now, stream.reader.missing
    return Output("hole", b"", moment, stream.number, stream.request, missing, stdout - before[0], stderr - before[1])
