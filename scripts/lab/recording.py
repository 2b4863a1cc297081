"""Packets of one namespace, recorded while a block runs."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from network import INTERFACE
from processes import started, wait_until


@contextlib.contextmanager
def recording(trace: Path, namespace: str, log: Path) -> Iterator[None]:
    """Record port 2376 on the namespace's interface; on leaving, stop and keep the trace."""
    command = ["tcpdump", "-i", INTERFACE, "-n", "-U", "--immediate-mode", "-s", "262144", "-Z", "root", "-w", trace, "tcp port 2376"]
    with started(command, log=log, namespace=namespace) as process:
        wait_until("the recorder", lambda: "listening on" in log.read_text(), alive=process, log=log)
        yield
