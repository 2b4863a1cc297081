"""Options that several commands share: durations and sizes with units, key material and its password."""

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from captool.cli.command import option
from captool.cli.output import say
from captool.errors import KeyMaterialError
from captool.units import parse_duration, parse_size

if TYPE_CHECKING:
    IntType = click.ParamType[int]
else:
    IntType = click.ParamType  # generic only in newer releases of click

DOCKER_TLS_PORT = 2376
KEYS_HELP: Final = (
    "Key material: a docker-machine directory, a harvested bundle, a PEM file or a key log (found out by itself; repeatable)."
)
MAX_PASSWORD: Final = 4096
OTHERS_MAY_READ: Final = stat.S_IRGRP | stat.S_IROTH
STDOUT: Final = Path("-")



class FilePath(click.Path):  # type: ignore[type-arg, unused-ignore]  # generic in newer releases of click
    """A click type: the path of a file or directory. An empty one, such as a shell variable that is not set, is not the present directory.

    Whether a file can be read is found out by reading it: click would call it a usage error, and name no remedy.
    """

    def __init__(self) -> None:
        super().__init__(path_type=Path, readable=False)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ANN401
        """The path."""
        if value == "":
            self.fail("the name is empty (a shell variable that is not set?)", param, ctx)
        return super().convert(value, param, ctx)


PATH: Final = FilePath()
key_password_option = option(
    "--key-password-file",
    type=PATH,
    metavar="FILE",
    help="The first line of FILE is the password of encrypted PEM and PKCS#12 keys.",
)


def key_password(file: Path | None) -> bytes | None:
    """The password in a file: its first line, without the end of the line. Raises KeyMaterialError where there is none.

    That others can read it too is said, and no reason to refuse it: the capture in question may be of an outage that goes on.
    """
    if file is None:
        return None
    try:
        with file.open("rb") as lines:
            mode = os.fstat(lines.fileno()).st_mode
            password = lines.readline(MAX_PASSWORD).rstrip(b"\r\n")
    except OSError as fault:
        raise KeyMaterialError(f"{file}: {(fault.strerror or str(fault)).lower()}; name a file whose first line is the password") from None
    if not password:
        raise KeyMaterialError(f"{file}: its first line is empty; write the password of the key into it")
    if stat.S_ISREG(mode) and mode & OTHERS_MAY_READ:
        import shlex

        say(f"{file}: the password in it can be read by other users; take that right from them: chmod 600 {shlex.quote(str(file))}")
    return password


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


class FileSize(Size):
    """A size whose bare number counts millions of bytes, as with tcpdump's -C."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:  # noqa: ANN401
        """Bytes."""
        return super().convert(f"{value}MB" if str(value).isdecimal() else value, param, ctx)
