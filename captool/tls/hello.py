"""ClientHello and ServerHello (RFC 8446 section 4.1, RFC 5246 section 7.4.1), their extensions, and the SSL 2.0 form of the first."""

import hashlib
from enum import IntEnum
from typing import Final, NamedTuple

from captool.errors import DecodeError
from captool.tls.octets import Octets

SSL_3_0: Final = 0x0300
TLS_1_0: Final = 0x0301
TLS_1_1: Final = 0x0302
TLS_1_2: Final = 0x0303
TLS_1_3: Final = 0x0304

# RFC 8446 section 4.1.3: a ServerHello with this random is a HelloRetryRequest.
HELLO_RETRY_REQUEST_RANDOM: Final = hashlib.sha256(b"HelloRetryRequest").digest()


class Extension(IntEnum):
    """The extensions that are read here; all others are kept by number."""

    SERVER_NAME = 0  # RFC 6066 section 3
    SUPPORTED_GROUPS = 10  # RFC 8422 section 5.1.1
    EC_POINT_FORMATS = 11  # RFC 8422 section 5.1.2
    SIGNATURE_ALGORITHMS = 13  # RFC 8446 section 4.2.3
    APPLICATION_PROTOCOLS = 16  # RFC 7301
    ENCRYPT_THEN_MAC = 22  # RFC 7366
    EXTENDED_MASTER_SECRET = 23  # RFC 7627
    SESSION_TICKET = 35  # RFC 5077
    PRE_SHARED_KEY = 41  # RFC 8446 section 4.2.11
    EARLY_DATA = 42  # RFC 8446 section 4.2.10
    SUPPORTED_VERSIONS = 43  # RFC 8446 section 4.2.1
    KEY_SHARE = 51  # RFC 8446 section 4.2.8


class ClientHello(NamedTuple):
    """A ClientHello. `extensions` maps the number to the body (the first of equal ones)."""

    legacy_version: int
    random: bytes
    session_id: bytes
    cipher_suites: tuple[int, ...]
    extensions: dict[int, bytes]

    @property
    def server_name(self) -> str | None:
        """The host name asked for (RFC 6066 section 3), None where there is none or it is not a name."""
        body = self.extensions.get(Extension.SERVER_NAME)
        if not body:
            return None
        try:
            names = Octets(Octets(body).vector(2))
            while names.left:
                kind, name = names.number(1), names.vector(2)
                if kind == 0:
                    return name.decode("ascii", "backslashreplace") or None
        except DecodeError:
            return None
        return None

    @property
    def session_ticket(self) -> bytes:
        """The ticket offered for resumption, empty where there is none."""
        return self.extensions.get(Extension.SESSION_TICKET, b"")


class ServerHello(NamedTuple):
    """A ServerHello or HelloRetryRequest. `version` is the negotiated one (0x0304 for TLS 1.3, 0x7fNN for its drafts).

    `legacy_version` is the number in its first field, which TLS 1.3 no longer means.
    """

    version: int
    legacy_version: int
    random: bytes
    session_id: bytes
    cipher_suite: int
    compression_method: int
    extensions: dict[int, bytes]

    @property
    def is_hello_retry_request(self) -> bool:
        """Whether the client must send its hello again."""
        return self.random == HELLO_RETRY_REQUEST_RANDOM

    @property
    def is_tls13(self) -> bool:
        """Whether TLS 1.3 or one of its drafts was negotiated."""
        return is_tls13(self.version)

    @property
    def key_share_group(self) -> int | None:
        """The named group of the TLS 1.3 key exchange, None without one."""
        share = self.extensions.get(Extension.KEY_SHARE, b"")
        return int.from_bytes(share[:2]) if len(share) >= 2 else None


def is_tls13(version: int) -> bool:
    """Whether the version number means TLS 1.3 or one of its drafts."""
    return version == TLS_1_3 or version >> 8 == 0x7F


def parse_client_hello(body: bytes) -> ClientHello:
    """Read the body of a ClientHello; raises DecodeError."""
    octets = Octets(body)
    version, random, session_id = octets.number(2), octets.take(32), octets.vector(1)
    suites = octets.numbers(2, 2)
    octets.vector(1)  # compression methods
    return ClientHello(version, random, session_id, suites, parse_extensions(octets.rest()))


def parse_server_hello(body: bytes) -> ServerHello:
    """Read the body of a ServerHello or HelloRetryRequest; raises DecodeError."""
    octets = Octets(body)
    version, random = octets.number(2), octets.take(32)
    if version >> 8 == 0x7F and version & 0xFF < 22:
        # Drafts before 22 had neither session id nor compression method here (draft-ietf-tls-tls13-21 section 4.1.3).
        suite = octets.number(2)
        return ServerHello(version, version, random, b"", suite, 0, parse_extensions(octets.rest()))
    session_id, suite, compression = octets.vector(1), octets.number(2), octets.number(1)
    extensions = parse_extensions(octets.rest())
    legacy_version = version
    selected = extensions.get(Extension.SUPPORTED_VERSIONS)
    if selected is not None and len(selected) == 2:
        version = int.from_bytes(selected)
    return ServerHello(version, legacy_version, random, session_id, suite, compression, extensions)


def parse_sslv2_client_hello(body: bytes) -> ClientHello:
    """Read a ClientHello in the form of SSL 2.0 (RFC 5246 appendix E.2), from its message type on; raises DecodeError."""
    octets = Octets(body)
    if octets.number(1) != 1:
        raise DecodeError("no ClientHello")
    version = octets.number(2)
    suites_length, session_id_length, challenge_length = octets.number(2), octets.number(2), octets.number(2)
    suites = octets.take(suites_length)
    session_id, challenge = octets.take(session_id_length), octets.take(challenge_length)
    if suites_length % 3 or not 16 <= challenge_length <= 32:
        raise DecodeError("no SSL 2.0 ClientHello")
    numbers = (int.from_bytes(suites[at : at + 3]) for at in range(0, suites_length, 3))
    return ClientHello(version, challenge.rjust(32, b"\0"), session_id, tuple(n for n in numbers if n <= 0xFFFF), {})


def version_name(version: int) -> str:
    """`TLS 1.2` for 0x0303, and so on; unknown numbers in hex."""
    names = {SSL_3_0: "SSL 3.0", TLS_1_0: "TLS 1.0", TLS_1_1: "TLS 1.1", TLS_1_2: "TLS 1.2", TLS_1_3: "TLS 1.3", 0x0002: "SSL 2.0"}
    if version >> 8 == 0x7F:
        return f"TLS 1.3 draft-{version & 0xFF}"
    return names.get(version, f"0x{version:04x}")


def parse_extensions(data: bytes) -> dict[int, bytes]:
    """Extensions by number, the first of equal ones (RFC 8446 section 4.2); nothing at all is allowed. Raises DecodeError."""
    extensions: dict[int, bytes] = {}
    octets = Octets(data)
    if octets.left:
        fields = Octets(octets.vector(2))
        while fields.left:
            number, body = fields.number(2), fields.vector(2)
            extensions.setdefault(number, body)
    if octets.left:
        raise DecodeError(f"{octets.left} bytes after the extensions")
    return extensions
