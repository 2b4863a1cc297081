"""The responses of one server, read one after the other: each is that to the oldest request that has none (RFC 9112 section 9.3.2)."""

from collections import deque
from collections.abc import Iterator
from typing import Final, Literal

import h11

from captool.direction import Moment
from captool.http.body import Body, body_of_response
from captool.http.message import SWITCHING_PROTOCOLS, Head, events, response_reader, rest_of_response
from captool.http.progress import ExchangeInProgress

MAX_UNANSWERED: Final = 1024


class ResponseReader:
    """Reads one response at a time, interim ones before it included; `rest` is what follows the one that ended.

    `ended` is the packet in which the last response ended, None where that was not seen.
    """

    __slots__ = ("_body", "_reader", "ended", "rest", "unanswered")

    def __init__(self) -> None:
        self.unanswered: deque[ExchangeInProgress] = deque()
        self.ended: int | None = None
        self.rest = b""
        self._reader: h11.Connection | None = None
        self._body: Body | None = None

    @property
    def current(self) -> ExchangeInProgress | None:
        """The exchange whose response is being read or comes next."""
        return self.unanswered[0] if self.unanswered else None

    @property
    def between(self) -> bool:
        """Whether no byte of a response was seen behind the last one."""
        return self._reader is None

    @property
    def chunked(self) -> bool:
        """Whether the body being read is in chunks."""
        return self._body is not None and self._body.ends == "chunked"

    def expect(self, exchange: ExchangeInProgress) -> bool:
        """A request came; false when there are so many without a response that something is wrong."""
        self.unanswered.append(exchange)
        return len(self.unanswered) <= MAX_UNANSWERED

    def read(self, exchange: ExchangeInProgress, data: bytes, moment: Moment) -> Iterator[Head | h11.Data]:
        """Read on in the response to the oldest request, to its end at most: its final head (or a 101) and its body.

        The exchange takes note of them. Raises `h11.ProtocolError`. Behind a head `stop` may end the reading of messages.
        """
        self.rest = b""
        reader = self._reader = self._reader or response_reader(exchange.method)
        for event in events(reader, data):
            if isinstance(event, h11.Response) or (
                isinstance(event, h11.InformationalResponse) and event.status_code == SWITCHING_PROTOCOLS
            ):
                exchange.answer(event, moment)
                self._body = body_of_response(event, exchange.method)
                yield event
                if self._reader is None:
                    self.rest = reader.trailing_data[0]
                    return
            elif isinstance(event, h11.Data):
                self._body = self._body and self._body.after(len(event.data))
                yield event
            elif isinstance(event, h11.EndOfMessage):
                exchange.end = moment
                exchange.complete = not exchange.response_hole
                self._next()
                self.ended = moment.packet
                self.rest = reader.trailing_data[0]
                return

    def lose(self, missing: int | None) -> Literal["goes on", "ended", "unknown"]:
        """So many bytes are missing before the next ones: what that makes of the response being read."""
        body = self._body.behind(missing) if self._body is not None else None
        self.ended = None
        if body is None:
            return "unknown"
        if body == Body("length"):
            self._next()
            return "ended"
        self._resume(body)
        return "goes on"

    def resume_chunks(self) -> None:
        """The next bytes are a chunk of the body that was being read."""
        self._resume(Body("chunked"))

    def give_up(self, until: ExchangeInProgress, *, also: bool = False) -> None:
        """The responses to all requests before this one (`also` that to itself) will not be found any more."""
        while self.unanswered and (self.unanswered[0] is not until or also):
            exchange = self.unanswered.popleft()
            exchange.response_followed = False
            exchange.response_hole = True
            if exchange is until:
                break
        self._reader = self._body = None
        self.ended = None

    def skip(self) -> None:
        """The response being read ends here, whatever was said of its length."""
        self._next()
        self.ended = None

    def stop(self) -> None:
        """No message comes any more: no request that still waits will be answered in view."""
        for exchange in self.unanswered:
            exchange.response_followed = False
        self.unanswered.clear()
        self._reader = self._body = None

    def _next(self) -> None:
        self.unanswered.popleft()
        self._reader = self._body = None

    def _resume(self, body: Body) -> None:
        fields = {"length": b"Content-Length: %d\r\n" % body.left, "chunked": b"Transfer-Encoding: chunked\r\n", "close": b""}
        self._reader = rest_of_response(fields[body.ends])
        self._body = body
