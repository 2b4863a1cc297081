"""The secrets that a capture needs and no other: the key log (RFC 9850) of its own TLS connections."""

from collections.abc import Iterable
from pathlib import Path

from captool.capture.reader import CaptureReader
from captool.connections import DOCKER_PORTS, Paths, Progress, as_paths, key_ring, read_connections
from captool.dockerapi.exchange import DockerExchange
from captool.export.private_file import private_file
from captool.keys.material import KeyRing
from captool.packets.decode import Decoder
from captool.protocol import protocol_of
from captool.tcp.connection import StreamPiece, TcpConnection
from captool.tcp.tracker import Tracker
from captool.tls.conversation import TlsConversation
from captool.tls.summary import TlsSummary
from captool.units import SECOND_NS


def key_log_of(
    paths: Paths, keys: Paths | KeyRing = (), *, key_password: bytes | None = None, progress: Progress | None = None
) -> tuple[str, ...]:
    """The lines of the key log, each once, in order of the connections' ends.

    What private keys open stands there as the master secret that they gave, so that no private key need be shared; secrets that a
    pcapng capture carries are among them. Raises CaptureError and KeyMaterialError.
    """
    ring = key_ring(keys, key_password)
    lines: dict[str, None] = {}
    tracker = Tracker(service_ports=DOCKER_PORTS, gap_ns=60 * SECOND_NS, keepalive_window_ns=60 * SECOND_NS)
    with CaptureReader(as_paths(paths)) as capture:
        chunks = read_connections(
            capture, Decoder(), tracker, ring, open_conversation=lambda piece: _Secrets(ring, lines, piece), progress=progress
        )
        for _ in chunks:
            pass
    return tuple(lines)


def key_log_text(lines: Iterable[str]) -> bytes:
    """Lines as they stand in a file."""
    return "".join(f"{line}\n" for line in lines).encode("ascii")


def write_key_log(output: Path, lines: Iterable[str]) -> None:
    """Write a key log. Raises UsageError."""
    with private_file(output) as file:
        file.write(key_log_text(lines))


class _Secrets:
    """Reads a connection for the secrets of its session."""

    losses = None

    def __init__(self, ring: KeyRing, lines: dict[str, None], first: StreamPiece) -> None:
        self._tls = TlsConversation(ring) if protocol_of(first) == "tls" else None
        self._lines = lines

    @property
    def wants_more(self) -> bool:
        """To the end: a renegotiation is under a secret of its own."""
        return self._tls is not None and self._tls.wants_more

    def feed(self, piece: StreamPiece, _acknowledged: int | None) -> None:
        """Read a piece."""
        if self._tls is not None:
            self._tls.feed(piece)

    def finish(self, _tcp: TcpConnection) -> tuple[TlsSummary | None, tuple[DockerExchange, ...]]:
        """Keep the secrets."""
        if self._tls is None:
            return None, ()
        summary = self._tls.summary()
        self._lines.update(dict.fromkeys(f"{label} {random.hex()} {secret.hex()}" for label, random, secret in self._tls.key_log()))
        return summary, ()
