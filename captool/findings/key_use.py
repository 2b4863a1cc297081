"""Which key material opened which connection, and which machine a connection went to."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, NamedTuple

from captool.keys.material import KeyRing
from captool.tcp.connection import TcpConnection

if TYPE_CHECKING:
    from captool.tls.summary import TlsSummary


MACHINES_NAMED: Final = 3


class KeyUse(NamedTuple):
    """Key material that was given, and the connections that it concerns.

    `connections` are those that a secret from here opened or, for a private key, whose server certificate holds its public
    key (whether it can decrypt them or not). A key log is one entry for the whole file.
    """

    kind: str
    origin: str
    machine: str | None
    spki_sha256: str | None
    connections: tuple[int, ...]


def key_uses(ring: KeyRing, sessions: Iterable[tuple[int, "TlsSummary"]]) -> tuple[KeyUse, ...]:
    """One entry for each private key and each key log of `ring`; `sessions` are connection numbers with their TLS session."""
    known = list(sessions)
    uses = [
        KeyUse(
            key.kind, key.origin, key.machine, key.spki_sha256,
            tuple(number for number, tls in known if key.spki_sha256 == tls.certificate_spki_sha256 or key.origin == tls.secret_origin),
        )
        for key in ring.private_keys
    ]  # fmt: skip
    secrets = [secret for by_label in ring.session_secrets.values() for secret in by_label.values()]
    for log in dict.fromkeys(key_log_file(secret.origin) for secret in (*secrets, *ring.premaster_secrets.values())):
        opened = tuple(number for number, tls in known if tls.secret_origin and key_log_file(tls.secret_origin) == log)
        uses.append(KeyUse("key-log", log, None, None, opened))
    return tuple(uses)


def key_log_file(origin: str) -> str:
    """The file of `file:line`."""
    file, _, line = origin.rpartition(":")
    return file if line.isdigit() else origin


def machine_of(tcp: TcpConnection, tls: "TlsSummary | None", ring: KeyRing) -> str | None:
    """The docker-machine name behind a connection: by the certificate's public key, by its subject, by the server's address.

    docker-machine names the server certificate's organization `USER.MACHINE` (libmachine/provision/utils.go). An address
    alone counts only while no certificate contradicts it: cloud addresses are used again. Of several machines with one key, as images
    with a certificate in them make them, the address tells which; where it does not, all are named.
    """
    spki = tls.certificate_spki_sha256 if tls else None
    if spki:
        sharing = [machine for machine in ring.machines if machine.server_spki_sha256 == spki]
        if sharing:
            there = [machine.name for machine in sharing if machine.ip == tcp.server.ip]
            names = list(dict.fromkeys(there or [machine.name for machine in sharing]))
            others = [f"{len(names) - MACHINES_NAMED} others"] if len(names) > MACHINES_NAMED else []
            return " or ".join([*names[:MACHINES_NAMED], *others])
        for key in ring.private_keys:
            if key.spki_sha256 == spki and key.machine:
                return key.machine
        _, dot, name = (tls.certificate_organization or "").partition(".") if tls else ("", "", "")
        return name if dot and name else None
    return next((machine.name for machine in ring.machines if machine.ip == tcp.server.ip), None) if ring.machines else None
