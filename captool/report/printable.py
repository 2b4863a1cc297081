"""Text from strangers made safe for a terminal, and numbers made readable. Time is formatted here and nowhere below."""

import unicodedata
from datetime import UTC, datetime

SECOND_NS = 1_000_000_000
UNSAFE_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def printable(text: str) -> str:
    """`text` with every control, format and unassigned character written as an escape: no terminal acts on it, nothing is hidden."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if unicodedata.category(c) not in UNSAFE_CATEGORIES else c.encode("unicode_escape").decode() for c in text)


def printable_bytes(data: bytes) -> str:
    """Bytes from the wire as one printable line: UTF-8 where it is, escapes where it is not."""
    return printable(data.decode("utf-8", "backslashreplace"))


def seconds(duration_ns: int) -> str:
    """A duration for people: `35 ms`, `24.95 s`, `601.2 s (10 min 1 s)`."""
    value = duration_ns / SECOND_NS
    if duration_ns == 0:
        return "0 s"
    if value < 1:
        return f"{value * 1000:.3g} ms"
    if value < 100:
        return f"{value:.2f} s"
    if value < 120:
        return f"{value:.1f} s"
    return f"{value:.1f} s ({_clock_words(round(value))})"


def _clock_words(total: int) -> str:
    days, rest = divmod(total, 86400)
    hours, rest = divmod(rest, 3600)
    minutes, secs = divmod(rest, 60)
    words = [(days, "d"), (hours, "h"), (minutes, "min"), (secs, "s")]
    return " ".join(f"{number} {unit}" for number, unit in words if number)


def size(count: int) -> str:
    """A number of bytes for people, decimal units as tcpdump counts them."""
    if count < 1000:
        return f"{count} byte" if count == 1 else f"{count} bytes"
    value = float(count)
    for unit in ("kB", "MB", "GB"):
        value /= 1000
        if value < 1000:
            return f"{value:.1f} {unit}"
    return f"{value / 1000:.1f} TB"


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """`1 packet`, `2 packets`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


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
