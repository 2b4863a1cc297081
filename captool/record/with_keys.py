"""A recording with everything that its reader will need: the trace, the keys beside it, the manifest."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from captool.errors import CaptoolError, KeyMaterialError, UsageError
from captool.keys.bundle import remove_empty
from captool.keys.key_file import is_directory, is_there
from captool.keys.place import Place
from captool.keys.stores import find_places
from captool.keys.watch import Watcher
from captool.record import tcpdump
from captool.record.circumstances import circumstances
from captool.record.given_key_log import taken_along
from captool.record.manifest import Manifest
from captool.record.manifest_file import manifest_path
from captool.record.plan import Files, Listener, Plan, Progress, Recording, Start
from captool.record.recorder import record
from captool.session_keys.key_log import FILE_NAME
from captool.session_keys.taker import Taker, take_session_keys
from captool.session_keys.targets import Target
from captool.units import SECOND_NS, counted, seconds, size

CLOCKS_AGREE_NS: Final = SECOND_NS // 10


@dataclass(frozen=True, slots=True)
class Keeping:
    """Which keys to keep beside the trace: those that appear in `stores`, and session keys of the programs `targets`.

    `places` gives what lies elsewhere than in a store, asked anew while the recording runs. `ports` are the recorded ones. `key_logs` are
    written by other programs meanwhile.
    """

    stores: tuple[Path, ...] = ()
    places: Callable[[], Sequence[Place]] = tuple
    targets: tuple[Target, ...] = ()
    ports: tuple[int, ...] = ()
    key_logs: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class Talk:
    """Whom to tell: `say` sentences for the user, at once; `started` when tcpdump listens; `progress`, None where nobody looks.

    `file_begun` is called with each file of the trace when it is begun.
    """

    say: Callable[[str], None]
    started: Callable[[], None]
    progress: Callable[[Progress], None] | None = None
    file_begun: Callable[[Path], None] | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is on disk after a recording. `keys` is None where there were none; `remarks` are sentences for the user."""

    recording: Recording
    keys: Path | None
    remarks: tuple[str, ...]


def keys_path(trace: Path) -> Path:
    """The bundle of keys beside a trace."""
    return trace.with_name(trace.name + ".keys")


def record_with_keys(plan: Plan, keeping: Keeping, captool_version: str, clock_ns: Callable[[], int], talk: Talk) -> Outcome:
    """Record; meanwhile keep the keys of every machine that is or appears in the stores, also of one that lives for seconds only.

    Session keys are taken from before the first packet until after the last one.
    Raises CaptoolError when the recording cannot begin. A recording that fails later is returned with its `failure`.
    """
    _refuse_unreadable(keeping.stores)
    _refuse_old_manifest(plan)
    said: dict[str, None] = {}  # in order, each once

    def say(sentence: str) -> None:
        if sentence not in said:
            said[sentence] = None
            talk.say(sentence)

    if plan.remote is not None:
        found, versions = plan.remote.found, tcpdump.versions_in(captool_version, plan.remote.facts.version)
    else:
        versions = tcpdump.versions(captool_version, tcpdump.find_tcpdump())
        found = circumstances(keeping.ports, plan.interfaces, plan.namespace)
    manifest = Manifest(plan, versions, found)
    with (
        _taking(plan, keeping, clock_ns, say) as taker,
        _watching(plan, keeping, clock_ns, say) as watch,
        taken_along(keeping.key_logs, keys_path(plan.output), say) as take_along,
    ):

        class Told(Listener):
            shows_progress = talk.progress is not None

            def started(self, start: Start, files: Files) -> None:
                self.start = start
                try:
                    manifest.recording(start, files)
                except OSError as error:
                    where = manifest_path(plan.output)
                    raise UsageError(f"{where}: cannot be written: {(error.strerror or str(error)).lower()}") from None
                watch()
                take_along()
                if taker is not None:
                    taker.start_reading()
                for sentence in (*found.sentences(open_told=taker is not None), *_clock(plan)):
                    say(sentence)
                talk.started()
                if talk.file_begun is not None:
                    talk.file_begun(files.current)

            def cut(self, files: Files) -> None:
                if talk.file_begun is not None:
                    talk.file_begun(files.current)
                try:
                    manifest.recording(self.start, files)
                except OSError as error:
                    say(f"{manifest_path(plan.output)}: not written: {(error.strerror or str(error)).lower()}")

            def progress(self, now: Progress) -> None:
                if talk.progress is not None:
                    talk.progress(now)

        recording = record(plan, clock_ns, Told())
    if taker is not None:
        taken = taker.summary
        say(f"session keys: {counted(taken.secrets, 'secret')} of {counted(taken.sessions, 'TLS session')}")
    for sentence in _losses(recording):
        say(sentence)
    keys = keys_path(plan.output) if is_directory(keys_path(plan.output)) else None
    remarks = tuple(said)
    try:
        if recording.failure is not None and recording.packets == 0:
            manifest.remove()
        else:
            manifest.ended(recording, keys, taker.summary if taker is not None else None, remarks)
    except OSError as error:
        say(f"{manifest_path(plan.output)}: not written: {(error.strerror or str(error)).lower()}")
    return Outcome(recording, keys, remarks)


@contextmanager
def _taking(plan: Plan, keeping: Keeping, clock_ns: Callable[[], int], say: Callable[[str], None]) -> Iterator[Taker | None]:
    """Session keys go into the bundle, beside those of the machines."""
    if not keeping.targets:
        yield None
        return
    bundle = keys_path(plan.output)
    try:
        bundle.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UsageError(f"{bundle}: cannot keep session keys there: {reason}; choose another place with -w") from None
    try:
        with take_session_keys(
            keeping.targets, bundle / FILE_NAME, ports=keeping.ports, clock_ns=clock_ns, say=say, reading=False
        ) as taker:
            yield taker
    finally:
        with suppress(OSError):
            bundle.rmdir()  # where nothing was found to keep


@contextmanager
def _watching(plan: Plan, keeping: Keeping, clock_ns: Callable[[], int], say: Callable[[str], None]) -> Iterator[Callable[[], None]]:
    """What starts the watch over the stores, in a thread. Keys are no reason to lose packets: whatever goes wrong is a remark."""
    bundle = keys_path(plan.output)
    stop = threading.Event()
    watcher = Watcher(keeping.stores, bundle, clock_ns=clock_ns, monotonic_ns=time.monotonic_ns, say=say, extra=keeping.places)

    def run() -> None:
        try:
            watcher.run(stop)
        except CaptoolError as error:
            say(str(error))

    thread = threading.Thread(target=run, name="captool-keys", daemon=True)
    try:
        yield thread.start if keeping.stores or keeping.places() else (lambda: None)
    finally:
        stop.set()
        if thread.ident is not None:
            thread.join()
        remove_empty(bundle)  # where nothing was found to keep


def _refuse_unreadable(stores: Sequence[Path]) -> None:
    """A directory that cannot be read is told before anything is recorded."""
    for store in stores:
        try:
            find_places(store)
        except KeyMaterialError as error:
            raise KeyMaterialError(f"{error}; name docker-machine's storage, or another directory with keys, with --machines") from None


def _refuse_old_manifest(plan: Plan) -> None:
    path = manifest_path(plan.output)
    if is_there(path) and not plan.replace:
        raise UsageError(f"{path} exists; choose another name with -w, or replace it with --force")


def _losses(recording: Recording) -> tuple[str, ...]:
    packets, plan = recording.counters, recording.plan
    remarks = []
    if packets.dropped_by_kernel:
        slow = f"tcpdump on {plan.remote.shown}, or the connection," if plan.remote else "tcpdump"
        remarks.append(
            f"the kernel dropped {packets.dropped_by_kernel} packets, because {slow} could not keep up; record less, with --host or --port"
        )
    if packets.dropped_by_interface:
        remarks.append(f"the interface dropped {packets.dropped_by_interface} packets before they could be recorded")
    if recording.ending == "min-free" and plan.min_free is not None:
        remarks.append(f"ended, because fewer than {size(plan.min_free)} were free on the disk of {plan.output} (--min-free)")
    if recording.packets == 0 and recording.failure is None:
        remarks.append(_nothing_captured(plan))
    if plan.remote is not None and packets.captured is None and recording.failure is None:
        remarks.append(f"the connection to {plan.remote.shown} was lost at the end: the last packets may be missing, drops are not known")
    return tuple(remarks)


def _nothing_captured(plan: Plan) -> str:
    interface = "" if "any" in plan.interfaces else "the interface (-i any records on all), "
    here = "there" if plan.remote or plan.namespace else "here"
    return (
        f"nothing was captured: no packet matched {plan.filter.asked!r} on {plan.place}; check {interface}the port (--port) and the "
        f"filter, and whether such traffic passes {here} (that of Docker's unix socket is on no interface)"
    )


def _clock(plan: Plan) -> tuple[str, ...]:
    """Of the remote host, where it is certainly another time there."""
    clock = plan.remote.clock if plan.remote else None
    if plan.remote is None or clock is None or abs(clock.offset_ns) <= clock.uncertainty_ns + CLOCKS_AGREE_NS:
        return ()
    way = "ahead of" if clock.offset_ns > 0 else "behind"
    apart = f"{seconds(abs(clock.offset_ns))} {way} the one here, give or take {seconds(clock.uncertainty_ns)}"
    return (f"the clock of {plan.remote.shown} is {apart}; times in the trace are those of its clock",)
