"""Text from strangers made safe for a terminal, and times of day. Absolute time is formatted here and nowhere below."""

import unicodedata
from datetime import UTC, datetime

from captool.units import SECOND_NS

UNSAFE_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def printable(text: str) -> str:
    """`text` with every control, format and unassigned character written as an escape: no terminal acts on it, nothing is hidden."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if unicodedata.category(c) not in UNSAFE_CATEGORIES else _escape(c) for c in text)


def _escape(character: str) -> str:
    if "\udc80" <= character <= "\udcff":  # a byte of a file's name that is no UTF-8 (PEP 383)
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode()


def printable_bytes(data: bytes) -> str:
    """Bytes from the wire as one printable line: UTF-8 where it is, escapes where it is not."""
    return printable(data.decode("utf-8", "backslashreplace"))


def utc(ts_ns: int) -> str:
    """`2026-11-23 03:36:40.123` in UTC, milliseconds cut and not rounded."""
    whole, fraction = divmod(ts_ns, SECOND_NS)
    return f"{_datetime(whole):%Y-%m-%d %H:%M:%S}.{fraction // 1_000_000:03d}"


def clock(ts_ns: int) -> str:
    """`03:36:40.123`: the time of day of `utc`."""
    return utc(ts_ns)[11:]


def iso(ts_ns: int | None) -> str | None:
    """RFC 3339 time in UTC with all nine digits, for JSON."""
    if ts_ns is None:
        return None
    whole, fraction = divmod(ts_ns, SECOND_NS)
    return f"{_datetime(whole):%Y-%m-%dT%H:%M:%S}.{fraction:09d}Z"


def _datetime(whole_seconds: int) -> datetime:
    # A hostile timestamp may lie beyond the year 9999; the nearest representable time is shown.
    return datetime.fromtimestamp(min(max(whole_seconds, -62135596800), 253402300799), UTC)
