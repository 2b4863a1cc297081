"""Key material in memory. Secrets know where they came from and never show their bytes."""

from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from captool.keys.rsa_key import RsaKey

KeyKind = Literal["rsa-private-key", "ec-private-key"]


class PrivateKey(NamedTuple):
    """A private key found on disk. `origin` is the path as shown to the user (relative to the named directory).

    `spki_sha256` is the lower-case hex SHA-256 of the DER SubjectPublicKeyInfo, which ties the key to certificates.
    `rsa` is None for keys that cannot decrypt anything (EC).
    """

    kind: KeyKind
    origin: str
    machine: str | None
    spki_sha256: str
    rsa: "RsaKey | None"

    def __repr__(self) -> str:
        return f"PrivateKey(kind={self.kind!r}, origin={self.origin!r}, machine={self.machine!r}, spki_sha256={self.spki_sha256!r})"


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


class KeyRing:
    """All key material of an analysis.

    `session_secrets` maps a client random (32 bytes) to its secrets by label; `premaster_secrets` maps the first 8 bytes
    of an encrypted premaster secret to the `RSA` line of a key log. `problems` are sentences about files that were
    found in a named directory and could not be used (a *named* file that cannot be used is an error instead).
    `resumable` maps the digest of a session id or ticket to the master secret of a session that was opened already, so that a session
    that resumes it on another connection can be opened as well; it is filled while captures are read.
    """

    __slots__ = ("machines", "premaster_secrets", "private_keys", "problems", "resumable", "session_secrets")

    def __init__(
        self,
        private_keys: tuple[PrivateKey, ...] = (),
        session_secrets: dict[bytes, dict[str, SessionSecret]] | None = None,
        premaster_secrets: dict[bytes, SessionSecret] | None = None,
        machines: tuple[Machine, ...] = (),
        problems: tuple[str, ...] = (),
        resumable: dict[bytes, SessionSecret] | None = None,
    ) -> None:
        self.private_keys = private_keys
        self.session_secrets = {} if session_secrets is None else session_secrets
        self.premaster_secrets = {} if premaster_secrets is None else premaster_secrets
        self.machines = machines
        self.problems = problems
        self.resumable = {} if resumable is None else resumable

    def __repr__(self) -> str:
        fields = ((name, getattr(self, name)) for name in self.__slots__ if name != "resumable")
        return f"KeyRing({', '.join(f'{name}={value!r}' for name, value in fields)})"

    def with_secrets(
        self,
        session_secrets: dict[bytes, dict[str, SessionSecret]],
        premaster_secrets: dict[bytes, SessionSecret],
        resumable: dict[bytes, SessionSecret] | None = None,
    ) -> "KeyRing":
        """The same keys with these secrets of sessions; those that can be resumed are shared unless others are given."""
        return KeyRing(
            self.private_keys, session_secrets, premaster_secrets, self.machines, self.problems,
            self.resumable if resumable is None else resumable,
        )  # fmt: skip
