"""Why a connection could not be read, and what would have made it readable."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from captool.direction import Direction
from captool.findings.finding import Finding
from captool.findings.tables import Connection, Tables

if TYPE_CHECKING:
    from captool.tls.summary import Alert, Reason

SESSION_KEYS: Final = (
    "take the session keys while recording, at the client or at the server: `captool record --session-keys auto` reads them from "
    "unmodified Go programs such as docker, dockerd and gitlab-runner, other programs write a key log for --keys where they honour "
    "SSLKEYLOGFILE"
)
# FACTS 3.2: GODEBUG=tlsrsakex=1 does nothing for docker, dockerd and GitLab Runner, and stops programs built with Go 1.27 from starting.
RSA_ONLY: Final = (
    "negotiate TLS 1.2 with a TLS_RSA_ suite where client and server are yours and both still offer one (OpenSSL, curl, "
    "a rebuilt runner, a TLS-terminating proxy; the stock docker CLI, dockerd and GitLab Runner cannot be configured to)"
)

REMEDIES: Final["dict[Reason, str]"] = {
    "no-secret": "Give the server's private key or a key log with --keys.",
    "forward-secrecy": f"Two ways out: {SESSION_KEYS}; or {RSA_ONLY}.",
    "no-matching-key": "Give the key that belonged to this certificate when the capture was made: keys change with "
    "`docker-machine regenerate-certs`, and go with the machine (`captool harvest` keeps every generation).",
    "no-matching-session-key": "Give the key log that was written while this connection's handshake took place.",
    "resumed-without-original": "Add the capture in which the session was first negotiated, or a key log of the resumption.",
    "handshake-not-captured": "Start recording before the connection is opened: the keys depend on random values in the handshake.",
    "stream-gap": "Record again without loss (larger buffer, see the recorder's drop counter). Records behind a hole are read where "
    "the cipher allows: AEAD, and block ciphers since TLS 1.1.",
    "snapped": "Record whole packets: tcpdump -s 0.",
    "bad-record-mac": "The capture or the key is damaged from that record on; compare with a capture of the other side.",
    "unsupported-suite": "Report the suite to captool's authors with a small capture.",
    "not-tls": "Nothing to decrypt.",
}

CODES: Final["dict[Reason, str]"] = {
    "forward-secrecy": "forward-secrecy",
    "no-matching-key": "no-matching-key",
    "no-matching-session-key": "no-matching-key",
    "handshake-not-captured": "handshake-not-captured",
    "resumed-without-original": "resumed-without-original",
}


def not_decrypted(tables: Tables) -> Iterator[Finding]:
    """One finding for each connection that stays closed although keys were given, or that no private key can ever open."""
    for connection in tables.connections:
        tls = connection.tls
        if tls is None or tls.reason not in CODES:
            continue
        concerned = sum(1 for other in tables.connections if other.tls is not None and other.tls.reason == tls.reason)
        yield Finding(
            code=CODES[tls.reason],
            severity="warning" if tables.keys_given else "info",
            confidence="high",
            connection=connection.id,
            packets=(),
            message=tls.detail or f"Not decrypted: {tls.reason}.",
            remedy=REMEDIES[tls.reason],
            evidence={
                "cipher_suite": tls.cipher_suite,
                "key_exchange": tls.key_exchange,
                "version": tls.version,
                "connections_concerned": concerned,
            },
        )


def tls_alert(tables: Tables) -> Iterator[Finding]:
    """A fatal alert: the TLS session was refused or broken off by one side."""
    for connection in tables.connections:
        for alert in connection.tls.alerts if connection.tls else ():
            if alert.level == "fatal" and not _after_the_end(connection, alert):
                side = "server" if alert.direction else "client"
                yield Finding(
                    code="tls-alert",
                    severity="error",
                    confidence="high",
                    connection=connection.id,
                    packets=(alert.packet,),
                    message=f"The {side} broke the TLS session off with the alert {alert.description} (packet {alert.packet}).",
                    remedy="Compare the certificates, the certificate authority and the TLS versions that client and server accept.",
                    evidence={"alert": alert.description, "sender": side},
                )


def _after_the_end(connection: Connection, alert: "Alert") -> bool:
    """Whether the alert only answers a peer that closed without close_notify.

    OpenSSL 3 calls such an end an error (SSL_R_UNEXPECTED_EOF_WHILE_READING) and sends decode_error to whoever has gone already.
    """
    spoken = connection.tls is not None and any(connection.tls.plaintext_bytes)
    return alert.description == "decode_error" and spoken and connection.tcp.closed_by == Direction(alert.direction).opposite.sender
