"""`captool harvest`: the keys of docker-machine copied to where they outlive their machine."""

import os
import signal
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from captool.cli.command import command, option
from captool.cli.options import DOCKER_TLS_PORT, PATH
from captool.cli.output import say
from captool.errors import KeyMaterialError, NothingMatchedError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from captool.keys.bundle import Generation
    from captool.keys.place import Place


@command(short_help="Keep the TLS keys of docker-machine before a machine is gone.")
@click.argument("directories", metavar="[DIR]...", nargs=-1, type=PATH)
@option("-o", "--output", required=True, type=PATH, metavar="KEYS", help="Directory of the bundle; made if need be.")
@option("--watch", is_flag=True, help="Stay, and keep the keys of every machine that appears, until Ctrl-C.")
@option(
    "--session-keys",
    "targets",
    multiple=True,
    metavar="PROGRAM|PID|auto",
    help="Instead: write the TLS session keys of this Go program to the key log KEYS until Ctrl-C. Needs root; repeatable.",
)
def harvest(directories: tuple[Path, ...], output: Path, watch: bool, targets: tuple[str, ...]) -> None:  # noqa: FBT001
    """Keep the TLS keys of docker-machine before a machine is removed, and those of Docker's client and daemon.

    DIR is docker-machine's storage, its machines directory, or one machine; a docker context store, a directory with ca.pem, cert.pem and
    key.pem, /etc/docker, or the /certs of docker:dind. Without DIR all of these are taken that exist: MACHINE_STORAGE_PATH or
    ~/.docker/machine, the files of MACHINE_TLS_*, DOCKER_CONFIG or ~/.docker with its contexts, DOCKER_CERT_PATH, /etc/docker, /certs.
    Certificates and keys are copied, of config.json only harmless fields (it holds cloud credentials); a CA's private key never.
    Repeat the command as often as you like: keys that changed become a new generation, and nothing is ever overwritten.

    \b
    captool harvest -o keys
    captool harvest --watch -o keys             # machines that come and go; their removal is recorded
    captool analyze trace.pcap --keys keys
    captool harvest --session-keys docker -o keys.log
    """  # noqa: D301
    if targets:
        if directories or watch:
            raise UsageError("--session-keys takes no directory and no --watch; run `captool harvest DIR -o KEYS` for the keys on disk")
        take_until_stopped(targets, output)
        return
    from captool.keys.harvest import harvest as run
    from captool.keys.stores import override_places

    def overrides() -> "tuple[Place, ...]":
        return () if directories else override_places(os.environ)

    sources = directories or default_sources(needed=not overrides())
    if watch:
        watch_until_stopped(sources, output, overrides)
        return
    report = run(sources, output, time.time_ns(), overrides())
    for problem in report.problems:
        say(problem)
    for one in report.generations:
        click.echo(line_of(one))
    if not report.generations:
        where = ", ".join(str(source) for source in sources) or "the files of MACHINE_TLS_*"
        if report.problems:
            raise KeyMaterialError(f"no machine in {where} has a usable key")
        raise NothingMatchedError(
            f"no machine of docker-machine in {where}, and no other TLS keys of Docker; "
            "name the directory with them: captool harvest DIR -o KEYS"
        )


def line_of(one: "Generation") -> str:
    """A generation as a line of tab-separated words."""
    from captool.report.printable import printable

    state = "new" if one.new else "unchanged"
    about = (one.machine.name, one.machine.driver or "-", one.machine.ip or "-", f"generation {one.number}", state)
    return "\t".join(printable(word) for word in about)


def watch_until_stopped(sources: tuple[Path, ...], output: Path, overrides: "Callable[[], tuple[Place, ...]]") -> None:
    """Keep what appears until SIGINT, SIGTERM or SIGHUP; then a summary. `overrides` are asked for again and again."""
    from captool.keys.watch import Watcher
    from captool.units import counted

    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: stop.set())

    watcher = Watcher(
        sources,
        output,
        clock_ns=time.time_ns,
        monotonic_ns=time.monotonic_ns,
        say=say,
        told=lambda one: click.echo(line_of(one)) if one.new else None,
        extra=overrides,
    )
    named = (*sources, *(file for place in overrides() for file in place.files.values()))
    say(f"watching {', '.join(map(str, named))}; stop with Ctrl-C")
    done = watcher.run(stop)
    missed = f"; {counted(len(done.missed), 'directory', 'directories')} gone before a key could be read" if done.missed else ""
    say(f"{counted(done.kept, 'new generation')}, {done.unchanged} known, {done.removed} removed meanwhile{missed}")
    if not done.kept and not done.unchanged:
        raise NothingMatchedError("no machine with a usable key appeared meanwhile")


def default_sources(*, needed: bool) -> tuple[Path, ...]:
    """Every store of TLS material that this machine has. Raises UsageError where there is none and one is `needed`."""
    from captool.keys.stores import default_stores

    if (stores := default_stores(os.environ)) or not needed:
        return stores
    raise UsageError(
        "no docker-machine storage, ~/.docker, DOCKER_CERT_PATH, /etc/docker or /certs here; name a directory: captool harvest DIR -o KEYS"
    )


def take_until_stopped(words: tuple[str, ...], output: Path) -> None:
    """Write session keys to `output` (in a directory: to session-keys.log) until SIGINT, SIGTERM or SIGHUP."""
    from captool.keys.key_file import is_directory
    from captool.session_keys.key_log import FILE_NAME
    from captool.session_keys.taker import take_session_keys
    from captool.session_keys.targets import parse_targets
    from captool.units import counted

    key_log = output / FILE_NAME if is_directory(output) else output
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: stop.set())

    with take_session_keys(parse_targets(words), key_log, ports=(DOCKER_TLS_PORT,), clock_ns=time.time_ns, say=say) as taker:
        if taker.failure is None:
            stop.wait()
    if taker.failure is not None:
        raise SystemExit(taker.failure.exit_code)  # the reason has been said
    taken = taker.summary
    if not taken.secrets:
        raise NothingMatchedError("no program has made a TLS connection meanwhile; no session keys were taken")
    say(f"session keys: {counted(taken.secrets, 'secret')} of {counted(taken.sessions, 'TLS session')} in {key_log}")
