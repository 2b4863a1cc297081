"""Packets of one namespace, recorded by captool itself while a block runs."""

import contextlib
import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from network import INTERFACE
from processes import started, wait_until

REPOSITORY = Path(__file__).parents[2]


@contextlib.contextmanager
def recording(trace: Path, namespace: str, machines: Path, log: Path, session_keys: str | None = None) -> Iterator[None]:
    """Record port 2376 on the namespace's interface; on leaving, stop and keep the trace, its manifest and the machine's keys.

    With `session_keys` also those of the programs that it names.
    """
    command = [sys.executable, "-m", "captool.cli.main", "record", "-i", INTERFACE, "-w", trace, "--machines", machines]
    command += ["--session-keys", session_keys] if session_keys else []
    # the captool that is installed, if it is; else the one that this lab belongs to
    environment = dict(os.environ) if importlib.util.find_spec("captool") else {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    with started(command, log=log, namespace=namespace, env=environment) as process:
        wait_until("the recorder", lambda: "recording on" in log.read_text(), alive=process, log=log)
        yield
