"""The summary of a session, made from its state."""

from typing import Final

from captool.direction import Direction, PerDirection
from captool.tls.fingerprint import client_fingerprints, ja3s
from captool.tls.hello import version_name
from captool.tls.master_secrets import offered_rsa_suites, session_names
from captool.tls.named_groups import group_name
from captool.tls.reasons import Failure, forward_secrecy, key_exchange
from captool.tls.session import Session
from captool.tls.side import Side, State
from captool.tls.summary import Status, TlsSummary

# Of several failures the one that says most about the cause comes first. A hole explains a handshake that was not seen; that no
# secret fits explains all that follows it.
NO_EARLY_SECRET: Final = Failure(
    "no-matching-session-key", "The early data (0-RTT) stays encrypted: the key log has no CLIENT_EARLY_TRAFFIC_SECRET for the session."
)
UNKNOWN_SECRETS: Final = frozenset({"no-secret", "forward-secrecy", "no-matching-key", "no-matching-session-key"})
HOLES: Final = frozenset({"stream-gap", "snapped"})


def summarize(session: Session) -> TlsSummary:
    """The summary of a session as it stands."""
    negotiation, first = session.shown, session.first
    hello, suite, certificate = negotiation.server_hello, negotiation.suite, negotiation.certificate
    plaintext_bytes = PerDirection(*(side.plaintext_bytes for side in session.sides))
    client = client_fingerprints(first.first_hello) if first.first_hello else None
    failure = _failure(session)
    status: Status = "decrypted" if failure is None else "partly" if any(plaintext_bytes) else "encrypted"
    return TlsSummary(
        version=version_name(hello.version) if hello else None,
        cipher_suite=None if hello is None else suite.name if suite else f"0x{hello.cipher_suite:04x}",
        cipher_suite_id=hello.cipher_suite if hello else None,
        key_exchange=key_exchange(negotiation),
        forward_secrecy=forward_secrecy(negotiation),
        resumed=negotiation.resumed,
        extended_master_secret=negotiation.extended_master_secret,
        encrypt_then_mac=negotiation.encrypt_then_mac,
        server_name=negotiation.client_hello.server_name if negotiation.client_hello else None,
        certificate_spki_sha256=certificate.spki_sha256 if certificate else None,
        certificate_organization=certificate.organization if certificate else None,
        status=status,
        reason=failure.reason if failure else None,
        detail=failure.detail if failure else None,
        secret_origin=session.secrets.origin,
        finished_verified=0 < session.secrets.finished_seen == session.secrets.finished_right,
        plaintext_bytes=plaintext_bytes,
        alerts=tuple(session.alerts),
        certificate=negotiation.presented,
        client_certificate=negotiation.presented_by_client,
        ja3=client.ja3 if client else None,
        ja3s=ja3s(first.server_hello) if first.server_hello else None,
        ja4=client.ja4 if client else None,
        group=None if negotiation.group is None else group_name(negotiation.group),
        offered_rsa_suites=offered_rsa_suites(negotiation.client_hello) if negotiation.client_hello else None,
        resumes=tuple(session_names(negotiation)) if failure and failure.reason == "resumed-without-original" else (),
        lost=PerDirection(*(side.lost_in_all if side.lost_in_all.places else None for side in session.sides)),
        sealed_alert=session.sealed.alert if session.sealed else None,
        client_random=_sought(session, failure),
    )


def _sought(session: Session, failure: Failure | None) -> bytes | None:
    """The client random by which the secrets that are lacking would be found."""
    hello = session.shown.client_hello
    return hello.random if hello is not None and failure is not None and failure.reason in UNKNOWN_SECRETS else None


def _failure(session: Session) -> Failure | None:
    proven = session.secrets.origin is not None
    seen = [failure for side in session.sides for failure in (_hole(side), side.failure) if failure is not None]
    failures = [_settled(failure, proven=proven) for failure in seen]
    if session.negotiation.early_data_accepted and any(side.skipped for side in session.sides):
        failures.append(NO_EARLY_SECRET)
    if not failures:
        return None if proven else _unfinished(session)
    if proven:
        return min(failures, key=lambda failure: failure.reason == "handshake-not-captured")
    return min(failures, key=lambda failure: 1 if failure.reason in HOLES else 2 if failure.reason == "handshake-not-captured" else 0)


def _hole(side: Side) -> Failure | None:
    """The first hole of a direction, and whether reading went on behind it."""
    if side.hole is None or side.state is not State.OPEN:
        return side.hole
    return side.hole._replace(detail=f"{side.hole.detail} Decryption goes on behind that.")


def _unfinished(session: Session) -> Failure:
    """Nothing was protected yet where the capture, or the connection, ended."""
    refusal = next((alert for alert in session.alerts if alert.level == "fatal"), None)
    if refusal is None:
        return Failure("handshake-not-captured", "The handshake is not complete in the capture: it ends before anything was protected.")
    sender = Direction(refusal.direction).sender
    whose = f"{refusal.description} of the {sender} (packet {refusal.packet})"
    detail = f"The handshake broke off with the alert {whose}; nothing was protected."
    return Failure("handshake-not-captured", detail, refusal.packet)


def _settled(failure: Failure, *, proven: bool) -> Failure:
    """A secret that one direction seemed to refute and the other one proved: the record was at fault."""
    if not (failure.unproven and proven):
        return failure
    where = f"in packet {failure.packet} " if failure.packet else ""
    detail = f"The first protected record {where}does not authenticate, while the other direction does."
    return Failure("bad-record-mac", detail, failure.packet)
