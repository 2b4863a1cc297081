"""Runs tcpdump until something ends the recording, and says what; nothing that it handed over is lost.

tcpdump writes to a pipe, captool to the file: so there is one place that sees every packet as it arrives, a full disk leaves whole
packets, and a captool that is killed takes tcpdump along.
"""

import os
import selectors
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final

from captool.errors import CaptoolError, UsageError
from captool.record import tcpdump
from captool.record.local import LocalTcpdump, local_tcpdump
from captool.record.plan import Ending, Files, Listener, Plan, Progress, Recording, Start
from captool.record.process import PATIENCE_S
from captool.record.remote import RemoteTcpdump
from captool.record.remote_failure import ConnectionLostError
from captool.record.trace_file import DiskFullError
from captool.record.trace_set import TraceSet
from captool.record.unprivileged import user_of_tcpdump
from captool.units import size

ENDINGS: Final[dict[int, Ending]] = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated", signal.SIGHUP: "terminated"}
GRACE_S: Final = tcpdump.HANDOVER_S + 0.25  # after the wish to stop: packets that the kernel has already seen still come through
DRAIN_S: Final = 60.0  # at most, for what is still on its way when tcpdump was asked to end
TICK_S: Final = 0.25
COUNTS_S: Final = 1.0
WANTED_S: Final = 15.0
_CHUNK: Final = 1 << 20
_MESSAGES: Final = 1 << 16  # of what tcpdump says


def record(plan: Plan, clock_ns: Callable[[], int], listener: Listener) -> Recording:
    """Record until SIGINT, SIGTERM, the count, the duration, or a failure. Must run in the main thread (it handles signals).

    Raises CaptoolError when the recording could not begin; then no file is left behind.
    """
    command = _command(plan)
    if (free := _free_bytes(plan.output)) is not None and plan.min_free is not None and free < plan.min_free:
        raise UsageError(f"{plan.output}: {size(free)} are free there, fewer than --min-free; make room, or write elsewhere with -w")
    trace = TraceSet(plan.output, plan.rotation, replace=plan.replace, clock_ns=clock_ns, cut=lambda: listener.cut(_files(trace)))
    try:
        with _wishes_to_stop() as wishes, _running(command, plan) as running:
            run = _Run(plan, running, trace, wishes)
            link_type = run.wait_for_start()
            trace.take_place()
            start = Start(tuple(command), link_type, clock_ns())
            listener.started(start, _files(trace))
            ending, failure = run.until_end(listener.progress, counts=listener.shows_progress)
    except BaseException:
        trace.discard()
        raise
    if failure is not None:
        trace.discard()
    files = trace.close()
    counted = tcpdump.counters(run.messages)
    return Recording(plan, start, clock_ns(), trace.packets, trace.size, files, trace.removed, counted, ending, failure)


def _command(plan: Plan) -> list[str]:
    if (remote := plan.remote) is not None:
        known = remote.facts.interfaces
        interface, expression = tcpdump.one_interface(plan.interfaces, plan.filter.expression, lambda: known, remote.shown)
        return remote.command(interface, expression, plan.count)
    program = tcpdump.find_tcpdump()
    existing = plan.namespace.interfaces if plan.namespace else tcpdump.interfaces_here
    interface, expression = tcpdump.one_interface(plan.interfaces, plan.filter.expression, existing)
    return tcpdump.arguments(program, interface, expression, plan.count, user_of_tcpdump())


def _running(command: list[str], plan: Plan) -> AbstractContextManager[LocalTcpdump | RemoteTcpdump]:
    return plan.remote.tcpdump(command, plan.interface, plan.filter.asked) if plan.remote else local_tcpdump(command, plan)


def _files(trace: TraceSet) -> Files:
    return Files(tuple(trace.closed), trace.current, trace.removed)


def _free_bytes(path: Path) -> int | None:
    """What an ordinary user may still write on the disk of `path`."""
    try:
        disk = os.statvfs(path.parent)
    except OSError:
        return None
    return disk.f_bavail * disk.f_frsize


class _Run:
    """tcpdump's two pipes and the wishes to stop, watched together."""

    def __init__(self, plan: Plan, running: LocalTcpdump | RemoteTcpdump, trace: TraceSet, wishes: int) -> None:
        self.messages = ""
        self._plan, self._tcpdump, self._trace, self._wishes = plan, running, trace, wishes
        self._wish: Ending | None = None
        self._selector = selectors.DefaultSelector()
        self._stdout = running.stdout
        for source in (running.stdout, running.stderr, wishes):
            self._selector.register(source, selectors.EVENT_READ)
        self._heard = time.monotonic()

    def wait_for_start(self) -> str:
        """The link type, as soon as tcpdump listens; raises what kept it from doing so."""
        deadline = time.monotonic() + PATIENCE_S
        while (listening := tcpdump.LISTENING.search(self.messages)) is None:
            self._look(TICK_S)
            if not self._is_open() or time.monotonic() > deadline:
                self._drain()
                raise self._tcpdump.failure(self.messages)
        return listening[2]

    def until_end(self, progress: Callable[[Progress], None], *, counts: bool) -> tuple[Ending, CaptoolError | None]:
        """Copy packets until something ends the recording."""
        begin = time.monotonic_ns()
        shown = asked = wanted = 0
        try:
            while self._is_open() and self._wish is None:
                elapsed = time.monotonic_ns() - begin
                if self._plan.duration_ns is not None and elapsed >= self._plan.duration_ns:
                    self._wish = "duration"
                    break
                if self._plan.min_free is not None and (_free_bytes(self._plan.output) or 0) < self._plan.min_free:
                    self._wish = "min-free"
                    break
                self._trace.tick(elapsed)
                due = [when for when in (self._plan.duration_ns, self._trace.next_tick_ns()) if when is not None]
                self._look(min([TICK_S, *((when - elapsed) / 1e9 for when in due)]))
                if elapsed - shown >= TICK_S * 1e9:
                    progress(Progress(elapsed, self._trace.packets, self._trace.size, tcpdump.dropped_so_far(self.messages)))
                    shown = elapsed
                if counts and elapsed - asked >= COUNTS_S * 1e9:
                    self._tcpdump.ask_for_counters()
                    asked = elapsed
                if elapsed - wanted >= WANTED_S * 1e9:
                    self._tcpdump.still_wanted()
                    wanted = elapsed
            self._drain()
        except CaptoolError as error:
            if isinstance(error, DiskFullError):
                return "disk-full", error
            return ("cannot-write" if isinstance(error, UsageError) else "tcpdump-ended"), error
        if self._wish is not None:
            return self._wish, None
        if self._plan.count is not None and self._trace.packets >= self._plan.count:
            return "count", None
        failure = self._tcpdump.failure(self.messages)
        return ("connection-lost" if isinstance(failure, ConnectionLostError) else "tcpdump-ended"), failure

    def _drain(self) -> None:
        """Let tcpdump hand over what the kernel has, ask it to end, and read to the end of its output."""
        grace = time.monotonic() + GRACE_S
        while self._is_open() and (left := grace - time.monotonic()) > 0:
            self._look(left)
        self._tcpdump.ask_to_end()
        asked = self._heard = time.monotonic()
        while len(self._selector.get_map()) > 1 and time.monotonic() < min(self._heard + PATIENCE_S, asked + DRAIN_S):
            self._look(TICK_S)

    def _is_open(self) -> bool:
        return not self._stdout.closed

    def _look(self, seconds: float) -> None:
        for key, _ in self._selector.select(seconds):
            data = os.read(key.fd, _CHUNK)
            self._heard = time.monotonic()
            if key.fd == self._wishes:
                self._wish = self._wish or next((ENDINGS[number] for number in data if number in ENDINGS), None)
            elif not data:
                self._selector.unregister(key.fileobj)
                if not isinstance(key.fileobj, int):
                    key.fileobj.close()  # type: ignore[attr-defined]
            elif key.fileobj is self._stdout:
                self._trace.write(data)
            else:
                self.messages = (self.messages + data.decode("utf-8", "backslashreplace"))[-_MESSAGES:]


@contextmanager
def _wishes_to_stop() -> Iterator[int]:
    """A descriptor that becomes readable, with the signal's number, when the recording is to stop."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    # under nohup a hangup is to be ignored, as tcpdump does
    heeded = [number for number in ENDINGS if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, lambda *_: None) for number in heeded}
    old_writer = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    try:
        yield reader
    finally:
        signal.set_wakeup_fd(old_writer)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(reader)
        os.close(writer)
