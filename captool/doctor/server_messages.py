"""What a server says in the clear in a TLS handshake: ServerHello, and up to TLS 1.2 the messages after it (RFC 8446, RFC 5246)."""

from typing import Final

from captool.errors import DecodeError
from captool.tls.alerts import alert_words
from captool.tls.handshake import MESSAGE_HEADER_LENGTH, HandshakeType, MessageBuffer
from captool.tls.hello import ServerHello, parse_server_hello
from captool.tls.octets import Octets
from captool.tls.records import HEADER_LENGTH, VERSION_MAJOR, ContentType

NAMED_CURVE: Final = 3  # RFC 8422 section 5.4


class ServerMessages:
    """The reader; damage ends the reading.

    `first` are the first bytes, `total` counts all. `alert` is the last alert's description, `group` the number of the key exchange's
    group, `certificate` the server's in DER, `request` says that a client certificate was asked for, `done` that TLS 1.2's
    ServerHelloDone was seen.
    """

    def __init__(self) -> None:
        self._pending = bytearray()
        self._messages = MessageBuffer()
        self._over = False
        self.total = 0
        self.first = b""
        self.hello: ServerHello | None = None
        self.alert: str | None = None
        self.group: int | None = None
        self.certificate: bytes | None = None
        self.request = False
        self.done = False

    def feed(self, data: bytes) -> None:
        """Take bytes as they came."""
        self.total += len(data)
        if len(self.first) < HEADER_LENGTH:
            self.first += data[:HEADER_LENGTH]
        if self._over:
            return
        self._pending += data
        try:
            while len(self._pending) >= HEADER_LENGTH:
                end = HEADER_LENGTH + int.from_bytes(self._pending[3:5])
                if self._pending[1] != VERSION_MAJOR:
                    self._over = True
                    return
                if len(self._pending) < end:
                    return
                self._record(self._pending[0], bytes(self._pending[HEADER_LENGTH:end]))
                del self._pending[:end]
        except DecodeError:
            self._over = True

    def _record(self, kind: int, content: bytes) -> None:
        if kind == ContentType.ALERT and (words := alert_words(content)):
            self.alert = words[1]
        elif kind == ContentType.HANDSHAKE:
            for number, message in self._messages.messages(content):
                self._message(number, message[MESSAGE_HEADER_LENGTH:])
        elif kind in {ContentType.CHANGE_CIPHER_SPEC, ContentType.APPLICATION_DATA} and self.hello is not None:
            self._over = True  # from here on it is encrypted

    def _message(self, number: int, body: bytes) -> None:
        if number == HandshakeType.SERVER_HELLO:
            hello = parse_server_hello(body)
            if not hello.is_hello_retry_request:
                self.hello = hello
                self.group = hello.key_share_group
        elif number == HandshakeType.SERVER_KEY_EXCHANGE and body[:1] == bytes((NAMED_CURVE,)):
            self.group = int.from_bytes(body[1:3])
        elif number == HandshakeType.CERTIFICATE:
            self.certificate = Octets(Octets(body).vector(3)).vector(3)
        elif number == HandshakeType.CERTIFICATE_REQUEST:
            self.request = True
        elif number == HandshakeType.SERVER_HELLO_DONE:
            self.done = True
