"""`captool record`: tcpdump run well, and the keys kept that the trace will need."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from captool import __version__
from captool.cli.command import command, option
from captool.cli.live_line import live_line
from captool.cli.options import DOCKER_TLS_PORT, PATH, Duration, FileSize, Size
from captool.cli.output import say
from captool.errors import UsageError
from captool.units import counted, size

if TYPE_CHECKING:
    from captool.keys.place import Place
    from captool.record.plan import Plan


PCAPNG: Final = ".pcapng"


@command(
    short_help="Record Docker's traffic with tcpdump, and keep the keys to read it.", context_settings={"allow_interspersed_args": False}
)
@option(
    "-i",
    "--interface",
    "interfaces",
    multiple=True,
    metavar="IFACE",
    help="Network interface to record on (repeatable). Default: any.",
)
@option(
    "-w",
    "--write",
    "output",
    type=PATH,
    metavar="FILE",
    help="The trace. Default: captool-TIME.pcap in the current directory. FILE.pcapng: with the secrets that open it inside.",
)
@option(
    "--port",
    "ports",
    multiple=True,
    type=click.IntRange(1, 65535),
    metavar="N",
    help=f"TCP port (repeatable). Default: {DOCKER_TLS_PORT}, unless a PCAP-FILTER is given.",
)
@option("--host", "hosts", multiple=True, metavar="H", help="Only packets from or to this host (repeatable).")
@option("-c", "--count", type=click.IntRange(1), metavar="N", help="Stop after N packets.")
@option("--duration", "duration_ns", type=Duration(), metavar="D", help="Stop after this time, e.g. 90s, 10m, 1h30m.")
@option(
    "-C",
    "file_size",
    type=FileSize(),
    metavar="SIZE",
    help="Begin a new file before one would exceed SIZE, e.g. 500KB; a bare number counts millions of bytes, as tcpdump does.",
)
@option("-G", "period_ns", type=Duration(), metavar="TIME", help="Begin a new file every TIME, e.g. 10m; needs no traffic.")
@option("-W", "keep", type=click.IntRange(1), metavar="COUNT", help="Keep the last COUNT files, with -C, -G or both.")
@option("--min-free", type=Size(), metavar="SIZE", help="End before the disk has less than SIZE free.")
@option("--netns", metavar="NAME|PATH", help="Record in this network namespace (ip netns, or /proc/PID/ns/net).")
@option("--container", metavar="NAME|ID", help="Record in the network namespace of this running container.")
@option(
    "--ssh",
    "remote",
    metavar="[USER@]HOST[:PORT]",
    help="Record on this host: tcpdump runs there, trace and keys are here. By the system's ssh, with its configuration.",
)
@option(
    "--machines",
    multiple=True,
    type=PATH,
    metavar="DIR",
    help="Keep the keys of this store beside the trace, also of machines that come and go meanwhile (repeatable). "
    "Default: all stores there are.",
)
@option(
    "--session-keys",
    "targets",
    multiple=True,
    metavar="PROGRAM|PID|auto",
    help="Take the TLS session keys of this Go program (docker, dockerd, gitlab-runner, a path, a process id) while recording; auto: of "
    "all that use the recorded ports. Needs root; repeatable.",
)
@option(
    "--keylog",
    "key_logs",
    multiple=True,
    type=PATH,
    metavar="FILE",
    help="Keep what another program writes into this key log while recording (SSLKEYLOGFILE: OpenSSL, GnuTLS, NSS, Java); it may appear "
    "later; repeatable.",
)
@option(
    "--analyze",
    "analyzing",
    is_flag=True,
    help="Say what happens to the connections as it happens, a line each on standard output, and what `captool analyze` says at the end.",
)
@option("--network", metavar="ID", help="With --analyze: judge idle times by this middlebox (see captool analyze).")
@option("--idle-timeout", "idle_timeout_ns", type=Duration(), metavar="D", help="With --analyze: judge idle times by this timeout.")
@option("--timeouts", type=PATH, metavar="FILE", help="With --analyze: middleboxes of your own, in TOML.")
@option("--force", is_flag=True, help="Replace the trace if it exists.")
@click.argument("pcap_filter", metavar="[PCAP-FILTER]", nargs=-1)
def record(
    interfaces: tuple[str, ...],
    output: Path | None,
    ports: tuple[int, ...],
    hosts: tuple[str, ...],
    count: int | None,
    duration_ns: int | None,
    file_size: int | None,
    period_ns: int | None,
    keep: int | None,
    min_free: int | None,
    netns: str | None,
    container: str | None,
    remote: str | None,
    machines: tuple[Path, ...],
    targets: tuple[str, ...],
    key_logs: tuple[Path, ...],
    analyzing: bool,  # noqa: FBT001 - a flag of the command line
    network: str | None,
    idle_timeout_ns: int | None,
    timeouts: Path | None,
    force: bool,  # noqa: FBT001
    pcap_filter: tuple[str, ...],
) -> None:
    """Record Docker's TLS traffic with tcpdump until Ctrl-C (or SIGTERM), and keep the keys that the trace will need.

    Writes FILE, its manifest FILE.json (how it was recorded, what was dropped, sha256) and the keys in FILE.keys, and prints the
    command to run next. With -C or -G it is a set of files, FILE with time and number in their names; FILE.pcapng gets its
    secrets inside. ICMP errors about the recorded connections are recorded as well, unless a PCAP-FILTER is given. It is
    tcpdump's (man 7 pcap-filter) and comes last; --port and --host narrow it further.

    \b
    captool record -i eth0 -w trace.pcap
    captool record --session-keys auto -w trace.pcap
    captool record --host 10.77.2.2 --duration 15m -w trace.pcap
    captool record -C 100MB -G 10m -W 24 --min-free 5GB -w trace.pcap
    captool record --analyze --network gcp-vpc -w trace.pcap
    captool record --container job-1 --session-keys auto -w trace.pcapng
    captool record --ssh root@10.77.2.2 -i eth0 -w trace.pcap
    captool record -i eth0 'tcp portrange 2375-2377'
    """  # noqa: D301
    from captool.cli.live_verdicts import checked, summarize, verdicts_shown
    from captool.record.capture_filter import capture_filter
    from captool.record.namespace import container_namespace, named_namespace
    from captool.record.plan import Plan
    from captool.record.trace_set import Rotation
    from captool.record.with_keys import Keeping, Talk, keys_path, record_with_keys
    from captool.session_keys.targets import parse_targets

    trace = output or Path(f"captool-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.pcap")
    if trace.name in {"", "-"}:
        raise UsageError("-w needs the name of a file; to write a trace to standard output, run tcpdump itself")
    if netns is not None and container is not None:
        raise UsageError("--netns and --container both name a network namespace; give one of them")
    if remote is not None:
        refuse_what_is_local(remote, netns, container, targets)
    rotation = Rotation(file_size, period_ns, keep)
    if rotation.rotates and trace.suffix == PCAPNG:
        raise UsageError(f"{trace}: a set of files is pcap; record to {trace.stem}.pcap, then run captool export --to pcapng")
    if keep is not None and not rotation.rotates:
        raise UsageError("-W keeps the last files of a set; say when a new one is begun, with -C or -G")
    judged = checked(wanted=analyzing, network=network, idle_timeout_ns=idle_timeout_ns, timeouts=timeouts)
    expression = " ".join(pcap_filter)
    chosen = ports or (() if expression else (DOCKER_TLS_PORT,))
    namespace = named_namespace(netns) if netns is not None else container_namespace(container) if container is not None else None
    plan = Plan(
        interfaces=interfaces or ("any",),
        output=trace,
        filter=capture_filter(chosen, hosts, expression),
        count=count,
        duration_ns=duration_ns,
        replace=force,
        rotation=rotation,
        min_free=min_free,
        namespace=namespace,
    )
    keeping = Keeping(*stores_of(machines), parse_targets(targets), chosen or (DOCKER_TLS_PORT,), key_logs)

    with (
        placed(plan, remote, keeping.ports) as plan,
        live_line(plan, keeping.ports) as shown,
        verdicts_shown(judged, timeouts, keys_path(trace), shown.above, shown.say, by_ssh=remote is not None) as file_begun,
    ):
        talk = Talk(shown.say, shown.started, shown.progress, file_begun)
        outcome = record_with_keys(plan, keeping, __version__, time.time_ns, talk)
    done = outcome.recording
    if trace.suffix == PCAPNG and (done.packets or done.failure is None):
        put_secrets_in(trace, outcome.keys, done.packets)
    if done.failure is not None:
        kept = f"; {counted(done.packets, 'packet')} kept in {trace}" if done.packets else ""
        raise type(done.failure)(f"{done.failure}{kept}")
    where = str(trace)
    if rotation.rotates:
        where = f"{counted(len(done.files), 'file')}, listed in {where}.json"
    say(f"{counted(done.packets, 'packet')}, {size(done.size)} in {where}")
    if done.removed:
        say(f"{counted(done.removed, 'older file')} of them removed, as -W {keep} says")
    if not done.packets:
        return  # nothing to analyze; what to check has been said
    keys = [outcome.keys] if outcome.keys and trace.suffix != PCAPNG else []
    files = [file.path for file in done.files]
    import shlex

    command = shlex.join(["captool", "analyze", *map(str, files), *(word for one in keys for word in ("--keys", str(one)))])
    if judged is None or done.removed:
        click.echo(command)
        return
    say(command)
    summarize(files, keys, judged, timeouts)


def refuse_what_is_local(remote: str, netns: str | None, container: str | None, targets: tuple[str, ...]) -> None:
    """Options that are about this machine, together with --ssh. Raises UsageError with what works instead."""
    if netns is not None or container is not None:
        option = "--netns" if netns is not None else "--container"
        raise UsageError(
            f"{option} is for this machine; with --ssh {remote} name the interface through which that traffic passes there: -i docker0"
        )
    if targets:
        import shlex

        raise UsageError(
            "--session-keys takes keys from programs of this machine; with --ssh run beside it, where the program runs: "
            f"captool harvest --session-keys {shlex.quote(targets[0])} -o KEYS, and give KEYS to captool analyze"
        )


@contextmanager
def placed(plan: "Plan", remote: str | None, ports: tuple[int, ...]) -> "Iterator[Plan]":
    """The plan with the host that it is for, connected; as it is for this machine."""
    from captool.record.remote import connected, parse_address

    if remote is None:
        yield plan
        return
    interactive = sys.stdin.isatty() and sys.stderr.isatty()
    with connected(parse_address(remote), ports, plan.interfaces, time.time_ns, interactive=interactive) as host:
        from dataclasses import replace

        yield replace(plan, remote=host)


def stores_of(machines: tuple[Path, ...]) -> "tuple[tuple[Path, ...], Callable[[], tuple[Place, ...]]]":
    """The stores and the other places whose keys are kept: what --machines names, else all that `captool harvest` takes without DIR."""
    from captool.keys.stores import default_stores, override_places

    if machines:
        return machines, tuple
    return default_stores(os.environ), lambda: override_places(os.environ)


def put_secrets_in(trace: Path, keys: Path | None, packets: int) -> None:
    """Make the finished trace the one file that Wireshark opens decrypted; if that fails it stays as it was recorded."""
    from captool.errors import CaptoolError
    from captool.export.key_log import key_log_of
    from captool.export.pcapng import export_pcapng
    from captool.record.manifest import note_file

    try:
        lines = key_log_of(trace, [keys] if keys else [])
        export_pcapng([trace], lines, trace)
        note_file(trace)
    except (CaptoolError, OSError) as error:
        say(f"{trace}: stays in the form of pcap: {error}")
    else:
        if lines:
            say(f"{trace}: {counted(len(lines), 'secret')} inside: whoever has it can read it")
        elif packets:
            say(f"{trace}: no secret of its connections is known")
