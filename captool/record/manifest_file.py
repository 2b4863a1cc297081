"""The manifest beside a trace, as others read it (manifest.py writes it)."""

import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Final

from captool.units import SECOND_NS

SCHEMA: Final = "captool.recording/1"
MAX_MANIFEST: Final = 64 << 20
# The ends of a recording before which everything that the kernel had was handed over, and by how much that is before `end`.
HANDED_OVER: Final = frozenset({"interrupted", "terminated", "duration", "min-free"})
LATE_NS: Final = 2 * SECOND_NS


def manifest_path(trace: Path) -> Path:
    """The manifest beside a trace."""
    return trace.with_name(trace.name + ".json")


class Manifests:
    """The manifests of traces, each read once however many files it is about."""

    def __init__(self) -> None:
        self._read: dict[Path, tuple[dict[str, object], frozenset[str]] | None] = {}

    def of(self, trace: Path) -> tuple[Path, dict[str, object]] | None:
        """The manifest of a trace, or of the set that a file belongs to, and where it is; None where there is none that can be read."""
        beside = manifest_path(trace)
        if (found := self._look(beside)) is not None:
            return beside, found[0]
        parts = trace.stem.rsplit("-", 2)  # NAME-TIME-NUMBER
        if len(parts) < 3 or not parts[0]:
            return None
        of_set = manifest_path(trace.with_name(parts[0] + trace.suffix))
        found = self._look(of_set)
        return (of_set, found[0]) if found is not None and trace.name in found[1] else None

    def _look(self, path: Path) -> tuple[dict[str, object], frozenset[str]] | None:
        if path not in self._read:
            document = _read(path)
            self._read[path] = None if document is None else (document, frozenset(_names(document)))
        return self._read[path]


def cut_short(traces: Iterable[Path]) -> tuple[str, ...]:
    """A sentence for each manifest of these traces that says that its recording has not ended."""
    manifests = Manifests()
    found = dict(one for one in map(manifests.of, traces) if one is not None)
    return tuple(_not_ended(path, document) for path, document in found.items() if _how(document) == "recording")


def recorded_until_ns(traces: Iterable[Path], packets: int) -> int | None:
    """Until when the recorder of these files listened, nanoseconds since 1970 by its clock; None where that is not sure.

    It is where one manifest has all of them, the last of the recording among them, their sizes and the number of `packets` are those that
    it tells, and the recording was made by this machine's clock and ended as it was asked to.
    """
    paths, manifests = list(traces), Manifests()
    found = dict(one for one in map(manifests.of, paths) if one is not None)
    if len(found) != 1:
        return None
    (document,) = found.values()
    files = document.get("files")
    entries = {str(one.get("name")): one for one in files if isinstance(one, dict)} if isinstance(files, list) else {}
    mine = [entries.get(path.name) for path in paths]
    if document.get("remote") or _how(document) not in HANDED_OVER or not entries or list(entries.values())[-1] not in mine:
        return None
    with suppress(OSError, ValueError, TypeError, OverflowError):
        whole = all(one is not None and one["bytes"] == path.stat().st_size for one, path in zip(mine, paths, strict=True))
        if whole and packets == sum(one["packets"] for one in mine if one is not None):
            return _time_ns(str(document.get("end"))) - LATE_NS
    return None


def _time_ns(text: str) -> int:
    """Nanoseconds since 1970 of a time with nine digits behind the second, as manifests have it. Raises ValueError."""
    whole, _, fraction = text.removesuffix("Z").partition(".")
    return int(datetime.fromisoformat(f"{whole}+00:00").timestamp()) * SECOND_NS + int(fraction or 0)


def _how(document: dict[str, object]) -> object:
    ended = document.get("ended")
    return ended.get("how") if isinstance(ended, dict) else None


def _not_ended(path: Path, document: dict[str, object]) -> str:
    growing = Path(str(document.get("recording_to"))).name
    if growing and _is_locked(path.with_name(growing)):
        return f"{path}: the recording goes on; what is written by now was read"
    return f"{path}: the recording was cut off (captool was killed, or the machine stopped); its last second may be missing in {growing}"


def _names(document: dict[str, object]) -> Iterator[str]:
    yield str(document.get("recording_to"))
    files = document.get("files")
    if isinstance(files, list):
        yield from (str(entry.get("name")) for entry in files if isinstance(entry, dict))


def _read(path: Path) -> dict[str, object] | None:
    with suppress(OSError, ValueError, RecursionError):
        if path.is_file() and path.stat().st_size <= MAX_MANIFEST:
            import json  # seldom: most captures have no manifest

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
