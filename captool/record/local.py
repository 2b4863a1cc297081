"""tcpdump as a process of this machine, in one of its network namespaces."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from captool.errors import CaptoolError, MissingToolError
from captool.record import tcpdump
from captool.record.plan import Plan
from captool.record.process import PIPE_BYTES, die_with_captool, end, output_of
from captool.record.unprivileged import ended_with_captool


class LocalTcpdump:
    """A tcpdump that runs; the trace comes from `stdout`, its messages from `stderr`."""

    def __init__(self, process: "subprocess.Popen[bytes]", plan: Plan) -> None:
        self.stdout, self.stderr = output_of(process)
        self._process, self._plan = process, plan

    def ask_for_counters(self) -> None:
        """It prints them, and goes on."""
        self._process.send_signal(signal.SIGUSR1)

    def ask_to_end(self) -> None:
        """It ends after the packets that it has, and prints its counters."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)

    def still_wanted(self) -> None:
        """It is ended with captool; nothing need be said."""

    def failure(self, messages: str) -> CaptoolError:
        """Why it has ended, from what it said."""
        existing = self._plan.namespace.interfaces() if self._plan.namespace else tcpdump.interfaces_here()
        return tcpdump.failure(messages, self._plan.interface, self._plan.filter.asked, existing)


@contextmanager
def local_tcpdump(command: list[str], plan: Plan) -> Iterator[LocalTcpdump]:
    """Run tcpdump in a session of its own, so that Ctrl-C reaches it through captool only; killed if it is still there at the end."""
    namespace = plan.namespace

    def prepare() -> None:
        die_with_captool()
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
            pipesize=PIPE_BYTES,
        )
    except subprocess.SubprocessError:
        where = namespace.shown if namespace else "this process"
        raise MissingToolError(f"not allowed to enter the network namespace of {where}; run captool as root") from None
    try:
        with ended_with_captool(process):
            yield LocalTcpdump(process, plan)
    finally:
        end(process)
