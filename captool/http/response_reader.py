"""The responses of one server, read one after the other: each is that to the oldest request that has none (RFC 9112 section 9.3.2)."""

from collections import deque
from collections.abc import Iterator
from typing import Final

import h11

from captool.direction import Moment
from captool.http.message import SWITCHING_PROTOCOLS, Head, events, response_reader
from captool.http.progress import ExchangeInProgress

MAX_UNANSWERED: Final = 1024


class ResponseReader:
    """Reads one response at a time, interim ones before it included; `rest` is what follows the one that ended."""

    __slots__ = ("_reader", "rest", "unanswered")

    def __init__(self) -> None:
        self.unanswered: deque[ExchangeInProgress] = deque()
        self.rest = b""
        self._reader: h11.Connection | None = None

    @property
    def current(self) -> ExchangeInProgress | None:
        """The exchange whose response is being read or comes next."""
        return self.unanswered[0] if self.unanswered else None

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
                yield event
                if self._reader is None:
                    self.rest = reader.trailing_data[0]
                    return
            elif isinstance(event, h11.Data):
                yield event
            elif isinstance(event, h11.EndOfMessage):
                exchange.end = moment
                exchange.complete = True
                self._reader = None
                self.unanswered.popleft()
                self.rest = reader.trailing_data[0]
                return

    def stop(self) -> None:
        """No message comes any more: no request that still waits will be answered in view."""
        for exchange in self.unanswered:
            exchange.response_followed = False
        self.unanswered.clear()
        self._reader = None
