"""Standard output that cannot be written to: closed by its reader (head, less), or on a disk that is full."""

import codecs
import errno
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import click

from captool.errors import UsageError

NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


# How `sys.stdout` writes what its encoding cannot: the signs of the reports in plain letters, everything else as an escape.
IN_PLAIN_LETTERS: Final = "captool-plain"
PLAIN: Final = {"→": "->", "↔": "<->", "│": "|", "…": "...", "±": "+/-", "µ": "u"}
NARROWEST: Final = 40
WIDEST: Final = 160


class OutputClosedError(Exception):
    """The reader of standard output has gone. No OSError: of that click would make exit code 1, which means findings."""


def width_of_output(elsewhere: int) -> int:
    """The columns of the terminal that standard output is, within reason; `elsewhere` where it is none."""
    if not sys.stdout.isatty():
        return elsewhere
    import shutil

    return min(max(shutil.get_terminal_size().columns, NARROWEST), WIDEST)


def in_plain_letters(error: UnicodeError) -> tuple[str, int]:
    """An error handler of `codecs`."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    letters = error.object[error.start : error.end]
    return "".join(PLAIN.get(letter) or letter.encode("ascii", "backslashreplace").decode() for letter in letters), error.end


codecs.register_error(IN_PLAIN_LETTERS, in_plain_letters)


def is_same_file(one: Path, other: Path) -> bool:
    """Whether two paths lead to one file, as far as can be found out."""
    try:
        return one.samefile(other)
    except OSError:
        return False


def keep_inputs(output: Path | None, inputs: Iterable[Path]) -> None:
    """Raises UsageError where the output would take the place of what is read: a capture cannot be recorded again."""
    if output is not None and any(is_same_file(path, output) for path in inputs):
        raise UsageError(f"{output}: is what is to be read; write to another file with -o")


def say(sentence: str) -> None:
    """Talk goes to standard error, a line each, with no character in it that a terminal acts on."""
    from captool.report.printable import printable

    click.echo(f"captool: {printable(sentence)}", err=True)


def open_standard_streams() -> None:
    """Let nothing be what is written to a standard stream that was closed before the start (`>&-`); Python leaves None there."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115 - as long as the process lives


def forget_output() -> None:
    """Point standard output elsewhere, so that the interpreter's flush at its end has nothing to complain about."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
