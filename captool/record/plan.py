"""What a recording is asked to do, and what is told of it while it runs and when it has ended."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from captool.errors import CaptoolError
from captool.record import tcpdump
from captool.record.capture_filter import CaptureFilter
from captool.record.namespace import NetworkNamespace
from captool.record.remote import RemoteHost
from captool.record.trace_file import WrittenFile
from captool.record.trace_set import ONE_FILE, Rotation

Ending = Literal[
    "interrupted", "terminated", "count", "duration", "min-free", "disk-full", "cannot-write", "tcpdump-ended", "connection-lost"
]


@dataclass(frozen=True, slots=True)
class Plan:
    """What to record: `count` and `duration_ns` end the recording by themselves.

    Several `interfaces` are recorded through `any`. `min_free` ends the recording when the disk has fewer bytes left. tcpdump runs in
    `namespace`, or on the host `remote`; here where both are None.
    """

    interfaces: tuple[str, ...]
    output: Path
    filter: CaptureFilter
    count: int | None = None
    duration_ns: int | None = None
    replace: bool = False
    rotation: Rotation = ONE_FILE
    min_free: int | None = None
    namespace: NetworkNamespace | None = None
    remote: RemoteHost | None = None

    @property
    def interface(self) -> str:
        """The interfaces, for people."""
        return ", ".join(self.interfaces)

    @property
    def place(self) -> str:
        """The interfaces and where they are, for people."""
        where = f" of {self.remote.shown}" if self.remote else f" in {self.namespace.shown}" if self.namespace else ""
        return self.interface + where


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
