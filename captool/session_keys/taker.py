"""Session keys of running Go programs -> a key log, while a block runs. What cannot be done is a remark, never an error of the recording.

with take_session_keys(parse_targets(["auto"]), Path("keys.log"), ports=(2376,), clock_ns=time.time_ns) as taker:
...
taker.summary
"""

import os
import selectors
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from captool.errors import CaptoolError
from captool.goprogram.elf import open_program
from captool.goprogram.function_address import find_function
from captool.session_keys.built_by import BEFORE_BUILD_INFO, built_by
from captool.session_keys.events import EventLines, EventsLost, SecretSeen, SocketSeen, parse_event
from captool.session_keys.key_log import KeyLog
from captool.session_keys.live_sockets import LISTEN, knows_all_processes, live_sockets, owners
from captool.session_keys.open_connections import open_connections, sentences
from captool.session_keys.summary import HookedProgram, SessionKeysSummary
from captool.session_keys.targets import ProgramFile, Target, concerns, program_files, program_of
from captool.session_keys.tracefs import TracingError, tracefs
from captool.session_keys.uprobe import EventGroup, event_group
from captool.session_keys.write_key_log import FUNCTION, fetch_arguments

TICK_S: Final = 1.0  # between two looks, should a wake-up be missed
RESCAN_S: Final = 1.0  # where the kernel does not tell of new sockets
MAX_REMARKS: Final = 200
MAX_READS: Final = 10_000  # of 64 KiB at the end: more than all buffers hold


class Taker:
    """Takes session keys. `remarks` are sentences for the user, in order; `say` is called with each as it is made."""

    def __init__(
        self, targets: Sequence[Target], key_log: KeyLog, ports: Sequence[int], clock_ns: Callable[[], int], say: Callable[[str], None]
    ) -> None:
        self._targets, self._ports, self._clock_ns, self._say = tuple(targets), tuple(ports), clock_ns, say
        self._log = key_log
        self._remarks: dict[str, None] = {}
        self._programs: dict[str, HookedProgram] = {}  # by event
        self._known: set[tuple[int, int, int]] = set()  # files that were looked at: device, inode, time of change
        self._lost = self._open = 0
        self._group: EventGroup | None = None
        self._lines = EventLines()
        self._wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._thread: threading.Thread | None = None
        self._told_of_sockets = False
        self.failure: TracingError | None = None  # why no events can be set here at all

    @property
    def remarks(self) -> tuple[str, ...]:
        """What the user should know: what is hooked, what cannot be, which connections stay encrypted."""
        return tuple(self._remarks)

    @property
    def summary(self) -> SessionKeysSummary:
        """The state of things; final when the block has been left."""
        words = tuple(target.word for target in self._targets)
        programs = tuple(self._programs.values())
        return SessionKeysSummary(words, programs, self._log.secrets, self._log.sessions, self._lost, self._open, self.remarks)

    def start_reading(self) -> None:
        """Read events in a thread from now on.

        They wait in the kernel's buffer until then; a process that is still to fork is better without threads.
        """
        if self._group is not None and self._thread is None:
            self._thread = threading.Thread(target=self._read_events, name="captool-session-keys", daemon=True)
            self._thread.start()

    def _hook_all(self, group: EventGroup) -> None:
        self._group = group
        self._pipe = group.open()
        # before the scan: whoever opens a socket meanwhile is seen by one of the two
        self._told_of_sockets = not self._ports or (knows_all_processes() and group.watch_sockets(self._ports))
        for program in program_files(self._targets, os.environ):
            self._hook(program)
        if self._ports:
            self._scan(report_open=True)
        if not self._programs:
            waiting = "; programs that open a socket on the recorded ports are caught when they do" if self._waits else ""
            self._remark(f"session keys: no program to take them from yet{waiting}")

    @property
    def _waits(self) -> bool:
        return bool(self._ports) and any(target.kind in {"auto", "program"} for target in self._targets)

    def _scan(self, *, report_open: bool) -> None:
        """Hook the owners of the sockets that exist now, and tell which connections are too old."""
        sockets = live_sockets(self._ports)
        owned_by = owners(sockets)
        programs = {process: program_of(process) for process in set(owned_by.values())}
        listening = {owned_by[each.inode] for each in sockets if each.state == LISTEN and each.inode in owned_by}
        for process in sorted(programs, key=lambda process: (process not in listening, process)):
            self._hook_owner(programs[process])
        if report_open:
            connections = open_connections(sockets, owned_by, self._ports)
            self._open = len(connections)
            for sentence in sentences(connections, {process: Path(program.name).name for process, program in programs.items()}):
                self._remark(sentence)

    def _hook_owner(self, program: ProgramFile) -> None:
        if program.process != os.getpid() and concerns(self._targets, program):
            self._hook(program)

    def _hook(self, program: ProgramFile) -> None:
        """Set the event in a program file, unless it was looked at before."""
        if self._group is None:
            return
        try:
            descriptor = os.open(program.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            # a process that has ended meanwhile is nobody's concern, unless it was named
            if program.process is None or any(target.word == str(program.process) for target in self._targets):
                self._remark(f"no session keys of {program.shown}: {(error.strerror or str(error)).lower()}")
            return
        try:
            status = os.fstat(descriptor)
            identity = (status.st_dev, status.st_ino, status.st_mtime_ns)
            if identity in self._known:
                return
            self._known.add(identity)
            self._set_event(descriptor, program)
        except CaptoolError as error:
            self._remark(f"no session keys of {program.shown}: {error}" if isinstance(error, TracingError) else f"no session keys: {error}")
        finally:
            os.close(descriptor)

    def _set_event(self, descriptor: int, program: ProgramFile) -> None:
        """Raises ProgramError, TracingError."""
        with open_program(descriptor, program.shown) as elf:
            build = built_by(elf)
            function = find_function(elf, FUNCTION)
            arguments = fetch_arguments(elf, build, function)
        if self._group is not None:
            event = self._group.add_uprobe(descriptor, function.offset, arguments)
            version = build.version if build is not None else BEFORE_BUILD_INFO
            self._programs[event] = HookedProgram(program.name, version, function.known_from)
            self._remark(f"session keys of {program.shown} ({version.partition(' X:')[0]}) are taken from now on")

    def _read_events(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._pipe, selectors.EVENT_READ)
            selector.register(self._wake[0], selectors.EVENT_READ)
            next_scan = time.monotonic() + RESCAN_S
            while True:
                ready = {key.fd for key, _ in selector.select(TICK_S)}
                self._take(1 if self._pipe in ready else MAX_READS)
                if self._wake[0] in ready:
                    return
                if not self._told_of_sockets and self._waits and time.monotonic() >= next_scan:
                    self._scan(report_open=False)
                    next_scan = time.monotonic() + RESCAN_S

    def _take(self, reads: int) -> None:
        """Read what has happened, at most so many pieces of it."""
        for _ in range(reads):
            try:
                data = self._group.read() if self._group is not None else b""
            except OSError as error:
                self._remark(f"session keys: the kernel's events cannot be read: {(error.strerror or str(error)).lower()}")
                return
            if not data:
                return
            for line in self._lines.lines(data):
                match parse_event(line):
                    case SecretSeen() as seen:
                        self._write(seen)
                    case SocketSeen(process=process):
                        self._hook_owner(program_of(process))
                    case EventsLost(count=count):
                        self._lost += count
                        self._remark("session keys: more handshakes than the kernel's buffer holds; some connections will stay encrypted")

    def _write(self, seen: SecretSeen) -> None:
        program = self._programs.get(seen.event)
        # the event's clock is CLOCK_MONOTONIC; what lies between it and now is taken off the clock of the recording
        time_ns = self._clock_ns() - (time.monotonic_ns() - seen.time_ns)
        try:
            self._log.write(seen, program.path if program else "?", time_ns)
        except OSError as error:
            self._remark(f"{self._log.path}: session keys are lost: {(error.strerror or str(error)).lower()}")

    def _remark(self, sentence: str) -> None:
        if sentence not in self._remarks and len(self._remarks) < MAX_REMARKS:
            self._remarks[sentence] = None
            self._say(sentence)

    def _stop(self) -> None:
        if self._group is not None:
            self._group.disable()
        if self._thread is not None:
            os.write(self._wake[1], b"x")
            self._thread.join()
        self._take(MAX_READS)
        self._group = None

    def _close(self) -> None:
        for descriptor in self._wake:
            os.close(descriptor)
        self._log.close()


@contextmanager
def take_session_keys(
    targets: Sequence[Target],
    key_log: Path,
    *,
    ports: Sequence[int],
    clock_ns: Callable[[], int],
    say: Callable[[str], None] = lambda _: None,
    reading: bool = True,
) -> Iterator[Taker]:
    """While the block runs, every TLS secret of the targets is written to `key_log` (0600, continued if it exists).

    `ports` are the recorded TCP ports (for `auto`, for programs that appear later, and for the connections that exist already). With
    `reading=False` the caller calls `start_reading()` when it has no process left to fork. Raises UsageError when the key log cannot be
    written; whatever else is in the way is a remark.
    """
    taker = Taker(targets, KeyLog(key_log), ports, clock_ns, say)
    with ExitStack() as stack:
        stack.callback(taker._close)  # noqa: SLF001 (the taker's own way in and out)
        try:
            group = stack.enter_context(event_group(stack.enter_context(tracefs())))
        except TracingError as error:
            taker.failure = error
            taker._remark(str(error))  # noqa: SLF001
        else:
            stack.callback(taker._stop)  # noqa: SLF001
            try:
                taker._hook_all(group)  # noqa: SLF001
            except OSError as error:
                taker._remark(f"session keys: {(error.strerror or str(error)).lower()}")  # noqa: SLF001
            if reading:
                taker.start_reading()
        yield taker
