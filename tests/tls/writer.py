"""A naive TLS 1.3 sender with secrets of its own: for what the stacks at hand never do (0-RTT data, KeyUpdate, padding)."""

import hashlib
import hmac
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from captool.direction import Direction
from captool.keys.material import KeyRing, SessionSecret
from tests.tls.stacks import CLIENT, SERVER, Wire

AES_128_GCM_SHA256 = 0x1301
CLIENT_RANDOM, SERVER_RANDOM = b"c" * 32, b"s" * 32
KEY_SHARE = b"\x00\x33\x00\x24\x00\x1d\x00\x20" + b"k" * 32


def secret(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()


def expand_label(key: bytes, label: bytes, length: int) -> bytes:
    full = b"tls13 " + label
    info = length.to_bytes(2) + bytes([len(full)]) + full + b"\0"
    return hmac.digest(key, info + b"\x01", "sha256")[:length]


def message(kind: int, body: bytes) -> bytes:
    return bytes([kind]) + len(body).to_bytes(3) + body


def clear(content_type: int, content: bytes) -> bytes:
    return bytes([content_type]) + b"\x03\x03" + len(content).to_bytes(2) + content


def client_hello(*, early_data: bool = False, random: bytes = CLIENT_RANDOM) -> bytes:
    extensions = b"\x00\x2b\x00\x03\x02\x03\x04" + (b"\x00\x2a\x00\x00" if early_data else b"")
    return message(1, b"\x03\x03" + random + b"\0" + b"\x00\x02\x13\x01" + b"\x01\x00" + len(extensions).to_bytes(2) + extensions)


def server_hello(suite: int = AES_128_GCM_SHA256, *, random: bytes = SERVER_RANDOM) -> bytes:
    extensions = b"\x00\x2b\x00\x02\x03\x04" + KEY_SHARE
    return message(2, b"\x03\x03" + random + b"\0" + suite.to_bytes(2) + b"\0" + len(extensions).to_bytes(2) + extensions)


@dataclass
class Sender:
    """One side's records under its present secret."""

    direction: Direction
    wire: Wire
    secret: bytes = b""
    sequence: int = 0

    def change(self, name_or_secret: str | bytes) -> None:
        self.secret = secret(name_or_secret) if isinstance(name_or_secret, str) else name_or_secret
        self.sequence = 0

    def send(self, content: bytes, content_type: int = 23, padding: int = 0) -> None:
        inner = content + bytes([content_type]) + bytes(padding)
        header = b"\x17\x03\x03" + (len(inner) + 16).to_bytes(2)
        iv = int.from_bytes(expand_label(self.secret, b"iv", 12))
        nonce = (iv ^ self.sequence).to_bytes(12)
        self.sequence += 1
        sealed = AESGCM(expand_label(self.secret, b"key", 16)).encrypt(nonce, inner, header)
        self.wire.append((self.direction, header + sealed))

    def update_key(self) -> None:
        self.send(message(24, b"\0"), 22)
        self.change(expand_label(self.secret, b"traffic upd", 32))


@dataclass
class Writer:
    """A session: `wire` grows as its two sides send. `labels` are the secrets that the key log has."""

    early_data: bool = False
    wire: Wire = field(default_factory=list)

    def __post_init__(self) -> None:
        self.client, self.server = Sender(CLIENT, self.wire), Sender(SERVER, self.wire)
        self.transcript = b""

    def start(self, early: list[bytes] = [], *, accept_early: bool = True, certificate: bytes = b"") -> "Writer":  # noqa: B006  # read only
        """A whole handshake with right Finished messages, `early` sent before its end, the server's `certificate` message in it."""
        hello = client_hello(early_data=self.early_data)
        self.wire.append((CLIENT, clear(22, hello)))
        if self.early_data:
            self.client.change("early")
            for content in early:
                self.client.send(content)
        self.wire.append((SERVER, clear(22, server_hello())))
        self.wire.append((SERVER, clear(20, b"\x01")))
        self.server.change("s hs")
        extensions = message(8, b"\x00\x04\x00\x2a\x00\x00" if self.early_data and accept_early else b"\x00\x00")
        self.transcript = hello + server_hello() + extensions
        self.server.send(extensions, 22, padding=5)
        if certificate:
            self.transcript += certificate
            self.server.send(certificate, 22)
        self._finish(self.server)
        if self.early_data and accept_early:
            end = message(5, b"")
            self.client.send(end, 22)
            self.transcript += end
        self.wire.append((CLIENT, clear(20, b"\x01")))
        self.client.change("c hs")
        self._finish(self.client)
        self.client.change("c ap")
        self.server.change("s ap")
        return self

    def _finish(self, side: Sender) -> None:
        digest = hashlib.sha256(self.transcript).digest()
        finished = message(20, hmac.digest(expand_label(side.secret, b"finished", 32), digest, "sha256"))
        self.transcript += finished
        side.send(finished, 22)


def ring(*left_out: str) -> KeyRing:
    names = {
        "CLIENT_EARLY_TRAFFIC_SECRET": "early",
        "CLIENT_HANDSHAKE_TRAFFIC_SECRET": "c hs",
        "SERVER_HANDSHAKE_TRAFFIC_SECRET": "s hs",
        "CLIENT_TRAFFIC_SECRET_0": "c ap",
        "SERVER_TRAFFIC_SECRET_0": "s ap",
    }
    secrets = {
        label: SessionSecret(label, CLIENT_RANDOM, secret(name), f"keys.log:{number}")
        for number, (label, name) in enumerate(names.items(), 1)
        if label not in left_out
    }
    return KeyRing(session_secrets={CLIENT_RANDOM: secrets})
