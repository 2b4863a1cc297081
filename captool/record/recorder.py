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
from typing import Final, Literal

from captool.errors import CaptoolError
from captool.record import tcpdump
from captool.record.trace_file import DiskFullError, TraceFile

Ending = Literal["interrupted", "terminated", "count", "duration", "disk-full", "tcpdump-ended"]
ENDINGS: Final[dict[int, Ending]] = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated", signal.SIGHUP: "terminated"}
GRACE_S: Final = tcpdump.HANDOVER_S + 0.25  # after the wish to stop: packets that the kernel has already seen still come through
PATIENCE_S: Final = 10.0  # for tcpdump to start, and to end
TICK_S: Final = 0.25
_CHUNK: Final = 1 << 20
_PIPE_BYTES: Final = 1 << 20
_MESSAGES: Final = 1 << 16  # of what tcpdump says
_PR_SET_PDEATHSIG: Final = 1


@dataclass(frozen=True, slots=True)
class Plan:
    """What to record: `expression` is the whole pcap-filter, `count` and `duration_ns` end the recording by themselves."""

    interface: str
    output: Path
    expression: str
    count: int | None = None
    duration_ns: int | None = None
    replace: bool = False


@dataclass(frozen=True, slots=True)
class Progress:
    """The state of a running recording, for the live line."""

    elapsed_ns: int
    packets: int
    size: int


@dataclass(frozen=True, slots=True)
class Recording:
    """A finished recording. `failure` is set when it ended otherwise than asked for; the packets are kept all the same."""

    plan: Plan
    command: tuple[str, ...]
    link_type: str | None
    start_ns: int
    end_ns: int
    packets: int
    size: int
    sha256: str
    counters: tcpdump.Counters
    ending: Ending
    failure: CaptoolError | None


def record(
    plan: Plan, clock_ns: Callable[[], int], started: Callable[[tuple[str, ...], str, int], None], progress: Callable[[Progress], None]
) -> Recording:
    """Record until SIGINT, SIGTERM, the count, the duration, or a failure. Must run in the main thread (it handles signals).

    `started(command, link type, start)` is called once tcpdump listens, `progress` about four times a second. Raises CaptoolError when
    the recording could not begin; then no file is left behind.
    """
    program = tcpdump.find_tcpdump()
    command = tcpdump.arguments(program, plan.interface, plan.expression, plan.count)
    trace = TraceFile(plan.output, replace=plan.replace)
    try:
        with _wishes_to_stop() as wishes, _running(command) as process:
            run = _Run(plan, process, trace, wishes)
            link_type = run.wait_for_start()
            trace.take_place()
            start_ns = clock_ns()
            started(tuple(command), link_type, start_ns)
            ending, failure = run.until_end(progress)
    except BaseException:
        trace.discard()
        raise
    if failure is not None:
        trace.discard()
    trace.close()
    counted = tcpdump.counters(run.messages)
    return Recording(
        plan, tuple(command), link_type, start_ns, clock_ns(), trace.packets, trace.size, trace.sha256(), counted, ending, failure
    )


class _Run:
    """tcpdump's two pipes and the wishes to stop, watched together."""

    def __init__(self, plan: Plan, process: "subprocess.Popen[bytes]", trace: TraceFile, wishes: int) -> None:
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
                raise tcpdump.failure(self.messages, self._plan.interface, self._plan.expression)
        return listening[2]

    def until_end(self, progress: Callable[[Progress], None]) -> tuple[Ending, CaptoolError | None]:
        """Copy packets until something ends the recording."""
        begin = time.monotonic_ns()
        shown = 0
        try:
            while self._is_open() and self._wish is None:
                elapsed = time.monotonic_ns() - begin
                left_s = TICK_S if self._plan.duration_ns is None else max(0.0, (self._plan.duration_ns - elapsed) / 1e9)
                if left_s == 0:
                    self._wish = "duration"
                    break
                self._look(min(TICK_S, left_s))
                if elapsed - shown >= TICK_S * 1e9:
                    progress(Progress(elapsed, self._trace.packets, self._trace.size))
                    shown = elapsed
            self._drain()
        except CaptoolError as error:
            return ("disk-full" if isinstance(error, DiskFullError) else "tcpdump-ended"), error
        if self._wish is not None:
            return self._wish, None
        if self._plan.count is not None and self._trace.packets >= self._plan.count:
            return "count", None
        return "tcpdump-ended", tcpdump.failure(self.messages, self._plan.interface, self._plan.expression)

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
def _running(command: list[str]) -> "Iterator[subprocess.Popen[bytes]]":
    """Run tcpdump in a session of its own, so that Ctrl-C reaches it through captool only; killed if it is still there at the end."""
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "LC_ALL": "C"},
        start_new_session=True,
        preexec_fn=_end_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509 (no thread has been started yet)
        bufsize=0,
        pipesize=_PIPE_BYTES,
    )
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


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
