"""`captool record`: tcpdump run well, and the keys kept that the trace will need."""

import os
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from captool import __version__
from captool.cli.options import DOCKER_TLS_PORT, Duration
from captool.errors import UsageError
from captool.units import counted, size

if TYPE_CHECKING:
    from captool.record.recorder import Plan, Progress


@click.command(context_settings={"allow_interspersed_args": False})
@click.option("-i", "--interface", default="any", show_default=True, metavar="IFACE", help="Network interface to record on.")
@click.option(
    "-w",
    "--write",
    "output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The trace. Default: captool-TIME.pcap in the current directory.",
)
@click.option(
    "--port",
    "ports",
    multiple=True,
    type=click.IntRange(1, 65535),
    metavar="N",
    help=f"TCP port (repeatable). Default: {DOCKER_TLS_PORT}, unless a PCAP-FILTER is given.",
)
@click.option("--host", "hosts", multiple=True, metavar="H", help="Only packets from or to this host (repeatable).")
@click.option("-c", "--count", type=click.IntRange(1), metavar="N", help="Stop after N packets.")
@click.option("--duration", "duration_ns", type=Duration(), metavar="D", help="Stop after this time, e.g. 90s, 10m, 1h30m.")
@click.option(
    "--machines",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Keep the keys of these machines beside the trace (repeatable). Default: docker-machine's storage, where there is one.",
)
@click.option(
    "--session-keys",
    "targets",
    multiple=True,
    metavar="PROGRAM|PID|auto",
    help="Take the TLS session keys of this Go program (docker, dockerd, gitlab-runner, a path, a process id) while recording; auto: of "
    "all that use the recorded ports. Needs root; repeatable.",
)
@click.option("--force", is_flag=True, help="Replace the trace if it exists.")
@click.argument("pcap_filter", metavar="[PCAP-FILTER]", nargs=-1)
def record(
    interface: str,
    output: Path | None,
    ports: tuple[int, ...],
    hosts: tuple[str, ...],
    count: int | None,
    duration_ns: int | None,
    machines: tuple[Path, ...],
    targets: tuple[str, ...],
    force: bool,  # noqa: FBT001
    pcap_filter: tuple[str, ...],
) -> None:
    """Record Docker's TLS traffic with tcpdump until Ctrl-C (or SIGTERM), and keep the keys that the trace will need.

    Writes FILE, its manifest FILE.json (how it was recorded, what was dropped, sha256) and the keys in FILE.keys, and prints the
    command to run next. PCAP-FILTER is tcpdump's (man 7 pcap-filter) and comes last; --port and --host narrow it further.

    \b
    captool record -i eth0 -w trace.pcap
    captool record --session-keys auto -w trace.pcap
    captool record --host 10.77.2.2 --duration 15m -w trace.pcap
    captool record -i eth0 'tcp portrange 2375-2377'
    """  # noqa: D301
    from captool.record.recorder import Plan
    from captool.record.tcpdump import capture_filter
    from captool.record.with_keys import SessionKeysWish, record_with_keys
    from captool.report.printable import printable
    from captool.session_keys.targets import parse_targets

    trace = output or Path(f"captool-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.pcap")
    if trace.name in {"", "-"}:
        raise UsageError("-w needs the name of a file; to write a trace to standard output, run tcpdump itself")
    expression = " ".join(pcap_filter)
    chosen = ports or (() if expression else (DOCKER_TLS_PORT,))
    plan = Plan(interface, trace, capture_filter(chosen, hosts, expression), count, duration_ns, force)
    wish = None
    if targets:
        wish = SessionKeysWish(parse_targets(targets), chosen or (DOCKER_TLS_PORT,), lambda sentence: say(printable(sentence)))
    with live_line(plan) as (started, progress):
        outcome = record_with_keys(plan, machines or default_machines(), __version__, time.time_ns, started, progress, wish)
    for remark in outcome.remarks:
        say(printable(remark))
    done = outcome.recording
    if done.failure is not None:
        kept = f"; {counted(done.packets, 'packet')} kept in {trace}" if done.packets else ""
        raise type(done.failure)(f"{done.failure}{kept}")
    say(f"{counted(done.packets, 'packet')}, {size(done.size)} in {printable(str(trace))}")
    keys = ["--keys", str(outcome.keys)] if outcome.keys else []
    click.echo(shlex.join(["captool", "analyze", str(trace), *keys]))


def default_machines() -> tuple[Path, ...]:
    """docker-machine's storage where there is one."""
    from captool.keys.machine_store import default_storage

    storage = default_storage(os.environ)
    return (storage,) if storage is not None and storage.is_dir() and os.access(storage, os.R_OK | os.X_OK) else ()


def say(sentence: str) -> None:
    """Talk goes to stderr."""
    click.echo(f"captool: {sentence}", err=True)


@contextmanager
def live_line(plan: "Plan") -> Iterator[tuple[Callable[[], None], "Callable[[Progress], None]"]]:
    """What is said when the recording has started, and a line that is kept up to date, on a terminal only."""
    from captool.report.printable import printable

    about = printable(f"recording on {plan.interface} ({plan.expression}) to {plan.output}")
    if not sys.stderr.isatty():
        yield (lambda: say(about)), (lambda _: None)
        return
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    console = Console(stderr=True, highlight=False)
    with Live("", console=console, auto_refresh=False, transient=True) as live:

        def started() -> None:
            console.print(Text(f"captool: {about}; stop with Ctrl-C"))

        def progress(now: "Progress") -> None:
            minutes, seconds = divmod(now.elapsed_ns // 1_000_000_000, 60)
            state = f"{minutes // 60:02}:{minutes % 60:02}:{seconds:02}  {counted(now.packets, 'packet')}  {size(now.size)}"
            live.update(Text(state), refresh=True)

        yield started, progress
