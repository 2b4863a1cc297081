"""The analysis as JSON, `captool.analysis/1`: a stable interface, described by `docs/analysis.schema.json`."""

import json
from typing import TYPE_CHECKING

from captool import __version__
from captool.analysis import Analysis
from captool.direction import Direction
from captool.dockerapi.exchange import DockerExchange
from captool.findings import Finding
from captool.findings.tables import Connection
from captool.report.other_side_json import other_side, passage
from captool.report.printable import iso
from captool.report.tcp_json import Json, both, in_seconds, tcp_values

if TYPE_CHECKING:  # imported only where a connection speaks TLS or HTTP
    from captool.http.losses import HttpLosses
    from captool.tls.certificate import PresentedCertificate
    from captool.tls.lost_records import LostRecords
    from captool.tls.summary import SealedAlert, TlsSummary

SCHEMA = "captool.analysis/1"


def render(analysis: Analysis, connection: int | None = None) -> str:
    """The report as JSON text with a final newline, ASCII only: no terminal acts on what a stranger wrote.

    A line for each field and for each member of a list, so that it can be searched and compared line by line. `connection` keeps
    only that connection and its findings.
    """
    values = report(analysis)
    if connection is not None:
        values["connections"] = [one for one in values["connections"] if one["id"] == connection]
        values["findings"] = [one for one in values["findings"] if one["connection"] in (connection, None)]
    return "{\n" + ",\n".join(f"{json.dumps(name)}: {_lines(value)}" for name, value in values.items()) + "\n}\n"


def _lines(value: object) -> str:
    # json.dumps encodes in C only without `indent`, ten times as fast for a report of thousands of connections.
    if isinstance(value, list) and value:
        return "[\n " + ",\n ".join(json.dumps(member) for member in value) + "\n]"
    return json.dumps(value)


def report(analysis: Analysis) -> Json:
    """The report as JSON values. Times are RFC 3339 in UTC with nanoseconds, durations seconds, sizes bytes."""
    capture, settings = analysis.capture, analysis.settings
    return {
        "schema": SCHEMA,
        "captool_version": __version__,
        "verdict": list(analysis.verdict),
        "capture": {
            "files": list(capture.files),
            "format": capture.format,
            "link_types": list(capture.link_types),
            "packets": capture.packets,
            "bytes": capture.bytes,
            "start": iso(capture.start_ns),
            "end": iso(capture.end_ns),
            "recorded_until": iso(capture.recorded_until_ns),
            "duration_s": in_seconds((capture.end_ns or 0) - (capture.start_ns or 0)),
            "truncated_file": capture.truncated_file,
            "snapped_packets": capture.snapped_packets,
            "duplicate_packets": capture.duplicate_packets,
            "dropped_packets": capture.dropped_packets,
            "coverage": {"tcp": capture.tcp_packets, "other": capture.other_packets, "undecodable": capture.undecodable_packets},
            "clock_step": capture.clock_step
            and {
                "count": capture.clock_step.steps,
                "largest_s": in_seconds(capture.clock_step.largest_ns),
                "packet": capture.clock_step.packet,
            },
            "clock_jumps": [
                {"packet": jump.packet, "ahead_s": in_seconds(jump.ahead_ns), "senders": jump.senders} for jump in capture.clock_jumps
            ],
            "unlisted_connections": capture.unlisted_connections,
            "notes": list(capture.notes),
        },
        "settings": {
            "idle_timeout_s": None if settings.idle_timeout_ns is None else in_seconds(settings.idle_timeout_ns),
            "network": settings.network,
            "ports": list(settings.ports),
        },
        "other_side": other_side(analysis.other_side) if analysis.other_side else None,
        "keys": [
            {
                "kind": use.kind,
                "origin": use.origin,
                "machine": use.machine,
                "spki_sha256": use.spki_sha256,
                "connections": list(use.connections),
            }
            for use in analysis.keys
        ],
        "key_problems": list(analysis.key_problems),
        "connections": [_connection(connection) for connection in analysis.connections],
        "findings": [_finding(finding) for finding in analysis.findings],
    }


def _connection(connection: Connection) -> Json:
    tcp = connection.tcp
    return {
        "id": tcp.id,
        "client": {"ip": tcp.client.ip, "port": tcp.client.port},
        "server": {"ip": tcp.server.ip, "port": tcp.server.port},
        "client_guessed": tcp.client_guessed,
        "machine": connection.machine,
        "start": iso(tcp.start_ns),
        "end": iso(tcp.end_ns),
        "duration_s": in_seconds(tcp.end_ns - tcp.start_ns),
        "packets": both(tcp.packets),
        "payload_bytes": both(tcp.payload_bytes),
        "tcp": tcp_values(tcp),
        "tls": _tls(connection.tls) if connection.tls else None,
        "exchanges": [_exchange(exchange) for exchange in connection.exchanges],
        "http_losses": _losses(connection.losses) if connection.losses else None,
        "passage": passage(connection.counterpart) if connection.counterpart else None,
    }


def _tls(tls: "TlsSummary") -> Json:
    return {
        "version": tls.version,
        "cipher_suite": tls.cipher_suite,
        "cipher_suite_id": None if tls.cipher_suite_id is None else f"0x{tls.cipher_suite_id:04x}",
        "key_exchange": tls.key_exchange,
        "group": tls.group,
        "forward_secrecy": tls.forward_secrecy,
        "client_offers_rsa": None if tls.offered_rsa_suites is None else bool(tls.offered_rsa_suites),
        "resumed": tls.resumed,
        "extended_master_secret": tls.extended_master_secret,
        "encrypt_then_mac": tls.encrypt_then_mac,
        "server_name": tls.server_name,
        "certificate_spki_sha256": tls.certificate_spki_sha256,
        "certificate_organization": tls.certificate_organization,
        "certificate": _certificate(tls.certificate) if tls.certificate else None,
        "client_certificate": _certificate(tls.client_certificate) if tls.client_certificate else None,
        "ja3": tls.ja3,
        "ja3s": tls.ja3s,
        "ja4": tls.ja4,
        "status": tls.status,
        "reason": tls.reason,
        "detail": tls.detail,
        "secret_origin": tls.secret_origin,
        "finished_verified": tls.finished_verified,
        "plaintext_bytes": both(tls.plaintext_bytes),
        "lost_records": {direction.name.lower(): _lost_records(lost) for direction, lost in zip(Direction, tls.lost, strict=True)},
        "alerts": [
            {
                "sender": "server" if alert.direction else "client",
                "level": alert.level,
                "description": alert.description,
                "packet": alert.packet,
                "time": iso(alert.ts_ns),
            }
            for alert in tls.alerts
        ],
        "sealed_alert": _sealed_alert(tls.sealed_alert) if tls.sealed_alert else None,
    }


def _sealed_alert(alert: "SealedAlert") -> Json:
    return {"sender": Direction(alert.direction).sender, "packet": alert.packet, "time": iso(alert.ts_ns)}


def _lost_records(lost: "LostRecords | None") -> Json | None:
    if lost is None:
        return None
    return {
        "places": lost.places,
        "records": lost.records,
        "content_bytes": _between(lost.least, lost.most),
        "application_bytes": _between(*lost.application_bytes),
    }


def _between(least: int, most: int) -> Json:
    return {"least": least, "most": most}


def _certificate(presented: "PresentedCertificate") -> Json:
    certificate = presented.certificate
    return {
        "subject": certificate.subject,
        "issuer": certificate.issuer,
        "names": list(certificate.names),
        "more_names": certificate.more_names,
        "not_before": iso(certificate.not_before_ns),
        "not_after": iso(certificate.not_after_ns),
        "validity": presented.validity,
        "spki_sha256": certificate.spki_sha256,
        "sha256": certificate.sha256,
        "packet": presented.moment.packet,
    }


def _exchange(exchange: DockerExchange) -> Json:
    http, stream = exchange.http, exchange.stream
    return {
        "method": http.method,
        "target": http.target,
        "endpoint": exchange.endpoint,
        "container": exchange.container,
        "status": http.status,
        "start": iso(http.request.ts_ns),
        "request_packet": http.request.packet,
        "response": iso(http.response.ts_ns) if http.response else None,
        "response_packet": http.response.packet if http.response else None,
        "end": iso(http.end.ts_ns) if http.end else None,
        "complete": http.complete,
        "request_hole": http.request_hole,
        "response_hole": http.response_hole,
        "uncertain": http.uncertain,
        "hijack": http.hijack,
        "request_body_bytes": http.request_body_bytes,
        "response_body_bytes": http.response_body_bytes,
        "stream": None
        if stream is None
        else {
            "kind": stream.kind,
            "stdin_bytes": stream.stdin_bytes,
            "stdout_bytes": stream.stdout_bytes,
            "stderr_bytes": stream.stderr_bytes,
            "last_output": iso(stream.last_output.ts_ns) if stream.last_output else None,
            "holes": stream.holes,
            "unattributed_bytes": stream.unattributed_bytes,
            "missing_bytes": _between(*stream.missing) if stream.missing else None,
            "missing_output": {"stdout_bytes": stream.missing_stdout, "stderr_bytes": stream.missing_stderr},
            "lost": None
            if stream.lost is None
            else {
                "stdout_bytes": stream.lost.stdout_bytes,
                "stderr_bytes": stream.lost.stderr_bytes,
                "first_packet": stream.lost.first.packet,
                "text": stream.lost.text.decode("utf-8", "backslashreplace"),
            },
        },
    }


def _losses(losses: "HttpLosses") -> Json:
    return {
        "count": losses.loss_count,
        "places": [
            {
                "direction": loss.direction.name.lower(),
                "packet": loss.behind.packet if loss.behind else None,
                "missing_bytes": loss.missing,
                "refusal": loss.refusal,
                "resumed": iso(loss.resumed.ts_ns) if loss.resumed else None,
                "resumed_packet": loss.resumed.packet if loss.resumed else None,
                "found_by": loss.found,
            }
            for loss in losses.losses
        ],
        "unpaired_count": losses.unpaired_count,
        "unpaired": [
            {"status": one.status, "response": iso(one.response.ts_ns), "response_packet": one.response.packet} for one in losses.unpaired
        ],
    }


def _finding(finding: Finding) -> Json:
    return {
        "code": finding.code,
        "severity": finding.severity,
        "confidence": finding.confidence,
        "connection": finding.connection,
        "packets": list(finding.packets),
        "message": finding.message,
        "remedy": finding.remedy,
        "evidence": dict(finding.evidence),
    }
