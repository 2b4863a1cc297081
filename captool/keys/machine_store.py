"""The directories of docker-machine: which machines there are.

Layout (docker/machine libmachine/persist/filestore.go): `STORAGE/machines/NAME/` with config.json, ca.pem, cert.pem, key.pem,
server.pem and server-key.pem; every sub-directory of machines/ that does not begin with a dot is a machine. A directory that
`captool harvest` wrote has one more level, `machines/NAME/GENERATION/`, each with a manifest.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from captool.errors import KeyMaterialError
from captool.keys.key_file import MOST_BYTES, is_directory, is_there, reason
from captool.keys.machine_config import text_of
from captool.keys.material import Machine
from captool.keys.place import CONFIG, MACHINE_FILES, Place, machine_at

GENERATION_MANIFEST: Final = "manifest.json"
SAFE_NAME: Final = r"[a-zA-Z0-9][a-zA-Z0-9._-]{0,200}"


def default_storage(environment: Mapping[str, str]) -> Path | None:
    """docker-machine's own storage: MACHINE_STORAGE_PATH, else ~/.docker/machine; None without a home."""
    if chosen := environment.get("MACHINE_STORAGE_PATH"):
        return Path(chosen)
    home = environment.get("HOME")
    return Path(home) / ".docker" / "machine" if home else None


def find_machines(path: Path) -> list[Path]:
    """Machine directories at or below `path`: a storage, a machines directory, one machine, or a harvested bundle; sorted.

    Raises KeyMaterialError when the path is missing, no directory, or not readable.
    """
    names = _entries(path)
    if _holds_machine(names):
        return [path]
    if "machines" in names and is_directory(path / "machines"):
        return find_machines(path / "machines")
    found: list[Path] = []
    for name in sorted(names):
        directory = path / name
        if name.startswith(".") or not is_directory(directory):
            continue
        try:
            inside = _entries(directory)
        except KeyMaterialError:
            found.append(directory)  # read_machine will say what is wrong with it
            continue
        generations = [] if _holds_machine(inside) else _generations(directory, inside)
        if generations:
            found.extend(generations)
        elif path.name == "machines" or _holds_machine(inside):
            found.append(directory)
    return found


def _generations(directory: Path, names: set[str]) -> list[Path]:
    """The numbered folders of a machine in a harvested bundle, oldest first."""
    found = []
    for name in sorted((name for name in names if name.isdecimal()), key=int):
        try:
            inside = _entries(directory / name) if is_directory(directory / name) else set()
            if GENERATION_MANIFEST in inside or _holds_machine(inside):
                found.append(directory / name)
        except KeyMaterialError:
            continue
    return found


def machine_place(directory: Path) -> Place:
    """A machine's directory as a place."""
    files = {file: directory / file for file in (CONFIG, *MACHINE_FILES)}
    if (name := _original_name(directory)) is not None:
        return Place("bundle", name, directory, _storage_of(directory), {file: path for file, path in files.items() if is_there(path)})
    return Place("docker-machine", directory.resolve().name, directory, _storage_of(directory), files)


def machine_of(directory: Path) -> Machine:
    """The machine of a directory, as `stored_machine.read_machine` has it. Never raises for what is in it."""
    return unknown_machine(directory) if refusal(directory) else machine_at(machine_place(directory))


def unknown_machine(directory: Path) -> Machine:
    """A machine of which nothing but its directory is known."""
    return Machine(directory.name, None, None, None)


def refusal(directory: Path) -> str | None:
    """Why a directory is not looked into."""
    try:
        _entries(directory)
    except KeyMaterialError as error:
        return str(error)
    if directory.is_symlink() and not directory.resolve().is_relative_to(directory.parent.resolve().parent):
        return f"{directory}: is a link to {directory.resolve()}, outside its storage; not followed, name that itself"
    return None


def _entries(directory: Path) -> set[str]:
    try:
        return {path.name for path in directory.iterdir()}
    except OSError as error:
        raise KeyMaterialError(f"{directory}: {reason(error)}") from None


def _holds_machine(names: set[str]) -> bool:
    return CONFIG in names or not names.isdisjoint(("server.pem", "server-key.pem"))


def _storage_of(directory: Path) -> Path:
    """The storage that a machine's files may link into: the directory above machines/, else the machine's own."""
    real = directory.resolve()
    return real.parent.parent if real.parent.name == "machines" else real


def _original_name(directory: Path) -> str | None:
    """The machine's name in a harvested bundle, whose directories are called by generation."""
    if not directory.name.isdecimal():
        return None
    import json

    try:
        document = json.loads((directory / GENERATION_MANIFEST).read_bytes()[:MOST_BYTES])
    except (OSError, ValueError, RecursionError):
        return None
    name = text_of(document.get("machine")) if isinstance(document, dict) else None
    return name if name and re.fullmatch(SAFE_NAME, name) else None
