"""Pieces of plaintext: as they come in, as they are held back, and as stream and body bytes go out."""

from collections import deque
from typing import Final, Literal, NamedTuple

from captool.direction import Direction, Moment

MAX_HELD_BYTES: Final = 1 << 20
MAX_HELD_PIECES: Final = 4096


class StreamData(NamedTuple):
    """Bytes of a hijacked stream (`hijacked`) or of a response's body (`body`) of exchange number `exchange` (from 0).

    `stream_end` is the offset in the TCP stream of its direction that the receiver must acknowledge for these bytes to have
    arrived: the end of the piece that brought them, which can lie behind their own end.
    """

    exchange: int
    direction: Direction
    data: bytes
    moment: Moment
    stream_end: int
    kind: Literal["hijacked", "body"]


class Piece(NamedTuple):
    """Plaintext of one direction that came at once; `begins`: and not the later part of something longer.

    `before` is the packet of the piece before it in its direction, `directly` says that bytes are missing between the two.
    """

    data: bytes
    moment: Moment
    stream_end: int
    begins: bool = True
    before: int = -1
    directly: bool = False


class HeldPieces:
    """Pieces whose meaning is not known yet, kept up to `MAX_HELD_BYTES` and `MAX_HELD_PIECES`."""

    __slots__ = ("_bytes", "_pieces")

    def __init__(self) -> None:
        self._bytes = 0
        self._pieces: deque[Piece] = deque()

    def __bool__(self) -> bool:
        return bool(self._pieces)

    def add(self, piece: Piece) -> bool:
        """Keep one more; false when it is too much, and nothing is kept any more."""
        self._bytes += len(piece.data)
        self._pieces.append(piece)
        if self._bytes <= MAX_HELD_BYTES and len(self._pieces) <= MAX_HELD_PIECES:
            return True
        self.take()
        return False

    def take(self) -> deque[Piece]:
        """The pieces in their order; none are kept afterwards."""
        pieces, self._pieces = self._pieces, deque()
        self._bytes = 0
        return pieces
