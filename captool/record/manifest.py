"""TRACE.json, schema captool.recording/1: how a trace was made, what was lost, how it ended.

It is written when the recording starts, after every file, and when it ends. One that still says "recording" belongs to a recording that
goes on, or that was killed: the recorder holds a lock on the file that grows, and the kernel takes it away with the process.
"""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

from captool.keys.bundle import iso, write_private
from captool.record.circumstances import Circumstances
from captool.record.manifest_file import SCHEMA, Manifests, manifest_path
from captool.record.plan import Files, Plan, Recording, Start
from captool.record.tcpdump import SNAP_LENGTH, Versions
from captool.record.trace_file import WrittenFile
from captool.session_keys.summary import SessionKeysSummary


@dataclass(frozen=True, slots=True)
class Manifest:
    """The manifest of one recording; every method writes it anew, whole or not at all. All raise OSError."""

    plan: Plan
    versions: Versions
    circumstances: Circumstances

    def recording(self, start: Start, files: Files) -> None:
        """The recording is under way."""
        document = self._common(start) | _listed(files.closed, files.removed)
        document |= {"recording_to": files.current.name, "ended": {"how": "recording"}}
        # without fsync: a slow disk must not keep packets waiting, and a process that is killed leaves what it has written
        path = manifest_path(self.plan.output)
        unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
        try:
            with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600), "wb") as file:
                file.write(_json(document))
            unfinished.replace(path)
        except OSError:
            unfinished.unlink(missing_ok=True)
            raise

    def ended(self, recording: Recording, keys: Path | None, session_keys: SessionKeysSummary | None, remarks: tuple[str, ...]) -> None:
        """The recording is over."""
        counted = recording.counters
        ended: dict[str, object] = {"how": recording.ending}
        if recording.failure is not None:
            ended["reason"] = str(recording.failure)
        document = self._common(recording.start) | {
            "end": iso(recording.end_ns),
            "duration_s": round((recording.end_ns - recording.start.start_ns) / 1e9, 6),
            "ended": ended,
            "packets": {
                "written": recording.packets,
                "captured": counted.captured,
                "received_by_filter": counted.received_by_filter,
                "dropped_by_kernel": counted.dropped_by_kernel,
                "dropped_by_interface": counted.dropped_by_interface,
            },
            "file": None if self.plan.rotation.rotates else _entry(recording.files[0]),
            **_listed(recording.files, recording.removed),
            "keys": keys.name if keys else None,
            "session_keys": session_keys.document() if session_keys else None,
            "remarks": list(remarks),
        }
        path = manifest_path(self.plan.output)
        try:
            write_private(path, _json(document))
        except OSError:
            # The disk is full. The manifest of the start has a block of its own, and the new one fits into it.
            with path.open("r+b") as file:
                file.write(_json(document))
                file.truncate()

    def remove(self) -> None:
        """Of a recording that has brought nothing. Raises OSError."""
        manifest_path(self.plan.output).unlink(missing_ok=True)

    def _common(self, start: Start) -> dict[str, object]:
        plan, rotation = self.plan, self.plan.rotation
        return {
            "schema": SCHEMA,
            "captool_version": self.versions.captool,
            "tcpdump_version": self.versions.tcpdump,
            "libpcap_version": self.versions.libpcap,
            "command": list(start.command),
            "interface": plan.interface,
            "namespace": plan.namespace.shown if plan.namespace else None,
            "remote": plan.remote.document() if plan.remote else None,
            "link_type": start.link_type,
            "filter": plan.filter.expression,
            "snap_length": SNAP_LENGTH,
            "rotation": {
                "size": rotation.size,
                "period_s": None if rotation.period_ns is None else rotation.period_ns / 1e9,
                "keep": rotation.keep,
            }
            if rotation.rotates
            else None,
            "circumstances": self.circumstances.document(),
            "start": iso(start.start_ns),
        }


def note_file(trace: Path) -> None:
    """The trace was written anew after its recording had ended: its size and hash are entered again. Raises OSError."""
    found = Manifests().of(trace)
    document = found[1] if found else None
    if document is None or not isinstance(entry := document.get("file"), dict):
        return
    with trace.open("rb") as file:
        entry |= {"bytes": trace.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}
    write_private(manifest_path(trace), _json(document | {"file": entry, "files": [entry]}))


def _listed(files: tuple[WrittenFile, ...], removed: int) -> dict[str, object]:
    return {"files": [_entry(file) for file in files], "files_removed": removed}


def _entry(file: WrittenFile) -> dict[str, object]:
    return {
        "name": file.path.name,
        "bytes": file.size,
        "packets": file.packets,
        "first": None if file.first_ns is None else iso(file.first_ns),
        "last": None if file.last_ns is None else iso(file.last_ns),
        "sha256": file.sha256,
    }


def _json(document: dict[str, object]) -> bytes:
    return (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode("utf-8", "backslashreplace")
