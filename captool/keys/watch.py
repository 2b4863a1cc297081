"""Machines that live for seconds: their directories are read while they are written, and put into the bundle in peace afterwards.

Two halves share `_caught` and `_ended`. Watchdog's thread reads a file the moment inotify tells of it, and does nothing else, for the
directory may be removed next. The caller's thread parses what was read, writes it to the bundle, and looks through all directories again
every second, so that whatever inotify did not tell (a full queue, a directory older than its watch) is found nevertheless. Where inotify
does not reach, that look comes every 50 ms. Parsing waits while directories are being written: both threads share one interpreter.
"""

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from captool.errors import UsageError
from captool.keys.bundle import Generation
from captool.keys.bundle_writer import BundleWriter, WatchSummary
from captool.keys.caught import WANTED, Caught, read_wanted
from captool.keys.directory_events import DirectoryEvents
from captool.keys.inotify_reach import blind_spot
from captool.keys.key_file import is_directory, is_there
from captool.keys.machine_store import machine_place
from captool.keys.place import MACHINE_FILES, Place
from captool.keys.stored_machine import StoredMachine, read_place
from captool.keys.stores import try_places

MS: Final = 1_000_000
TICK_S: Final = 0.05
LOOK_NS: Final = 1000 * MS
QUIET_NS: Final = 300 * MS  # a machine's files are taken for written when none changed for so long
BUSY_NS: Final = 50 * MS  # after an event more are to come
PATIENCE_NS: Final = 30_000 * MS  # `docker-machine create` copies its files to the machine between writing them
MOST_HELD: Final = 64 << 20
MUCH_HELD: Final = 8 << 20  # when writing cannot wait any longer
MOUNTS: Final = Path("/proc/self/mountinfo")

Signature = tuple[tuple[str, int, int, int], ...]


class Watcher:
    """Keeps the keys of every machine that appears in `sources` while it runs; `say` is told each problem once.

    `extra` gives places beside those of the sources (stores.override_places), asked anew at every look. `told` gets every generation as
    it is kept. `clock_ns` is the time of day, `monotonic_ns` measures patience.
    """

    def __init__(
        self,
        sources: Sequence[Path],
        destination: Path,
        *,
        clock_ns: Callable[[], int],
        monotonic_ns: Callable[[], int],
        say: Callable[[str], None],
        told: Callable[[Generation], None] = lambda _: None,
        extra: Callable[[], Sequence[Place]] = tuple,
    ) -> None:
        self._sources, self._destination, self._extra = tuple(sources), destination, extra
        self._monotonic_ns = monotonic_ns
        self._bundle = BundleWriter(destination, clock_ns, say, told)
        self._lock = threading.Lock()
        self._caught: dict[Path, Caught] = {}
        self._ended: list[tuple[Path, Caught]] = []  # directories that are gone
        self._held = 0
        self._signatures: dict[Path, Signature] = {}
        self._seen: dict[tuple[Path, str], Signature] = {}  # of the places that are only looked at, by directory and kind of store
        self._kept: dict[Path, Generation] = {}
        self._roots: dict[Path, bool] = {}  # machines directories, and whether inotify tells all of them
        self._events = DirectoryEvents(self.catch, self.gone)
        self._looked_ns = monotonic_ns() - LOOK_NS
        self._caught_ns = 0  # when a file was last read
        self._lost = False

    @property
    def summary(self) -> WatchSummary:
        """What was done by now."""
        return self._bundle.summary

    def run(self, stop: threading.Event) -> WatchSummary:
        """Watch until `stop` is set, then keep what is held. Raises UsageError for a bundle that cannot be written."""
        try:
            self._destination.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise UsageError(f"{self._destination}: cannot keep the keys there: {reason}; choose another directory") from None
        try:
            while not stop.wait(TICK_S):
                self._tick()
        finally:
            self._events.stop()
        self._look()
        self._settle(ending=True)
        if self._lost:
            self._bundle.problem(f"more than {MOST_HELD >> 20} MiB of files waited to be kept; some that came then were not read")
        if self._caught or self._ended or self._bundle.index_old:
            raise UsageError(f"{self._destination}: not everything could be kept there; see the reasons above")
        return self.summary

    # --- the caller's thread

    def _tick(self) -> None:
        now = self._monotonic_ns()
        if now - self._looked_ns >= LOOK_NS:
            self._looked_ns = now
            self._look()
        else:
            for root, told in tuple(self._roots.items()):
                if not told:
                    self._look_at_machines(root)
        self._settle(ending=False)

    def _look(self) -> None:
        for source in self._sources:
            for root in machine_roots(source):
                if root not in self._roots:
                    self._roots[root] = self._watch(root)
            for place in try_places(source):
                watched = place.store in {"docker-machine", "bundle"} and place.directory.parent in self._roots
                if not watched and not place.directory.is_symlink():
                    self._look_at(place)
        for place in self._extra():
            self._look_at(place)
        for root in tuple(self._roots):
            self._look_at_machines(root)

    def _watch(self, root: Path) -> bool:
        """Have inotify tell what happens below a machines directory; False, with the reason said, where it does not tell all."""
        try:
            self._events.add(root)
        except OSError as error:
            because = (error.strerror or str(error)).lower()
            self._bundle.problem(f"{root}: no inotify ({because}; is fs.inotify.max_user_watches too small?); looking every 50 ms instead")
            return False
        try:
            blind = blind_spot(root, MOUNTS.read_text(encoding="utf-8", errors="replace"))
        except OSError:
            blind = "on a file system that cannot be told without /proc"
        if blind:
            self._bundle.problem(f"{root}: {blind}; looking every 50 ms as well")
        return blind is None

    def _look_at_machines(self, root: Path) -> None:
        """Read what changed since the last look, and notice what is gone."""
        present = set()
        try:
            with os.scandir(root) as listing:
                for entry in listing:
                    if not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False):
                        present.add(root / entry.name)
        except FileNotFoundError:
            self._roots[root] = False  # the whole storage was removed; inotify tells nothing of one that takes its place
        except OSError as error:
            self._bundle.problem(f"{root}: {(error.strerror or str(error)).lower()}")
            return
        for directory in present:
            signature = _signature({name: directory / name for name in WANTED})
            if self._signatures.get(directory) != signature:
                self._signatures[directory] = signature
                if signature or is_directory(directory):  # else it went since the listing, and what was read of it is on its way already
                    self.catch(directory)
        with self._lock:
            known = [directory for directory in {*self._caught, *self._kept} if directory.parent == root and directory not in present]
        for directory in known:
            if not is_directory(directory):  # it may have been made since the listing
                self.gone(directory)

    def _look_at(self, place: Place) -> None:
        """Contexts, client and daemon directories live long: they are read when something changed."""
        signature = _signature(place.files)
        which = (place.directory, place.store)
        if self._seen.get(which) == signature:
            return
        stored = read_place(place)
        if self._bundle.keep([stored]) is not None:
            self._seen[which] = signature
        self._bundle.tell(stored)

    def _settle(self, *, ending: bool) -> None:
        now = self._monotonic_ns()
        if not ending and now - self._caught_ns < BUSY_NS and self._held < MUCH_HELD:
            return
        with self._lock:
            ended = list(self._ended)
            due = [
                (directory, caught)
                for directory, caught in self._caught.items()
                if ending or now - caught.changed_ns >= PATIENCE_NS
                or (now - caught.changed_ns >= QUIET_NS and caught.looked_ns < caught.changed_ns)
            ]  # fmt: skip
        for directory, caught in ended:
            if self._settle_ended(directory, caught):
                with self._lock:
                    self._ended.remove((directory, caught))
                    self._held -= caught.size()
        for directory, caught in due:
            if self._settle_present(directory, caught, now, ending=ending):
                with self._lock:
                    if self._caught.get(directory) is caught and caught.changed_ns <= now:
                        self._held -= self._caught.pop(directory).size()
        self._bundle.write_index(now, at_once=ending or not (due or ended))

    def _settle_present(self, directory: Path, caught: Caught, now: int, *, ending: bool) -> bool:
        machines = self._read(directory, caught)
        if not (ending or _is_whole(machines[-1]) or now - caught.changed_ns >= PATIENCE_NS):
            caught.looked_ns = now  # half written: asked again when something changes
            return False
        self._bundle.tell(machines[-1])
        return self._keep(directory, machines)

    def _settle_ended(self, directory: Path, caught: Caught) -> bool:
        machines = self._read(directory, caught) if any(caught.versions.values()) else []
        if not self._keep(directory, machines):
            return False
        self._signatures.pop(directory, None)
        generation = self._kept.pop(directory, None)
        if generation is None:
            self.summary.missed.append(directory.name)
            self._bundle.problem(f"{directory}: was gone before any key of it could be read")
            return True
        self._bundle.removed(generation)
        return True

    def _read(self, directory: Path, caught: Caught) -> list[StoredMachine]:
        with self._lock:
            wanted = list(caught.generations())
        place = machine_place(directory)
        return [read_place(place, files) for files in wanted]

    def _keep(self, directory: Path, machines: Sequence[StoredMachine]) -> bool:
        generations = self._bundle.keep(machines)
        if generations:
            self._kept[directory] = generations[-1]
        return generations is not None

    # --- watchdog's thread

    def catch(self, directory: Path, names: tuple[str, ...] = WANTED) -> None:
        """Read files of a machine's directory now."""
        files = read_wanted(directory, names)
        now = self._monotonic_ns()
        with self._lock:
            self._caught_ns = now
            caught = self._caught.setdefault(directory, Caught(now))
            for file, data in files.items():
                if self._held + len(data) > MOST_HELD:
                    self._lost = True
                else:
                    self._held += caught.add(file, data, now)

    def gone(self, directory: Path) -> None:
        """The directory was removed."""
        with self._lock:
            caught = self._caught.pop(directory, None)
            if caught is None and directory in self._kept and directory not in {one for one, _ in self._ended}:
                caught = Caught(self._monotonic_ns())
            if caught is not None:
                self._ended.append((directory, caught))


def machine_roots(source: Path) -> list[Path]:
    """The machines directories of a store, as far as they exist."""
    candidates = [source] if source.name == "machines" else [source / "machines", source / "machine" / "machines"]
    return [path for path in candidates if is_directory(path)]


def _signature(files: Mapping[str, Path]) -> Signature:
    """Changes whenever a file is written or replaced."""
    found = []
    for name, path in files.items():
        try:
            status = path.stat(follow_symlinks=False)
        except OSError:
            continue
        found.append((name, status.st_mtime_ns, status.st_ino, status.st_size))
    return tuple(found)


def _is_whole(machine: StoredMachine) -> bool:
    """Whether the server's key and certificate are there and may belong together, and every file that is there can be used."""
    key, certificate = machine.private_keys.get("server-key.pem"), machine.certificates.get("server.pem")
    if key is None or certificate is None or key.belongs_to(certificate) is False or machine.config is None:
        return False
    return all(file in machine.pem_files for file in MACHINE_FILES if is_there(machine.directory / file))
