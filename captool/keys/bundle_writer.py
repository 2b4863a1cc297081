"""What a watch writes to its bundle: generations as they come, removals, the index; a bundle that cannot be written is tried again."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from captool.keys.bundle import Generation, keep, locked, record_removal, write_index
from captool.keys.harvest import refuse_inside
from captool.keys.stored_machine import StoredMachine

INDEX_NS: Final = 5_000_000_000  # the index is written so often while machines keep coming
MOST_PROBLEMS: Final = 1_000


@dataclass(slots=True)
class WatchSummary:
    """What a watch did. `missed` are directories that were gone before any key of theirs was read."""

    kept: int = 0
    unchanged: int = 0
    removed: int = 0
    missed: list[str] = field(default_factory=list)


class BundleWriter:
    """Keeps machines in the bundle `destination`; `say` is told each problem once, `told` gets every generation as it is kept."""

    def __init__(
        self, destination: Path, clock_ns: Callable[[], int], say: Callable[[str], None], told: Callable[[Generation], None]
    ) -> None:
        self.summary = WatchSummary()
        self.index_old = False  # whether the index does not tell everything that is in the bundle
        self._destination = destination
        self._clock_ns, self._say, self._told = clock_ns, say, told
        self._indexed_ns: int | None = None
        self._problems: set[str] = set()

    def keep(self, machines: Sequence[StoredMachine]) -> list[Generation] | None:
        """Keep those that have a usable file; None, with the reason said, when the bundle cannot be written.

        Raises UsageError for a bundle that is what is to be kept.
        """
        usable = [machine for machine in machines if machine.pem_files]
        if not usable:
            return []
        refuse_inside(usable, self._destination)
        generations = []
        try:
            with locked(self._destination):
                for machine in usable:
                    generation = keep(machine, self._destination, self._clock_ns())
                    generations.append(generation)
                    self.index_old |= generation.new
                    self.summary.kept += generation.new
                    self.summary.unchanged += not generation.new
                    self._told(generation)
        except OSError as error:
            self.problem(f"{self._destination}: {(error.strerror or str(error)).lower()}; trying again")
            return None
        return generations

    def removed(self, generation: Generation) -> None:
        """The machine of this generation was removed now."""
        self.summary.removed += 1
        self.index_old = True
        try:
            record_removal(generation, self._clock_ns())
        except OSError as error:
            self.problem(f"{generation.path.parent}: its removal is not recorded: {(error.strerror or str(error)).lower()}")

    def write_index(self, now_ns: int, *, at_once: bool) -> None:
        """Bring the index up to date, if need be: `at_once`, or when it is older than INDEX_NS. `now_ns` is monotonic."""
        if not self.index_old or not (at_once or self._indexed_ns is None or now_ns - self._indexed_ns >= INDEX_NS):
            return
        try:
            with locked(self._destination):
                write_index(self._destination, self._clock_ns())
        except OSError as error:
            self.problem(f"{self._destination}: {(error.strerror or str(error)).lower()}; trying again")
        else:
            self.index_old, self._indexed_ns = False, now_ns

    def tell(self, machine: StoredMachine) -> None:
        """Say what of a machine cannot be used."""
        for problem in machine.problems:
            self.problem(problem)

    def problem(self, sentence: str) -> None:
        """Say it, unless it was said before."""
        if sentence not in self._problems and len(self._problems) < MOST_PROBLEMS:
            self._problems.add(sentence)
            self._say(sentence)
