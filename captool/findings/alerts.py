"""Fatal TLS alerts: which side refused what, and what its peer is to change (RFC 8446 section 6.2, RFC 5246 section 7.2.2)."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from captool.direction import Direction
from captool.findings.finding import Finding
from captool.findings.tables import Connection, Tables
from captool.units import SECOND_NS

if TYPE_CHECKING:
    from captool.tls.certificate import PresentedCertificate
    from captool.tls.summary import Alert, SealedAlert

# What a side says that does not accept its peer's certificate.
OF_CERTIFICATES: Final = frozenset({
    "bad_certificate", "unsupported_certificate", "certificate_revoked", "certificate_expired", "certificate_unknown",
    "unknown_ca",
})  # fmt: skip
# What the alert means where that is not its name, with {sender} and {peer} in it.
MEANINGS: Final = {
    "unknown_ca": "It does not know the authority that issued the {peer}'s certificate.",
    "bad_certificate": "It does not accept the {peer}'s certificate; programs in Go, such as docker and dockerd, answer so whatever is "
    "wrong with it: the authority, a name, its time, or that there is none.",
    "certificate_unknown": "It does not accept the {peer}'s certificate for a reason that no other alert names, such as a wrong name.",
    "certificate_required": "It wants a certificate, and the {peer} showed none.",
    "handshake_failure": "The {peer} offers no cipher suite or group that it accepts, or showed no certificate where one is wanted.",
    "insufficient_security": "It wants stronger cipher suites or keys than the {peer} offers.",
    "protocol_version": "It accepts none of the TLS versions that the {peer} offers.",
    "unrecognized_name": "It has no certificate for the name that the {peer} asked for.",
    "no_application_protocol": "It speaks none of the protocols that the {peer} offers (ALPN).",
    "decrypt_error": "A signature or the Finished message of the {peer} is wrong, as where its certificate and key do not belong together.",
    "bad_record_mac": "A record of the {peer} arrived altered, or was encrypted with another key.",
    "unknown_psk_identity": "It does not know the session or key that the {peer} names.",
}
CERTIFICATES: Final = (
    "Give the {sender} the certificate of the authority that issued the {peer}'s (docker: --tlscacert or ca.pem in DOCKER_CERT_PATH; "
    "dockerd: --tlscacert), or give the {peer} a certificate that is valid, for the name that is used, and from an authority that the "
    "{sender} knows."
)
RENEW: Final = "Renew the {peer}'s certificate, or set the clock right, as certificate-expired says."
REMEDIES: Final = {
    **dict.fromkeys(OF_CERTIFICATES, CERTIFICATES),
    "certificate_required": "Give the {peer} a certificate and its key (docker: --tlsverify with --tlscert and --tlskey, or "
    "DOCKER_CERT_PATH).",
    "decrypt_error": "Check that the {peer}'s certificate and key belong together, and that nothing on the path changes the stream.",
    "bad_record_mac": "Compare with a capture of the other side: something on the path, or one of the programs, damages the stream.",
}
GENERAL: Final = "Compare the certificates, the certificate authority and the TLS versions that client and server accept."
AT_ONCE_NS: Final = 2 * SECOND_NS  # a session that is only closed is closed later


def tls_alert(tables: Tables) -> Iterator[Finding]:
    """A fatal alert: the TLS session was refused or broken off by one side."""
    for connection in tables.eventful:
        for alert in connection.tls.alerts if connection.tls else ():
            if alert.level == "fatal" and not _after_the_end(connection, alert):
                yield _of_alert(connection, alert)
        if connection.tls is not None and connection.tls.sealed_alert is not None:
            yield from _of_sealed_alert(connection, connection.tls.sealed_alert)


def _of_alert(connection: Connection, alert: "Alert") -> Finding:
    direction = Direction(alert.direction)
    sides = {"sender": direction.sender, "peer": direction.opposite.sender}
    meaning = MEANINGS.get(alert.description, "").format(**sides)
    shown = _certificate(connection, direction.opposite) if alert.description in OF_CERTIFICATES else None
    about = f" {_about(connection, shown, direction.opposite)}" if shown is not None else ""
    remedy = REMEDIES.get(alert.description, GENERAL) if shown is None or shown.validity in {None, "valid"} else RENEW
    return Finding(
        code="tls-alert",
        severity="error",
        confidence="high",
        connection=connection.id,
        packets=(alert.packet,),
        message=f"The {sides['sender']} broke the TLS session off with the alert {alert.description} (packet {alert.packet})."
        f"{' ' if meaning else ''}{meaning}{about}",
        remedy=remedy.format(**sides),
        evidence={"alert": alert.description, "sender": sides["sender"]},
    )


def _of_sealed_alert(connection: Connection, alert: "SealedAlert") -> Iterator[Finding]:
    """What can be said of a TLS 1.3 handshake that nobody could decrypt: that it was refused, and by whom."""
    direction, tcp = Direction(alert.direction), connection.tcp
    if min(tcp.payload_bytes[direction], tcp.acknowledged_offset[direction]) > alert.stream_end or tcp.close not in {"fin", "rst"}:
        return  # more was said after it
    by_client = direction is Direction.TO_SERVER
    if not by_client and alert.ts_ns - tcp.start_ns > AT_ONCE_NS:
        return
    sides = {"sender": direction.sender, "peer": direction.opposite.sender}
    seen = "which is too short for a Finished" if by_client else "and nothing else, as the first answer to the client's Finished"
    fault = "its authority, its names, or its time" if by_client else "its authority, its time, or that there is none"
    yield Finding(
        code="tls-alert",
        severity="error",
        confidence="high" if by_client else "medium",
        connection=connection.id,
        packets=(alert.packet,),
        message=f"The {sides['sender']} broke the TLS 1.3 handshake off: it sent a record of the length of an alert (packet "
        f"{alert.packet}), {seen}. Which alert is encrypted; as a rule the {sides['sender']} did not accept the {sides['peer']}'s "
        f"certificate: {fault}.",
        remedy=f"Read the {sides['sender']}'s own error message, or record with session keys (`captool record --session-keys auto`), "
        f"which show alert and certificates. {CERTIFICATES.format(**sides)}",
        evidence={"alert": None, "sender": sides["sender"]},
    )


def _certificate(connection: Connection, direction: Direction) -> "PresentedCertificate | None":
    tls = connection.tls
    return None if tls is None else tls.client_certificate if direction is Direction.TO_SERVER else tls.certificate


def _about(connection: Connection, shown: "PresentedCertificate", direction: Direction) -> str:
    """What the refused certificate says of itself, and whether it is for where the client went."""
    certificate, tls = shown.certificate, connection.tls
    issuer = f"The certificate was issued by {certificate.issuer or 'nobody named'}"
    if shown.validity in {"expired", "not-yet-valid"}:
        return f"{issuer}, and {'had expired' if shown.validity == 'expired' else 'was not valid yet'}."
    if direction is Direction.TO_SERVER or tls is None or certificate.more_names:
        return f"{issuer}."
    wanted = tls.server_name or connection.tcp.server.ip
    if any(_is_for(name, wanted) for name in certificate.names):
        return f"{issuer}, is valid, and is for {wanted}, where the client went: what is left, as a rule, is that authority."
    names = f"for {', '.join(certificate.names[:8])}" if certificate.names else "for no name or address"
    return f"{issuer}, is valid, and is {names}; the client went to {wanted}."


def _is_for(name: str, wanted: str) -> bool:
    """Whether a certificate's name is the one that was asked for (RFC 9525 section 6.3)."""
    name, wanted = name.lower().rstrip("."), wanted.lower().rstrip(".")
    return name == wanted or (name.startswith("*.") and name[1:] == f".{wanted.partition('.')[2]}")


def _after_the_end(connection: Connection, alert: "Alert") -> bool:
    """Whether the alert only answers a peer that closed without close_notify.

    OpenSSL 3 calls such an end an error (SSL_R_UNEXPECTED_EOF_WHILE_READING) and sends decode_error to whoever has gone already. Where the
    capture lacks some of what was said, that may have been the close.
    """
    holed, peer = any(connection.tcp.stream_holes), Direction(alert.direction).opposite.sender
    spoken = holed or (connection.tls is not None and any(connection.tls.plaintext_bytes))
    closed = connection.tcp.closed_by == peer or (holed and connection.tcp.closed_by is None)
    return alert.description == "decode_error" and spoken and closed
