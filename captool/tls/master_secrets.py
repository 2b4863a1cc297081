"""The master secrets that may open a session of TLS 1.2 or before, from key logs, private keys and sessions resumed.

Every secret found here is a guess: `captool.tls.conversation` accepts it only when a record authenticates and Finished verifies.
"""

import hashlib
from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from captool.keys.material import KeyRing, PrivateKey, SessionSecret
from captool.keys.rsa_key import REMEMBERED, decrypt
from captool.tls import libcrypto
from captool.tls.cipher_suites import cipher_suite
from captool.tls.hello import SSL_3_0, TLS_1_0, TLS_1_1, TLS_1_2, ClientHello, Extension
from captool.tls.key_schedule import extended_master_secret, master_secret
from captool.tls.negotiation import Negotiation

if TYPE_CHECKING:
    from captool.keys.rsa_key import RsaKey

PREMASTER_SECRET_LENGTH: Final = 48  # RFC 5246 section 7.4.7.1
MAX_KEYS_TRIED: Final = 256
MAX_RESUMABLE: Final = 1 << 16
RSA_EXCHANGES: Final = frozenset({"RSA"})
OLDER_VERSIONS: Final = frozenset(version.to_bytes(2) for version in (SSL_3_0, TLS_1_0, TLS_1_1, TLS_1_2))


class MasterSecret(NamedTuple):
    """A master secret and the file (and line) that it came from."""

    secret: bytes
    origin: str

    def __repr__(self) -> str:
        return f"MasterSecret(origin={self.origin!r})"


def candidates(negotiation: Negotiation, ring: KeyRing) -> Iterator[MasterSecret]:
    """Master secrets worth trying, the likeliest first."""
    client_hello, server_hello = negotiation.client_hello, negotiation.server_hello
    if client_hello is None or server_hello is None:
        return
    logged = ring.session_secrets.get(client_hello.random, {})
    if line := logged.get("CLIENT_RANDOM"):
        yield MasterSecret(line.secret, line.origin)
    if line := logged.get("PMS_CLIENT_RANDOM"):
        yield from _from_premaster(negotiation, line.secret, line.origin)
    if server_hello.session_id and (line := ring.session_secrets.get(server_hello.session_id, {}).get("RSA Session-ID")):
        yield MasterSecret(line.secret, line.origin)
    for name in session_names(negotiation):
        if original := ring.resumable.get(name):
            yield MasterSecret(original.secret, original.origin)
    encrypted = negotiation.encrypted_premaster
    if encrypted is None or not exchanges_rsa(negotiation):
        return
    if line := ring.premaster_secrets.get(encrypted[:8]):
        yield from _from_premaster(negotiation, line.secret, line.origin)
    for key, rsa in usable_keys(negotiation, ring):
        if premaster := _decrypted_premaster(rsa, encrypted):
            yield from _from_premaster(negotiation, premaster, key.origin)


def usable_keys(negotiation: Negotiation, ring: KeyRing) -> list[tuple[PrivateKey, "RsaKey"]]:
    """The private keys that may decrypt the premaster secret: the certificate's, or all of its size where no certificate is seen."""
    encrypted = negotiation.encrypted_premaster
    certificate = negotiation.certificate
    matching = []
    for key in ring.private_keys:
        if key.rsa is None or encrypted is None or (key.rsa.modulus.bit_length() + 7) // 8 != len(encrypted):
            continue
        if certificate is None or certificate.spki_sha256 == key.spki_sha256:
            matching.append((key, key.rsa))
    return matching[:MAX_KEYS_TRIED]


def exchanges_rsa(negotiation: Negotiation) -> bool:
    """Whether the premaster secret is encrypted to the server's key, as the suite says and the messages seen do not deny."""
    suite = negotiation.suite
    return suite is not None and suite.key_exchange in RSA_EXCHANGES and not negotiation.server_key_exchange


def offered_rsa_suites(hello: ClientHello) -> tuple[str, ...]:
    """The suites offered that a server's private key opens; none where the client offers TLS 1.3 alone."""
    versions = hello.extensions.get(Extension.SUPPORTED_VERSIONS)
    if versions is not None and not any(versions[at : at + 2] in OLDER_VERSIONS for at in range(1, len(versions), 2)):
        return ()
    return _rsa_suites(hello.cipher_suites)


@lru_cache(maxsize=64)
def _rsa_suites(numbers: tuple[int, ...]) -> tuple[str, ...]:
    suites = filter(None, map(cipher_suite, dict.fromkeys(numbers)))
    return tuple(suite.name for suite in suites if suite.key_exchange in RSA_EXCHANGES and suite.bulk is not None)


def session_names(negotiation: Negotiation) -> list[bytes]:
    """Digests of what an abbreviated handshake resumes by: the session id that the server repeats, the ticket that the client offers."""
    client_hello, server_hello = negotiation.client_hello, negotiation.server_hello
    if client_hello is None or server_hello is None:
        return []
    names = [client_hello.session_ticket]
    if server_hello.session_id == client_hello.session_id:
        names.append(server_hello.session_id)
    return [_digest(name) for name in names if name]


def remember(negotiation: Negotiation, ring: KeyRing, master: MasterSecret) -> None:
    """Keep the secret of an opened session for the sessions that resume it (RFC 5246 section 7.3, RFC 5077)."""
    names = [negotiation.new_session_ticket or b""]
    if negotiation.server_hello is not None:
        names.append(negotiation.server_hello.session_id)
    for name in map(_digest, filter(None, names)):
        ring.resumable[name] = SessionSecret("resumed master secret", name, master.secret, master.origin)
    while len(ring.resumable) > MAX_RESUMABLE:
        del ring.resumable[next(iter(ring.resumable))]


def _digest(name: bytes) -> bytes:
    """What stands for a session id or a ticket: tickets may have 64 KiB each."""
    return hashlib.blake2b(name, digest_size=16).digest()


def _from_premaster(negotiation: Negotiation, premaster: bytes, origin: str) -> Iterator[MasterSecret]:
    client_hello, server_hello, suite = negotiation.client_hello, negotiation.server_hello, negotiation.suite
    if client_hello is None or server_hello is None or suite is None:
        return
    if not negotiation.extended_master_secret:
        secret = master_secret(server_hello.version, suite, premaster, client_hello.random, server_hello.random)
        yield MasterSecret(secret, origin)
    elif (handshake := negotiation.session_transcript()) is not None:
        yield MasterSecret(extended_master_secret(server_hello.version, suite, premaster, handshake), origin)


def _decrypted_premaster(key: "RsaKey", encrypted: bytes) -> bytes | None:
    """PKCS#1 v1.5 (RFC 8017 section 7.2.2); None for what does not decrypt to a premaster secret.

    RFC 5246 section 7.4.7.1: its first two bytes are the version that the client offered. They are not compared: some clients
    put the negotiated version there, and Finished decides.
    """
    direct: Any = _direct(key)
    try:
        premaster = decrypt(key, encrypted) if direct is None else direct.decrypt(encrypted)
    except ValueError:
        return None
    return premaster if premaster is not None and len(premaster) == PREMASTER_SECRET_LENGTH else None


@lru_cache(maxsize=REMEMBERED)
def _direct(key: "RsaKey") -> object:
    return libcrypto.private_key(key.der)
