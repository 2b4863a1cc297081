"""Durations, sizes and counts in sentences."""

SECOND_NS = 1_000_000_000


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
