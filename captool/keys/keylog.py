"""Key logs (RFC 9850, SSLKEYLOGFILE): secrets of sessions, one a line, as OpenSSL, NSS, Go, Wireshark and others write them.

LABEL client-random secret                      CLIENT_RANDOM, PMS_CLIENT_RANDOM, the labels of TLS 1.3
RSA first-8-bytes-of-encrypted-premaster premaster
RSA Session-ID:id Master-Key:master-secret
"""

import re
from collections.abc import Iterable
from typing import Final

from captool.keys.material import KeyRing, SessionSecret

RANDOM_LENGTH: Final = 32
MASTER_SECRET_LENGTH: Final = 48
ENCRYPTED_PREFIX_LENGTH: Final = 8
MAX_PREMASTER_LENGTH: Final = 1024  # a premaster secret of finite-field DH is as long as the prime
MAX_LINE_NUMBERS_SHOWN: Final = 5

PREMASTER_LABEL: Final = "RSA"
SESSION_ID_LABEL: Final = "RSA Session-ID"
MASTER_LABELS: Final = frozenset({"CLIENT_RANDOM", SESSION_ID_LABEL})
# Secrets of TLS 1.3 are as long as the hash of the suite, which is SHA-256 or SHA-384 (RFC 8446 section 7.1): anything else was cut off.
HASH_LENGTHS: Final = frozenset({32, 48})
TLS13_LABELS: Final = frozenset({
    "CLIENT_EARLY_TRAFFIC_SECRET", "CLIENT_HANDSHAKE_TRAFFIC_SECRET", "SERVER_HANDSHAKE_TRAFFIC_SECRET",
    "CLIENT_TRAFFIC_SECRET_0", "SERVER_TRAFFIC_SECRET_0", "EARLY_EXPORTER_SECRET", "EXPORTER_SECRET",
})  # fmt: skip
# The words that lines begin with.
LABELS: Final = frozenset(label.encode() for label in ("CLIENT_RANDOM", "PMS_CLIENT_RANDOM", PREMASTER_LABEL, *TLS13_LABELS))

LINE: Final = re.compile(rb"([A-Z][A-Z0-9_]*) +([0-9A-Fa-f]+) +([0-9A-Fa-f]+)")
SESSION_ID_LINE: Final = rb"RSA +Session-ID: ?([0-9A-Fa-f]+) +Master-Key: ?([0-9A-Fa-f]+)"  # compiled when one is met: few are


def parse_key_log(data: bytes, origin: str) -> tuple[list[SessionSecret], list[str]]:
    """The secrets of a key log, and sentences about the lines that are none (one for the file, with line numbers).

    Comments and empty lines are no fault. A secret's origin is `origin` and its line.
    """
    secrets: list[SessionSecret] = []
    broken: list[int] = []
    for number, line in enumerate(data.split(b"\n"), 1):
        text = line.strip()
        if not text or text.startswith(b"#"):
            continue
        secret = _secret(text, f"{origin}:{number}")
        if secret is None:
            broken.append(number)
        else:
            secrets.append(secret)
    return secrets, [_broken_lines(origin, broken, some_used=bool(secrets))] if broken else []


def looks_like_key_log(data: bytes) -> bool:
    """Whether the beginning of a file has a line of a key log."""
    return any(LINE.fullmatch(text) or _session_id_line(text) for text in map(bytes.strip, data.split(b"\n")))


def add_secrets(ring: KeyRing, secrets: Iterable[SessionSecret]) -> None:
    """Add the secrets of a key log to a ring. Of equal ones the first is kept: their origin is what the report shows."""
    for secret in secrets:
        if secret.label == PREMASTER_LABEL:
            ring.premaster_secrets.setdefault(secret.identifier, secret)
        else:
            ring.session_secrets.setdefault(secret.identifier, {}).setdefault(secret.label, secret)


def _secret(text: bytes, origin: str) -> SessionSecret | None:
    if match := LINE.fullmatch(text):
        label, identifier, secret = match[1].decode(), match[2], match[3]
    elif match := _session_id_line(text):
        label, identifier, secret = SESSION_ID_LABEL, match[1], match[2]
    else:
        return None
    if len(identifier) % 2 or len(secret) % 2:
        return None
    found = SessionSecret(label, bytes.fromhex(identifier.decode()), bytes.fromhex(secret.decode()), origin)
    return found if _has_right_lengths(found) else None


def _session_id_line(text: bytes) -> re.Match[bytes] | None:
    return re.fullmatch(SESSION_ID_LINE, text) if text.startswith(b"RSA ") else None


def _has_right_lengths(secret: SessionSecret) -> bool:
    length = len(secret.secret)
    if secret.label in MASTER_LABELS and length != MASTER_SECRET_LENGTH:
        return False
    if secret.label in TLS13_LABELS and length not in HASH_LENGTHS:
        return False
    if secret.label == PREMASTER_LABEL:
        return len(secret.identifier) == ENCRYPTED_PREFIX_LENGTH and length == MASTER_SECRET_LENGTH
    if secret.label == SESSION_ID_LABEL:
        return len(secret.identifier) <= RANDOM_LENGTH
    return len(secret.identifier) == RANDOM_LENGTH and length <= MAX_PREMASTER_LENGTH


def _broken_lines(origin: str, numbers: list[int], *, some_used: bool) -> str:
    shown = ", ".join(map(str, numbers[:MAX_LINE_NUMBERS_SHOWN]))
    more = ", ..." if len(numbers) > MAX_LINE_NUMBERS_SHOWN else ""
    lines = "line" if len(numbers) == 1 else "lines"
    rest = "the others were used" if some_used else "it holds no other; record the secrets again"
    return f"{origin}: {len(numbers)} {lines} of the key log cannot be read ({lines} {shown}{more}); {rest}"
