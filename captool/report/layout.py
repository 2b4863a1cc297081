"""Lines, columns and styles of a report for a terminal, without a library that takes as long to import as a small capture to analyze.

Styled text carries SGR sequences (ECMA-48 8.3.117), which take no room; every other text was made `printable` before it comes here.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Final

import click

STYLES: Final[dict[str, dict[str, str | bool]]] = {
    "error": {"fg": "red", "bold": True},
    "warning": {"fg": "yellow"},
    "info": {"fg": "cyan"},
    "good": {"fg": "green", "bold": True},
    "bold": {"bold": True},
    "dim": {"dim": True},
    "italic": {"italic": True},
}
SPACED: Final = re.compile(r"( *)([^ ]+)")
SHOWN: Final = re.compile(r"\x1b\[[0-9;]*m|.", re.DOTALL)  # a style, or a character
STYLE: Final = re.compile(r"\x1b\[[0-9;]*m")
PLAIN: Final = "\x1b[0m"
BETWEEN: Final = "  "
LEAST: Final = 20  # columns below which the last cell of a table is not worth cutting down to


def styled(text: str, style: str) -> str:
    """`text` in one of the `STYLES`."""
    return click.style(text, **STYLES[style])  # type: ignore[arg-type]


def columns(text: str) -> int:
    """How many columns of a terminal the text takes: two for wide characters (Unicode annex 11), none for those that stand on another."""
    if text.isascii() and "\x1b" not in text:
        return len(text)
    return sum(map(_columns, SHOWN.findall(text)))


def wrapped(text: str, width: int) -> Iterator[str]:
    """The text in lines of at most `width` columns, broken at spaces; a word that is longer is cut.

    Each line is complete in itself: a style that goes on is ended with the line and begun again, as `less -R` and what stands left of it
    need.
    """
    begun = ""
    for line in _broken(text, width):
        whole = begun + line
        begun = "".join(STYLE.findall(whole.rpartition(PLAIN)[2])) if "\x1b" in whole else ""
        yield whole + PLAIN if begun else whole


def _broken(text: str, width: int) -> Iterator[str]:
    line, used = "", 0
    for space, word in SPACED.findall(text):
        needed = columns(word)
        if used and used + len(space) + needed > width:
            yield line
            line, used = "", 0
        elif len(space) + needed <= width:
            line, used = line + space, used + len(space)
        if needed <= width:
            line, used = line + word, used + needed
            continue
        for shown in SHOWN.findall(word):
            if used + _columns(shown) > width:
                yield line
                line, used = "", 0
            line, used = line + shown, used + _columns(shown)
    yield line


def cut(text: str, width: int) -> str:
    """The text, or as much of it as fits into `width` columns with an ellipsis."""
    if columns(text) <= width:
        return text
    return next(wrapped(text.replace(" ", "\N{NO-BREAK SPACE}"), max(width - 1, 1))).replace("\N{NO-BREAK SPACE}", " ") + "…"


def labelled(rows: Sequence[tuple[str, str]], width: int, indent: str = BETWEEN) -> Iterator[str]:
    """Two columns: a label, and a text that is wrapped beside it."""
    room = max(columns(label) for label, _ in rows)
    for label, text in rows:
        head = label + " " * (room - columns(label))
        for line in wrapped(text, max(width - len(indent) - room - len(BETWEEN), 1)):
            yield f"{indent}{head}{BETWEEN}{line}"
            head = " " * room


def table(rows: Sequence[Sequence[str]], width: int, indent: str = BETWEEN) -> Iterator[str]:
    """Columns as wide as their widest cell; the last gets the room that is left. Where that is next to nothing, rows are wrapped."""
    rooms = [max(map(columns, cells)) for cells in zip(*rows, strict=True)][:-1]
    left = width - len(indent) - sum(rooms) - len(BETWEEN) * len(rooms)
    if left < LEAST and any(columns(row[-1]) > left for row in rows):
        yield from labelled([(row[0], BETWEEN.join(filter(None, row[1:]))) for row in rows], width, indent)
        return
    for row in rows:
        filled = (cell + " " * (room - columns(cell)) for cell, room in zip(row, rooms, strict=False))
        yield indent + BETWEEN.join((*filled, cut(row[-1], left)))


def _columns(shown: str) -> int:
    if shown.startswith("\x1b") or unicodedata.category(shown) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(shown) in "WF" else 1
