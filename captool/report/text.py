"""The analysis for a terminal: the verdict first, then each connection that matters with its evidence, then what was not judged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from captool.analysis import Analysis
from captool.capture.summary import CaptureSummary
from captool.findings import SEVERITIES, Finding
from captool.findings.decryption import CODES, remedy_of
from captool.findings.key_use import KeyUse, key_log_file
from captool.findings.silence import request
from captool.findings.tables import Connection
from captool.report.connection_text import ending, facts, headline
from captool.report.layout import labelled, styled, table, wrapped
from captool.report.printable import clock, printable, utc
from captool.units import counted, seconds, size

if TYPE_CHECKING:  # imported only where a connection speaks TLS
    from collections.abc import Iterator, Sequence

    from captool.tls.summary import Reason

WIDTH: Final = 110
LISTED: Final = 20
EXCERPT_INDENT: Final = 15  # what stands left of the text: margins, the longest label (keepalive), and the rule that marks it
# What is said in a line of the connections that have no section of their own.
REMARKS: Final = (
    "server-closed", "half-close-idle", "possible-drop", "keepalive-too-slow", "many-retransmissions", "packets-lost", "capture-ended",
    "quiet-but-healthy",
)  # fmt: skip


def render(analysis: Analysis, *, connection: int | None = None, width: int = WIDTH, colour: bool = False) -> str:
    """The report as text. `connection` shows only that one; `width` is in columns; `colour` adds terminal colours.

    Nothing from the capture reaches the terminal unescaped: all of it goes through `printable`.
    """
    page = "\n".join(line.rstrip() for line in _page(analysis, connection, width))
    return (page if colour else click.unstyle(page)) + "\n"


def _page(analysis: Analysis, connection: int | None, width: int) -> Iterator[str]:
    yield from _capture(analysis, width)
    yield from _verdict(analysis, width)
    chosen = [one for one in analysis.connections if connection is None or one.id == connection]
    told = _told(analysis, connection)
    grave = {number for number, findings in told.items() if any(finding.severity != "info" for finding in findings)}
    worth = [one for one in chosen if connection is not None or one.tcp.id in grave]
    worth.sort(key=lambda one: min((SEVERITIES.index(f.severity) for f in told.get(one.id, ())), default=len(SEVERITIES)))
    for one in worth[:LISTED]:
        yield from _connection(one, told.get(one.id, []), width, detailed=connection is not None)
    yield from _others(chosen, worth[:LISTED], told, width)
    yield from _not_decrypted(chosen, analysis.findings, width)
    for finding in told.get(None, []):
        yield ""
        yield from labelled([(styled(finding.severity, finding.severity), printable(f"{finding.message} {finding.remedy}"))], width, "")
    yield from _coverage(analysis, width)


def _told(analysis: Analysis, connection: int | None) -> dict[int | None, list[Finding]]:
    """The findings by connection, without those about decryption: they have a section of their own."""
    told: dict[int | None, list[Finding]] = {}
    for finding in analysis.findings:
        if finding.code not in CODES.values() and (connection is None or finding.connection == connection):
            told.setdefault(finding.connection, []).append(finding)
    return told


def _capture(analysis: Analysis, width: int) -> Iterator[str]:
    capture = analysis.capture
    shown = ", ".join(printable(file) for file in capture.files[:3]) + (
        f" and {len(capture.files) - 3} more" if len(capture.files) > 3 else ""
    )
    yield from wrapped(styled(shown, "bold"), width)
    span = ""
    if capture.start_ns is not None and capture.end_ns is not None:
        span = f", from {utc(capture.start_ns)} UTC for {seconds(capture.end_ns - capture.start_ns)}"
    if capture.recorded_until_ns is not None:
        span += f", recorded until {clock(capture.recorded_until_ns)[:8]}"
    counts = f"{counted(capture.packets, 'packet')}, {size(capture.bytes)}, {counted(len(analysis.connections), 'connection')}{span}"
    yield from wrapped(counts, width)
    if analysis.other_side:
        from captool.report.other_side_text import captures_compared

        yield from wrapped(printable(captures_compared(analysis.other_side, len(analysis.connections))), width)


def _verdict(analysis: Analysis, width: int) -> Iterator[str]:
    worst = analysis.findings[0].severity if analysis.findings else "info"
    yield ""
    for sentence in analysis.verdict:
        yield from wrapped(styled(printable(sentence), "good" if worst == "info" else worst), width)


def _connection(connection: Connection, findings: list[Finding], width: int, *, detailed: bool) -> Iterator[str]:
    yield ""
    yield from wrapped(headline(connection), width)
    said = {finding.code for finding in findings}
    rows = [(styled(label, "dim"), text) for label, text in facts(connection, said, detailed=detailed)]
    for finding in findings:
        rows.append((styled(finding.severity, finding.severity), _finding(finding)))
        if finding.code == "output-lost":
            rows.extend(("", styled(f"│ {line}", "italic")) for line in _excerpt(str(finding.evidence["text"]), width - EXCERPT_INDENT))
    remedies = dict.fromkeys(finding.remedy for finding in findings)
    longest = [one for one in remedies if not any(one != other and other.startswith(one) for other in remedies)]
    rows.extend((styled("to do", "bold") if not index else "", printable(remedy)) for index, remedy in enumerate(longest))
    yield from labelled(rows, width)


def _finding(finding: Finding) -> str:
    return printable(finding.message) + styled(f"  [{finding.code}, confidence {finding.confidence}]", "dim")


def _excerpt(lost: str, width: int) -> list[str]:
    return [part for line in lost.split("\n")[:8] if line for part in wrapped(printable(line), width)]


def _others(
    chosen: list[Connection], shown: list[Connection], told: dict[int | None, list[Finding]], width: int
) -> Iterator[str]:
    seen = {connection.id for connection in shown}
    rest = [connection for connection in chosen if connection.tcp.id not in seen]
    if not rest:
        return
    yield ""
    yield styled("Other connections" if shown else "Connections", "bold")
    yield from table([_row(connection) for connection in rest[:LISTED]], width)
    if len(rest) > LISTED:
        yield f"  and {len(rest) - LISTED:,} more: --connection N shows one, --format json shows all"
    remarks = [(str(one.id), finding) for one in rest if one.tcp.id in told for finding in told[one.id] if finding.code in REMARKS]
    if remarks:
        yield ""
        yield from labelled([(styled(number, "dim"), _finding(finding)) for number, finding in remarks[:LISTED]], width)
        if len(remarks) > LISTED:
            yield f"  and {len(remarks) - LISTED:,} more such remarks: --format json shows all"


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


def _not_decrypted(chosen: list[Connection], findings: Sequence[Finding], width: int) -> Iterator[str]:
    """What stays closed, grouped by reason: each says why once, for all the connections that it concerns."""
    remedies = {finding.connection: finding.remedy for finding in findings if finding.code in CODES.values()}
    groups: dict[tuple[Reason, str, str], list[Connection]] = {}
    for connection in chosen:
        tls = connection.tls
        if tls is not None and tls.reason is not None:
            remedy = remedies.get(connection.id, remedy_of(tls))
            groups.setdefault((tls.reason, tls.detail or "", remedy), []).append(connection)
    if not groups:
        return
    yield ""
    yield styled("Not decrypted", "bold")
    rows: list[tuple[str, str]] = []
    for (reason, detail, remedy), closed in list(groups.items())[:LISTED]:
        concerned = _numbers([connection.id for connection in closed])
        rows.append((styled(reason, "warning"), f"{concerned}. {printable(detail)}"))
        rows.append((styled("to do", "bold"), printable(remedy)))
    yield from labelled(rows, width)


def _coverage(analysis: Analysis, width: int) -> Iterator[str]:
    capture = analysis.capture
    lines = [f"note: {note}" for note in (*capture.notes, *_counts(capture), *analysis.key_problems)]
    opened_by = {one.id: key_log_file(one.tls.secret_origin) for one in analysis.connections if one.tls and one.tls.secret_origin}
    used = [use for use in analysis.keys if use.connections]
    lines += [_key(use, opened_by) for use in used[:LISTED]]
    if len(used) > LISTED:
        lines.append(f"and {counted(len(used) - LISTED, 'more key')} of connections of this capture: --format json shows all")
    unused = sum(not use.connections for use in analysis.keys)
    if unused:
        given = counted(unused, "key" if unused == len(analysis.keys) else "more key")
        lines.append(f"{given} given, which {'opens' if unused == 1 else 'open'} no connection of this capture")
    if lines:
        yield ""
    for line in lines:
        yield from wrapped(styled(printable(line), "dim"), width)


def _key(use: KeyUse, opened_by: dict[int, str]) -> str:
    """A key with its connections: those that it opened, and those of whose server it is without opening them."""
    opened = [number for number in use.connections if opened_by.get(number) == use.origin]
    others = [number for number in use.connections if opened_by.get(number) != use.origin]
    parts = [_numbers(opened)] if opened else []
    if others:
        parts.append(f"{_numbers(others)}, not decrypted with it")
    return f"key {use.origin} ({use.kind}): {'; '.join(parts)}"


def _numbers(connections: Sequence[int]) -> str:
    more = f" and {len(connections) - LISTED:,} more" if len(connections) > LISTED else ""
    return f"connection{'s' * (len(connections) > 1)} {', '.join(map(str, connections[:LISTED]))}{more}"


def _counts(capture: CaptureSummary) -> list[str]:
    counts = [
        (capture.undecodable_packets, "could not be decoded"),
        (capture.other_packets, "not TCP"),
        (capture.duplicate_packets, "recorded twice and counted once"),
    ]
    return [f"{counted(number, 'packet')} {what}" for number, what in counts if number]
