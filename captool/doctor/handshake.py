"""One TLS handshake with a server, through Python's ssl; what was agreed on is read from the server's own messages.

The bytes go through memory (ssl.MemoryBIO), so that every read and write has its deadline, and so that the records can be looked at:
the suite's number, the group, a certificate request. Nothing is verified: this is about what the server negotiates, not about trust.
"""

import queue
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, TypeVar

from captool.doctor.server_messages import ServerMessages
from captool.tls.cipher_suites import cipher_suite
from captool.tls.hello import version_name
from captool.tls.named_groups import group_name

T = TypeVar("T")
Outcome = Literal["completed", "refused", "closed", "timed-out", "not-tls", "unreachable", "not-tried"]

CONNECT_S: Final = 5.0
ATTEMPT_S: Final = 10.0
PING_S: Final = 3.0
MAX_BYTES: Final = 1 << 18
MAX_ANSWER: Final = 1 << 14
PING: Final = b"GET /_ping HTTP/1.1\r\nHost: docker\r\nUser-Agent: captool\r\nConnection: close\r\n\r\n"
_SERVER: Final = re.compile(rb"^Server:[ \t]*([^\r\n]{1,200})", re.MULTILINE | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Offer:
    """What the client offers: OpenSSL's cipher string for TLS 1.2, and whether TLS 1.3 is offered too. `name` is how it is told."""

    name: str
    ciphers: str
    tls13: bool


# docker/go-connections tlsconfig: the same four suites from 0.2 (2016) on, ChaCha20 since 0.7; those of TLS 1.3 since Go 1.13
STOCK_CLIENT: Final = Offer(
    "what the stock Docker client offers",
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256"
    ":ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305:@SECLEVEL=0",
    tls13=True,
)
RSA_ONLY: Final = Offer("TLS 1.2 with RSA key exchange only", "kRSA:!NULL:@SECLEVEL=0", tls13=False)


@dataclass(frozen=True, slots=True)
class ClientIdentity:
    """A client's certificate and key in PEM files."""

    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class Attempt:
    """How it went. `outcome` is `completed` when the handshake ended well; `detail` is the reason otherwise.

    Version, suite and key exchange are what the server chose in its ServerHello, which may be there without a completed handshake.
    `asks_for_certificate` is None where that cannot be seen (TLS 1.3 encrypts it). `program` is the `Server` header of its answer to
    GET /_ping, `rejected` the reason why it did not answer.
    """

    offer: str
    outcome: Outcome
    detail: str | None = None
    version: str | None = None
    cipher_suite: str | None = None
    key_exchange: str | None = None
    group: str | None = None
    forward_secrecy: bool | None = None
    asks_for_certificate: bool | None = None
    certificate: bytes | None = field(default=None, repr=False)
    program: str | None = None
    rejected: str | None = None


def handshake(
    host: str, port: int, offer: Offer, identity: ClientIdentity | None = None, *, ping: bool = False, attempt_s: float = ATTEMPT_S
) -> Attempt:
    """One connection and one handshake, ended after `attempt_s` at the latest; with `ping` one GET /_ping after it. Raises nothing."""
    try:
        context = _context(offer, identity)
    except (ssl.SSLError, OSError) as error:
        return Attempt(offer.name, "not-tried", f"Python's {ssl.OPENSSL_VERSION} refuses it ({_reason(error)})")
    deadline = time.monotonic() + attempt_s
    connection = _connected(host, port, min(CONNECT_S, attempt_s))
    if isinstance(connection, str):
        return Attempt(offer.name, "unreachable", connection)
    with connection:
        server = ServerMessages()
        session = _Session(connection, context, host, server, deadline)
        outcome, detail = session.shake_hands()
        certificate = session.certificate() or server.certificate  # before the server refuses a client without one (TLS 1.3)
        program = rejected = None
        if outcome == "completed" and ping:
            program, rejected = session.ping()
        return _told(offer, outcome, detail, server, certificate, program, rejected)


def _told(
    offer: Offer,
    outcome: Outcome,
    detail: str | None,
    server: ServerMessages,
    certificate: bytes | None,
    program: str | None,
    rejected: str | None,
) -> Attempt:
    hello = server.hello
    if hello is None:
        return Attempt(offer.name, outcome, detail)
    suite = cipher_suite(hello.cipher_suite)
    group = None if server.group is None else group_name(server.group)
    asks = server.request if server.request or server.done else None
    return Attempt(
        offer.name,
        outcome,
        detail,
        version=version_name(hello.version),
        cipher_suite=suite.name if suite else f"0x{hello.cipher_suite:04x}",
        key_exchange="(EC)DHE" if hello.is_tls13 else suite.key_exchange if suite else None,
        group=group,
        forward_secrecy=suite.forward_secret if suite else None,
        asks_for_certificate=asks,
        certificate=certificate,
        program=program,
        rejected=rejected,
    )


class _Session:
    """TLS over a socket, by way of memory."""

    def __init__(self, connection: socket.socket, context: ssl.SSLContext, host: str, server: ServerMessages, deadline: float) -> None:
        self._connection, self._server, self._deadline = connection, server, deadline
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        name = host if re.search(r"[a-zA-Z]", host) and ":" not in host else None  # no server name for addresses (RFC 6066 section 3)
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=name)

    def shake_hands(self) -> tuple[Outcome, str | None]:
        """The outcome, and why it is not `completed`."""
        try:
            self._until(self._tls.do_handshake)
        except TimeoutError:
            return "timed-out", "no answer in time"
        except EOFError:
            return "closed", "the server closed the connection in the handshake"
        except ssl.SSLError as error:
            with suppress(OSError):
                self._flush()
            if self._server.first and self._server.first[:1] not in {b"\x15", b"\x16"}:
                plain = self._server.first.startswith(b"HTTP/")
                return "not-tls", "it speaks plain HTTP on this port" if plain else "what it answers is not TLS"
            return "refused", self._server.alert or _reason(error)
        except OSError as error:
            return "closed", _reason(error)
        return "completed", None

    def ping(self) -> tuple[str | None, str | None]:
        """The `Server` header of the answer to GET /_ping, or why there is none."""
        answer = b""
        self._deadline = min(self._deadline, time.monotonic() + PING_S)
        try:
            self._until(lambda: self._tls.write(PING))
            with suppress(EOFError, ssl.SSLZeroReturnError, TimeoutError):
                while len(answer) < MAX_ANSWER and b"\r\n\r\n" not in answer:
                    data = self._until(lambda: self._tls.read(MAX_ANSWER))
                    if not data:
                        break
                    answer += data
        except (OSError, EOFError) as error:  # ssl.SSLError is an OSError
            return None, _reason(error)
        if not answer.startswith(b"HTTP/"):
            return None, "no answer to GET /_ping"
        match = _SERVER.search(answer)
        return (match[1].decode("utf-8", "backslashreplace").strip() if match else None), None

    def certificate(self) -> bytes | None:
        """The server's certificate in DER."""
        with suppress(ValueError, ssl.SSLError):
            return self._tls.getpeercert(binary_form=True)
        return None

    def _until(self, step: Callable[[], T]) -> T:
        """Carry out a step, with the reads and writes that it needs. Raises TimeoutError, EOFError, OSError."""
        while True:
            try:
                result = step()
            except ssl.SSLWantReadError:
                self._flush()
                self._receive()
            else:
                self._flush()
                return result

    def _flush(self) -> None:
        if data := self._outgoing.read():
            self._connection.settimeout(self._left())
            self._connection.sendall(data)

    def _receive(self) -> None:
        self._connection.settimeout(self._left())
        data = self._connection.recv(1 << 14)
        if not data:
            raise EOFError("the server closed the connection")
        if self._server.total > MAX_BYTES:
            raise OSError(f"the server sent more than {MAX_BYTES} bytes")
        self._server.feed(data)
        self._incoming.write(data)

    def _left(self) -> float:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("no answer in time")
        return left


def _context(offer: Offer, identity: ClientIdentity | None) -> ssl.SSLContext:
    """Raises ssl.SSLError where this OpenSSL does not have what is offered, OSError for files that cannot be read."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_ciphers(offer.ciphers)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.maximum_version = ssl.TLSVersion.TLSv1_3 if offer.tls13 else ssl.TLSVersion.TLSv1_2
    if identity is not None:
        context.load_cert_chain(identity.certificate, identity.key, password=lambda: b"")  # never asks on the terminal
    return context


def _connected(host: str, port: int, seconds: float) -> socket.socket | str:
    """A connection, or why there is none. Looking a name up has no timeout of its own, so it is done aside."""
    done: queue.SimpleQueue[socket.socket | str] = queue.SimpleQueue()

    def connect() -> None:
        try:
            done.put(socket.create_connection((host, port), timeout=seconds))
        except (OSError, UnicodeError) as error:
            done.put(_reason(error))

    threading.Thread(target=connect, daemon=True).start()
    try:
        return done.get(timeout=seconds + 1)
    except queue.Empty:
        return "no answer in time"


def _reason(error: Exception) -> str:
    """OpenSSL's or the system's word for it, one line."""
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.lower().replace("_", " ")
    text = (getattr(error, "strerror", None) or str(error) or type(error).__name__).lower()
    return text.splitlines()[0][:200]
