"""A child process with pipes, tcpdump or ssh: it ends with captool, and what it hands over is read to the end."""

import ctypes
import signal
import subprocess
import sys
from typing import IO, Final

PATIENCE_S: Final = 10.0  # for a child to start, and to end
PIPE_BYTES: Final = 1 << 20
_PR_SET_PDEATHSIG: Final = 1


def die_with_captool() -> None:
    """In the child, before it becomes another program: the kernel is to end it when captool is killed (prctl(2))."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def output_of(process: "subprocess.Popen[bytes]") -> tuple[IO[bytes], IO[bytes]]:
    """Both pipes of a child that was started with them."""
    if process.stdout is None or process.stderr is None:
        raise ValueError("the process was started without pipes")
    return process.stdout, process.stderr


def end(process: "subprocess.Popen[bytes]") -> None:
    """Wait for a child that has closed its output, kill one that has not, and close the pipes."""
    if process.poll() is None:
        try:
            process.wait(PATIENCE_S if process.stdout is None or process.stdout.closed else 0)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()
