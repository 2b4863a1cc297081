"""The manifest beside a trace, as others read it (manifest.py writes it)."""

import fcntl
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

SCHEMA: Final = "captool.recording/1"
MAX_MANIFEST: Final = 64 << 20


def manifest_path(trace: Path) -> Path:
    """The manifest beside a trace."""
    return trace.with_name(trace.name + ".json")


def read_manifest(trace: Path) -> dict[str, object] | None:
    """The manifest of a trace, or of the set that a file belongs to; None where there is none that can be read."""
    found = _manifest_of(trace)
    return found[1] if found else None


def cut_short(trace: Path) -> str | None:
    """A sentence about a trace whose manifest says that its recording has not ended; None for all others."""
    found = _manifest_of(trace)
    if found is None:
        return None
    path, document = found
    ended = document.get("ended")
    if not isinstance(ended, dict) or ended.get("how") != "recording":
        return None
    growing = Path(str(document.get("recording_to"))).name
    if growing and _is_locked(path.with_name(growing)):
        return f"{path}: the recording goes on; what is written by now was read"
    return f"{path}: the recording was cut off (captool was killed, or the machine stopped); its last second may be missing in {growing}"


def _manifest_of(trace: Path) -> tuple[Path, dict[str, object]] | None:
    beside = manifest_path(trace)
    if (document := _read(beside)) is not None:
        return beside, document
    parts = trace.stem.rsplit("-", 2)  # NAME-TIME-NUMBER
    if len(parts) < 3 or not parts[0]:
        return None
    of_set = manifest_path(trace.with_name(parts[0] + trace.suffix))
    document = _read(of_set)
    if document is None or trace.name not in (document.get("recording_to"), *_names(document)):
        return None
    return of_set, document


def _names(document: dict[str, object]) -> list[str]:
    files = document.get("files")
    return [str(entry.get("name")) for entry in files if isinstance(entry, dict)] if isinstance(files, list) else []


def _read(path: Path) -> dict[str, object] | None:
    with suppress(OSError, ValueError, RecursionError):
        if path.is_file() and path.stat().st_size <= MAX_MANIFEST:
            document = json.loads(path.read_bytes())
            if isinstance(document, dict) and document.get("schema") == SCHEMA:
                return document
    return None


def _is_locked(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (OSError, ValueError):
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False
