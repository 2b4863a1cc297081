"""Packets of one place in the network, recorded while a block runs: by captool itself, or by tcpdump into files that rotate."""

import contextlib
import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from docker_daemon import PLAIN_PORT, PORT
from firewall import CLIENT_END, SERVER_END
from network import INTERFACE
from processes import started, wait_until

REPOSITORY = Path(__file__).parents[2]

# Where a trace may be recorded: the trace's name, the namespace's role, the interface.
PLACES = {
    "client": ("client", INTERFACE),
    "server": ("server", INTERFACE),
    "any": ("router", "any"),
    CLIENT_END: ("router", CLIENT_END),
    SERVER_END: ("router", SERVER_END),
}


@contextlib.contextmanager
def recording(
    trace: Path,
    namespace: str,
    interface: str,
    machines: Path,
    log: Path,
    session_keys: str | None = None,
    verdicts: tuple[Path, int] | None = None,
) -> Iterator[None]:
    """Record Docker's ports on the interface; on leaving, stop and keep the trace, its manifest and the machine's keys.

    With `session_keys` also those of the programs that it names. With `verdicts` the recorder analyzes meanwhile, with an idle timeout
    in seconds, and its standard output goes to that file.
    """
    command = [sys.executable, "-m", "captool.cli.main", "record", "-i", interface, "-w", trace, "--machines", machines]
    command += ["--port", str(PORT), "--port", str(PLAIN_PORT)]
    command += ["--session-keys", session_keys] if session_keys else []
    command += ["--analyze", "--idle-timeout", f"{verdicts[1]}s"] if verdicts else []
    # the captool that is installed, if it is; else the one that this lab belongs to
    environment = dict(os.environ) if importlib.util.find_spec("captool") else {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    with contextlib.ExitStack() as stack:
        options: dict[str, object] = {"stdout": stack.enter_context(verdicts[0].open("wb"))} if verdicts else {}
        process = stack.enter_context(started(command, log=log, namespace=namespace, env=environment, **options))
        wait_until("the recorder", lambda: "recording on" in log.read_text(), alive=process, log=log)
        yield


@contextlib.contextmanager
def rotating(directory: Path, namespace: str, interface: str, seconds: int, log: Path) -> Iterator[None]:
    """Record into `directory`, by tcpdump's own rotation: a new file with the first packet that comes `seconds` after the last change."""
    directory.mkdir()
    command = ["tcpdump", "-i", interface, "-U", "-Z", "root", "-G", str(seconds), "-w", directory / "rotated-%s.pcap"]
    with started([*command, f"tcp port {PORT}"], log=log, namespace=namespace) as process:
        wait_until("tcpdump", lambda: "listening on" in log.read_text(), alive=process, log=log)
        yield
