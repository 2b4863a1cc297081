"""What one negotiation was seen to say: its hellos, its messages in order, what they agreed on (RFC 8446 and 5246)."""

from collections.abc import Callable
from typing import Final

from captool.direction import Moment
from captool.errors import DecodeError
from captool.tls.certificate import Certificate, PresentedCertificate, read_certificate
from captool.tls.certificate_compression import decompressed
from captool.tls.cipher_suites import CipherSuite, cipher_suite
from captool.tls.handshake import MESSAGE_HEADER_LENGTH, HandshakeType
from captool.tls.hello import (
    SSL_3_0,
    ClientHello,
    Extension,
    ServerHello,
    parse_client_hello,
    parse_extensions,
    parse_server_hello,
)
from captool.tls.octets import Octets
from captool.tls.traffic_secrets import retried_client_hello

MAX_TRANSCRIPT_LENGTH: Final = 1 << 20
FINISHED_MESSAGES: Final = 2
NAMED_CURVE: Final = b"\x03"  # RFC 8422 section 5.4


class Negotiation:
    """One handshake: its hellos, its messages, what they negotiated. Renegotiation makes a new one.

    `whole` turns false when bytes of the handshake are missing from the capture, so that its hash cannot be computed. `first_hello` is
    the ClientHello that began it, which a HelloRetryRequest lets follow by another.
    `finished` counts the Finished messages seen; `client_changed` and `server_changed` say that the side's ChangeCipherSpec was seen
    (TLS 1.2 and before). `early_data_accepted` is what EncryptedExtensions say, None before they were read.
    """

    def __init__(self) -> None:
        self.first_hello: ClientHello | None = None
        self.client_hello: ClientHello | None = None
        self.retry: ServerHello | None = None
        self.server_hello: ServerHello | None = None
        self.presented: PresentedCertificate | None = None
        self.presented_by_client: PresentedCertificate | None = None
        self.server_key_exchange = False
        self.signed_group: int | None = None
        self.server_hello_done = False
        self.client_key_exchange: bytes | None = None
        self.new_session_ticket: bytes | None = None
        self.whole = True
        self.client_changed = False
        self.server_changed = False
        self.early_data_accepted: bool | None = None
        self.finished = 0
        self._client_messages: list[tuple[int, bytes]] = []
        self._server_messages: list[tuple[int, bytes]] = []
        self._length = 0

    def add(self, message_type: int, message: bytes, moment: Moment, *, by_client: bool) -> None:
        """Take a message of this handshake, whose last byte came at `moment`; raises DecodeError where its content does not parse."""
        self._length += len(message)
        if self._length > MAX_TRANSCRIPT_LENGTH:
            raise DecodeError(f"a handshake of more than {MAX_TRANSCRIPT_LENGTH} bytes")
        read = READERS.get((by_client, message_type))
        if read is not None:
            read(self, message[MESSAGE_HEADER_LENGTH:])
        else:
            self.present(message_type, message, moment, by_client=by_client)
        if message_type != HandshakeType.HELLO_REQUEST:  # RFC 5246 section 7.4.1.1: not part of the transcript
            (self._client_messages if by_client else self._server_messages).append((message_type, message))

    def add_sslv2_hello(self, hello: ClientHello, message: bytes) -> None:
        """Take a ClientHello in the form of SSL 2.0; the transcript has it without its record header."""
        self.client_hello = hello
        self._client_messages.append((HandshakeType.CLIENT_HELLO, message))

    @property
    def certificate(self) -> Certificate | None:
        """The server's certificate, None where it was not seen or cannot be read."""
        return self.presented.certificate if self.presented else None

    @property
    def suite(self) -> CipherSuite | None:
        """The negotiated cipher suite, None where it is not known (yet, or to captool)."""
        return cipher_suite(self.server_hello.cipher_suite) if self.server_hello else None

    @property
    def hellos_seen(self) -> bool:
        """Whether both hellos were read."""
        return self.client_hello is not None and self.server_hello is not None

    @property
    def is_tls13(self) -> bool:
        """Whether TLS 1.3 was negotiated; a HelloRetryRequest says it already."""
        hello = self.server_hello or self.retry
        return hello is not None and hello.is_tls13

    @property
    def resumed(self) -> bool:
        """Whether an earlier session was resumed (RFC 5246 section 7.3, RFC 5077, RFC 8446 section 2.2)."""
        if self.server_hello is None:
            return False
        if self.is_tls13:
            return Extension.PRE_SHARED_KEY in self.server_hello.extensions
        if self.client_hello is not None and self.server_hello.session_id:
            return self.client_hello.session_id == self.server_hello.session_id
        return self.whole and self.server_changed and not self.server_hello_done

    @property
    def group(self) -> int | None:
        """The named group of an ephemeral key exchange, as the server's part of it says."""
        return self.server_hello.key_share_group if self.is_tls13 and self.server_hello else self.signed_group

    @property
    def extended_master_secret(self) -> bool:
        """RFC 7627, as the ServerHello says."""
        return self._selected(Extension.EXTENDED_MASTER_SECRET)

    @property
    def encrypt_then_mac(self) -> bool:
        """RFC 7366, as the ServerHello says; it counts for block ciphers only."""
        suite = self.suite
        block_cipher = suite is not None and suite.bulk is not None and suite.bulk.mode == "cbc"
        return block_cipher and self._selected(Extension.ENCRYPT_THEN_MAC)

    @property
    def offers_early_data(self) -> bool:
        """Whether the client announced 0-RTT data (RFC 8446 section 4.2.10)."""
        return self.client_hello is not None and Extension.EARLY_DATA in self.client_hello.extensions

    @property
    def encrypted_premaster(self) -> bytes | None:
        """What the client encrypted to the server's RSA key (RFC 5246 section 7.4.7.1); None where it was not seen."""
        body, hello = self.client_key_exchange, self.server_hello
        if body is None or hello is None:
            return None
        if hello.version == SSL_3_0:  # RFC 6101 section 5.6.7.1: without a length
            return body
        try:
            return Octets(body).vector(2)
        except DecodeError:
            return None

    def changed(self, *, by_client: bool) -> bool:
        """Whether a side's ChangeCipherSpec was seen, or what follows it."""
        return self.client_changed if by_client else self.server_changed

    def change(self, *, by_client: bool) -> None:
        """A side protects what it says with the keys of this negotiation from now on (TLS 1.2 and before)."""
        if by_client:
            self.client_changed = True
        else:
            self.server_changed = True

    def has_finished(self, *, by_client: bool) -> bool:
        """Whether a side's Finished was read."""
        messages = self._client_messages if by_client else self._server_messages
        return self.finished == FINISHED_MESSAGES or self._index(messages, HandshakeType.FINISHED) is not None

    def session_transcript(self) -> bytes | None:
        """ClientHello to ClientKeyExchange, the messages that RFC 7627 section 3 hashes; None where some are missing."""
        exchange = self._index(self._client_messages, HandshakeType.CLIENT_KEY_EXCHANGE)
        done = self._index(self._server_messages, HandshakeType.SERVER_HELLO_DONE)
        if not self.whole or exchange is None or done is None:
            return None
        return self._join(self._client_messages[:1], self._server_messages[: done + 1], self._client_messages[1 : exchange + 1])

    def finished_transcript(self, *, by_client: bool) -> bytes | None:  # noqa: PLR0911  # one for each of the protocol's orders
        """The messages that a side's Finished covers, in the order of the protocol; None where some are missing.

        The order is that of the protocol and not of the capture, which may show the two directions slightly out of step.
        """
        if not self.whole or not self._client_messages or not self._server_messages:
            return None
        if self.is_tls13:
            return self._finished_transcript13(by_client=by_client)
        own = self._client_messages if by_client else self._server_messages
        own_finished = self._index(own, HandshakeType.FINISHED)
        client, server = self._client_messages, self._server_messages
        done = self._index(server, HandshakeType.SERVER_HELLO_DONE)
        if done is not None:  # full: the client finishes first
            client_finished = self._index(client, HandshakeType.FINISHED)
            if by_client:
                return self._join(client[:1], server[: done + 1], client[1:own_finished])
            if client_finished is None:
                return None
            return self._join(client[:1], server[: done + 1], client[1 : client_finished + 1], server[done + 1 : own_finished])
        if not by_client:  # abbreviated: the server finishes first
            return self._join(client[:1], server[:own_finished])
        server_finished = self._index(server, HandshakeType.FINISHED)
        if server_finished is None:
            return None
        return self._join(client[:1], server[: server_finished + 1], client[1:own_finished])

    def _finished_transcript13(self, *, by_client: bool) -> bytes | None:
        client, server = self._client_messages, self._server_messages
        start = b""
        if self.retry is not None:
            suite = self.suite
            if suite is None or len(client) < 2:
                return None
            start = retried_client_hello(suite, client[0][1]) + server[0][1]
            client, server = client[1:], server[1:]
        server_finished = self._index(server, HandshakeType.FINISHED)
        if not by_client:
            return start + self._join(client[:1], server[:server_finished])
        if server_finished is None:
            return None
        if self.early_data_accepted and self._index(client, HandshakeType.END_OF_EARLY_DATA) is None:
            return None
        own_finished = self._index(client, HandshakeType.FINISHED)
        return start + self._join(client[:1], server[: server_finished + 1], client[1:own_finished])

    def drop_transcript(self) -> None:
        """Both sides have finished: the messages are not needed any more."""
        self._client_messages.clear()
        self._server_messages.clear()

    def present(self, message_type: int, message: bytes, moment: Moment, *, by_client: bool) -> None:
        """Take note of the certificate, if the message is one (after the handshake too, RFC 8446 section 4.6.2)."""
        body: bytes | None = message[MESSAGE_HEADER_LENGTH:]
        if message_type == HandshakeType.COMPRESSED_CERTIFICATE:
            body = decompressed(message[MESSAGE_HEADER_LENGTH:])
        elif message_type != HandshakeType.CERTIFICATE:
            return
        if body is not None:
            self._take_certificate(body, moment, by_client=by_client)

    def _take_certificate(self, body: bytes, moment: Moment, *, by_client: bool) -> None:
        octets = Octets(body)
        if self.is_tls13:  # RFC 8446 section 4.4.2: a context in front, extensions behind each certificate
            octets.vector(1)
        chain = Octets(octets.vector(3))
        certificate = read_certificate(chain.vector(3)) if chain.left else None
        presented = PresentedCertificate(certificate, moment) if certificate else None
        if by_client:
            self.presented_by_client = presented
        else:
            self.presented = presented

    def _selected(self, extension: Extension) -> bool:
        return self.server_hello is not None and not self.is_tls13 and extension in self.server_hello.extensions

    @staticmethod
    def _index(messages: list[tuple[int, bytes]], message_type: int) -> int | None:
        return next((at for at, (kind, _) in enumerate(messages) if kind == message_type), None)

    @staticmethod
    def _join(*flights: list[tuple[int, bytes]]) -> bytes:
        return b"".join(message for flight in flights for _, message in flight)


def _client_hello(negotiation: Negotiation, body: bytes) -> None:
    negotiation.client_hello = parse_client_hello(body)
    negotiation.first_hello = negotiation.first_hello or negotiation.client_hello


def _server_hello(negotiation: Negotiation, body: bytes) -> None:
    hello = parse_server_hello(body)
    if hello.is_hello_retry_request:
        negotiation.retry = hello
    else:
        negotiation.server_hello = hello


def _encrypted_extensions(negotiation: Negotiation, body: bytes) -> None:
    negotiation.early_data_accepted = Extension.EARLY_DATA in parse_extensions(body)


def _server_key_exchange(negotiation: Negotiation, body: bytes) -> None:
    negotiation.server_key_exchange = True
    suite = negotiation.suite
    if suite is not None and (suite.key_exchange or "").startswith("ECDHE") and body[:1] == NAMED_CURVE and len(body) > 2:
        negotiation.signed_group = int.from_bytes(body[1:3])


def _server_hello_done(negotiation: Negotiation, _body: bytes) -> None:
    negotiation.server_hello_done = True


def _client_key_exchange(negotiation: Negotiation, body: bytes) -> None:
    negotiation.client_key_exchange = body


def _new_session_ticket(negotiation: Negotiation, body: bytes) -> None:
    if not negotiation.is_tls13:  # RFC 5077 section 3.3: lifetime hint, ticket
        octets = Octets(body)
        octets.number(4)
        negotiation.new_session_ticket = octets.vector(2) or None


# (sent by the client, message type) -> what reads it. All other messages only count for the transcript.
READERS: Final[dict[tuple[bool, int], Callable[[Negotiation, bytes], None]]] = {
    (True, HandshakeType.CLIENT_HELLO): _client_hello,
    (False, HandshakeType.SERVER_HELLO): _server_hello,
    (False, HandshakeType.ENCRYPTED_EXTENSIONS): _encrypted_extensions,
    (False, HandshakeType.SERVER_KEY_EXCHANGE): _server_key_exchange,
    (False, HandshakeType.SERVER_HELLO_DONE): _server_hello_done,
    (True, HandshakeType.CLIENT_KEY_EXCHANGE): _client_key_exchange,
    (False, HandshakeType.NEW_SESSION_TICKET): _new_session_ticket,
}
