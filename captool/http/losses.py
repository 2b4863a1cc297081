"""What could not be read of the HTTP on a connection: places at which bytes are missing or make no sense, and where reading went on."""

import re
from typing import Final, Literal, NamedTuple

from captool.direction import Direction, Moment

MAX_TOLD: Final = 64
# What h11 says before it quotes the bytes, which may be a password.
WORDS: Final = r"[A-Za-z -]{0,80}"

Found = Literal["length", "chunks", "turn", "never"]


class Loss(NamedTuple):
    """A place in the stream of one direction behind which the messages had to be found again.

    Before `behind`, the piece that follows (None at the end of the capture), `missing` bytes are missing (None where nobody knows how
    many); or from it on the bytes are no HTTP, and `refusal` says why. Reading went on at `resumed`, found by the `length` of the
    body that the hole lies in, by a piece that is nothing but whole `chunks` of that body, or by the `turn`: the head of a message at the
    beginning of a piece just when the other side had had its say. None and `never` where nothing was found.
    """

    direction: Direction
    behind: Moment | None
    missing: int | None
    refusal: str | None
    resumed: Moment | None
    found: Found


class UnpairedResponse(NamedTuple):
    """A response of which nobody can say which request it answers, and the moment at which its head ended."""

    status: int
    response: Moment


class HttpLosses(NamedTuple):
    """All of it on one connection: the first `MAX_TOLD` of each kind, and how many there were."""

    losses: tuple[Loss, ...]
    loss_count: int
    unpaired: tuple[UnpairedResponse, ...]
    unpaired_count: int


class LossesSoFar:
    """Collects them as they are met. A loss is open until reading has gone on; one more before that belongs to it."""

    __slots__ = ("_count", "_losses", "_open", "_unpaired", "_unpaired_count")

    def __init__(self) -> None:
        self._losses: list[Loss] = []
        self._count = 0
        self._open: list[Loss | None] = [None, None]
        self._unpaired: list[UnpairedResponse] = []
        self._unpaired_count = 0

    def begin(self, direction: Direction, missing: int | None, refusal: str | None = None, behind: Moment | None = None) -> None:
        """Bytes are missing before the next ones, or make no sense."""
        known = self._open[direction]
        if known is None:
            words = re.match(WORDS, refusal) if refusal else None
            self._open[direction] = Loss(direction, behind, missing, words and words[0].strip(), None, "never")
        else:
            whole = None if known.missing is None or missing is None else known.missing + missing
            self._open[direction] = known._replace(missing=whole)

    def heard(self, direction: Direction, moment: Moment) -> None:
        """The first bytes behind the loss came."""
        known = self._open[direction]
        if known is not None and known.behind is None:
            self._open[direction] = known._replace(behind=moment)

    def missing(self, direction: Direction) -> int | None:
        """How many bytes the open loss of this direction is long; None where nobody knows."""
        known = self._open[direction]
        return known.missing if known is not None else None

    def resume(self, direction: Direction, moment: Moment, found: Found) -> None:
        """Reading went on."""
        known = self._open[direction]
        if known is not None:
            self._open[direction] = None
            self._add(known._replace(behind=known.behind or moment, resumed=moment, found=found))

    def add_unpaired(self, status: int, moment: Moment) -> None:
        """Note the head of a response of which nobody knows the request."""
        self._unpaired_count += 1
        if len(self._unpaired) < MAX_TOLD:
            self._unpaired.append(UnpairedResponse(status, moment))

    def told(self) -> HttpLosses | None:
        """What is known by now, None where nothing is missing."""
        unread = [loss for loss in self._open if loss is not None]
        count = self._count + len(unread)
        if not count and not self._unpaired_count:
            return None
        losses = sorted([*self._losses, *unread], key=lambda loss: loss.behind.packet if loss.behind else 1 << 62)
        return HttpLosses(tuple(losses), count, tuple(self._unpaired), self._unpaired_count)

    def _add(self, loss: Loss) -> None:
        self._count += 1
        if len(self._losses) < MAX_TOLD:
            self._losses.append(loss)
