"""One connection for a terminal: who, when, which requests, which TLS, which probes, how it ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from captool.direction import Direction
from captool.findings.gaps import worst_gap
from captool.findings.icmp import refusal
from captool.findings.path_mtu import too_large
from captool.findings.probes import sender_hint
from captool.findings.silence import followed, shortened
from captool.findings.tables import Connection
from captool.report.layout import styled
from captool.report.printable import clock, printable
from captool.tcp.connection import Keepalive
from captool.units import counted, missing_output, seconds, size, size_between

if TYPE_CHECKING:  # imported only where a connection speaks TLS or HTTP
    from captool.dockerapi.exchange import DockerExchange
    from captool.tls.summary import TlsSummary

EXCHANGES = 6
ENDINGS = {"fin": "closed", "rst": "reset", "open": "open at the end of the capture", "silent-drop": "DROPPED SILENTLY"}


def headline(connection: Connection) -> str:
    """Number, both sides, machine, and how the connection ended."""
    tcp = connection.tcp
    text = styled(f"Connection {tcp.id}", "bold") + f"  {tcp.client.ip}:{tcp.client.port} → {tcp.server.ip}:{tcp.server.port}"
    if connection.machine:
        text += f"  machine {printable(connection.machine)}"
    return text + styled(f"  {ending(connection)}", "error" if tcp.close == "silent-drop" else "bold")


def ending(connection: Connection) -> str:
    """How the connection ended, and which side ended it: the first FIN or RST says which, a RST may follow a FIN."""
    tcp = connection.tcp
    if tcp.history == "S" or tcp.conn_state == "REJ":
        return "never answered" if tcp.history == "S" else "refused by the server"
    by = f" by the {tcp.closed_by}" if tcp.closed_by else ""
    if tcp.close == "silent-drop":
        return _dropped(connection)
    if tcp.close == "rst" and tcp.reset and tcp.closing and tcp.reset.moment.packet != tcp.closing.packet:
        return f"{ENDINGS['fin']}{by}, then reset"
    if unseen := unheard(connection):  # the other side may have closed before
        of_side = f"the {tcp.closed_by}'s {'RST' if tcp.close == 'rst' else 'FIN'} was seen" if tcp.closed_by else ENDINGS[tcp.close]
        return f"{of_side}; no packet of the {unseen} was captured"
    if tcp.close == "fin" and not ("F" in tcp.history and "f" in tcp.history):
        return f"half-closed{by}"
    return ENDINGS[tcp.close] + by


def _dropped(connection: Connection) -> str:
    """What became of a connection whose data nobody acknowledges any more."""
    tcp = connection.tcp
    lost = [direction for direction in Direction if tcp.unanswered[direction]]
    if any(refusal(connection, direction) for direction in lost):
        return "REFUSED ON ITS WAY (ICMP)"
    if lost and all(too_large(tcp, direction) for direction in lost):
        return "STANDS STILL (large packets vanish)"
    return ENDINGS["silent-drop"]


def unheard(connection: Connection) -> str | None:
    """The side of which the capture has no packet, None where it has both."""
    return next((direction.sender for direction in Direction if not connection.tcp.packets[direction]), None)


def facts(connection: Connection, said: set[str], *, detailed: bool = False) -> list[tuple[str, str]]:
    """Label and text of each fact, in the order in which a reader needs them; what the findings in `said` tell is left to them.

    `detailed` adds what a reader of a single connection wants: its certificates and the fingerprints of its hellos.
    """
    tcp = connection.tcp
    span = f"{clock(tcp.start_ns)} to {clock(tcp.end_ns)} UTC, {seconds(tcp.end_ns - tcp.start_ns)}; "
    sent = f"client sent {size(tcp.payload_bytes.to_server)}, server {size(tcp.payload_bytes.to_client)}"
    if unseen := unheard(connection):
        sent = f"{unseen} not captured, {'server' if unseen == 'client' else 'client'} sent {size(sum(tcp.payload_bytes))}"
    rows = [("time", span + sent + (" (which side is the client was guessed)" if tcp.client_guessed else ""))]
    locked = connection.tls is not None and connection.tls.reason not in (None, "stream-gap", "snapped")
    last = connection.exchanges[-EXCHANGES:]
    rows.extend(("request" if not index else "", _exchange(connection, exchange, locked=locked)) for index, exchange in enumerate(last))
    if len(connection.exchanges) > EXCHANGES:
        rows.append(("", f"and {len(connection.exchanges) - EXCHANGES} before them"))
    gap = worst_gap(connection)
    if gap is not None and "idle-gap" not in said:
        end = "the end of the capture" if gap.ended_by_packet is None else f"packet {gap.ended_by_packet} ({gap.ended_by})"
        rows.append(("idle", f"no data for {seconds(gap.duration_ns)}, from packet {gap.after_packet} to {end}"))
    if "missing-keepalive" not in said:
        lossy = any(tcp.lacking)
        rows.append(("keepalive", "; ".join(_keepalive(tcp.keepalive[one], one, lossy=lossy) for one in Direction)))
    if connection.counterpart:
        from captool.report.other_side_text import crossed

        rows.append(("path", crossed(connection.counterpart)))
    if connection.tls:
        rows.append(("TLS", _tls(connection.tls)))
        if detailed or "certificate-expired" in said:
            from captool.report.tls_text import certificate_rows, fingerprint_rows

            rows.extend(certificate_rows(connection.tls))
            if detailed:
                rows.extend(fingerprint_rows(connection.tls))
    return rows


def _exchange(connection: Connection, exchange: DockerExchange, *, locked: bool) -> str:
    """`locked` says that some of what was said is in the capture and could not be decrypted."""
    http, stream = exchange.http, exchange.stream
    text = printable(f"{http.method} {shortened(http.target)}")
    if http.status is not None:
        text += f" → {http.status}"
    else:
        unread = "response not decrypted, or not found" if locked else "response not in the capture, or not found in it"
        text += f" → {'no response' if followed(connection, exchange) else unread}"
    response_hole = http.response_hole and http.status is not None and stream is None
    lacking = () if locked else ("the request" * http.request_hole, "the response" * response_hole)
    if any(lacking):
        text += f" (the capture lacks part of {' and '.join(filter(None, lacking))})"
    text += " (found behind a hole by its looks: not certain)" * http.uncertain
    if stream is not None:
        parts = [("stdin", stream.stdin_bytes), ("stdout", stream.stdout_bytes), ("stderr", stream.stderr_bytes)]
        seen = ", ".join(f"{name} {size(count)}" for name, count in parts if count) or "no output"
        text += f"; {'at least ' * bool(stream.holes)}{seen}"
        if stream.holes:
            apart = f", {size(stream.unattributed_bytes)} more cannot be told apart" if stream.unattributed_bytes else ""
            missing = missing_output(stream.missing, stream.missing_stdout, stream.missing_stderr)
            missing = f", {missing}" if missing else ""
            text += f" (the capture lacks parts of it, in {counted(stream.holes, 'place')}{missing}{apart})"
    return text


def _keepalive(side: Keepalive, direction: Direction, *, lossy: bool) -> str:
    """`lossy` says that the capture lacks packets of the connection, of which some may have been probes and answers."""
    if side.status == "missing":
        return f"{direction.sender} sent no probe in {seconds(side.longest_idle_ns)} of idle time"
    if side.status == "not-observable":
        return f"{direction.sender} not observable (longest idle time {seconds(side.longest_idle_ns)})"
    every = f" every {seconds(side.interval_ns)}" if side.interval_ns is not None else ""
    hint = sender_hint(side, direction)
    if lossy:
        return f"{direction.sender} sent at least {counted(side.probes, 'probe')}"
    return f"{direction.sender} sent {counted(side.probes, 'probe')}{every}, {side.answered} answered" + (f" ({hint})" if hint else "")


def _tls(tls: TlsSummary) -> str:
    text = " ".join(filter(None, (tls.version, tls.cipher_suite))) or "handshake not seen"
    if tls.status == "encrypted":
        return text + styled(f"; not decrypted ({tls.reason})", "warning")
    text += f"; {tls.status if tls.status == 'decrypted' else 'partly decrypted'} with {printable(tls.secret_origin or 'a secret')}"
    return text + "".join(
        f"; {counted(lost.records, 'record')} of the {direction.sender} {'is' if lost.records == 1 else 'are'} missing, with "
        f"{size_between(lost.least, lost.most)} of plaintext"
        for direction, lost in zip(Direction, tls.lost, strict=True)
        if lost is not None
    )
