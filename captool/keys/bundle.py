"""The bundle of harvested keys: every generation kept, private, written whole or not at all.

    KEYS/manifest.json                     index of everything below, schema captool.keys/1
    KEYS/machines/NAME/GENERATION/         ca.pem cert.pem key.pem server.pem server-key.pem, config.json (harmless fields only)
    KEYS/machines/NAME/GENERATION/manifest.json        schema captool.machine/1
    KEYS/machines/NAME/removals.jsonl      when the directory of a generation was seen to be gone, one line each

A generation is written beside its place and renamed, so it is there whole or not at all, and it is never changed afterwards:
regenerated keys become the next one. Directories are 0700, files 0600.
"""

import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from captool.keys.machine_store import GENERATION_MANIFEST
from captool.keys.material import Machine
from captool.keys.place import CONFIG, KEYS
from captool.keys.stored_machine import StoredMachine

INDEX_SCHEMA: Final = "captool.keys/1"
MACHINE_SCHEMA: Final = "captool.machine/1"
REMOVALS: Final = "removals.jsonl"


@dataclass(frozen=True, slots=True)
class Generation:
    """One generation of a machine's keys in the bundle; `new` says whether this harvest wrote it."""

    machine: Machine
    number: int
    path: Path
    source: Path
    new: bool


def iso(ts_ns: int) -> str:
    """RFC 3339 time in UTC, for manifests."""
    whole, fraction = divmod(ts_ns, 1_000_000_000)
    return f"{datetime.fromtimestamp(whole, UTC):%Y-%m-%dT%H:%M:%S}.{fraction:09d}Z"


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner may read, whole or not at all, replacing what is there."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        _write_new(unfinished, content)
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


@contextmanager
def locked(destination: Path) -> Iterator[None]:
    """The bundle, made if need be, for this process alone: two harvests at once must not choose the same number."""
    destination.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(destination, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def remove_empty(destination: Path) -> None:
    """Directories that were made for generations that then could not be written."""
    folders: list[Path] = []
    with suppress(OSError):  # glob raises where a directory on the way may not be entered
        folders += destination.glob("machines/*")
    for folder in [*folders, destination / "machines", destination]:
        with suppress(OSError):
            folder.rmdir()


def keep(machine: StoredMachine, destination: Path, now_ns: int) -> Generation:
    """The generation that holds these keys: an earlier one where nothing is new, else the next number."""
    home = destination / "machines" / machine.machine.name
    for folder in (home.parent, home):
        folder.mkdir(mode=0o700, exist_ok=True)
    files = _files(machine)
    numbers = sorted(int(entry.name) for entry in home.iterdir() if entry.name.isdecimal())
    for number in numbers:
        if _holds(home / str(number), files):
            return Generation(machine.machine, number, home / str(number), machine.directory, new=False)
    number = (numbers[-1] if numbers else 0) + 1
    target = home / str(number)
    unfinished = home / f".{number}.{os.getpid()}.part"
    try:
        unfinished.mkdir(mode=0o700)
        for name, content in files.items():
            _write_new(unfinished / name, content)
        _write_new(unfinished / GENERATION_MANIFEST, _json(_describe(machine, number, now_ns)))
        unfinished.rename(target)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    return Generation(machine.machine, number, target, machine.directory, new=True)


def _files(machine: StoredMachine) -> dict[str, bytes]:
    files = dict(machine.pem_files)
    if machine.config is not None:
        files[CONFIG] = _json(machine.config)
    return files


def _holds(generation: Path, files: Mapping[str, bytes]) -> bool:
    """Whether an earlier generation has all of this already; a machine that is being removed shows fewer files than before."""
    try:
        return all((generation / name).read_bytes() == content for name, content in files.items())
    except OSError:
        return False


def _describe(machine: StoredMachine, number: int, now_ns: int) -> dict[str, object]:
    files: list[dict[str, object]] = []
    for name in machine.pem_files:
        if name in machine.certificates:
            certificate = machine.certificates[name]
            files.append(
                {
                    "file": name,
                    "kind": "certificate",
                    "spki_sha256": certificate.spki_sha256,
                    "subject": certificate.subject,
                    "names": list(certificate.names),
                    "not_before": iso(certificate.not_before_ns),
                    "not_after": iso(certificate.not_after_ns),
                }
            )
        else:
            key, partner = machine.private_keys[name], machine.certificates.get(KEYS[name])
            belongs = None if partner is None else key.belongs_to(partner)
            files.append(
                {"file": name, "kind": key.kind, "bits": key.bits, "spki_sha256": key.spki_sha256, "belongs_to_certificate": belongs}
            )
    return {
        "schema": MACHINE_SCHEMA,
        "machine": machine.machine.name,
        "generation": number,
        "store": machine.store,
        "driver": machine.machine.driver,
        "ip": machine.machine.ip,
        "names": list(machine.names),
        "server_spki_sha256": machine.machine.server_spki_sha256,
        "source": str(machine.directory.resolve()),
        "harvested": iso(now_ns),
        "files": files,
        "problems": list(machine.problems),
    }


def record_removal(generation: Generation, now_ns: int) -> None:
    """Note that the directory of a generation is gone. Raises OSError."""
    line = json.dumps({"generation": generation.number, "source": str(generation.source), "removed": iso(now_ns)}) + "\n"
    descriptor = os.open(generation.path.parent / REMOVALS, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(line.encode())


def _removals(generation: Path) -> list[str]:
    """The times at which a generation's directory was seen to be gone."""
    times = []
    with suppress(OSError), (generation.parent / REMOVALS).open("rb") as lines:
        for line in lines:
            with suppress(ValueError, TypeError, KeyError, RecursionError):
                noted = json.loads(line)
                if noted["generation"] == int(generation.name):
                    times.append(str(noted["removed"]))
    return times


def write_index(destination: Path, now_ns: int) -> None:
    """The index is made of the generations' own manifests, so it can be lost and comes back whole."""
    entries = []
    for path in destination.glob(f"machines/*/*/{GENERATION_MANIFEST}"):
        if path.parent.name.isdecimal():
            try:
                entry = json.loads(path.read_bytes())
            except (OSError, ValueError, RecursionError):
                continue  # its keys are there all the same
            if isinstance(entry, dict):
                removals = _removals(path.parent)
                entries.append(entry | {"path": path.parent.relative_to(destination).as_posix(), "removed": removals})
    entries.sort(key=lambda entry: (str(entry.get("machine")), int(str(entry["path"]).rpartition("/")[2])))
    write_private(destination / "manifest.json", _json({"schema": INDEX_SCHEMA, "updated": iso(now_ns), "machines": entries}))


def _write_new(path: Path, content: bytes) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _json(document: object) -> bytes:
    return (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode("utf-8", "backslashreplace")
