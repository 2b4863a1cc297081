"""Certificates judged by the time of the handshake: the capture's clock, not today's."""

from collections.abc import Iterator
from typing import Final

from captool.direction import Direction
from captool.findings.finding import Finding
from captool.findings.tables import Connection, Tables
from captool.units import SECOND_NS, seconds

# What TLS stacks answer an expired certificate with (Go: bad_certificate, OpenSSL and GnuTLS: certificate_expired or _unknown).
REFUSALS: Final = frozenset({"certificate_expired", "bad_certificate", "certificate_unknown"})
RENEW: Final = (
    "Renew the certificate: docker-machine's live for 1080 days and are made again by `docker-machine regenerate-certs NAME` "
    "(the old key is then needed for captures made before: `captool harvest` keeps it)."
)
CLOCKS: Final = (
    "Compare the clocks of client, server and recording machine; a certificate made on a machine whose clock is ahead is not valid yet."
)


def certificate_expired(tables: Tables) -> Iterator[Finding]:
    """A certificate of server or client that had expired, or was not valid yet, when it was presented."""
    for connection in tables.eventful:
        tls = connection.tls
        for direction, presented in ((Direction.TO_CLIENT, tls.certificate), (Direction.TO_SERVER, tls.client_certificate)) if tls else ():
            if presented is None or presented.validity in {None, "valid"}:
                continue
            expired, side = presented.expired_for_ns, direction.sender
            when = f"had expired {seconds(expired)} before" if expired else f"becomes valid only {seconds(presented.valid_in_ns)} after"
            refusal = _refusal(connection, direction, presented.moment.packet)
            answer = f" The {direction.opposite.sender} answered with the alert {refusal[0]} (packet {refusal[1]})." if refusal else ""
            yield Finding(
                code="certificate-expired",
                severity="error" if refusal else "warning",
                confidence="high",
                connection=connection.id,
                packets=(presented.moment.packet, refusal[1]) if refusal else (presented.moment.packet,),
                message=f"The {side}'s certificate ({presented.certificate.subject or 'without a subject'}, issued by "
                f"{presented.certificate.issuer or 'nobody named'}) {when} it was presented in packet {presented.moment.packet}, "
                f"by the capture's clock.{answer}",
                remedy=RENEW if expired else CLOCKS,
                evidence={
                    "side": side,
                    "validity": presented.validity,
                    "subject": presented.certificate.subject,
                    "spki_sha256": presented.certificate.spki_sha256,
                    "expired_for_s": expired / SECOND_NS,
                    "valid_in_s": presented.valid_in_ns / SECOND_NS,
                    "alert": refusal[0] if refusal else None,
                },
            )


def _refusal(connection: Connection, direction: Direction, packet: int) -> tuple[str, int] | None:
    """The fatal alert with which the side that got the certificate refused it, with its packet."""
    for alert in connection.tls.alerts if connection.tls else ():
        if alert.level == "fatal" and alert.direction != direction and alert.description in REFUSALS and alert.packet >= packet:
            return alert.description, alert.packet
    return None
