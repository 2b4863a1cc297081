"""A recording with everything that its reader will need: the trace, the keys beside it, the manifest."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from captool.errors import CaptoolError, UsageError
from captool.keys.harvest import harvest
from captool.keys.machine_store import find_machines
from captool.record import tcpdump
from captool.record.manifest import manifest_path, write_ended, write_started
from captool.record.recorder import Plan, Progress, Recording, record
from captool.session_keys.key_log import FILE_NAME
from captool.session_keys.taker import Taker, take_session_keys
from captool.session_keys.targets import Target
from captool.units import counted


@dataclass(frozen=True, slots=True)
class SessionKeysWish:
    """Which programs to take session keys of; `ports` are the recorded ones, `say` is told at once what the user should know."""

    targets: tuple[Target, ...]
    ports: tuple[int, ...]
    say: Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is on disk after a recording. `keys` is None where no machine had any; `remarks` are sentences for the user."""

    recording: Recording
    keys: Path | None
    remarks: tuple[str, ...]


def keys_path(trace: Path) -> Path:
    """The bundle of keys beside a trace."""
    return trace.with_name(trace.name + ".keys")


def record_with_keys(
    plan: Plan,
    machines: Sequence[Path],
    captool_version: str,
    clock_ns: Callable[[], int],
    started: Callable[[], None],
    progress: Callable[[Progress], None],
    session_keys: SessionKeysWish | None = None,
) -> Outcome:
    """Record; harvest the keys of `machines` when it begins and again when it ends, for machines come and go meanwhile.

    Session keys are taken from before the first packet until after the last one.
    Raises CaptoolError when the recording cannot begin. A recording that fails later is returned with its `failure`.
    """
    for source in machines:
        find_machines(source)  # a directory that cannot be read is told before anything is recorded
    _refuse_old_manifest(plan)
    remarks: dict[str, None] = {}  # in order, each once
    versions = tcpdump.versions(captool_version, tcpdump.find_tcpdump())

    def begin(command: tuple[str, ...], link_type: str, start_ns: int) -> None:
        try:
            write_started(plan, command, link_type, start_ns, versions)
        except OSError as error:
            raise UsageError(f"{manifest_path(plan.output)}: cannot be written: {(error.strerror or str(error)).lower()}") from None
        _harvest(plan, machines, clock_ns, remarks)
        if taker is not None:
            taker.start_reading()
        started()

    with _taking(plan, session_keys, clock_ns) as taker:
        recording = record(plan, clock_ns, begin, progress)
    keys = _harvest(plan, machines, clock_ns, remarks)
    lost = recording.failure is not None and recording.packets == 0
    try:
        if lost:
            manifest_path(plan.output).unlink(missing_ok=True)
        else:
            write_ended(recording, versions, keys, taker.summary if taker is not None else None)
    except OSError as error:
        remarks[f"{manifest_path(plan.output)}: not written: {(error.strerror or str(error)).lower()}"] = None
    if taker is not None:
        taken = taker.summary
        remarks[f"session keys: {counted(taken.secrets, 'secret')} of {counted(taken.sessions, 'TLS session')}"] = None
    return Outcome(recording, keys, (*remarks, *_losses(recording)))


@contextmanager
def _taking(plan: Plan, wish: SessionKeysWish | None, clock_ns: Callable[[], int]) -> Iterator[Taker | None]:
    """Session keys go into the bundle, beside those of the machines."""
    if wish is None:
        yield None
        return
    bundle = keys_path(plan.output)
    try:
        bundle.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{bundle}: cannot keep session keys there: {(error.strerror or str(error)).lower()}") from None
    try:
        with take_session_keys(
            wish.targets, bundle / FILE_NAME, ports=wish.ports, clock_ns=clock_ns, say=wish.say, reading=False
        ) as taker:
            yield taker
    finally:
        with suppress(OSError):
            bundle.rmdir()  # where nothing was found to keep


def _refuse_old_manifest(plan: Plan) -> None:
    path = manifest_path(plan.output)
    if path.exists() and not plan.replace:
        raise UsageError(f"{path} exists; choose another name with -w, or replace it with --force")


def _harvest(plan: Plan, machines: Sequence[Path], clock_ns: Callable[[], int], remarks: dict[str, None]) -> Path | None:
    """Keys are no reason to lose packets: whatever goes wrong here is a remark."""
    bundle = keys_path(plan.output)
    try:
        report = harvest(machines, bundle, clock_ns())
    except CaptoolError as error:
        remarks[str(error)] = None
    else:
        remarks.update(dict.fromkeys(report.problems))
    return bundle if bundle.is_dir() else None


def _losses(recording: Recording) -> tuple[str, ...]:
    packets = recording.counters
    remarks = []
    if packets.dropped_by_kernel:
        remarks.append(
            f"the kernel dropped {packets.dropped_by_kernel} packets, because tcpdump could not keep up; record less, with --host or --port"
        )
    if packets.dropped_by_interface:
        remarks.append(f"the interface dropped {packets.dropped_by_interface} packets before they could be recorded")
    if recording.packets == 0 and recording.failure is None:
        remarks.append(f"no packet matched {recording.plan.expression!r} on {recording.plan.interface}")
    return tuple(remarks)
