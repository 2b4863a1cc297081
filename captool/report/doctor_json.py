"""A diagnosis as JSON, `captool.doctor/1`: a stable interface, described by `docs/doctor.schema.json`."""

import json
from dataclasses import asdict
from typing import Any

from captool import __version__
from captool.doctor.diagnosis import Diagnosis
from captool.doctor.handshake import Attempt
from captool.doctor.keepalive import SocketKeepalive
from captool.doctor.path import OnPath
from captool.doctor.programs import ProgramReport
from captool.doctor.server import ServerReport
from captool.doctor.sockets import Owner, SocketReport
from captool.report.printable import iso
from captool.session_keys.live_sockets import NO_TIMER, RETRANSMIT_TIMER, SOCKET_TIMER, TIME_WAIT_TIMER, WINDOW_PROBE_TIMER, LiveSocket
from captool.units import SECOND_NS

SCHEMA = "captool.doctor/1"
TIMERS = {
    NO_TIMER: "none",
    RETRANSMIT_TIMER: "retransmit",
    SOCKET_TIMER: "socket",
    TIME_WAIT_TIMER: "time-wait",
    WINDOW_PROBE_TIMER: "window-probe",
}
Json = dict[str, Any]


def render_json(diagnosis: Diagnosis) -> str:
    """The report as JSON text with a final newline, ASCII only."""
    return json.dumps(document(diagnosis), indent=1) + "\n"


def document(diagnosis: Diagnosis) -> Json:
    """The report as JSON values. Times are RFC 3339 in UTC, durations seconds."""
    questions, kernel = diagnosis.questions, diagnosis.kernel
    numbers = {each.socket: number for number, each in enumerate(diagnosis.sockets)}
    return {
        "schema": SCHEMA,
        "captool_version": __version__,
        "time": iso(diagnosis.now_ns),
        "settings": {"ports": list(questions.ports), "network": questions.network, "idle_timeout_s": _s(questions.idle_timeout_ns)},
        "sockets": [_socket(each, numbers) for each in diagnosis.sockets],
        "path": {"why": diagnosis.path.why, "middleboxes": [_middlebox(one) for one in diagnosis.path.middleboxes]},
        "cloud": {"name": diagnosis.cloud.rule.name if diagnosis.cloud.rule else None, "dmi": diagnosis.cloud.dmi},
        "kernel": {
            "keepalive": None
            if kernel.keepalive is None
            else {
                "time_s": _s(kernel.keepalive.time_ns),
                "interval_s": _s(kernel.keepalive.interval_ns),
                "probes": kernel.keepalive.probes,
            },
            "conntrack": None
            if kernel.conntrack is None
            else {
                "tracked": kernel.conntrack.tracked,
                "loose": kernel.conntrack.loose,
                "timeouts_s": {name: _s(value) for name, value in kernel.conntrack.timeouts_ns.items()},
            },
        },
        "programs": [_program(each) for each in diagnosis.programs],
        "session_keys": asdict(diagnosis.tracing),
        "server": None if diagnosis.server is None else _server(diagnosis.server),
        "missing": list(diagnosis.missing),
    }


def _s(duration_ns: int | None) -> float | None:
    return None if duration_ns is None else duration_ns / SECOND_NS


def _end(end: tuple[str, int]) -> Json:
    return {"ip": end[0], "port": end[1]}


def _socket(each: SocketReport, numbers: dict[LiveSocket, int]) -> Json:
    condition, outlook = each.socket.condition, each.outlook
    return {
        "id": numbers[each.socket],
        "local": _end(each.socket.local),
        "remote": _end(each.socket.remote),
        "state": each.state,
        "network_namespace": each.socket.namespace,
        "other_network_namespace": each.elsewhere,
        "owner": _owner(each.owner),
        "silent_s": _s(each.silent_ns),
        "condition": None
        if condition is None
        else {
            "timer": TIMERS.get(condition.timer, str(condition.timer)),
            "timer_s": _s(condition.timer_ns),
            "attempts": condition.attempts,
            "receive_queue": condition.receive_queue,
            "send_queue": condition.send_queue,
            "last_data_sent_s": _s(condition.sent_ago_ns),
            "last_data_received_s": _s(condition.received_ago_ns),
            "last_ack_received_s": _s(condition.acknowledged_ago_ns),
            "unacknowledged_segments": condition.unacknowledged,
            "retransmissions": condition.retransmissions,
            "peer_window_bytes": condition.peer_window,
        },
        "keepalive": _keepalive(each.keepalive),
        "other_end": None if each.other is None else numbers.get(each.other),
        "outlook": None
        if outlook is None
        else {"verdict": outlook.verdict, "message": outlook.sentence, "cut_after_s": _s(outlook.cut_after_ns)},
    }


def _owner(owner: Owner | None) -> Json | None:
    if owner is None:
        return None
    return {"pid": owner.process, "program": owner.program, "contained": owner.contained, "container": owner.container}


def _keepalive(keepalive: SocketKeepalive | None) -> Json | None:
    if keepalive is None:
        return None
    options = keepalive.options
    return {
        "status": keepalive.status,
        "evidence": keepalive.evidence,
        "reason": keepalive.why,
        "timer_s": _s(keepalive.timer_ns),
        "interval_at_least_s": _s(keepalive.at_least_ns),
        "options": None
        if options is None
        else {
            "idle_s": _s(options.idle_ns),
            "interval_s": _s(options.interval_ns),
            "probes": options.probes,
            "user_timeout_s": _s(options.user_timeout_ns),
        },
    }


def _middlebox(one: OnPath) -> Json:
    entry = one.entry
    return {
        "id": entry.id,
        "name": entry.name,
        "seconds": entry.seconds,
        "certain": one.certain,
        "probe_resets": entry.probe_resets,
        "on_expiry": entry.on_expiry,
        "source": entry.source,
    }


def _program(each: ProgramReport) -> Json:
    return {
        "name": each.name,
        "path": each.program.name,
        "contained": each.program.contained,
        "pids": list(each.processes),
        "version": each.version,
        "version_from": each.version_from,
        "version_unknown_because": each.not_known,
        "go": each.go,
        "go_1_12_or_older": each.before_build_info,
        "keepalive": [
            {"connections": one.kind, "seconds": one.seconds, "assumed_go": one.assumed_go, "source": one.source} for one in each.keepalive
        ],
        "session_keys": {"possible": each.keys, "reason": each.keys_why},
    }


def _server(server: ServerReport) -> Json:
    facts = server.certificate
    return {
        "host": server.host,
        "port": server.port,
        "private_key": {"verdict": server.private_key, "message": server.sentence, "matching_key": server.matching_key},
        "stock_client": _attempt(server.stock),
        "rsa_key_exchange": _attempt(server.rsa),
        "client_certificate": None if server.identity is None else str(server.identity.certificate),
        "certificate": None
        if facts is None
        else {
            "subject": facts.subject,
            "names": list(facts.names),
            "not_before": iso(facts.not_before_ns),
            "not_after": iso(facts.not_after_ns),
            "spki_sha256": facts.spki_sha256,
        },
    }


def _attempt(attempt: Attempt) -> Json:
    return {
        "offer": attempt.offer,
        "outcome": attempt.outcome,
        "detail": attempt.detail,
        "version": attempt.version,
        "cipher_suite": attempt.cipher_suite,
        "key_exchange": attempt.key_exchange,
        "group": attempt.group,
        "forward_secrecy": attempt.forward_secrecy,
        "asks_for_certificate": attempt.asks_for_certificate,
        "program": attempt.program,
        "rejected": attempt.rejected,
    }
