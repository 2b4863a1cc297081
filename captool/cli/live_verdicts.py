"""`captool record --analyze`: verdicts while recording. The analysis is a process of its own (`python -m` this module), see `main`."""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import click

from captool.cli.output import say
from captool.cores import default_jobs
from captool.errors import CaptoolError, UsageError
from captool.findings.tables import Settings

NICENESS: Final = 5
LATE_NS: Final = 2_000_000_000  # what the recorder may still have to hand over: the kernel alone keeps a packet for a second
LATE_BY_SSH_NS: Final = 15_000_000_000  # a connection may stand still for a while
CLOCK_SET_NS: Final = 1_000_000_000
BUSY_S: Final = 1.0  # when packets never cease to come, connections are looked at so often


def checked(*, wanted: bool, network: str | None, idle_timeout_ns: int | None, timeouts: Path | None) -> Settings | None:
    """The settings of the live analysis, None where none is wanted. Raises UsageError, before anything is recorded."""
    from captool.findings.gaps import chosen_timeouts
    from captool.middlebox.catalogue import load_catalogue

    given = {"--network": network, "--idle-timeout": idle_timeout_ns, "--timeouts": timeouts}
    if not wanted:
        for name, value in given.items():
            if value is not None:
                raise UsageError(f"{name} goes with --analyze; add it, or give {name} to captool analyze afterwards")
        return None
    settings = Settings(idle_timeout_ns, network)
    chosen_timeouts(settings, load_catalogue(timeouts))
    return settings


@contextmanager
def verdicts_shown(
    settings: Settings | None,
    timeouts: Path | None,
    bundle: Path,
    show: Callable[[str], None] | None,
    say: Callable[[str], None],
    *,
    by_ssh: bool,
) -> Iterator[Callable[[Path], None] | None]:
    """Run the analysis beside a recording; gives what is to be called with each file that is begun.

    Verdicts go to standard output, or where a live line is on the same terminal to `show`.
    """
    if settings is None:
        yield None
        return
    from captool.record.onlooker import Onlooker

    asked = {
        "network": settings.network,
        "idle_timeout_ns": settings.idle_timeout_ns,
        "timeouts": None if timeouts is None else str(timeouts.absolute()),
        "bundle": str(bundle.absolute()),
        "late_ns": LATE_BY_SSH_NS if by_ssh else LATE_NS,
        "by_ssh": by_ssh,
    }
    output = Output(say)
    onlooker = Onlooker(
        [sys.executable, "-P", "-m", "captool.cli.live_verdicts", json.dumps(asked)],
        show if show is not None and sys.stdout.isatty() else output.line,
        say,
    )
    try:
        yield onlooker.file_begun
    finally:
        onlooker.end()


def summarize(files: list[Path], keys: list[Path], settings: Settings, timeouts: Path | None) -> None:
    """What `captool analyze` says of the finished recording. It was recorded in any case, so what goes wrong here is only said."""
    from captool.analysis import analyze
    from captool.cli.analyze import report_text

    jobs = default_jobs()
    try:
        analysis = analyze(
            files, keys, network=settings.network, idle_timeout_ns=settings.idle_timeout_ns, timeouts=timeouts, jobs=jobs
        )  # fmt: skip
    except CaptoolError as error:
        say(str(error))
        return
    sys.stdout.write("\n" + report_text(analysis, "text", None, to_terminal=sys.stdout.isatty()))
    sys.stdout.flush()


class Output:
    """Standard output, a line at a time, at once. When nobody reads it any more that is said, and no reason to end."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say, self._open = say, True

    def line(self, text: str) -> None:
        """Write a line."""
        if not self._open:
            return
        try:
            sys.stdout.write(text + "\n")
            sys.stdout.flush()
        except (OSError, ValueError) as error:
            self._open = False
            self._say(f"verdicts are shown no more: standard output: {getattr(error, 'strerror', None) or error}")


class Clock:
    """What time it is by the clock of the packets, and whether this machine's clock was set.

    Another machine's packets (`foreign`) bear its own time. The packet that came in with the least delay tells the difference; the kernel's
    delay counts as difference then, which makes the judgement late, never early.
    """

    def __init__(self, late_ns: int, *, foreign: bool) -> None:
        self._late_ns, self._foreign = late_ns, foreign
        self._ahead_ns: int | None = None
        self._offset_ns = time.time_ns() - time.monotonic_ns()

    def heard(self, packet_ns: int, *, set_back: bool = False) -> None:
        """A packet of this time came in just now; `set_back`: the packets' clock was set back before it."""
        ahead = time.time_ns() - packet_ns
        self._ahead_ns = ahead if self._ahead_ns is None or set_back else min(ahead, self._ahead_ns)

    def known_until_ns(self) -> int:
        """Up to when all packets have come in, if all that is there was read."""
        return time.time_ns() - (self._ahead_ns or 0) - self._late_ns

    def was_set(self) -> int:
        """By how much the packets' clock was set with this machine's since the last question; 0 where it was by less than a second."""
        offset = time.time_ns() - time.monotonic_ns()
        ahead, self._offset_ns = offset - self._offset_ns, offset
        if abs(ahead) <= CLOCK_SET_NS:
            return 0
        if self._foreign:
            self._ahead_ns = None if self._ahead_ns is None else self._ahead_ns + ahead
            return 0
        self._ahead_ns = None
        return ahead


def main() -> None:
    """Read the names of files on standard input until it ends, and write verdicts, a JSON text a line, for `captool.record.onlooker`."""
    from captool.capture.reader import CaptureReader
    from captool.capture.told import ToldFiles
    from captool.errors import CaptureError
    from captool.keys.growing import GrowingKeys
    from captool.live import LiveAnalysis
    from captool.middlebox.catalogue import load_catalogue
    from captool.report.live_text import line
    from captool.session_keys.key_log import FILE_NAME

    os.nice(NICENESS)
    asked = json.loads(sys.argv[1])
    own = Path(asked["timeouts"]) if asked["timeouts"] else None
    settings = Settings(asked["idle_timeout_ns"], asked["network"])
    keys = GrowingKeys(Path(asked["bundle"]), FILE_NAME)
    analysis = LiveAnalysis(settings, load_catalogue(own), load_catalogue(own, state="half-closed"), keys)
    clock = Clock(asked["late_ns"], foreign=asked["by_ssh"])
    looked = 0.0

    def write(text: str) -> None:
        sys.stdout.write(json.dumps(text) + "\n")
        sys.stdout.flush()

    def look(until_ns: int, *, ended: bool = False) -> None:
        nonlocal looked
        looked = time.monotonic()
        if ahead_ns := clock.was_set():
            analysis.clock_was_set(ahead_ns)
        for verdict in analysis.verdicts(until_ns, ended=ended):
            write(line(verdict))

    files = ToldFiles(sys.stdin.fileno(), lambda: look(clock.known_until_ns()))
    while (path := files.following()) is not None:
        try:
            if not files.begun(path):
                continue
            with CaptureReader([path], wait=files) as capture:
                for frames in capture.chunks():
                    set_back = analysis.take(frames)
                    clock.heard(analysis.latest_ns, set_back=set_back)
                    if time.monotonic() - looked > BUSY_S:
                        look(min(analysis.latest_ns, clock.known_until_ns()))
        except (OSError, CaptureError):
            if path.exists():
                raise
            write(f"{path.name} was removed before it was read: this analysis is behind, and begins anew with what comes")
            analysis.begin_anew()
    look(analysis.latest_ns, ended=True)


if __name__ == "__main__":
    try:
        main()
    except CaptoolError as error:
        click.echo(str(error))
        sys.exit(1)
    except BrokenPipeError:  # the recorder is gone
        os._exit(0)
