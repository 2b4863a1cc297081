"""HTTP/1.1 on one connection, followed passively: plaintext of both directions in, exchanges and stream bytes out.

RFC 9110 and 9112. The two directions are read message by message; a response belongs to the oldest request that has none. Behind bytes
that are missing, or make no sense, the next message is looked for; what cannot be known there is called so.
"""

from collections.abc import Callable
from typing import Final

import h11

from captool.direction import Direction, Moment
from captool.http.dialogue import Dialogue
from captool.http.exchange import HttpExchange
from captool.http.losses import HttpLosses
from captool.http.pieces import Piece, StreamData
from captool.http.progress import Following

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
        self._dialogue = Dialogue(hijacks)
        self._uncrossed = [False, False]

    @property
    def http2(self) -> bool:
        """Whether the connection became HTTP/2, which is not read."""
        return self._dialogue.http2

    @property
    def refusal(self) -> str | None:
        """The first reason why bytes could not be read, and whose they were."""
        return self._dialogue.refusal

    @property
    def not_http(self) -> bool:
        """Whether the first bytes were not HTTP, as in a capture that begins in the middle of a stream."""
        return self._dialogue.strange and not (self._dialogue.kept.count or self.http2)

    @property
    def exchange_count(self) -> int:
        """How many requests were seen, kept or not."""
        return self._dialogue.kept.count

    @property
    def wants_more(self) -> bool:
        """False once no further byte of either direction can change what is known."""
        return any(following is not Following.LEFT for following in self._dialogue.following)

    def is_stream(self, direction: Direction) -> bool:
        """Whether the direction carries the bytes of a hijacked stream, to the end."""
        return self._dialogue.following[direction] is Following.STREAM

    @property
    def answering(self) -> int:
        """The number of the exchange whose response or stream is being read, -1 where there is none."""
        exchange = self._dialogue.stream or self._dialogue.responses.current
        return exchange.number if exchange else -1

    @property
    def waiting(self) -> int:
        """How many requests wait for an answer."""
        return len(self._dialogue.responses.unanswered)

    def losses(self) -> HttpLosses | None:
        """What could not be read by now, None where nothing is missing."""
        told = self._dialogue.behind.losses.told()
        spoken = self._dialogue.kept.count or (told is not None and (told.unpaired or any(loss.refusal for loss in told.losses)))
        return told if spoken else None

    def exchanges(self) -> tuple[HttpExchange, ...]:
        """What is known of the first and the last 256 exchanges, in the order of their requests."""
        return tuple(exchange.frozen() for exchange in self._dialogue.kept.in_order())

    def exchange_numbers(self) -> tuple[int, ...]:
        """The numbers (from 0) of `exchanges()`: they jump where exchanges were only counted."""
        return tuple(exchange.number for exchange in self._dialogue.kept.in_order())

    def exchange(self, number: int) -> HttpExchange | None:
        """What is known of the exchange with this number, None when it was only counted."""
        exchange = self._dialogue.kept.numbered(number)
        return exchange.frozen() if exchange else None

    def feed(self, direction: Direction, data: bytes, moment: Moment, stream_end: int) -> list[StreamData]:
        """Read more plaintext of one direction; gives the stream and body bytes that it carried. Never raises.

        Behind a hole a message may begin where the bytes of one call begin: they are to be those of one record or segment.
        """
        dialogue = self._dialogue
        following = dialogue.following[direction]
        if following is Following.LEFT or not data:
            return []
        if following is Following.STREAM:
            return [dialogue.stream_data(direction, Piece(data, moment, stream_end))]
        if self._uncrossed[direction]:
            self._cross(direction, moment)
        found: list[StreamData] = []
        before = dialogue.behind.before(direction)
        for start in range(0, len(data), SLICE):
            part = data if len(data) <= SLICE else data[start : start + SLICE]
            try:
                dialogue.read(direction, Piece(part, moment, stream_end, start == 0, *before), found)
            except h11.ProtocolError as refusal:
                dialogue.refuse(direction, refusal, moment)
        dialogue.behind.said(direction, moment)
        return found

    def pass_stream(self, direction: Direction, size: int) -> int:
        """So many bytes of a hijacked stream (`is_stream`) came by; gives the number of their exchange, -1 where there is none."""
        stream = self._dialogue.stream
        return stream.carry(direction, size) if stream else -1

    def lose(self, direction: Direction, missing: int | None = None) -> None:
        """A hole: bytes of this direction are missing, `missing` of them where that is known. Reading goes on behind it where it can."""
        dialogue = self._dialogue
        following = dialogue.following[direction]
        if following is Following.STREAM:
            if dialogue.stream and direction is Direction.TO_CLIENT:
                dialogue.stream.lose(direction)
        elif following is not Following.LEFT:
            dialogue.hit(direction)
            dialogue.behind.losses.begin(direction, missing)
            self._uncrossed[direction] = True

    def _cross(self, direction: Direction, moment: Moment) -> None:
        """The first bytes behind a hole: go on in the body that it lies in, or look for a message."""
        self._uncrossed[direction] = False
        dialogue, losses = self._dialogue, self._dialogue.behind.losses
        losses.heard(direction, moment)
        outcome = "unknown"
        if dialogue.following[direction] is Following.MESSAGES:
            reader = dialogue.responses if direction else dialogue.requests
            outcome = reader.lose(losses.missing(direction))
        if outcome == "unknown":
            dialogue.seek(direction)
            return
        losses.resume(direction, moment, "length")
        if outcome == "ended" and direction is Direction.TO_SERVER:
            dialogue.end_request(moment)

    def finish(self, moment: Moment, *, closed: bool = True) -> None:
        """The connection ended. A body or stream that goes on until the close is complete if both ends `closed` it in view."""
        dialogue = self._dialogue
        dialogue.finish()
        if self._uncrossed[Direction.TO_CLIENT] and dialogue.following[Direction.TO_CLIENT] is Following.MESSAGES:
            dialogue.responses.stop()  # all that the server said to the end is missing
        if not closed or dialogue.following[Direction.TO_CLIENT] is Following.LEFT:
            return
        last = dialogue.stream or dialogue.responses.current
        if last is not None and (last.hijack or last.until_close) and not last.response_hole:
            last.end = moment
            last.complete = True
        dialogue.following = [Following.LEFT, Following.LEFT]
