"""Key material for a terminal and as JSON. Only fingerprints, names and times are shown, never a secret."""

import json
import textwrap
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from captool import __version__
from captool.key_table import KeyRow, KeyTable, Match
from captool.report.printable import iso, printable, utc

SCHEMA = "captool.keys/1"
SHOWN = 20
WIDTH = 110
LABEL = 12  # columns in front of a fact


def render_text(table: KeyTable, width: int = WIDTH) -> str:
    """A paragraph for each key with the connections that it belongs to, then the connections without any key.

    Lines have `width` columns; a word that is longer, such as a fingerprint or a path, stays whole.
    """
    lines: list[str] = []
    matched = table.matches or ()
    for row in table.keys:
        lines += [*_key(row), *_connections([match for match in matched if match.origin == row.origin], table.matches is not None), ""]
    lost = [match for match in matched if match.origin not in {row.origin for row in table.keys}]
    if lost:
        lines += ["connections with a secret from the capture itself, or with none", *_connections(lost, asked=True), ""]
    lines += [f"note: {problem}" for problem in table.problems]
    return "\n".join(row for line in lines for row in _wrapped(printable(line), width)).rstrip() + "\n"


def render_json(table: KeyTable) -> str:
    """The same as JSON, ASCII only; times are RFC 3339."""
    values: dict[str, Any] = {"schema": SCHEMA, "captool_version": __version__, "keys": []}
    for row in table.keys:
        fields = asdict(row)
        fields["not_before"], fields["not_after"] = iso(fields.pop("not_before_ns")), iso(fields.pop("not_after_ns"))
        values["keys"].append(fields)
    values["connections"] = None if table.matches is None else [asdict(match) for match in table.matches]
    values["problems"] = list(table.problems)
    return json.dumps(values, indent=1) + "\n"


def _wrapped(line: str, width: int) -> list[str]:
    indent = " " * (LABEL if line.startswith(" ") else 4)
    return textwrap.wrap(line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False) or [""]


def _key(row: KeyRow) -> Iterator[str]:
    about = [row.kind, f"machine {row.machine}" if row.machine else "", row.driver or "", row.ip or ""]
    yield f"{row.origin}  {'  '.join(filter(None, about))}"
    if row.spki_sha256:
        yield f"  sha256    {row.spki_sha256} (of the public key)"
    if row.not_before_ns is not None and row.not_after_ns is not None:
        yield f"  valid     {utc(row.not_before_ns)[:10]} to {utc(row.not_after_ns)[:10]}"
    yield f"  decrypts  {row.decrypts}"


def _connections(matches: list[Match], asked: bool) -> Iterator[str]:  # noqa: FBT001
    """Connections with the same fate are one line."""
    groups: dict[tuple[str, str], list[int]] = {}
    for match in matches:
        session = " ".join(filter(None, (match.version, match.cipher_suite))) or "handshake not seen"
        groups.setdefault((session, "opened" if match.useful else f"not opened: {match.why}"), []).append(match.connection)
    for (session, fate), numbers in groups.items():
        shown = ", ".join(map(str, numbers[:SHOWN])) + (", ..." if len(numbers) > SHOWN else "")
        yield f"  connection{'s' * (len(numbers) > 1)} {shown}  {session}; {fate}"
    if asked and not matches:
        yield "  opens no connection of this capture"
