"""Durations, sizes and counts: read from text with their units, and written for people. Inside they are integer nanoseconds and bytes."""

import re
from typing import Final

SECOND_NS: Final = 1_000_000_000
LONGEST: Final = 36_500 * 86_400 * SECOND_NS  # a duration must fit into 64 bits, and so must a moment plus that duration
LARGEST: Final = (1 << 63) - 1
NANOSECONDS: Final = {
    "ns": 1, "us": 1_000, "µs": 1_000, "ms": 1_000_000, "s": 1_000_000_000,
    "m": 60_000_000_000, "min": 60_000_000_000, "h": 3_600_000_000_000, "d": 86_400_000_000_000,
}  # fmt: skip
BYTES: Final = {
    "": 1, "B": 1,
    "K": 1_000, "KB": 1_000, "M": 10**6, "MB": 10**6, "G": 10**9, "GB": 10**9, "T": 10**12, "TB": 10**12,
    "KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30, "TIB": 1 << 40,
}  # fmt: skip

# Compiled where a text is read: most runs are given neither a duration nor a size.
_DURATION: Final = r"(?:\d+(?:\.\d+)?(?:ns|us|µs|ms|s|min|m|h|d))+"
_DURATION_PART: Final = r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|min|m|h|d)"
_NUMBER: Final = r"\d+(?:\.\d+)?"
_SIZE: Final = r"(\d+(?:\.\d+)?)\s*([A-Z]*)"


def parse_duration(text: str) -> int:
    """Nanoseconds of a duration such as `90`, `1.5h`, `10m`, `1h30m` or `250ms`; a bare number counts seconds.

    Raises ValueError when the text is none, is not positive, or is longer than a century.
    """
    if re.fullmatch(_NUMBER, text, re.ASCII):
        text += "s"
    if re.fullmatch(_DURATION, text, re.ASCII) is None:
        raise ValueError(f"{text!r} is not a duration; write for example 90s, 10m or 1h30m")
    from decimal import Decimal

    total = int(sum(Decimal(number) * NANOSECONDS[unit] for number, unit in re.findall(_DURATION_PART, text, re.ASCII)))
    if total <= 0:
        raise ValueError("a duration must be longer than 0")
    if total > LONGEST:
        raise ValueError(f"{text!r} is longer than a hundred years")
    return total


def parse_size(text: str) -> int:
    """Bytes of a size such as `262144`, `100MB` (10**6) or `64MiB` (2**20); raises ValueError when the text is none, 0 or beyond 2**63."""
    match = re.fullmatch(_SIZE, text.strip().upper(), re.ASCII)
    if match is None or match[2] not in BYTES:
        raise ValueError(f"{text!r} is not a size; write for example 500KB, 100MB or 1GiB")
    from decimal import Decimal

    total = int(Decimal(match[1]) * BYTES[match[2]])
    if total <= 0:
        raise ValueError("a size must be larger than 0")
    if total > LARGEST:
        raise ValueError(f"{text!r} is larger than any disk")
    return total


def seconds(duration_ns: int) -> str:
    """A duration for people: `35 ms`, `24.95 s`, `601.2 s (10 min 1 s)`."""
    value = duration_ns / SECOND_NS
    if duration_ns == 0:
        return "0 s"
    if duration_ns < 1000:
        return f"{duration_ns} ns"
    if value < 0.9995:  # three digits of what is more are 1000 ms
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
        if value < 999.95:
            return f"{value:.1f} {unit}"
    return f"{value / 1000:.1f} TB"


def size_between(least: int, most: int) -> str:
    """`48 bytes`, `at most 48 bytes`, `between 30 and 62 bytes`, `between 900 bytes and 1.2 kB`."""
    if least == most:
        return size(most)
    if not least:
        return f"at most {size(most)}"
    low, high = size(least), size(most)
    if low == high:
        return f"between {least:,} and {most:,} bytes"
    if low.split(" ")[1].rstrip("s") == high.split(" ")[1].rstrip("s"):
        low = low.split(" ")[0]
    return f"between {low} and {high}"


def missing_output(missing: tuple[int, int] | None, stdout: int, stderr: int) -> str:
    """What the capture lacks of a stream, and whose it is as far as that is known; empty where nothing is.

    `48 bytes of the stream`, `2,920 bytes of stdout`, `9.0 kB of the stream, 40 bytes of stderr among them`.
    """
    known = " and ".join(f"{counted(count, 'byte')} of {name}" for name, count in (("stdout", stdout), ("stderr", stderr)) if count)
    if missing is None:
        return f"at least {known}" if known else ""
    if missing == (stdout + stderr, stdout + stderr):
        return known
    return f"{size_between(*missing)} of the stream{', ' * bool(known)}{known}{' among them' * bool(known)}"


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """`1 packet`, `2 packets`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"
