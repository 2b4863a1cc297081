"""TRACE.json, schema captool.recording/1: how a trace was made, what was lost, how it ended.

It is written when the recording starts and again when it ends; one that still says "recording" belongs to a recording that was killed.
"""

import json
from pathlib import Path
from typing import Final

from captool.keys.bundle import iso, write_private
from captool.record.recorder import Plan, Recording
from captool.record.tcpdump import SNAP_LENGTH, Versions
from captool.session_keys.summary import SessionKeysSummary

SCHEMA: Final = "captool.recording/1"


def manifest_path(trace: Path) -> Path:
    """The manifest beside a trace."""
    return trace.with_name(trace.name + ".json")


def write_started(plan: Plan, command: tuple[str, ...], link_type: str, start_ns: int, versions: Versions) -> None:
    """The manifest of a recording that is under way."""
    _write(plan, _common(plan, command, link_type, start_ns, versions) | {"ended": {"how": "recording"}})


def write_ended(recording: Recording, versions: Versions, keys: Path | None, session_keys: SessionKeysSummary | None) -> None:
    """The manifest of a finished recording."""
    plan, counted = recording.plan, recording.counters
    document = _common(plan, recording.command, recording.link_type, recording.start_ns, versions)
    ended: dict[str, object] = {"how": recording.ending}
    if recording.failure is not None:
        ended["reason"] = str(recording.failure)
    document |= {
        "end": iso(recording.end_ns),
        "duration_s": round((recording.end_ns - recording.start_ns) / 1e9, 6),
        "ended": ended,
        "packets": {
            "written": recording.packets,
            "captured": counted.captured,
            "received_by_filter": counted.received_by_filter,
            "dropped_by_kernel": counted.dropped_by_kernel,
            "dropped_by_interface": counted.dropped_by_interface,
        },
        "file": {"name": plan.output.name, "bytes": recording.size, "sha256": recording.sha256},
        "keys": keys.name if keys else None,
        "session_keys": session_keys.document() if session_keys else None,
    }
    _write(plan, document)


def _common(plan: Plan, command: tuple[str, ...], link_type: str | None, start_ns: int, versions: Versions) -> dict[str, object]:
    return {
        "schema": SCHEMA,
        "captool_version": versions.captool,
        "tcpdump_version": versions.tcpdump,
        "libpcap_version": versions.libpcap,
        "command": list(command),
        "interface": plan.interface,
        "link_type": link_type,
        "filter": plan.expression,
        "snap_length": SNAP_LENGTH,
        "start": iso(start_ns),
    }


def _write(plan: Plan, document: dict[str, object]) -> None:
    content = (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode("utf-8", "backslashreplace")
    path = manifest_path(plan.output)
    try:
        write_private(path, content)
    except OSError:
        # The disk is full. The manifest of the start has a block of its own, and the new one fits into it.
        with path.open("r+b") as file:
            file.write(content)
            file.truncate()
