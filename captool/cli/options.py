"""Options that several commands share: durations and sizes with units."""

import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    IntType = click.ParamType[int]
else:
    IntType = click.ParamType  # generic only in newer releases of click

NANOSECONDS: Final = {
    "ns": 1, "us": 1_000, "µs": 1_000, "ms": 1_000_000, "s": 1_000_000_000,
    "m": 60_000_000_000, "min": 60_000_000_000, "h": 3_600_000_000_000, "d": 86_400_000_000_000,
}  # fmt: skip
BYTES: Final = {
    "": 1, "B": 1,
    "K": 1_000, "KB": 1_000, "M": 10**6, "MB": 10**6, "G": 10**9, "GB": 10**9, "T": 10**12, "TB": 10**12,
    "KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30, "TIB": 1 << 40,
}  # fmt: skip

_DURATION: Final = re.compile(r"(?:\d+(?:\.\d+)?(?:ns|us|µs|ms|s|min|m|h|d))+", re.ASCII)
_DURATION_PART: Final = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|min|m|h|d)", re.ASCII)
_NUMBER: Final = re.compile(r"\d+(?:\.\d+)?", re.ASCII)
_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Z]*)", re.ASCII)


def parse_duration(text: str) -> int:
    """Nanoseconds of a duration such as `90`, `1.5h`, `10m`, `1h30m` or `250ms`; a bare number counts seconds.

    Raises ValueError when the text is none, or is not positive.
    """
    if _NUMBER.fullmatch(text):
        text += "s"
    if _DURATION.fullmatch(text) is None:
        raise ValueError(f"{text!r} is not a duration; write for example 90s, 10m or 1h30m")
    total = int(sum(Decimal(number) * NANOSECONDS[unit] for number, unit in _DURATION_PART.findall(text)))
    if total <= 0:
        raise ValueError("a duration must be longer than 0")
    return total


def parse_size(text: str) -> int:
    """Bytes of a size such as `262144`, `100MB` (10**6) or `64MiB` (2**20); raises ValueError when the text is none, or is 0."""
    match = _SIZE.fullmatch(text.strip().upper())
    if match is None or match[2] not in BYTES:
        raise ValueError(f"{text!r} is not a size; write for example 500KB, 100MB or 1GiB")
    total = int(Decimal(match[1]) * BYTES[match[2]])
    if total <= 0:
        raise ValueError("a size must be larger than 0")
    return total


class Duration(IntType):
    """A click type: a duration with units, converted to integer nanoseconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:  # noqa: ANN401
        """Nanoseconds; a number that is already an int is taken as nanoseconds (a default)."""
        if isinstance(value, int):
            return value
        try:
            return parse_duration(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Size(IntType):
    """A click type: a size with units, converted to bytes."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:  # noqa: ANN401
        """Bytes; a number that is already an int is taken as bytes (a default)."""
        if isinstance(value, int):
            return value
        try:
            return parse_size(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)
