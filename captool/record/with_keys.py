"""A recording with everything that its reader will need: the trace, the keys beside it, the manifest."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from captool.errors import CaptoolError, UsageError
from captool.keys.harvest import harvest
from captool.keys.machine_store import find_machines
from captool.record import tcpdump
from captool.record.manifest import manifest_path, write_ended, write_started
from captool.record.recorder import Plan, Progress, Recording, record


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
) -> Outcome:
    """Record; harvest the keys of `machines` when it begins and again when it ends, for machines come and go meanwhile.

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
        started()

    recording = record(plan, clock_ns, begin, progress)
    keys = _harvest(plan, machines, clock_ns, remarks)
    lost = recording.failure is not None and recording.packets == 0
    try:
        if lost:
            manifest_path(plan.output).unlink(missing_ok=True)
        else:
            write_ended(recording, versions, keys)
    except OSError as error:
        remarks[f"{manifest_path(plan.output)}: not written: {(error.strerror or str(error)).lower()}"] = None
    return Outcome(recording, keys, (*remarks, *_losses(recording)))


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
    counted = recording.counters
    remarks = []
    if counted.dropped_by_kernel:
        remarks.append(
            f"the kernel dropped {counted.dropped_by_kernel} packets, because tcpdump could not keep up; record less, with --host or --port"
        )
    if counted.dropped_by_interface:
        remarks.append(f"the interface dropped {counted.dropped_by_interface} packets before they could be recorded")
    if recording.packets == 0 and recording.failure is None:
        remarks.append(f"no packet matched {recording.plan.expression!r} on {recording.plan.interface}")
    return tuple(remarks)
