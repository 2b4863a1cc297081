"""What reads a connection's stream pieces, and what keeps of them no more than the report tells."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol

from captool.capture.reader import CaptureReader
from captool.keys.material import KeyRing
from captool.protocol import protocol_of
from captool.tcp.connection import StreamPiece, TcpConnection

if TYPE_CHECKING:  # the layers above TCP are imported when the first connection speaks TLS or HTTP
    from captool.dockerapi.exchange import DockerExchange
    from captool.http.losses import HttpLosses
    from captool.tls.sealed_runs import SealedRuns
    from captool.tls.summary import TlsSummary


class PieceReader(Protocol):
    """What reads the pieces of one connection, in the order in which the tracker gives them."""

    @property
    def wants_more(self) -> bool:
        """False once no further byte can change what is known."""
        ...

    @property
    def losses(self) -> "HttpLosses | None":
        """What could not be read of the HTTP by now, None where nothing is missing."""
        ...

    def feed(self, piece: StreamPiece, acknowledged: int | None, /) -> None:
        """Read a piece; `acknowledged` is how far the client has acknowledged the server's stream by now."""
        ...

    def finish(self, tcp: TcpConnection, /) -> "tuple[TlsSummary | None, tuple[DockerExchange, ...]]":
        """What the connection said, once TCP is done with it."""
        ...


class Unread:
    """Reads nothing: of a connection that speaks neither TLS nor HTTP."""

    wants_more = False
    losses = None

    def feed(self, piece: StreamPiece, acknowledged: int | None, /) -> None:
        """Pass the piece over."""

    def finish(self, _tcp: TcpConnection, /) -> tuple[None, tuple[()]]:
        """Nothing was said that could be told."""
        return None, ()


UNREAD: Final = Unread()
OpenConversation = Callable[[StreamPiece], PieceReader]


class SummingUp:
    """Opens conversations that keep nothing but what the report tells.

    With a `capture`, the thread that reads it ahead decrypts large pieces, while later packets are looked at: what a chunk brought is then
    known after `catch_up`, which is to be called before another one is given to them. `close` ends that.
    """

    def __init__(self, ring: KeyRing, capture: CaptureReader | None = None) -> None:
        self._ring = ring
        self._capture = capture
        self._sealed: SealedRuns | None = None

    def __call__(self, piece: StreamPiece) -> PieceReader:
        """The conversation that a connection's first piece begins."""
        protocol = protocol_of(piece)
        if protocol is None:
            return UNREAD
        from captool.conversation import Conversation

        if protocol == "tls" and self._capture is not None and self._sealed is None:
            from captool.tls.sealed_runs import SealedRuns

            self._sealed = SealedRuns()
            self._capture.set_aside(self._sealed)
        return Conversation(self._ring, piece, sealed=self._sealed)

    def catch_up(self) -> None:
        """Let all conversations take what was decrypted for them."""
        if self._sealed is not None:
            for conversation in self._sealed.waiting:
                conversation.catch_up()
            self._sealed.waiting.clear()

    def close(self) -> None:
        """Nothing more is read."""
        if self._sealed is not None:
            self._sealed.close()
