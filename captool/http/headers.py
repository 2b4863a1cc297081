"""Header fields as they are kept: lower-case names, bounded, credentials replaced (RFC 9110 section 5)."""

from collections.abc import Iterable
from typing import Final

REDACTED: Final = "[redacted]"
CUT: Final = "[...]"
MAX_TARGET: Final = 2048
MAX_VALUE: Final = 1024
MAX_FIELDS: Final = 64

# RFC 9110 section 11.6, RFC 6265; Docker's registry credentials are base64 JSON with a password (moby api/types/registry);
# the last ones are GitLab's.
CREDENTIALS: Final = frozenset(
    {
        "authorization",
        "proxy-authorization",
        "authentication-info",
        "proxy-authentication-info",
        "cookie",
        "set-cookie",
        "x-registry-auth",
        "x-registry-config",
        "x-registry-token",
        "job-token",
        "private-token",
    }
)
CREDENTIAL_ENDINGS: Final = ("-token", "-secret", "-password", "-api-key")


def kept_fields(fields: Iterable[tuple[bytes, bytes]]) -> tuple[tuple[str, str], ...]:
    """The first `MAX_FIELDS` fields in order, names in lower case, credentials redacted, long values cut."""
    kept: list[tuple[str, str]] = []
    for name, value in fields:
        if len(kept) == MAX_FIELDS:
            break
        lower = name.decode("latin-1").lower()
        text = REDACTED if _is_credential(lower) else shortened(value, MAX_VALUE)
        kept.append((shortened(lower.encode("latin-1"), MAX_VALUE), text))
    return tuple(kept)


def shortened(value: bytes, limit: int) -> str:
    """The value as text (ISO 8859-1, so that no byte is lost), cut after `limit` characters."""
    text = value[: limit + 1].decode("latin-1")
    return text if len(text) <= limit else text[:limit] + CUT


def _is_credential(name: str) -> bool:
    return name in CREDENTIALS or name.endswith(CREDENTIAL_ENDINGS)
