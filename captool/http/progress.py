"""Exchanges while they go on: what was seen of each so far, and which of them are kept."""

from collections import deque
from enum import Enum
from typing import Final, Literal

import h11

from captool.direction import Direction, Moment
from captool.http.exchange import HttpExchange
from captool.http.headers import kept_fields
from captool.http.message import Head, has_length

KEPT_FIRST: Final = 256
KEPT_LAST: Final = 256


class Following(Enum):
    """How a direction is followed."""

    MESSAGES = "HTTP messages"
    UNDECIDED = "kept until the response says whether the connection stays HTTP"
    STREAM = "bytes of a hijacked stream"
    SEEKING = "the beginning of a message is looked for behind a hole"
    LEFT = "not followed any more"


class ExchangeInProgress:
    """One exchange, changed as its bytes are read; `frozen()` is what is known of it now.

    `asked` is the moment of the request's end, `stretch` the number of holes before it in the client's direction.
    """

    __slots__ = (
        "asked",
        "body_bytes",
        "complete",
        "end",
        "hijack",
        "method",
        "number",
        "request",
        "request_headers",
        "request_hole",
        "response",
        "response_followed",
        "response_headers",
        "response_hole",
        "status",
        "stretch",
        "target",
        "uncertain",
        "until_close",
    )

    def __init__(self, method: str, target: str, request: Moment, headers: tuple[tuple[str, str], ...]) -> None:
        self.number = -1
        self.method = method
        self.target = target
        self.request = request
        self.request_headers = headers
        self.body_bytes = [0, 0]
        self.status: int | None = None
        self.response: Moment | None = None
        self.response_headers: tuple[tuple[str, str], ...] = ()
        self.end: Moment | None = None
        self.complete = False
        self.hijack: Literal["upgrade", "raw"] | None = None
        self.until_close = False
        self.response_followed = True
        self.asked: Moment | None = None
        self.stretch = 0
        self.request_hole = False
        self.response_hole = False
        self.uncertain = False

    def answer(self, head: Head, moment: Moment) -> None:
        """Take note of the head of the response, which is the final one or a 101."""
        self.status = head.status_code
        self.response = moment
        self.response_headers = kept_fields(head.headers)
        bodiless = self.method == "HEAD" or head.status_code in {204, 304}
        self.until_close = isinstance(head, h11.Response) and not bodiless and not has_length(head)

    def carry(self, direction: Direction, size: int) -> int:
        """Count so many bytes of the hijacked stream; gives the exchange's number."""
        self.body_bytes[direction] += size
        return self.number

    def retract(self) -> tuple[int, Moment]:
        """What was taken for the response need not be it; gives its status and moment."""
        retracted = self.status or 0, self.response or self.request
        self.status = self.response = self.end = None
        self.response_headers = ()
        self.body_bytes[Direction.TO_CLIENT] = 0
        self.complete = self.response_followed = False
        self.response_hole = True
        return retracted

    def lose(self, direction: Direction) -> None:
        """Bytes of the request or the response are missing, or make no sense."""
        if direction is Direction.TO_CLIENT:
            self.response_hole = True
            self.response_followed = False
        else:
            self.request_hole = True

    def frozen(self) -> HttpExchange:
        """What is known of the exchange so far."""
        return HttpExchange(
            method=self.method,
            target=self.target,
            request=self.request,
            request_headers=self.request_headers,
            request_body_bytes=self.body_bytes[Direction.TO_SERVER],
            status=self.status,
            response=self.response,
            response_headers=self.response_headers,
            response_body_bytes=self.body_bytes[Direction.TO_CLIENT],
            end=self.end,
            complete=self.complete,
            hijack=self.hijack,
            response_followed=self.response_followed,
            request_hole=self.request_hole,
            response_hole=self.response_hole,
            uncertain=self.uncertain,
        )


class KeptExchanges:
    """The first `KEPT_FIRST` and the last `KEPT_LAST` exchanges of a conversation; those between are only counted.

    A client that asks for a container's state once a second all night makes tens of thousands of exchanges on one connection.
    """

    __slots__ = ("_first", "_last", "count")

    def __init__(self) -> None:
        self.count = 0
        self._first: list[ExchangeInProgress] = []
        self._last: deque[ExchangeInProgress] = deque(maxlen=KEPT_LAST)

    def add(self, exchange: ExchangeInProgress) -> None:
        """Number and keep the next exchange, perhaps instead of one that is neither among the first nor among the last any more."""
        exchange.number = self.count
        self.count += 1
        if len(self._first) < KEPT_FIRST:
            self._first.append(exchange)
        else:
            self._last.append(exchange)

    def in_order(self) -> list[ExchangeInProgress]:
        """The kept exchanges in the order of their requests."""
        return [*self._first, *self._last]

    def numbered(self, number: int) -> ExchangeInProgress | None:
        """The exchange with this number (from 0; -1 is none), None when it was not kept."""
        if number < len(self._first):
            return self._first[number] if number >= 0 else None
        place = number - (self.count - len(self._last))
        return self._last[place] if 0 <= place < len(self._last) else None
