"""What is known of the TLS session on a connection, and why it was or was not decrypted."""

from typing import TYPE_CHECKING, Literal, NamedTuple

from captool.direction import PerDirection

if TYPE_CHECKING:
    from captool.tls.certificate import PresentedCertificate
    from captool.tls.lost_records import LostRecords

Status = Literal["decrypted", "partly", "encrypted"]
Reason = Literal[
    "no-secret",
    "forward-secrecy",
    "no-matching-key",
    "no-matching-session-key",
    "resumed-without-original",
    "handshake-not-captured",
    "stream-gap",
    "snapped",
    "bad-record-mac",
    "unsupported-suite",
    "not-tls",
]


class Alert(NamedTuple):
    """A TLS alert that was seen in clear or decrypted (RFC 8446 section 6), sent in `direction` (0 to_server, 1 to_client)."""

    direction: int
    level: str
    description: str
    packet: int
    ts_ns: int


class SealedAlert(NamedTuple):
    """A record of TLS 1.3, sent in `direction`, that nobody could decrypt and that has the length of an alert where a handshake ends.

    `stream_end` is the offset just behind it in the direction's stream.
    """

    direction: int
    packet: int
    ts_ns: int
    stream_end: int


class TlsSummary(NamedTuple):
    """One TLS session. `cipher_suite` and `key_exchange` use the registry's names; None where the handshake was not seen.

    `status` is `decrypted` when every protected record with application data that the capture holds was decrypted, `partly`
    when some were, `encrypted` when none was; `reason` says why it is not `decrypted` (None when it is). `detail` is one
    sentence that makes the reason concrete (which suite, which key was tried). `secret_origin` names the file (and line) of the secret
    that opened the session. `finished_verified` is true when the Finished message of each seen direction verified.
    `certificate` is what the server showed, `client_certificate` the client; None where it was not seen (TLS 1.3 shows it only
    decrypted). `ja3`, `ja3s` and `ja4` are the fingerprints of the first hellos. `group` is that of an ephemeral key exchange.
    `offered_rsa_suites` are the suites that the client offers and a private key would open. `resumes` are the keys of
    `KeyRing.resumable` one of which would open a session whose reason is `resumed-without-original`. `lost` are the records of each
    direction that the capture lacks between others that were decrypted, as far as they could be counted; None where there are none.
    `sealed_alert` is what looks like the refusal of a handshake that stayed encrypted. `client_random` is what a key log would name the
    secrets of a session by that stays encrypted because none were given.
    """

    version: str | None
    cipher_suite: str | None
    cipher_suite_id: int | None
    key_exchange: str | None
    forward_secrecy: bool | None
    resumed: bool
    extended_master_secret: bool
    encrypt_then_mac: bool
    server_name: str | None
    certificate_spki_sha256: str | None
    certificate_organization: str | None
    status: Status
    reason: Reason | None
    detail: str | None
    secret_origin: str | None
    finished_verified: bool
    plaintext_bytes: PerDirection[int]
    alerts: tuple[Alert, ...]
    certificate: "PresentedCertificate | None" = None
    client_certificate: "PresentedCertificate | None" = None
    ja3: str | None = None
    ja3s: str | None = None
    ja4: str | None = None
    group: str | None = None
    offered_rsa_suites: tuple[str, ...] | None = None
    resumes: tuple[bytes, ...] = ()
    lost: "PerDirection[LostRecords | None]" = PerDirection(None, None)
    sealed_alert: SealedAlert | None = None
    client_random: bytes | None = None


class Plaintext(NamedTuple):
    """Authenticated application data of one record (a tuple, because there may be very many).

    `stream_end` is the offset just behind the record in the direction's byte stream (what the peer must acknowledge for the
    data to have arrived); `packet` and `ts_ns` are those of the segment that completed the record. `after_loss` says that
    data of this direction is missing just before it.
    """

    direction: int
    data: bytes
    stream_end: int
    packet: int
    ts_ns: int
    after_loss: bool = False
