"""The cases of fixtures/: each folder holds captures, keys, a recipe and `expected.json`, a list of runs.

A run is `{"capture": FILE or [FILE, ...], "keys": [PATH, ...], "options": {...}, "report": PARTIAL, "absent": [FINDING CODE or SEVERITY, ...]}`.
PARTIAL is matched against the JSON report: a dict by the keys it names, a list by finding each of its members in the report's list,
everything else by equality. The option `other_side` names a capture of the folder.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FIXTURES = Path(__file__).parent.parent / "fixtures"


@dataclass(frozen=True)
class Run:
    """One analysis of a fixture's capture (several files are one capture), and the part of its report that matters."""

    case: str
    number: int
    capture: tuple[Path, ...]
    keys: tuple[Path, ...]
    options: dict[str, Any]
    report: dict[str, Any]
    absent: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.case}-{self.number}-{self.capture[0].name}"


def folders() -> list[Path]:
    return sorted(path.parent for path in FIXTURES.glob("*/recipe"))


def captures() -> list[Path]:
    return sorted(path for folder in folders() for path in folder.glob("*.pcap*"))


def runs() -> Iterator[Run]:
    for folder in folders():
        for number, run in enumerate(json.loads((folder / "expected.json").read_text())):
            keys = tuple(folder / path for path in run.get("keys", ()))
            names = [run["capture"]] if isinstance(run["capture"], str) else run["capture"]
            capture = tuple(folder / name for name in names)
            options = run.get("options", {})
            if "other_side" in options:
                options["other_side"] = folder / options["other_side"]
            yield Run(folder.name, number, capture, keys, options, run["report"], tuple(run.get("absent", ())))


def mismatches(expected: Any, actual: Any, path: str = "") -> list[str]:
    """Where the report differs from what is expected of it; empty when it matches."""
    if isinstance(expected, dict) and isinstance(actual, dict):
        missing = [f"{path}.{key} is missing" for key in expected if key not in actual]
        return missing + [line for key in expected if key in actual for line in mismatches(expected[key], actual[key], f"{path}.{key}")]
    if isinstance(expected, list) and isinstance(actual, list):
        return [f"{path}: no member is like {one}" for one in expected if not any(not mismatches(one, other) for other in actual)]
    return [] if expected == actual else [f"{path} is {actual!r}, expected {expected!r}"]
