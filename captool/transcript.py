"""What was said on the connections of a capture: container output with its times, or the bare application bytes of one direction.

Everything is given out as the capture is read; nothing of a stream is kept.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from captool.capture.reader import CaptureReader
from captool.connections import DOCKER_PORTS, Paths, Progress, as_paths, key_ring, read_connections
from captool.conversation import Conversation
from captool.direction import Direction, Moment
from captool.dockerapi.exchange import Output
from captool.errors import NothingMatchedError, UsageError
from captool.findings.decryption import remedy_of
from captool.findings.tables import Connection
from captool.keys.material import KeyRing
from captool.packets.decode import Decoder
from captool.tcp.connection import StreamPiece
from captool.tcp.tracker import Tracker
from captool.units import SECOND_NS, counted

NAMED: Final = 10


@dataclass(frozen=True, slots=True)
class Printed:
    """Output of a container (or its stdin), raw, and the number of the connection that carried it."""

    connection: int
    output: Output


@dataclass(frozen=True, slots=True)
class Said:
    """Application bytes of one direction of a connection, unchanged, with the moment at which they were complete."""

    connection: int
    direction: Direction
    data: bytes
    moment: Moment


def transcript(
    paths: Paths, keys: Paths | KeyRing = (), *, connection: int | None = None, key_password: bytes | None = None,
    progress: Progress | None = None,
) -> Iterator[Printed | Connection]:  # fmt: skip
    """What containers printed, in the order of the capture, and each connection that carried output when it has ended.

    A session that resumes one seen only later in the capture comes last. `paths` and `keys` are those of `captool.analyze`;
    `connection` leaves out all others. Raises CaptureError, KeyMaterialError and NothingMatchedError, with the reason, where no output
    can be read.
    """
    heard: list[Printed | Said] = []
    silent = _Silence(paths, connection)
    for ended in _listen(paths, key_ring(keys, key_password), heard, connection, None, progress):
        silent.broken = silent.broken or bool(heard)
        yield from (one for one in sorted(heard, key=_packet) if isinstance(one, Printed))
        heard.clear()
        for one in ended:
            silent.note(one)
            if connection in {None, one.id} and any(exchange.stream is not None for exchange in one.exchanges):
                silent.broken = True
                yield one
    if not silent.broken:
        raise silent.error("carries container output")


def plaintext(
    paths: Paths, direction: Direction, connection: int, keys: Paths | KeyRing = (), *, key_password: bytes | None = None,
    progress: Progress | None = None,
) -> Iterator[Said | Connection]:  # fmt: skip
    """The application bytes of one direction of a connection, and the connection when it has ended.

    They are what TLS protected, or what TCP carried where there is no TLS. Raises CaptureError, KeyMaterialError and
    NothingMatchedError, with the reason, where there is no such connection or nothing of it can be read in either direction.
    """
    heard: list[Printed | Said] = []
    silent = _Silence(paths, connection)
    for ended in _listen(paths, key_ring(keys, key_password), heard, connection, direction, progress):
        yield from (one for one in heard if isinstance(one, Said) and one.direction is direction)
        silent.broken = silent.broken or bool(heard)
        heard.clear()
        for one in ended:
            silent.note(one)
            if one.id == connection:
                # A direction that said nothing is empty, and that is no fault where the connection could be read.
                silent.broken = silent.broken or one.tls is None or one.tls.status != "encrypted"
                if silent.broken:
                    yield one
    if not silent.broken:
        raise silent.error("can be read")


def only_connection(paths: Paths, keys: Paths | KeyRing = (), *, key_password: bytes | None = None) -> int:
    """The one connection of a capture that carries container output, or else the one that can be read at all.

    Raises UsageError, with the numbers, where there are several, and NothingMatchedError where there is none.
    """
    silent = _Silence(paths, None)
    with_output: list[int] = []
    readable: list[int] = []
    for ended in _listen(paths, key_ring(keys, key_password), [], None, None, None):
        for one in ended:
            silent.note(one)
            if any(exchange.stream is not None for exchange in one.exchanges):
                with_output.append(one.id)
            if one.exchanges or (one.tls is not None and any(one.tls.plaintext_bytes)):
                readable.append(one.id)
    chosen = sorted(with_output or readable)
    if not chosen:
        raise silent.error("can be read")
    if len(chosen) > 1:
        numbers = ", ".join(map(str, chosen[:NAMED])) + (", ..." if len(chosen) > NAMED else "")
        raise UsageError(f"{counted(len(chosen), 'connection')} can be followed ({numbers}); choose one with --connection N")
    return chosen[0]


class _Silence:
    """Why nothing was heard: the reasons of the connections that stayed closed, counted; `broken` once something was."""

    def __init__(self, paths: Paths, connection: int | None) -> None:
        self.broken = False
        self._files = ", ".join(map(str, as_paths(paths)))
        self._wanted = connection
        self._connections = 0
        self._seen = False
        self._reasons: dict[str, tuple[int, str]] = {}

    def note(self, connection: Connection) -> None:
        """A connection ended."""
        self._connections += 1
        if self._wanted in {None, connection.id}:
            self._seen = True
            tls = connection.tls
            if tls is not None and tls.reason is not None:
                count, detail = self._reasons.get(tls.reason, (0, tls.detail or ""))
                self._reasons[tls.reason] = count + 1, f"{detail} {remedy_of(tls)}"[: 1 << 12] if not count else detail

    def error(self, what: str) -> NothingMatchedError:
        """The one line that says it, with the commonest reason in full."""
        if self._wanted is not None and not self._seen:
            held = counted(self._connections, "connection")
            return NothingMatchedError(f"{self._files}: there is no connection {self._wanted}; the capture holds {held}, from 0 on")
        if self._wanted is None:
            several = self._connections != 1
            whose = f"none of its {counted(self._connections, 'connection')}" if several else "nothing of its one connection"
        else:
            whose = f"nothing of connection {self._wanted}"
        said = f"{self._files}: {whose} {what}"
        reasons = sorted(self._reasons.items(), key=lambda item: -item[1][0])
        if not reasons:
            return NothingMatchedError(f"{said}; `captool analyze` shows what there is")
        (commonest, (count, detail)), *others = reasons
        more = "".join(f"; {reason}: {number}" for reason, (number, _) in others)
        return NothingMatchedError(f"{said}. {commonest} ({counted(count, 'connection')}{more}): {detail}")


def _listen(
    paths: Paths, ring: KeyRing, heard: list[Printed | Said], connection: int | None, direction: Direction | None,
    progress: Progress | None,
) -> Iterator[list[Connection]]:  # fmt: skip
    """Read the capture; what the wanted connections say comes into `heard`, chunk by chunk. Originals of resumed sessions are read too."""

    def open_conversation(piece: StreamPiece) -> Conversation:
        number = piece.connection
        if connection not in {None, number}:
            return Conversation(ring, piece)
        if direction is None:
            return Conversation(ring, piece, output=lambda output: heard.append(Printed(number, output)))
        return Conversation(ring, piece, plaintext=lambda way, data, moment: heard.append(Said(number, way, data, moment)))

    tracker = Tracker(service_ports=DOCKER_PORTS, gap_ns=60 * SECOND_NS, keepalive_window_ns=60 * SECOND_NS)
    with CaptureReader(as_paths(paths)) as capture:
        yield from read_connections(capture, Decoder(), tracker, ring, open_conversation=open_conversation, progress=progress)


def _packet(said: Printed | Said) -> int:
    return said.output.moment.packet if isinstance(said, Printed) else said.moment.packet
