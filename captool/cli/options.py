"""Options that several commands share: durations and sizes with units."""

from typing import TYPE_CHECKING, Any

import click

from captool.units import parse_duration, parse_size

if TYPE_CHECKING:
    IntType = click.ParamType[int]
else:
    IntType = click.ParamType  # generic only in newer releases of click

DOCKER_TLS_PORT = 2376


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
