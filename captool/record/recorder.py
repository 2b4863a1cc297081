"""Runs tcpdump until something ends the recording, and says what; nothing that it handed over is lost.

tcpdump writes to a pipe, captool to the file: so there is one place that sees every packet as it arrives, a full disk leaves whole
packets, and a captool that is killed takes tcpdump along.
"""

import ctypes
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, NamedTuple

from captool.errors import CaptoolError, MissingToolError, UsageError
from captool.record import tcpdump
from captool.record.namespace import NetworkNamespace
from captool.record.trace_file import DiskFullError, WrittenFile
from captool.record.trace_set import ONE_FILE, Rotation, TraceSet
from captool.units import size

Ending = Literal["interrupted", "terminated", "count", "duration", "min-free", "disk-full", "cannot-write", "tcpdump-ended"]
ENDINGS: Final[dict[int, Ending]] = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated", signal.SIGHUP: "terminated"}
GRACE_S: Final = tcpdump.HANDOVER_S + 0.25  # after the wish to stop: packets that the kernel has already seen still come through
PATIENCE_S: Final = 10.0  # for tcpdump to start, and to end
TICK_S: Final = 0.25
COUNTS_S: Final = 1.0
_CHUNK: Final = 1 << 20
_PIPE_BYTES: Final = 1 << 20
_MESSAGES: Final = 1 << 16  # of what tcpdump says
_PR_SET_PDEATHSIG: Final = 1


@dataclass(frozen=True, slots=True)
class Plan:
    """What to record: `expression` is the whole pcap-filter, `count` and `duration_ns` end the recording by themselves.

    Several `interfaces` are recorded through `any`. `min_free` ends the recording when the disk has fewer bytes left. `namespace` is where
    tcpdump runs, None for here.
    """

    interfaces: tuple[str, ...]
    output: Path
    expression: str
    count: int | None = None
    duration_ns: int | None = None
    replace: bool = False
    rotation: Rotation = ONE_FILE
    min_free: int | None = None
    namespace: NetworkNamespace | None = None

    @property
    def interface(self) -> str:
        """The interfaces, for people."""
        return ", ".join(self.interfaces)


class Start(NamedTuple):
    """How a recording began: the command line, the link type, when tcpdump listened (nanoseconds since 1970)."""

    command: tuple[str, ...]
    link_type: str
    start_ns: int


@dataclass(frozen=True, slots=True)
class Files:
    """The files of a trace while it is being recorded: those that are finished, the one that grows, how many the ring has dropped."""

    closed: tuple[WrittenFile, ...]
    current: Path
    removed: int


@dataclass(frozen=True, slots=True)
class Progress:
    """The state of a running recording, for the live line. `dropped` is None until tcpdump has told."""

    elapsed_ns: int
    packets: int
    size: int
    dropped: int | None


@dataclass(frozen=True, slots=True)
class Recording:
    """A finished recording. `failure` is set when it ended otherwise than asked for; the packets are kept all the same.

    `packets` and `size` are of all that was written, also to the `removed` files that the ring has dropped again.
    """

    plan: Plan
    start: Start
    end_ns: int
    packets: int
    size: int
    files: tuple[WrittenFile, ...]
    removed: int
    counters: tcpdump.Counters
    ending: Ending
    failure: CaptoolError | None


class Listener:
    """What is told of a recording while it runs; every method does nothing here.

    `shows_progress` says whether tcpdump is to be asked for its counters meanwhile.
    """

    shows_progress = False

    def started(self, start: Start, files: Files) -> None:
        """Tcpdump listens."""

    def cut(self, files: Files) -> None:
        """A file was finished, and the next one begun."""

    def progress(self, now: Progress) -> None:
        """About four times a second."""


def record(plan: Plan, clock_ns: Callable[[], int], listener: Listener) -> Recording:
    """Record until SIGINT, SIGTERM, the count, the duration, or a failure. Must run in the main thread (it handles signals).

    Raises CaptoolError when the recording could not begin; then no file is left behind.
    """
    program = tcpdump.find_tcpdump()
    interface, expression = tcpdump.one_interface(plan.interfaces, plan.expression, plan.namespace)
    command = tcpdump.arguments(program, interface, expression, plan.count)
    if (free := _free_bytes(plan.output)) is not None and plan.min_free is not None and free < plan.min_free:
        raise UsageError(f"{plan.output}: {size(free)} are free there, fewer than --min-free; make room, or write elsewhere with -w")
    trace = TraceSet(plan.output, plan.rotation, replace=plan.replace, clock_ns=clock_ns, cut=lambda: listener.cut(_files(trace)))
    try:
        with _wishes_to_stop() as wishes, _running(command, plan.namespace) as process:
            run = _Run(plan, process, trace, wishes)
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

    def __init__(self, plan: Plan, process: "subprocess.Popen[bytes]", trace: TraceSet, wishes: int) -> None:
        self.messages = ""
        self._plan, self._process, self._trace, self._wishes = plan, process, trace, wishes
        self._wish: Ending | None = None
        self._selector = selectors.DefaultSelector()
        self._stdout, self._stderr = process.stdout, process.stderr
        for source in (self._stdout, self._stderr):
            if source is not None:
                self._selector.register(source, selectors.EVENT_READ)
        self._selector.register(wishes, selectors.EVENT_READ)

    def wait_for_start(self) -> str:
        """The link type, as soon as tcpdump listens; raises what kept it from doing so."""
        deadline = time.monotonic() + PATIENCE_S
        while (listening := tcpdump.LISTENING.search(self.messages)) is None:
            self._look(TICK_S)
            if not self._is_open() or time.monotonic() > deadline:
                self._drain()
                raise self._failure()
        return listening[2]

    def until_end(self, progress: Callable[[Progress], None], *, counts: bool) -> tuple[Ending, CaptoolError | None]:
        """Copy packets until something ends the recording."""
        begin = time.monotonic_ns()
        shown = asked = 0
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
                    self._process.send_signal(signal.SIGUSR1)  # tcpdump then prints its counters
                    asked = elapsed
            self._drain()
        except CaptoolError as error:
            if isinstance(error, DiskFullError):
                return "disk-full", error
            return ("cannot-write" if isinstance(error, UsageError) else "tcpdump-ended"), error
        if self._wish is not None:
            return self._wish, None
        if self._plan.count is not None and self._trace.packets >= self._plan.count:
            return "count", None
        return "tcpdump-ended", self._failure()

    def _drain(self) -> None:
        """Let tcpdump hand over what the kernel has, ask it to end, and read to the end of its output."""
        grace = time.monotonic() + GRACE_S
        while self._is_open() and (left := grace - time.monotonic()) > 0:
            self._look(left)
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
        deadline = time.monotonic() + PATIENCE_S
        while self._selector.get_map() and len(self._selector.get_map()) > 1 and time.monotonic() < deadline:
            self._look(TICK_S)

    def _failure(self) -> CaptoolError:
        existing = self._plan.namespace.interfaces() if self._plan.namespace else tcpdump.interfaces_here()
        return tcpdump.failure(self.messages, self._plan.interface, self._plan.expression, existing)

    def _is_open(self) -> bool:
        return self._stdout is not None and not self._stdout.closed

    def _look(self, seconds: float) -> None:
        for key, _ in self._selector.select(seconds):
            data = os.read(key.fd, _CHUNK)
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


@contextmanager
def _running(command: list[str], namespace: NetworkNamespace | None) -> "Iterator[subprocess.Popen[bytes]]":
    """Run tcpdump in a session of its own, so that Ctrl-C reaches it through captool only; killed if it is still there at the end."""

    def prepare() -> None:
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if namespace is not None:
            namespace.enter()

    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "LC_ALL": "C"},
            start_new_session=True,
            preexec_fn=prepare,  # noqa: PLW1509 (no thread has been started yet)
            bufsize=0,
            pipesize=_PIPE_BYTES,
        )
    except subprocess.SubprocessError:
        where = namespace.shown if namespace else "this process"
        raise MissingToolError(f"not allowed to enter the network namespace of {where}; run captool as root") from None
    try:
        yield process
    finally:
        if process.poll() is None:
            try:
                process.wait(PATIENCE_S if process.stdout is None or process.stdout.closed else 0)
            except subprocess.TimeoutExpired:
                process.kill()
        process.wait()
        for source in (process.stdout, process.stderr):
            if source is not None:
                source.close()
