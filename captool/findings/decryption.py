"""Why a connection could not be read, and what would have made it readable."""

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from captool.findings.finding import Finding
from captool.findings.forward_secrecy import GENERAL, Programs, remedy
from captool.findings.tables import Tables

if TYPE_CHECKING:
    from captool.tls.summary import Reason, TlsSummary

REMEDIES: Final["dict[Reason, str]"] = {
    "no-secret": "Give the server's private key or a key log with --keys.",
    "forward-secrecy": GENERAL,
    "no-matching-key": "Give the key that belonged to this certificate when the capture was made: keys change with "
    "`docker-machine regenerate-certs`, and go with the machine (`captool harvest` keeps every generation).",
    "no-matching-session-key": "Give the key log that was written while this connection's handshake took place.",
    "resumed-without-original": "Add the capture in which the session was first negotiated, or a key log of the resumption.",
    "handshake-not-captured": "Start recording before the connection is opened: the keys depend on random values in the handshake.",
    "stream-gap": "Record again without loss (larger buffer, see the recorder's drop counter). Records behind a hole are read where "
    "the cipher allows: AEAD, and block ciphers since TLS 1.1; HTTP in them goes on with the next message that can be found.",
    "snapped": "Record whole packets: tcpdump -s 0.",
    "bad-record-mac": "The capture or the key is damaged from that record on; compare with a capture of the other side.",
    "unsupported-suite": "Report the suite to captool's authors with a small capture.",
    "not-tls": "Nothing to decrypt.",
}

REFUSED: Final = "Nothing to decrypt: the handshake was refused before anything was answered; see the alert."
UNFINISHED: Final = "Nothing to decrypt: what the capture has of this session ends in its handshake, in which nothing is said yet."

CODES: Final["dict[Reason, str]"] = {
    "forward-secrecy": "forward-secrecy",
    "no-matching-key": "no-matching-key",
    "no-matching-session-key": "no-matching-key",
    "handshake-not-captured": "handshake-not-captured",
    "resumed-without-original": "resumed-without-original",
}


def not_decrypted(tables: Tables) -> Iterator[Finding]:
    """One finding for each connection that stays closed although keys were given, or that no private key can ever open."""
    concerned = Counter(connection.tls.reason for connection in tables.eventful if connection.tls is not None)
    programs = Programs(tables) if concerned["forward-secrecy"] else None
    for connection in tables.eventful:
        tls = connection.tls
        if tls is None or tls.reason not in CODES:
            continue
        others = f" So it is with {concerned[tls.reason]} connections of this capture." if concerned[tls.reason] > 1 else ""
        yield Finding(
            code=CODES[tls.reason],
            severity="warning" if tables.keys_given else "info",
            confidence="high",
            connection=connection.id,
            packets=(),
            message=f"{tls.detail or f'Not decrypted: {tls.reason}.'}{others}",
            remedy=remedy(connection, programs) if programs and tls.reason == "forward-secrecy" else remedy_of(tls),
            evidence={
                "cipher_suite": tls.cipher_suite,
                "key_exchange": tls.key_exchange,
                "group": tls.group,
                "client_offers_rsa": None if tls.offered_rsa_suites is None else bool(tls.offered_rsa_suites),
                "version": tls.version,
                "connections_concerned": concerned[tls.reason],
            },
        )


def remedy_of(tls: "TlsSummary") -> str:
    """What would have helped, as far as the reason tells it; the text is empty where nothing is lacking."""
    if tls.reason == "handshake-not-captured" and tls.ja3 is not None:  # it began in the capture
        return UNFINISHED
    if tls.reason == "no-matching-session-key" and tls.secret_origin and not any(tls.plaintext_bytes) and _refused(tls):
        return REFUSED
    return REMEDIES[tls.reason] if tls.reason else ""


def _refused(tls: "TlsSummary") -> bool:
    return any(alert.level == "fatal" for alert in tls.alerts)
