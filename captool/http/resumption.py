"""Reading taken up again behind a hole: which bytes begin a message there, and which request a response answers.

Nothing that is not seen can be counted: how many messages a hole holds is unknown. What is known is the order of things on a connection
whose client asks one thing at a time, as all do that were never seen to do otherwise. There a response begins with the first thing
that the server says after a request, and a request is the first thing that the client says after a response.
"""

from collections.abc import Iterator
from typing import Final

from captool.direction import Direction, Moment
from captool.http.losses import LossesSoFar
from captool.http.pieces import Piece
from captool.http.progress import ExchangeInProgress, KeptExchanges
from captool.http.response_reader import ResponseReader
from captool.http.search import HeadSearch, begins_request, begins_response, only_whole_chunks, parses_as_request, parses_as_response

# Requests found behind a hole that wait for an answer to show that they were ones; of more than these the oldest are text.
MAX_SUSPECTS: Final = 8
TO_SERVER, TO_CLIENT = Direction.TO_SERVER, Direction.TO_CLIENT


class Resumption:
    """What is known behind holes of one conversation.

    `suspects` are what looks like requests behind a hole in the client's direction, in order: one of them is a request for certain only
    when the server answers it. `requests_lost` says that the server may answer requests that nobody saw, `over` that nothing more
    comes, `overlapped` that the client was seen to ask before it had the answer to what it had asked before.
    """

    def __init__(self, kept: KeptExchanges, responses: ResponseReader) -> None:
        self.losses = LossesSoFar()
        self.overlapped = False
        self.requests_lost = False
        self.over = False
        self.suspects: list[ExchangeInProgress] = []
        self._kept = kept
        self._responses = responses
        self._turns = 0
        self._stretch = 0
        self._latest = [-1, -1]  # the packet of each direction's last piece
        self._directly = [False, False]  # whether nothing was seen of a direction since its last hole
        self._request_search = HeadSearch(begins_request, parses_as_request)
        self._response_search = HeadSearch(begins_response, parses_as_response)
        self._hit: ExchangeInProgress | None = None
        self._asked: ExchangeInProgress | None = None
        self._certain = False
        self._before = -1
        self._guess: ExchangeInProgress | None = None  # paired by its looks, and the client was not heard since

    def lose(self, direction: Direction, *, first: bool) -> None:
        """Nobody knows any more what the next bytes of a direction are; `first`: and what those before them were was known."""
        self._directly[direction] = True
        if direction is TO_SERVER:
            self.requests_lost = True
            self._stretch += 1
            self._request_search.clear()
            if self._guess is not None and self._guess.hijack is None:  # the client may have said more before it was answered
                self.losses.add_unpaired(*self._guess.retract())
        else:
            self._response_search.clear()
            if first:  # it began in the response to the oldest request without one, or just before it
                self._hit = self._responses.current

    def said(self, direction: Direction, moment: Moment) -> None:
        """A piece of a direction was read, or passed over."""
        self._latest[direction] = moment.packet
        self._directly[direction] = False
        if direction is TO_SERVER:
            self._guess = None

    def before(self, direction: Direction) -> tuple[int, bool]:
        """The packet of the last piece of a direction, and whether bytes are missing behind it."""
        return self._latest[direction], self._directly[direction]

    def may_be_answer(self, piece: Piece) -> bool:
        """Whether a piece of the server begins like a response, and the client may have said something before it that is not heard yet."""
        return not self.over and piece.moment.packet > self._latest[TO_SERVER] and piece.begins and begins_response(piece.data)

    def look_again(self) -> None:
        """The server's pieces that were passed over come once more."""
        self._response_search.clear()

    def begins(self, exchange: ExchangeInProgress) -> None:
        """A request began while both directions are followed."""
        ended = self._responses.ended
        if self._responses.current is None and ended is not None and ended < exchange.request.packet:
            self._turns += 1

    def answers(self, exchange: ExchangeInProgress, moment: Moment) -> None:
        """The head of the response to a request was read: suspects before it are text of a body, or nobody can tell their answers."""
        self._give_up([one for one in self.suspects if one.request.packet < moment.packet])
        ended = self._responses.ended
        self.overlapped = self.overlapped or (ended is not None and exchange.request.packet < ended)

    def find_request(self, piece: Piece) -> tuple[bytes, Moment] | None:
        """The bytes from the beginning of what looks like a request on, and when it began; None while nothing does."""
        begun = self._request_search.begun
        found = self._request_search.add(piece.data, piece.moment, candidate=piece.begins)
        if self._request_search.begun is not None and begun != self._request_search.begun:
            self._before = -1 if piece.directly else piece.before
        if found is None:
            return None
        begun = self._request_search.begun or piece.moment
        self._request_search.clear()
        return found, begun

    def suspect(self, exchange: ExchangeInProgress) -> None:
        """What looks like a request was read; it is none of the exchanges before it is answered."""
        ended = self._responses.ended
        exchange.uncertain = not (
            self._turns
            and not self.overlapped
            and ended is not None
            and 0 <= self._before < ended < exchange.request.packet
            and self._responses.current is None
        )
        self._before = -1
        exchange.stretch = self._stretch
        self.suspects = [*self.suspects, exchange][-MAX_SUSPECTS:]

    def knows_asker(self, piece: Piece) -> bool:
        """The server speaks while requests may be lost and no known one waits: whether it is known by now whom it answers.

        That is the latest suspect before it, which is none any more; or else a request that is not in the capture, when the client
        is known to have said all that it said before.
        """
        packet = piece.moment.packet
        latest = next((one for one in reversed(self.suspects) if one.request.packet < packet), None)
        if latest is not None and latest.asked is not None and latest.asked.packet < packet:
            self.confirm(latest)
            return True
        if latest is not None and not self.over:
            return False
        if not (self.over or any(one.request.packet > packet for one in self.suspects)):
            return False
        if piece.begins and begins_response(piece.data):
            self._responses.expect(unknown_request(piece.moment))
        return True

    def unpaired_is_over(self, piece: Piece) -> bool:
        """Whether a response to nobody knows what, perhaps to HEAD, cannot go on with this piece."""
        current = self._responses.current
        unknown = current is not None and current.number < 0
        return unknown and piece.begins and begins_response(piece.data) and self.turn(piece) is not None

    def confirm(self, answered: ExchangeInProgress) -> None:
        """The server answers this suspect: it was a request, and those behind it are as good, to the next hole.

        Of those before it nobody knows.
        """
        while self.suspects:
            exchange = self.suspects.pop(0)
            self._kept.add(exchange)
            if exchange is answered:
                break
            exchange.uncertain = True
            exchange.response_followed = False
        self._responses.expect(answered)
        while self.suspects and self.suspects[0].stretch == answered.stretch:
            exchange = self.suspects.pop(0)
            self._kept.add(exchange)
            self._responses.expect(exchange)
        self.requests_lost = answered.stretch != self._stretch
        self.losses.resume(TO_SERVER, answered.request, "turn")

    def finish(self) -> None:
        """The connection ended: what still looks like a request is told as what it is."""
        self._give_up(list(self.suspects))

    def _give_up(self, suspects: list[ExchangeInProgress]) -> None:
        for exchange in suspects:
            exchange.uncertain = True
            exchange.response_followed = False
            self._kept.add(exchange)
        self.suspects = [one for one in self.suspects if one not in suspects]

    def turn(self, piece: Piece) -> ExchangeInProgress | None:
        """The latest request before this piece of the server, where it was whole and the server has said nothing since."""
        packet, spoke = piece.moment.packet, piece.before
        exchange = next((one for one in self._latest_first() if one.request.packet < packet), None)
        return exchange if exchange is not None and exchange.asked is not None and spoke < exchange.asked.packet < packet else None

    def _latest_first(self) -> Iterator[ExchangeInProgress]:
        yield from reversed(self.suspects)
        yield from reversed(self._responses.unanswered)

    def find_response(self, piece: Piece) -> bytes | None:
        """The bytes from the beginning of a response, or of a chunk of the one that was being read, on; None while nothing is found.

        The exchange that they belong to is the reader's current one then.
        """
        search = self._response_search
        turn = self.turn(piece) if piece.begins and not self.overlapped else None
        begun = search.begun
        found = search.add(piece.data, piece.moment, candidate=turn is not None)
        if turn is not None and search.begun is not None and search.begun != begun:
            self._asked, self._certain = turn, not piece.directly
        if found is None:
            return piece.data if search.begun is None and self._goes_on_in_chunks(piece) else None
        search.clear()
        asked = self._asked
        if asked is None or not self._pair(asked):
            return None
        self.losses.resume(TO_CLIENT, piece.moment, "turn")
        return found

    def _goes_on_in_chunks(self, piece: Piece) -> bool:
        hit = self._hit
        if hit is None or hit is not self._responses.current or not self._responses.chunked or not piece.begins:
            return False
        later = any(one is not hit and one.request.packet < piece.moment.packet for one in self._latest_first())
        if later or not only_whole_chunks(piece.data):
            return False
        self._responses.resume_chunks()
        self.losses.resume(TO_CLIENT, piece.moment, "chunks")
        return True

    def _pair(self, asked: ExchangeInProgress) -> bool:
        """A response was found that the turn makes that to `asked`: let it be read as such, as that to nobody knows what, or not at all."""
        responses, known = self._responses, asked not in self.suspects
        if known and not self.requests_lost and asked is self._hit:
            return False  # its response began in the hole, and this is a part of it
        if known:
            several = self.requests_lost or list(responses.unanswered).index(asked) > 1
        else:
            several = asked.stretch != self._stretch and not self._certain
        if several:  # responses lie in the hole, or the client did not wait for them, or it said more than was seen
            if known:
                responses.give_up(asked, also=True)
            else:
                responses.stop()
                self._give_up(self.suspects[: self.suspects.index(asked) + 1])
            responses.unanswered.appendleft(unknown_request(asked.request))
            return True
        if known:
            responses.give_up(asked)
        else:
            responses.stop()
            self.confirm(asked)
        asked.response_followed = True
        if not (known and self._certain and self._turns and self._hit is not None):
            asked.uncertain = True
            self._guess = asked
        return True


def unknown_request(moment: Moment) -> ExchangeInProgress:
    """Stands for a request that is not in the capture, or not known to be the one that is answered; it is never kept."""
    return ExchangeInProgress("GET", "", moment, ())
