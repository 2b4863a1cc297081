"""Keys that outlive their machine: whatever TLS material there is, copied into a bundle (see bundle.py)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from captool.errors import UsageError
from captool.keys.bundle import Generation, keep, locked, remove_empty, write_index
from captool.keys.key_file import is_directory, is_there
from captool.keys.place import Place
from captool.keys.stored_machine import StoredMachine, read_machine, read_place
from captool.keys.stores import all_places


@dataclass(frozen=True, slots=True)
class HarvestReport:
    """What a harvest found. `problems` are sentences, each about one file or machine, none of them fatal."""

    destination: Path
    generations: tuple[Generation, ...]
    problems: tuple[str, ...]


def harvest(sources: Sequence[Path], destination: Path, now_ns: int, extra: Sequence[Place] = ()) -> HarvestReport:
    """Copy the keys of every place in `sources` (stores of any kind), and of `extra`, into the bundle `destination`, made if need be.

    Raises KeyMaterialError when a source is missing or unreadable, UsageError when the destination cannot be written.
    The destination is not made when no source holds a usable key.
    """
    places = [*all_places(list(sources)), *extra]
    machines = [read_machine(place.directory) if place.store == "docker-machine" else read_place(place) for place in places]
    problems = [problem for machine in machines for problem in machine.problems] + other_authorities(machines)
    usable = [machine for machine in machines if machine.pem_files]
    if not usable:
        return HarvestReport(destination, (), tuple(problems))
    refuse_inside(usable, destination)
    generations: list[Generation] = []
    try:
        with locked(destination):
            generations += [keep(machine, destination, now_ns) for machine in usable]
            write_index(destination, now_ns)
    except OSError as error:
        remove_empty(destination)
        reason = "is no directory" if is_there(destination) and not is_directory(destination) else (error.strerror or str(error)).lower()
        raise UsageError(f"{destination}: cannot keep the keys there: {reason}; choose another directory with -o") from None
    return HarvestReport(destination, tuple(generations), tuple(problems))


def refuse_inside(machines: Sequence[StoredMachine], destination: Path) -> None:
    """Raises UsageError for a bundle that is what is to be copied."""
    if inside := [machine.directory for machine in machines if machine.directory.resolve().is_relative_to(destination.resolve())]:
        raise UsageError(f"{destination}: holds {inside[0]}, which is to be copied; choose another directory with -o")


def other_authorities(machines: Sequence[StoredMachine]) -> list[str]:
    """Machines whose CA is not the one of their storage: it was made anew since, or by two `docker-machine create` at once."""
    stores = {one.directory.resolve().parent: one for one in machines if one.store == "docker-machine-certs"}
    found = []
    for machine in machines:
        store = stores.get(machine.directory.resolve().parent.parent) if machine.store == "docker-machine" else None
        mine = machine.certificates.get("ca.pem")
        theirs = store.certificates.get("ca.pem") if store else None
        if store and mine and theirs and mine.spki_sha256 != theirs.spki_sha256:
            found.append(f"{machine.directory / 'ca.pem'}: is another CA than {store.directory / 'ca.pem'}; their certificates do not fit")
    return found
