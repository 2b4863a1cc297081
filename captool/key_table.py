"""What given key material is, what it can decrypt, and which connections of a capture it fits: handshakes are read, nothing else."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from captool.capture.reader import CaptureReader
from captool.connections import DOCKER_PORTS, Paths, as_paths, key_ring, read_connections
from captool.dockerapi.exchange import DockerExchange
from captool.errors import NothingMatchedError
from captool.findings.key_use import key_log_file
from captool.findings.tables import Connection
from captool.keys.certificate import CLIENT_AUTH, SERVER_AUTH, CertificateFields
from captool.keys.material import KeyRing, PrivateKey
from captool.keys.pem import first_certificate
from captool.packets.decode import Decoder
from captool.protocol import protocol_of
from captool.tcp.connection import StreamPiece, TcpConnection
from captool.tcp.tracker import Tracker
from captool.tls.conversation import TlsConversation
from captool.tls.summary import TlsSummary
from captool.units import SECOND_NS, counted

MAX_CERTIFICATE_BYTES: Final = 1 << 20
CERTIFICATE_NAMES: Final = ("*.pem", "*.crt", "*.cer")

RSA_SERVER: Final = "TLS 1.2 and before with RSA key exchange (TLS_RSA_...), to the server with this key; no ECDHE, no DHE, no TLS 1.3"
RSA_CLIENT: Final = "nothing: it is a client's key, which only signs"
EC: Final = "nothing: an elliptic-curve key only signs; with such a certificate every key exchange is forward secret"


@dataclass(frozen=True, slots=True)
class KeyRow:
    """A private key or a key log. `decrypts` says what it is good for; `driver`, `ip` and validity (nanoseconds) are None where unknown.

    `sessions` counts the sessions that a key log has secrets of.
    """

    kind: str
    origin: str
    machine: str | None
    driver: str | None
    ip: str | None
    spki_sha256: str | None
    not_before_ns: int | None
    not_after_ns: int | None
    sessions: int
    decrypts: str


@dataclass(frozen=True, slots=True)
class Match:
    """A TLS connection against the key material. `origin` is the key or key log that belongs to it, None where none does.

    `useful` says whether it opens the connection; `why` is the reason and a sentence where it does not.
    """

    connection: int
    client: str
    server: str
    machine: str | None
    version: str | None
    cipher_suite: str | None
    origin: str | None
    useful: bool
    why: str | None


@dataclass(frozen=True, slots=True)
class KeyTable:
    """All key material that was given; `matches` is None where no capture was."""

    keys: tuple[KeyRow, ...]
    problems: tuple[str, ...]
    matches: tuple[Match, ...] | None


def key_table(keys: Paths, traces: Paths = (), *, key_password: bytes | None = None) -> KeyTable:
    """Describe the key material at `keys`, and match it with the TLS connections of the capture in `traces`, if any.

    Of the capture only the handshakes are decrypted. Raises KeyMaterialError, CaptureError, and NothingMatchedError for a capture
    without any TLS connection.
    """
    named = as_paths(keys)
    ring = key_ring(named, key_password)
    certificates = {one.spki_sha256: one for path in named for one in _certificates(path, ring)}
    rows = (*(_private(key, ring, certificates) for key in ring.private_keys), *_key_logs(ring))
    files = as_paths(traces)
    return KeyTable(rows, ring.problems, tuple(_matches(files, ring)) if files else None)


def _private(key: PrivateKey, ring: KeyRing, certificates: dict[str, CertificateFields]) -> KeyRow:
    machine = next((one for one in ring.machines if one.server_spki_sha256 == key.spki_sha256 or one.name == key.machine), None)
    certificate = certificates.get(key.spki_sha256)
    clients = certificate is not None and CLIENT_AUTH in certificate.purposes and SERVER_AUTH not in certificate.purposes
    return KeyRow(
        kind=key.kind,
        origin=key.origin,
        machine=key.machine,
        driver=machine.driver if machine else None,
        ip=machine.ip if machine else None,
        spki_sha256=key.spki_sha256,
        not_before_ns=certificate.not_before_ns if certificate else None,
        not_after_ns=certificate.not_after_ns if certificate else None,
        sessions=0,
        decrypts=EC if key.rsa is None else RSA_CLIENT if clients else RSA_SERVER,
    )


def _key_logs(ring: KeyRing) -> Iterator[KeyRow]:
    sessions: dict[str, int] = {}
    for by_label in ring.session_secrets.values():
        for log in {key_log_file(secret.origin) for secret in by_label.values()}:
            sessions[log] = sessions.get(log, 0) + 1
    for secret in ring.premaster_secrets.values():
        log = key_log_file(secret.origin)
        sessions[log] = sessions.get(log, 0) + 1
    for log, count in sessions.items():
        what = f"the {counted(count, 'session')} whose secrets it holds, whatever their key exchange"
        yield KeyRow("key-log", log, None, None, None, None, None, None, count, what)


def _certificates(path: Path, ring: KeyRing) -> Iterator[CertificateFields]:
    """The certificates that lie beside the keys, by which their validity is known."""
    folders = {(path / key.origin).parent for key in ring.private_keys} if path.is_dir() else {path.parent}
    files = {file for folder in folders for pattern in CERTIFICATE_NAMES for file in folder.glob(pattern) if file.is_file()}
    for file in sorted(files):
        try:
            with file.open("rb") as opened:
                certificate = first_certificate(opened.read(MAX_CERTIFICATE_BYTES))
        except OSError:
            continue
        if certificate is not None:  # keys lie there as well; what cannot be used is in the ring's problems
            yield certificate


def _matches(files: list[Path], ring: KeyRing) -> Iterator[Match]:
    tracker = Tracker(service_ports=DOCKER_PORTS, gap_ns=60 * SECOND_NS, keepalive_window_ns=60 * SECOND_NS)
    with CaptureReader(files) as capture:
        ended = read_connections(capture, Decoder(), tracker, ring, open_conversation=lambda piece: _Handshake(ring, piece))
        connections = sorted((one for chunk in ended for one in chunk), key=lambda one: one.id)
    seen = [(one, one.tls) for one in connections if one.tls is not None and one.tls.reason != "not-tls"]
    if not seen:
        raise NothingMatchedError(f"{', '.join(map(str, files))}: the capture holds no TLS connection")
    for connection, tls in seen:
        yield _match(connection, tls, ring.private_keys)


def _match(connection: Connection, tls: TlsSummary, private_keys: Iterable[PrivateKey]) -> Match:
    opened_by = key_log_file(tls.secret_origin) if tls.secret_origin else None
    belonging = next((key.origin for key in private_keys if key.spki_sha256 == tls.certificate_spki_sha256), None)
    client, server = connection.tcp.client, connection.tcp.server
    return Match(
        connection=connection.id,
        client=f"{client.ip}:{client.port}",
        server=f"{server.ip}:{server.port}",
        machine=connection.machine,
        version=tls.version,
        cipher_suite=tls.cipher_suite,
        origin=opened_by or belonging,
        useful=opened_by is not None,
        why=None if opened_by is not None or tls.reason is None else f"{tls.reason}: {tls.detail}",
    )


class _Handshake:
    """Reads a connection until it is known whether a secret opens it; what follows is of no interest."""

    losses = None

    def __init__(self, ring: KeyRing, first: StreamPiece) -> None:
        self._tls = TlsConversation(ring) if protocol_of(first) == "tls" else None

    @property
    def wants_more(self) -> bool:
        """Whether the handshake goes on."""
        return self._tls is not None and self._tls.wants_more and not self._tls.opened

    def feed(self, piece: StreamPiece, _acknowledged: int | None) -> None:
        """Read a piece."""
        if self._tls is not None:
            self._tls.feed(piece)

    def finish(self, _tcp: TcpConnection) -> tuple[TlsSummary | None, tuple[DockerExchange, ...]]:
        """What is known of the session."""
        return (self._tls.summary() if self._tls else None), ()
