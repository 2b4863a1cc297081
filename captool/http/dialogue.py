"""The messages of both directions of a connection as they follow each other: which is whose answer, and when it stops being HTTP."""

from collections.abc import Callable
from typing import Literal

import h11

from captool.direction import Direction, Moment
from captool.http.headers import MAX_TARGET, kept_fields, shortened
from captool.http.message import SWITCHING_PROTOCOLS, Head, proposes_upgrade
from captool.http.pieces import HeldPieces, Piece, StreamData
from captool.http.progress import ExchangeInProgress, Following, KeptExchanges
from captool.http.request_reader import RequestReader
from captool.http.response_reader import ResponseReader
from captool.http.resumption import Resumption
from captool.http.search import begins_response

TO_SERVER, TO_CLIENT = Direction.TO_SERVER, Direction.TO_CLIENT


class Dialogue:
    """Both directions, how each is followed, and what they have come to.

    `stream` is the exchange whose hijacked stream the connection has become; `behind` knows what to do behind holes; `strange` says that
    bytes were met that are no HTTP.
    """

    def __init__(self, hijacks: Callable[[str, str], bool]) -> None:
        self.http2 = False
        self.refusal: str | None = None
        self.strange = False
        self.following = [Following.MESSAGES, Following.MESSAGES]
        self.kept = KeptExchanges()
        self.requests, self.responses = RequestReader(), ResponseReader()
        self.behind = Resumption(self.kept, self.responses)
        self.stream: ExchangeInProgress | None = None
        self._hijacks = hijacks
        self._request: ExchangeInProgress | None = None
        self._may_leave_http = False
        self._undecided: ExchangeInProgress | None = None
        self._held = HeldPieces()
        self._early = HeldPieces()
        self._greeting = b""
        self._asked = False  # something since what the server said early was looked at

    def read(self, direction: Direction, piece: Piece, found: list[StreamData]) -> None:
        """Read on in a direction; stream and body bytes go to `found`. Raises `h11.ProtocolError`."""
        if direction is TO_CLIENT:
            self._read_responses(piece, found)
        else:
            self._read_requests(piece, found)
        self._catch_up(found)

    def finish(self) -> None:
        """The connection ended: what waited for something else waits no more."""
        self.behind.over = self._asked = True
        self._catch_up([])
        self.behind.finish()
        if self.following[TO_CLIENT] is Following.SEEKING:
            self.responses.stop()

    def hit(self, direction: Direction) -> None:
        """Bytes of the message being read (or of the response that comes next) are missing, or make no sense."""
        if (exchange := self.responses.current if direction else self._request) and self.following[direction] is Following.MESSAGES:
            exchange.lose(direction)

    def _read_requests(self, piece: Piece, found: list[StreamData]) -> None:
        data = piece.data
        while data:
            following = self.following[TO_SERVER]
            if following is Following.STREAM:
                found.append(self.stream_data(TO_SERVER, piece._replace(data=data)))
                return
            if following is Following.UNDECIDED:
                if not self._held.add(piece._replace(data=data)):
                    self._leave(TO_SERVER)
                return
            if following is Following.LEFT:
                return
            if following is Following.SEEKING:
                begun = self.behind.find_request(piece._replace(data=data))
                if begun is None:
                    return
                data, self.requests.begun = begun
                self.following[TO_SERVER] = Following.MESSAGES
            if self._request is None and not self._starts_request(data, piece.moment):
                return
            data = self._read_request(data, piece.moment)

    def _starts_request(self, data: bytes, moment: Moment) -> bool:
        beginning = self.requests.beginning(data, moment)
        if beginning == "request":
            return True
        if beginning == "other" and (self.kept.count or self.behind.requests_lost):
            raise h11.RemoteProtocolError("no request line")
        self.http2 = beginning == "http2"
        self.strange = True
        self._leave(TO_SERVER)
        if self.http2:
            self._leave(TO_CLIENT)
        return False

    def _read_request(self, data: bytes, moment: Moment) -> bytes:
        """Read one request to its end; gives what follows it."""
        for event in self.requests.read(data):
            if isinstance(event, h11.Request):
                self._begin_exchange(event, self.requests.begun or moment)
            elif isinstance(event, h11.Data) and self._request:
                self._request.body_bytes[TO_SERVER] += len(event.data)
            elif isinstance(event, h11.EndOfMessage):
                self.end_request(moment)
        return self.requests.rest

    def _begin_exchange(self, request: h11.Request, moment: Moment) -> None:
        method = request.method.decode("latin-1")
        target = shortened(request.target, MAX_TARGET)
        exchange = ExchangeInProgress(method, target, moment, kept_fields(request.headers))
        self._request = exchange
        self._asked = True
        self._may_leave_http = proposes_upgrade(request) or self._hijacks(method, target)
        if self.behind.requests_lost:
            self.behind.suspect(exchange)
            return
        self.behind.begins(exchange)
        self.kept.add(exchange)
        exchange.response_followed = self.following[TO_CLIENT] is Following.MESSAGES
        if self.following[TO_CLIENT] is not Following.LEFT and not self.responses.expect(exchange):
            self._leave(TO_CLIENT)

    def end_request(self, moment: Moment) -> None:
        """The client has said all of its request."""
        exchange = self._request
        self._request = None
        self._asked = True
        if exchange is not None:
            exchange.asked = moment
        if self.stream:
            self.following[TO_SERVER] = Following.STREAM
        elif self._may_leave_http and exchange and exchange.status is None:
            self.following[TO_SERVER] = Following.UNDECIDED
            self._undecided = exchange
            if self.following[TO_CLIENT] is Following.LEFT:
                self._leave(TO_SERVER)

    def _read_responses(self, piece: Piece, found: list[StreamData]) -> None:
        data = piece.data
        while data:
            following = self.following[TO_CLIENT]
            if following is Following.STREAM:
                found.append(self.stream_data(TO_CLIENT, piece._replace(data=data)))
                return
            if following is Following.LEFT:
                return
            if following is Following.SEEKING:
                begun = self.behind.find_response(piece._replace(data=data))
                if begun is None:
                    if self._early or self.behind.may_be_answer(piece):
                        self._early.add(piece)
                    return
                self._early.take()
                data = begun
                self.following[TO_CLIENT] = Following.MESSAGES
                if self._undecided and self._undecided not in (*self.responses.unanswered, *self.behind.suspects):
                    self._leave(TO_SERVER)
            elif self.behind.unpaired_is_over(piece):
                self.responses.skip()
            exchange = self.responses.current
            if exchange is None and not self._unasked(piece._replace(data=data)):
                return
            exchange = exchange or self.responses.unanswered[0]
            for event in self.responses.read(exchange, data, piece.moment):
                if not isinstance(event, h11.Data):
                    self._read_head(exchange, event, piece.moment, found)
                elif exchange.number >= 0:
                    exchange.body_bytes[TO_CLIENT] += len(event.data)
                    found.append(StreamData(exchange.number, TO_CLIENT, bytes(event.data), piece.moment, piece.stream_end, "body"))
            data = self.responses.rest

    def _read_head(self, exchange: ExchangeInProgress, head: Head, moment: Moment, found: list[StreamData]) -> None:
        """Decide by a response's head whether the connection stays HTTP."""
        upgraded = head.status_code == SWITCHING_PROTOCOLS
        if exchange.number < 0:
            self.behind.losses.add_unpaired(head.status_code, moment)
            if upgraded or exchange.until_close:  # whether it ends HTTP depends on what was asked
                self._leave(TO_CLIENT)
                self._leave(TO_SERVER)
            return
        self.behind.answers(exchange, moment)
        accepted = 200 <= head.status_code < 300
        raw = exchange.until_close and accepted and self._hijacks(exchange.method, exchange.target)
        if upgraded or raw or (accepted and exchange.method == "CONNECT"):
            self._hijack(exchange, "upgrade" if upgraded else "raw", found)
        elif self._undecided is exchange:
            self._stay_http(exchange, found)

    def _hijack(self, exchange: ExchangeInProgress, how: Literal["upgrade", "raw"], found: list[StreamData]) -> None:
        exchange.hijack = how
        self.stream = exchange
        self.responses.unanswered.popleft()
        self.responses.stop()
        self._undecided = None
        protocol = dict(exchange.response_headers).get("upgrade", "").lower()
        self.http2 = self.http2 or protocol in {"h2c", "h2"}
        self.following[TO_CLIENT] = Following.STREAM
        # A request body that is still on its way comes before the client's part of the stream.
        if self.following[TO_SERVER] is not Following.LEFT and self._request is not exchange:
            self.following[TO_SERVER] = Following.STREAM
            found.extend(self.stream_data(TO_SERVER, piece) for piece in self._held.take())

    def _stay_http(self, exchange: ExchangeInProgress, found: list[StreamData]) -> None:
        """The answer was an ordinary one: what the client sent meanwhile were requests, unless no response can follow."""
        self._undecided = None
        held = self._held.take()
        if self.following[TO_SERVER] is not Following.UNDECIDED:
            return
        if exchange.until_close:
            self._leave(TO_SERVER)
            return
        self.following[TO_SERVER] = Following.SEEKING if self.behind.requests_lost else Following.MESSAGES
        for piece in held:
            try:
                self._read_requests(piece, found)
            except h11.ProtocolError as refusal:
                self.refuse(TO_SERVER, refusal, piece.moment)

    def _unasked(self, piece: Piece) -> bool:
        """Data that nobody asked for: early, or the rest or answer of what the capture lacks; true when whom it answers is known now."""
        if self.following[TO_SERVER] is Following.LEFT:
            self._leave(TO_CLIENT)
        elif self.behind.requests_lost and self.behind.knows_asker(piece):
            return self.responses.current is not None
        elif self.kept.count or self.requests.begun is not None or self.behind.requests_lost:
            if not self._early.add(piece):
                raise h11.RemoteProtocolError("nobody asked for so much")
        else:
            self._greeting += piece.data[: 5 - len(self._greeting)]
            self.strange = self.strange or not b"HTTP/".startswith(self._greeting)
            if self._early or begins_response(piece.data):  # the client may not have been heard yet
                self._early.add(piece)
        return False

    def _catch_up(self, found: list[StreamData]) -> None:
        """Read what the server said before the request that it answers was seen."""
        asked, self._asked = self._asked, False
        if not (asked and self._early):
            return
        self.behind.look_again()
        for piece in self._early.take():
            exchange = self.responses.current
            if exchange is None or exchange.request.packet <= piece.moment.packet:
                try:
                    self._read_responses(piece, found)
                except h11.ProtocolError as refusal:
                    self.refuse(TO_CLIENT, refusal, piece.moment)

    def stream_data(self, direction: Direction, piece: Piece) -> StreamData:
        """A piece of the hijacked stream."""
        number = self.stream.carry(direction, len(piece.data)) if self.stream else -1
        return StreamData(number, direction, piece.data, piece.moment, piece.stream_end, "hijacked")

    def refuse(self, direction: Direction, refusal: h11.ProtocolError, moment: Moment) -> None:
        """Bytes that are no HTTP: on a connection that was HTTP before, the next message is looked for behind them."""
        self.refusal = self.refusal or f"{direction.sender}: {refusal}"
        self.strange = True
        if self.following[direction] is Following.LEFT:
            return
        self.hit(direction)
        self.behind.losses.begin(direction, None, str(refusal), moment)
        (self.seek if self.kept.count or self.behind.requests_lost else self._leave)(direction)

    def seek(self, direction: Direction) -> None:
        """Look for the beginning of a message, unless the client asks several things at once: then nobody knows whose the answers are."""
        following = self.following[direction]
        undecided = self.following[TO_SERVER] is Following.UNDECIDED
        decides = undecided and direction is TO_CLIENT and self.responses.current is self._undecided
        self.behind.lose(direction, first=following is not Following.SEEKING)
        if self.behind.overlapped or decides:
            self._leave(direction)
            return
        (self._early if direction else self._held).take()
        if direction is TO_SERVER and not undecided:
            if self._request:
                self._request.asked = self._request.request
            self._request = None
            self.requests.begin_anew()
        if direction is TO_CLIENT or not undecided:
            self.following[direction] = Following.SEEKING

    def _leave(self, direction: Direction) -> None:
        """Stop following a direction; the client's cannot be followed either where only the server's answer gives it a meaning."""
        self.following[direction] = Following.LEFT
        self._early.take()
        if direction is TO_CLIENT:
            self.responses.stop()
            if self.stream:
                self.stream.response_followed = False
            if self.following[TO_SERVER] is not Following.UNDECIDED:
                return
        self.following[TO_SERVER] = Following.LEFT
        self._held.take()
