"""Why a session stays encrypted: one reason, and one sentence that makes it concrete.

Precedence where no secret opens a session, first match:

1. no ClientHello or no ServerHello seen: `handshake-not-captured` (`stream-gap` or `snapped` where a hole is the cause)
2. a suite, version or compression that captool cannot decrypt, whatever the secret: `unsupported-suite`
3. TLS 1.2 or before, resumed, some secrets given, and a full handshake would have helped: `resumed-without-original`
4. forward secret, and a key log was given: `no-matching-session-key`
5. forward secret: `forward-secrecy`
6. no secret given: `no-secret`
7. RSA key exchange, private keys given (whether or not a key log was too): `no-matching-key`
8. only a key log given, or a key exchange that only a key log opens: `no-matching-session-key`
"""

from typing import Final, NamedTuple

from captool.direction import Direction
from captool.keys.material import KeyRing
from captool.tls.hello import SSL_3_0, TLS_1_2, version_name
from captool.tls.master_secrets import RSA_EXCHANGES, exchanges_rsa, usable_keys
from captool.tls.named_groups import group_name
from captool.tls.negotiation import Negotiation
from captool.tls.summary import Reason

# Named groups of finite fields (RFC 7919 section 2), and key agreements mixed with ML-KEM (draft-ietf-tls-ecdhe-mlkem).
FINITE_FIELD_GROUPS: Final = range(0x0100, 0x0105)
ML_KEM_HYBRID_GROUPS: Final = frozenset({0x11EB, 0x11EC, 0x11ED, 0x6399, 0x639A})


class Failure(NamedTuple):
    """Why a direction, or the whole session, was not decrypted.

    `unproven` marks a secret that did not fit: when the other direction proves it after all, the record was at fault.
    """

    reason: Reason
    detail: str
    packet: int | None = None
    unproven: bool = False


def key_exchange(negotiation: Negotiation) -> str | None:
    """The key exchange as seen on the wire: `RSA`, `ECDHE`, `DHE`, `ECDHE (TLS 1.3)`, `PSK`, ...; None before a ServerHello."""
    hello, suite = negotiation.server_hello, negotiation.suite
    if hello is None:
        return None
    if hello.is_tls13:
        group = hello.key_share_group
        if group is None:
            return "PSK (TLS 1.3)"
        kind = "DHE" if group in FINITE_FIELD_GROUPS else "ECDHE+ML-KEM" if group in ML_KEM_HYBRID_GROUPS else "ECDHE"
        return f"{kind} (TLS 1.3)"
    if suite is None or suite.key_exchange is None:
        return None
    if suite.key_exchange in RSA_EXCHANGES and negotiation.server_key_exchange:
        return "RSA (ephemeral)"  # the export suites of SSL 3.0 sign a short RSA key; no other RSA suite sends ServerKeyExchange
    return suite.key_exchange.removesuffix("_anon")


def forward_secrecy(negotiation: Negotiation) -> bool | None:
    """Whether the session stays secret from the holder of the server's private key; None before a ServerHello."""
    hello, suite = negotiation.server_hello, negotiation.suite
    if hello is None or suite is None:
        return None
    if hello.is_tls13:
        return hello.key_share_group is not None
    return suite.forward_secret or (suite.key_exchange in RSA_EXCHANGES and negotiation.server_key_exchange)


def not_supported(negotiation: Negotiation) -> Failure | None:
    """The failure that no secret can put right."""
    hello, suite = negotiation.server_hello, negotiation.suite
    if hello is None:
        return None
    if not SSL_3_0 <= hello.version <= TLS_1_2 and not hello.is_tls13:
        return Failure("unsupported-suite", f"The session uses {version_name(hello.version)}, which captool cannot decrypt.")
    if suite is None:
        return Failure("unsupported-suite", f"Cipher suite 0x{hello.cipher_suite:04x} is not known to captool.")
    if suite.bulk is None or (suite.key_exchange is None) != hello.is_tls13:
        return Failure("unsupported-suite", f"captool cannot decrypt {suite.name} in {version_name(hello.version)}.")
    if hello.compression_method:
        return Failure("unsupported-suite", f"The session is compressed (method {hello.compression_method}), which captool cannot undo.")
    return None


def locked(negotiation: Negotiation, ring: KeyRing, *, tried: int) -> Failure:  # noqa: PLR0911  # the precedence above, in order
    """Why none of the given secrets opens the session; `tried` of them were tried and did not fit."""
    failure = not_supported(negotiation)
    if failure is not None:
        return failure
    hello, suite = negotiation.server_hello, negotiation.suite
    if hello is None or suite is None or negotiation.client_hello is None:
        return Failure("handshake-not-captured", "The capture does not hold both hellos of the handshake.")
    key_log_given = bool(ring.session_secrets or ring.premaster_secrets)
    session = f"{version_name(hello.version)}, {suite.name}, key exchange {key_exchange(negotiation)}"
    secret_given = key_log_given or bool(ring.private_keys)
    secret_forward = bool(forward_secrecy(negotiation))
    random = negotiation.client_hello.random.hex()
    if negotiation.resumed and not hello.is_tls13 and secret_given and (key_log_given or not secret_forward):
        return Failure(
            "resumed-without-original",
            f"The session ({session}) resumes an earlier one, "
            "whose full handshake was not decrypted from this capture; its keys come from there.",
            unproven=bool(tried),
        )
    if secret_forward:
        seen = _seen(negotiation)
        because = f"The session ({session}) is forward secret: {seen}; a private key signs the handshake and cannot decrypt it"
        if tried:
            return Failure("no-matching-session-key", f"{because}, and the secret that the key log has for it does not fit.", unproven=True)
        if key_log_given:
            return Failure("no-matching-session-key", f"{because}, and the key log has no secret for client random {random}.")
        return Failure("forward-secrecy", f"{because}; only the session's own secrets (a key log) can.")
    if not secret_given:
        return Failure("no-secret", f"No key was given. The session ({session}) can be decrypted with {_what_opens(negotiation)}.")
    if not exchanges_rsa(negotiation) or not ring.private_keys:
        fault = "has a secret that does not fit" if tried else "has no secret"
        return Failure(
            "no-matching-session-key",
            f"The session ({session}) can be decrypted with {_what_opens(negotiation)}; what was given {fault} for client random {random}.",
            unproven=bool(tried),
        )
    return _no_matching_key(negotiation, ring, session, tried)


def _seen(negotiation: Negotiation) -> str:
    """What shows the ephemeral key exchange on the wire."""
    group = f" ({group_name(negotiation.group)})" if negotiation.group is not None else ""
    if negotiation.is_tls13:
        return f"the ServerHello brings a key share made for this session alone{group}"
    if negotiation.server_key_exchange:
        return f"the server sent a key made for this session alone in its ServerKeyExchange{group}"
    return "its cipher suite agrees on a key made for the session alone"


def altered_handshake(failure: Failure, packet: int) -> Failure:
    """A secret opens the record with Finished, and Finished does not verify: nothing of such a session is shown."""
    detail = f"Finished in packet {packet} does not verify: the handshake in the capture is not the one that its sender saw."
    return failure._replace(detail=detail, packet=packet, unproven=False)


def bad_record(direction: Direction, sequence: int, packet: int) -> Failure:
    """The record of this number under its key, which ends in `packet`, does not authenticate."""
    detail = (
        f"The record that ends in packet {packet} (number {sequence} under its key) does not authenticate; "
        f"nothing from it on is decrypted in the direction {direction.name.lower()}."
    )
    return Failure("bad-record-mac", detail, packet)


def _what_opens(negotiation: Negotiation) -> str:
    return "the server's private key or a key log" if exchanges_rsa(negotiation) else "a key log"


def _no_matching_key(negotiation: Negotiation, ring: KeyRing, session: str, tried: int) -> Failure:
    if negotiation.client_key_exchange is None:
        return Failure("handshake-not-captured", f"The session ({session}) lacks its ClientKeyExchange in the capture.")
    certificate = negotiation.certificate
    matching = usable_keys(negotiation, ring)
    if not matching and certificate is not None:
        whose = f" (O={certificate.organization})" if certificate.organization else ""
        detail = (
            f"The session ({session}) was encrypted to the key with SHA-256 {certificate.spki_sha256} of the server's certificate{whose}, "
            f"which is not among the {len(ring.private_keys)} given."
        )
        return Failure("no-matching-key", detail)
    why = "Finished did not verify" if tried else "none of them decrypts its premaster secret"
    detail = f"The session ({session}) is not opened by any of the {len(ring.private_keys)} given keys: {why}."
    if certificate is not None:
        detail = f"{matching[0][0].origin} belongs to the server's certificate, but the session ({session}) does not verify with it."
        if negotiation.extended_master_secret and negotiation.session_transcript() is None:
            detail += " The capture lacks a part of the handshake, from which the master secret is made."
    return Failure("no-matching-key", detail, unproven=bool(tried))
