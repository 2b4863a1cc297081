"""The analysis for a terminal: the verdict first, then each connection that matters with its evidence, then what was not judged."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from captool.analysis import Analysis
from captool.capture.summary import CaptureSummary
from captool.findings import SEVERITIES, Finding
from captool.findings.decryption import CODES, REMEDIES
from captool.findings.key_use import KeyUse
from captool.findings.silence import request
from captool.findings.tables import Connection
from captool.report.connection_text import ending, facts, headline
from captool.report.other_side_text import captures_compared
from captool.report.printable import printable, utc
from captool.units import counted, seconds, size

if TYPE_CHECKING:  # imported only where a connection speaks TLS
    from collections.abc import Sequence

    from captool.tls.summary import Reason

WIDTH: Final = 110
LISTED: Final = 20
# What is said in a line of the connections that have no section of their own.
REMARKS: Final = ("server-closed", "half-close-idle", "possible-drop", "keepalive-too-slow", "capture-ended", "quiet-but-healthy")
COLOURS: Final = {"error": "bold red", "warning": "yellow", "info": "cyan"}


def render(analysis: Analysis, *, connection: int | None = None, width: int = WIDTH, colour: bool = False) -> str:
    """The report as text. `connection` shows only that one; `width` is in columns; `colour` adds terminal colours.

    Nothing from the capture reaches the terminal unescaped: all of it goes through `printable`.
    """
    page = io.StringIO()
    console = Console(
        file=page, width=width, force_terminal=colour, color_system="standard" if colour else None, no_color=not colour,
        highlight=False, markup=False, emoji=False, legacy_windows=False, _environ={} if colour else dict(os.environ),
    )  # fmt: skip
    _capture(console, analysis)
    _verdict(console, analysis)
    chosen = [one for one in analysis.connections if connection in (None, one.id)]
    told = _told(analysis, connection)
    worth = [one for one in chosen if connection is not None or any(f.severity != "info" for f in told.get(one.id, ()))]
    worth.sort(key=lambda one: min((SEVERITIES.index(f.severity) for f in told.get(one.id, ())), default=len(SEVERITIES)))
    for one in worth[:LISTED]:
        _connection(console, one, told.get(one.id, []), detailed=connection is not None)
    _others(console, chosen, worth[:LISTED], told)
    _not_decrypted(console, chosen, analysis.findings)
    for finding in told.get(None, []):
        console.print()
        console.print(_grid([(Text(finding.severity, COLOURS[finding.severity]), Text(f"{finding.message} {finding.remedy}"))]))
    _coverage(console, analysis)
    return "\n".join(line.rstrip() for line in page.getvalue().splitlines()) + "\n"


def _told(analysis: Analysis, connection: int | None) -> dict[int | None, list[Finding]]:
    """The findings by connection, without those about decryption: they have a section of their own."""
    told: dict[int | None, list[Finding]] = {}
    for finding in analysis.findings:
        if finding.code not in CODES.values() and (connection is None or finding.connection == connection):
            told.setdefault(finding.connection, []).append(finding)
    return told


def _capture(console: Console, analysis: Analysis) -> None:
    capture = analysis.capture
    shown = ", ".join(printable(file) for file in capture.files[:3]) + (
        f" and {len(capture.files) - 3} more" if len(capture.files) > 3 else ""
    )
    console.print(Text(shown, "bold"))
    span = ""
    if capture.start_ns is not None and capture.end_ns is not None:
        span = f", from {utc(capture.start_ns)} UTC for {seconds(capture.end_ns - capture.start_ns)}"
    console.print(
        Text(f"{counted(capture.packets, 'packet')}, {size(capture.bytes)}, {counted(len(analysis.connections), 'connection')}{span}")
    )
    if analysis.other_side:
        console.print(Text(printable(captures_compared(analysis.other_side, len(analysis.connections)))))


def _verdict(console: Console, analysis: Analysis) -> None:
    worst = analysis.findings[0].severity if analysis.findings else "info"
    style = "bold green" if worst == "info" else COLOURS[worst]
    console.print()
    for sentence in analysis.verdict:
        console.print(Padding(Text(printable(sentence), style), (0, 0, 0, 0)))


def _connection(console: Console, connection: Connection, findings: list[Finding], *, detailed: bool) -> None:
    console.print()
    console.print(headline(connection))
    said = {finding.code for finding in findings}
    rows = [(Text(label, "dim"), text) for label, text in facts(connection, said, detailed=detailed)]
    for finding in findings:
        rows.append((Text(finding.severity, COLOURS[finding.severity]), _finding(finding)))
        if finding.code == "output-lost":
            rows.extend((Text(""), Text(f"│ {line}", "italic")) for line in _excerpt(str(finding.evidence["text"])))
    remedies = dict.fromkeys(finding.remedy for finding in findings)
    longest = [one for one in remedies if not any(one != other and other.startswith(one) for other in remedies)]
    rows.extend((Text("to do" if not index else "", "bold"), Text(printable(remedy))) for index, remedy in enumerate(longest))
    console.print(Padding(_grid(rows), (0, 0, 0, 2)))


def _finding(finding: Finding) -> Text:
    text = Text(printable(finding.message))
    text.append(f"  [{finding.code}, confidence {finding.confidence}]", "dim")
    return text


def _excerpt(lost: str) -> list[str]:
    return [printable(line) for line in lost.split("\n")[:8] if line]


def _others(console: Console, chosen: list[Connection], shown: list[Connection], told: dict[int | None, list[Finding]]) -> None:
    seen = {connection.id for connection in shown}
    rest = [connection for connection in chosen if connection.id not in seen]
    if not rest:
        return
    console.print()
    console.print(Text("Other connections" if shown else "Connections", "bold"))
    table = Table.grid(padding=(0, 2), expand=True)
    for _ in range(5):
        table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, ratio=1, overflow="ellipsis")
    for connection in rest[:LISTED]:
        table.add_row(*(Text(cell) for cell in _row(connection)))
    console.print(Padding(table, (0, 0, 0, 2)))
    if len(rest) > LISTED:
        console.print(Text(f"  and {len(rest) - LISTED} more: --connection N shows one, --format json shows all"))
    remarks = [(str(one.id), finding) for one in rest for finding in told.get(one.id, ()) if finding.code in REMARKS]
    if remarks:
        console.print()
        console.print(Padding(_grid([(Text(number, "dim"), _finding(finding)) for number, finding in remarks[:LISTED]]), (0, 0, 0, 2)))


def _row(connection: Connection) -> tuple[str, ...]:
    tcp = connection.tcp
    said = f"not decrypted ({connection.tls.reason})" if connection.tls and connection.tls.status == "encrypted" else ""
    if connection.exchanges:
        more = f" and {len(connection.exchanges) - 1} more" if len(connection.exchanges) > 1 else ""
        said = printable(request(connection.exchanges[-1])) + more
    return (
        str(tcp.id),
        f"{tcp.client.ip}:{tcp.client.port} → {tcp.server.ip}:{tcp.server.port}",
        seconds(tcp.end_ns - tcp.start_ns).partition(" (")[0],
        size(sum(tcp.payload_bytes)),
        ending(connection),
        said,
    )


def _not_decrypted(console: Console, chosen: list[Connection], findings: Sequence[Finding]) -> None:
    """What stays closed, grouped by reason: each says why once, for all the connections that it concerns."""
    remedies = {finding.connection: finding.remedy for finding in findings if finding.code in CODES.values()}
    groups: dict[tuple[Reason, str, str], list[Connection]] = {}
    for connection in chosen:
        tls = connection.tls
        if tls is not None and tls.reason is not None:
            remedy = remedies.get(connection.id, REMEDIES[tls.reason])
            groups.setdefault((tls.reason, tls.detail or "", remedy), []).append(connection)
    if not groups:
        return
    console.print()
    console.print(Text("Not decrypted", "bold"))
    rows: list[tuple[Text, Text]] = []
    for (reason, detail, remedy), closed in list(groups.items())[:LISTED]:
        concerned = ", ".join(str(connection.id) for connection in closed[:LISTED]) + (", ..." if len(closed) > LISTED else "")
        rows.append((Text(reason, "yellow"), Text(f"connection{'s' * (len(closed) > 1)} {concerned}. {printable(detail)}")))
        rows.append((Text("to do", "bold"), Text(printable(remedy))))
    console.print(Padding(_grid(rows), (0, 0, 0, 2)))


def _coverage(console: Console, analysis: Analysis) -> None:
    capture = analysis.capture
    lines = [f"note: {note}" for note in (*capture.notes, *_counts(capture), *analysis.key_problems)]
    if capture.truncated_file:
        lines.insert(0, "note: the capture file ends in the middle of a packet; what is whole was read")
    lines += [_key(use) for use in analysis.keys if use.connections][:LISTED]
    unused = sum(not use.connections for use in analysis.keys)
    if unused:
        lines.append(f"{counted(unused, 'more key')} given, of no connection of this capture")
    if lines:
        console.print()
    for line in lines:
        console.print(Text(printable(line), "dim"))


def _key(use: KeyUse) -> str:
    return f"key {use.origin} ({use.kind}): connection{'s' * (len(use.connections) > 1)} {', '.join(map(str, use.connections[:LISTED]))}"


def _counts(capture: CaptureSummary) -> list[str]:
    counts = [
        (capture.undecodable_packets, "could not be decoded"),
        (capture.other_packets, "not TCP"),
        (capture.duplicate_packets, "recorded twice and counted once"),
    ]
    return [f"{counted(number, 'packet')} {what}" for number, what in counts if number]


def _grid(rows: list[tuple[Text, Text]]) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table
