"""Key material in memory. Secrets know where they came from and never show their bytes."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:  # cryptography takes a while to import, and a capture without keys does not need it
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

KeyKind = Literal["rsa-private-key", "ec-private-key"]


@dataclass(frozen=True, slots=True)
class PrivateKey:
    """A private key found on disk. `origin` is the path as shown to the user (relative to the named directory).

    `spki_sha256` is the lower-case hex SHA-256 of the DER SubjectPublicKeyInfo, which ties the key to certificates.
    `rsa` is None for keys that cannot decrypt anything (EC).
    """

    kind: KeyKind
    origin: str
    machine: str | None
    spki_sha256: str
    rsa: "RSAPrivateKey | None" = field(repr=False, compare=False)


class SessionSecret(NamedTuple):
    """One line of a key log (RFC 9850): `origin` is file:line, `label` as written there."""

    label: str
    identifier: bytes
    secret: bytes
    origin: str

    def __repr__(self) -> str:
        return f"SessionSecret(label={self.label!r}, identifier={self.identifier!r}, origin={self.origin!r})"


class Machine(NamedTuple):
    """A machine of docker-machine as far as its directory tells: name, address, driver and its server key's fingerprint."""

    name: str
    ip: str | None
    driver: str | None
    server_spki_sha256: str | None


@dataclass(frozen=True, slots=True)
class KeyRing:
    """All key material of an analysis.

    `session_secrets` maps a client random (32 bytes) to its secrets by label; `premaster_secrets` maps the first 8 bytes
    of an encrypted premaster secret to the `RSA` line of a key log. `problems` are sentences about files that were
    found in a named directory and could not be used (a *named* file that cannot be used is an error instead).
    `resumable` maps the digest of a session id or ticket to the master secret of a session that was opened already, so that a session
    that resumes it on another connection can be opened as well; it is filled while captures are read.
    """

    private_keys: tuple[PrivateKey, ...] = ()
    session_secrets: dict[bytes, dict[str, SessionSecret]] = field(default_factory=dict)
    premaster_secrets: dict[bytes, SessionSecret] = field(default_factory=dict)
    machines: tuple[Machine, ...] = ()
    problems: tuple[str, ...] = ()
    resumable: dict[bytes, SessionSecret] = field(default_factory=dict, repr=False, compare=False)
