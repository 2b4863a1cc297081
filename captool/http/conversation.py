"""HTTP/1.1 on one connection, followed passively: plaintext of both directions in, exchanges and stream bytes out.

RFC 9110 and 9112. The two directions are read message by message; a response belongs to the oldest request that has none.
Whatever stops making sense is left alone from there on, with what was known before it: a sniffer that is stricter than the two
ends, or that raises, explains nothing.
"""

from collections.abc import Callable
from typing import Final, Literal

import h11

from captool.direction import Direction, Moment
from captool.http.exchange import HttpExchange
from captool.http.headers import MAX_TARGET, kept_fields, shortened
from captool.http.message import SWITCHING_PROTOCOLS, Head, proposes_upgrade
from captool.http.pieces import HeldPieces, Piece, StreamData
from captool.http.progress import ExchangeInProgress, Following, KeptExchanges
from captool.http.request_reader import RequestReader
from captool.http.response_reader import ResponseReader

# h11 copies what is left behind a message; short slices keep a long piece with many small messages linear.
SLICE: Final = 1 << 16


class HttpConversation:
    """Follows HTTP/1.1 on the plaintext of both directions of one connection.

    `hijacks(method, target)` says whether an endpoint turns a `200` without a length into a raw stream both ways, the form that
    Docker used before it learned to upgrade. `not_http` is true when the first bytes were not HTTP, `http2` when the
    client began HTTP/2 or the server agreed to it (whose frames are not read), `refusal` is h11's reason for giving up, and
    `exchange_count` counts the exchanges, of which `exchanges()` keeps the first and the last 256.
    """

    def __init__(self, hijacks: Callable[[str, str], bool]) -> None:
        self.http2 = False
        self.refusal: str | None = None
        self._hijacks = hijacks
        self._strange = False
        self._kept = KeptExchanges()
        self._following = [Following.MESSAGES, Following.MESSAGES]
        self._lost = [False, False]
        self._stream: ExchangeInProgress | None = None
        self._request: ExchangeInProgress | None = None
        self._requests = RequestReader()
        self._responses = ResponseReader()
        self._may_leave_http = False
        self._undecided: ExchangeInProgress | None = None
        self._held = HeldPieces()
        self._early = HeldPieces()
        self._greeting = b""

    @property
    def not_http(self) -> bool:
        """Whether the first bytes were not HTTP, as in a capture that begins in the middle of a stream."""
        return self._strange and not (self._kept.count or self.http2)

    @property
    def exchange_count(self) -> int:
        """How many requests were seen, kept or not."""
        return self._kept.count

    @property
    def wants_more(self) -> bool:
        """False once no further byte of either direction can change what is known."""
        return any(following is not Following.LEFT for following in self._following)

    def is_stream(self, direction: Direction) -> bool:
        """Whether the direction carries the bytes of a hijacked stream, to the end."""
        return self._following[direction] is Following.STREAM

    @property
    def answering(self) -> int:
        """The number of the exchange whose response or stream is being read, -1 where there is none."""
        exchange = self._stream or self._responses.current
        return exchange.number if exchange else -1

    def exchanges(self) -> tuple[HttpExchange, ...]:
        """What is known of the first and the last 256 exchanges, in the order of their requests."""
        return tuple(exchange.frozen() for exchange in self._kept.in_order())

    def exchange_numbers(self) -> tuple[int, ...]:
        """The numbers (from 0) of `exchanges()`: they jump where exchanges were only counted."""
        return tuple(exchange.number for exchange in self._kept.in_order())

    def exchange(self, number: int) -> HttpExchange | None:
        """What is known of the exchange with this number, None when it was only counted."""
        exchange = self._kept.numbered(number)
        return exchange.frozen() if exchange else None

    def feed(self, direction: Direction, data: bytes, moment: Moment, stream_end: int) -> list[StreamData]:
        """Read more plaintext of one direction; gives the stream and body bytes that it carried. Never raises."""
        following = self._following[direction]
        if following is Following.LEFT or not data:
            return []
        if following is Following.STREAM:
            return [self._stream_data(direction, Piece(data, moment, stream_end))]
        found: list[StreamData] = []
        read = self._read_responses if direction else self._read_requests
        for start in range(0, len(data), SLICE):
            part = data if len(data) <= SLICE else data[start : start + SLICE]
            try:
                read(Piece(part, moment, stream_end), found)
                self._catch_up(found)
            except h11.ProtocolError as refusal:
                self._refuse(direction, refusal)
        return found

    def pass_stream(self, direction: Direction, size: int) -> int:
        """So many bytes of a hijacked stream (`is_stream`) came by; gives the number of their exchange, -1 where there is none."""
        exchange = self._stream
        if exchange is None:
            return -1
        exchange.body_bytes[direction] += size
        return exchange.number

    def lose(self, direction: Direction) -> None:
        """A hole: bytes of this direction are missing. A stream goes on behind it, incomplete; messages cannot be followed any further."""
        self._lost[direction] = True
        if self._following[direction] is not Following.STREAM:
            self._leave(direction)
        elif self._stream and direction is Direction.TO_CLIENT:
            self._stream.response_followed = False

    def finish(self, moment: Moment, *, closed: bool = True) -> None:
        """The connection ended. A body or stream that goes on until the close is complete if both ends `closed` it in view."""
        if not closed or self._lost[Direction.TO_CLIENT] or self._following[Direction.TO_CLIENT] is Following.LEFT:
            return
        last = self._stream or self._responses.current
        if last is not None and (last.hijack or last.until_close):
            last.end = moment
            last.complete = True
        self._following = [Following.LEFT, Following.LEFT]

    def _read_requests(self, piece: Piece, found: list[StreamData]) -> None:
        data = piece.data
        while data:
            following = self._following[Direction.TO_SERVER]
            if following is Following.STREAM:
                found.append(self._stream_data(Direction.TO_SERVER, piece._replace(data=data)))
                return
            if following is Following.UNDECIDED:
                if not self._held.add(piece._replace(data=data)):
                    self._leave(Direction.TO_SERVER)
                return
            if following is Following.LEFT:
                return
            if self._request is None and not self._starts_request(data, piece.moment):
                return
            data = self._read_request(data, piece.moment)

    def _starts_request(self, data: bytes, moment: Moment) -> bool:
        beginning = self._requests.beginning(data, moment)
        if beginning == "request":
            return True
        self._leave(Direction.TO_SERVER)
        if beginning == "http2":
            self.http2 = True
            self._leave(Direction.TO_CLIENT)
        self._strange = True
        return False

    def _read_request(self, data: bytes, moment: Moment) -> bytes:
        """Read one request to its end; gives what follows it."""
        for event in self._requests.read(data):
            if isinstance(event, h11.Request):
                self._begin_exchange(event, self._requests.begun or moment)
            elif isinstance(event, h11.Data) and self._request:
                self._request.body_bytes[Direction.TO_SERVER] += len(event.data)
            elif isinstance(event, h11.EndOfMessage):
                self._end_request()
        return self._requests.rest

    def _begin_exchange(self, request: h11.Request, moment: Moment) -> None:
        method = request.method.decode("latin-1")
        target = shortened(request.target, MAX_TARGET)
        exchange = ExchangeInProgress(self._kept.count, method, target, moment, kept_fields(request.headers))
        self._kept.add(exchange)
        self._request = exchange
        self._may_leave_http = proposes_upgrade(request) or self._hijacks(method, target)
        if self._following[Direction.TO_CLIENT] is Following.MESSAGES:
            if not self._responses.expect(exchange):
                self._leave(Direction.TO_CLIENT)
        else:
            exchange.response_followed = False

    def _end_request(self) -> None:
        exchange = self._request
        self._request = None
        if self._stream:
            self._following[Direction.TO_SERVER] = Following.STREAM
        elif self._may_leave_http and exchange and exchange.status is None:
            if self._following[Direction.TO_CLIENT] is Following.LEFT:
                self._leave(Direction.TO_SERVER)
            else:
                self._following[Direction.TO_SERVER] = Following.UNDECIDED
                self._undecided = exchange

    def _read_responses(self, piece: Piece, found: list[StreamData]) -> None:
        data = piece.data
        while data:
            following = self._following[Direction.TO_CLIENT]
            if following is Following.STREAM:
                found.append(self._stream_data(Direction.TO_CLIENT, piece._replace(data=data)))
                return
            if following is Following.LEFT:
                return
            exchange = self._responses.current
            if exchange is None:
                self._unasked(piece._replace(data=data))
                return
            for event in self._responses.read(exchange, data, piece.moment):
                if not isinstance(event, h11.Data):
                    self._read_head(exchange, event, found)
                    continue
                exchange.body_bytes[Direction.TO_CLIENT] += len(event.data)
                body = StreamData(exchange.number, Direction.TO_CLIENT, bytes(event.data), piece.moment, piece.stream_end, "body")
                found.append(body)
            data = self._responses.rest

    def _read_head(self, exchange: ExchangeInProgress, head: Head, found: list[StreamData]) -> None:
        """Decide by a response's head whether the connection stays HTTP."""
        upgraded = head.status_code == SWITCHING_PROTOCOLS
        accepted = 200 <= head.status_code < 300
        raw = exchange.until_close and accepted and self._hijacks(exchange.method, exchange.target)
        if upgraded or raw or (accepted and exchange.method == "CONNECT"):
            self._hijack(exchange, "upgrade" if upgraded else "raw", found)
        elif self._undecided is exchange:
            self._stay_http(exchange, found)

    def _hijack(self, exchange: ExchangeInProgress, how: Literal["upgrade", "raw"], found: list[StreamData]) -> None:
        exchange.hijack = how
        self._stream = exchange
        self._responses.stop()
        exchange.response_followed = True
        self._undecided = None
        protocol = dict(exchange.response_headers).get("upgrade", "").lower()
        self.http2 = self.http2 or protocol in {"h2c", "h2"}
        self._following[Direction.TO_CLIENT] = Following.STREAM
        # A request body that is still on its way comes before the client's part of the stream.
        if self._following[Direction.TO_SERVER] is not Following.LEFT and self._request is not exchange:
            self._following[Direction.TO_SERVER] = Following.STREAM
            found.extend(self._stream_data(Direction.TO_SERVER, piece) for piece in self._held.take())

    def _stay_http(self, exchange: ExchangeInProgress, found: list[StreamData]) -> None:
        """The answer was an ordinary one: what the client sent meanwhile were requests, unless no response can follow."""
        self._undecided = None
        held = self._held.take()
        if self._following[Direction.TO_SERVER] is not Following.UNDECIDED:
            return
        if exchange.until_close:
            self._leave(Direction.TO_SERVER)
            return
        self._following[Direction.TO_SERVER] = Following.MESSAGES
        try:
            for piece in held:
                self._read_requests(piece, found)
        except h11.ProtocolError as refusal:
            self._refuse(Direction.TO_SERVER, refusal)

    def _unasked(self, piece: Piece) -> None:
        """Data of a server that nobody asked: early by a slip of the capture, or the rest of something that began before it."""
        if not self._kept.count and self._requests.begun is None:
            self._greeting += piece.data[: 5 - len(self._greeting)]
            self._strange = self._strange or not b"HTTP/".startswith(self._greeting)
        expected = self._requests.begun is not None
        if self._following[Direction.TO_SERVER] is Following.LEFT or (expected and not self._early.add(piece)):
            self._leave(Direction.TO_CLIENT)

    def _catch_up(self, found: list[StreamData]) -> None:
        """Read what the server said before the request that it answers was seen."""
        if self._early and self._responses.current:
            try:
                for piece in self._early.take():
                    self._read_responses(piece, found)
            except h11.ProtocolError as refusal:
                self._refuse(Direction.TO_CLIENT, refusal)

    def _stream_data(self, direction: Direction, piece: Piece) -> StreamData:
        number = self.pass_stream(direction, len(piece.data))
        return StreamData(number, direction, piece.data, piece.moment, piece.stream_end, "hijacked")

    def _refuse(self, direction: Direction, refusal: h11.ProtocolError) -> None:
        self.refusal = self.refusal or f"{direction.sender}: {refusal}"
        self._strange = True
        self._leave(direction)

    def _leave(self, direction: Direction) -> None:
        """Stop following a direction; the client's cannot be followed either where only the server's answer gives it a meaning."""
        self._following[direction] = Following.LEFT
        self._early.take()
        if direction is Direction.TO_CLIENT:
            self._responses.stop()
            if self._stream:
                self._stream.response_followed = False
            if self._following[Direction.TO_SERVER] is not Following.UNDECIDED:
                return
        self._following[Direction.TO_SERVER] = Following.LEFT
        self._held.take()
