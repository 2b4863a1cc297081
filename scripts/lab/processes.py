"""Programs that the lab starts: each in a session of its own, ended by its own id, never by name."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO


class LabError(Exception):
    """The lab cannot go on; the message is for the person who started it."""


def run(*command: str | Path, **options: object) -> str:
    """Run a command to its end and return its output; its own error text is the message when it fails."""
    words = [str(word) for word in command]
    done = subprocess.run(words, check=False, capture_output=True, text=True, **options)  # type: ignore[call-overload]
    if done.returncode != 0:
        raise LabError(f"{' '.join(words)}: {(done.stderr or done.stdout).strip()}")
    return str(done.stdout)


@contextlib.contextmanager
def started(
    command: Sequence[str | Path],
    *,
    log: Path,
    namespace: str | None = None,
    stdin: int | IO[bytes] | None = subprocess.DEVNULL,
    on_death: str = "TERM",
    **options: object,
) -> Iterator[subprocess.Popen[bytes]]:
    """A program in the background, in the named network namespace; it is stopped when the block is left.

    setpriv makes the kernel end it when the lab itself is killed, with the signal `on_death`, so nothing outlives a `kill -9`.
    """
    words = [str(word) for word in command]
    if namespace is not None:
        words = ["nsenter", f"--net=/run/netns/{namespace}", *words]
    with log.open("ab") as sink:
        options = {"stdout": sink, "stderr": sink, **options}
        process = subprocess.Popen(["setpriv", "--pdeathsig", on_death, *words], stdin=stdin, start_new_session=True, **options)  # type: ignore[call-overload]
    try:
        yield process
    finally:
        stop(process)


def stop(process: "subprocess.Popen[bytes]", *, patience_s: float = 15) -> int:
    """Ask a process to end; kill it when it does not within the time given."""
    if process.poll() is None:
        if process.stdin is not None:
            process.stdin.close()  # the way to end what listens to its standard input instead of signals
        else:
            os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(patience_s)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # whatever is left of its session, for example what it forked for a connection
    return process.wait()


def wait_until(
    what: str, ready: Callable[[], bool], *, alive: "subprocess.Popen[bytes] | None" = None, seconds: float = 30, log: Path | None = None
) -> None:
    """Poll until `ready`; a process that dies meanwhile, or the time running out, ends the lab with the end of its log."""
    deadline = time.monotonic() + seconds
    while not ready():
        died = alive is not None and alive.poll() is not None
        if died or time.monotonic() > deadline:
            tail = "" if log is None else "\n" + log.read_text(errors="replace")[-2000:]
            raise LabError(f"{what} {'ended early' if died else f'not ready after {seconds:.0f} s'}{tail}")
        time.sleep(0.05)
