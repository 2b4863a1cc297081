"""A server seen from here: what it negotiates, whose certificate it has, whether a private key could open what would be recorded."""

import base64
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

from captool.doctor.handshake import ATTEMPT_S, RSA_ONLY, STOCK_CLIENT, Attempt, ClientIdentity, handshake
from captool.keys.material import KeyRing
from captool.keys.pem_facts import CertificateFacts, PemError, read_certificate, read_private_key

PrivateKeyUse = Literal["opens-rsa-only", "matching-key-missing", "forward-secrecy", "not-known"]

MAX_DIRECTORIES: Final = 2000
MAX_PEM: Final = 1 << 20
SESSION_KEYS: Final = "take session keys instead: captool record --session-keys auto"


@dataclass(frozen=True, slots=True)
class ServerReport:
    """`stock` is the handshake that the stock Docker client would make, `rsa` one with RSA key exchange only.

    `matching_key` is the origin of the private key that belongs to the certificate, `identity` the client certificate that was shown.
    """

    host: str
    port: int
    stock: Attempt
    rsa: Attempt
    certificate: CertificateFacts | None
    identity: ClientIdentity | None
    matching_key: str | None
    private_key: PrivateKeyUse
    sentence: str


def look_at_server(host: str, port: int, ring: KeyRing, key_paths: Sequence[Path], *, attempt_s: float = ATTEMPT_S) -> ServerReport:
    """Two handshakes, a third where several client certificates are to choose from."""
    identities = list(client_identities(key_paths))
    identity = identities[0] if identities else None
    if len(identities) > 1:
        bare = handshake(host, port, STOCK_CLIENT, attempt_s=attempt_s)
        identity = _fitting(identities, _facts(bare.certificate))
    stock = handshake(host, port, STOCK_CLIENT, identity, ping=True, attempt_s=attempt_s)
    if identity is not None and stock.outcome == "not-tried":  # an encrypted key, for example
        problem, identity = stock.detail, None
        stock = handshake(host, port, STOCK_CLIENT, ping=True, attempt_s=attempt_s)
        stock = replace(stock, rejected=f"{stock.rejected or ''} (the client certificate could not be used: {problem})".strip())
    if stock.outcome in {"unreachable", "not-tls", "timed-out"}:
        rsa = Attempt(RSA_ONLY.name, "not-tried", f"the first connection came to nothing: {stock.detail}")
    else:
        rsa = handshake(host, port, RSA_ONLY, identity, attempt_s=attempt_s)
    certificate = _facts(stock.certificate or rsa.certificate)
    matching = None
    if certificate is not None:
        matching = next((key.origin for key in ring.private_keys if key.spki_sha256 == certificate.spki_sha256), None)
    use, sentence = _private_key_use(stock, rsa, matching, seen=certificate is not None)
    return ServerReport(host, port, stock, rsa, certificate, identity, matching, use, sentence)


def client_identities(paths: Sequence[Path]) -> Iterator[ClientIdentity]:
    """Client certificates with their keys, as Docker names them (cert.pem beside key.pem), each key once."""
    seen: set[str] = set()
    for directory in _directories(paths):
        identity = ClientIdentity(directory / "cert.pem", directory / "key.pem")
        with suppress(OSError, PemError):
            certificate = read_certificate(_content(identity.certificate))
            key = read_private_key(_content(identity.key))
            if key.belongs_to(certificate) and certificate.spki_sha256 not in seen:
                seen.add(certificate.spki_sha256)
                yield identity


def _private_key_use(stock: Attempt, rsa: Attempt, matching: str | None, *, seen: bool) -> tuple[PrivateKeyUse, str]:
    if rsa.key_exchange == "RSA":
        if stock.forward_secrecy:
            client = f"The stock Docker client negotiates {stock.version} {stock.cipher_suite}, which no private key opens: {SESSION_KEYS}."
        else:
            client = "The stock Docker client, which offers forward-secret key exchange only, cannot connect to it."
        opened = (
            "The server accepts RSA key exchange, so its private key opens sessions of clients that offer nothing else (OpenSSL, curl)."
        )
        if matching is None:
            none = "None of the given keys is that key." if seen else "Which key that is, is not known: its certificate was not seen."
            return "matching-key-missing", f"{opened} {none} {client}"
        return "opens-rsa-only", f"{opened} {matching} is that key. {client}"
    if rsa.outcome in {"refused", "closed"} and stock.forward_secrecy:
        return "forward-secrecy", (
            f"The server refuses RSA key exchange ({rsa.detail}): no private key, harvested or not, opens anything recorded from it now; "
            f"{SESSION_KEYS}."
        )
    return "not-known", f"Whether a private key could open its sessions is not known: {rsa.detail or stock.detail or 'no handshake'}."


def _fitting(identities: list[ClientIdentity], server: CertificateFacts | None) -> ClientIdentity:
    """The one whose machine the server is, else the one whose authority issued the server's certificate, else the first."""
    if server is None:
        return identities[0]
    for name, fits in (("server.pem", lambda one: one.spki_sha256 == server.spki_sha256), ("ca.pem", server.issued_by)):
        for identity in identities:
            with suppress(OSError, PemError):
                if fits(read_certificate(_content(identity.certificate.with_name(name)))):
                    return identity
    return identities[0]


def _facts(der: bytes | None) -> CertificateFacts | None:
    if der is None:
        return None
    armoured = b"-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(der) + b"-----END CERTIFICATE-----\n"
    with suppress(PemError):
        return read_certificate(armoured)
    return None


def _directories(paths: Sequence[Path]) -> Iterator[Path]:
    count = 0
    for path in paths:
        if not path.is_dir():
            yield path.parent
            continue
        for folder, folders, files in os.walk(path):
            folders.sort()
            count += 1
            if count > MAX_DIRECTORIES:
                return
            if "cert.pem" in files and "key.pem" in files:
                yield Path(folder)


def _content(path: Path) -> bytes:
    if not path.is_file():
        raise OSError(f"{path} is no ordinary file")
    with path.open("rb") as file:
        return file.read(MAX_PEM)
