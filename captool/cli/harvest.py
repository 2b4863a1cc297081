"""`captool harvest`: the keys of docker-machine copied to where they outlive their machine."""

import os
import signal
import threading
import time
from pathlib import Path

import click

from captool.cli.options import DOCKER_TLS_PORT
from captool.errors import KeyMaterialError, NothingMatchedError, UsageError


@click.command()
@click.argument("directories", metavar="[DIR]...", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path), metavar="KEYS", help="Directory of the bundle; made if need be."
)
@click.option(
    "--session-keys",
    "targets",
    multiple=True,
    metavar="PROGRAM|PID|auto",
    help="Instead: write the TLS session keys of this Go program to the key log KEYS until Ctrl-C. Needs root; repeatable.",
)
def harvest(directories: tuple[Path, ...], output: Path, targets: tuple[str, ...]) -> None:
    """Keep the TLS keys of docker-machine before a machine is removed.

    DIR is docker-machine's storage, its machines directory, or one machine; without DIR it is MACHINE_STORAGE_PATH or
    ~/.docker/machine. Certificates and keys are copied, of config.json only harmless fields (it holds cloud credentials).
    Repeat the command as often as you like: keys that changed become a new generation, and nothing is ever overwritten.

    \b
    captool harvest -o keys
    captool analyze trace.pcap --keys keys
    captool harvest --session-keys docker -o keys.log
    """  # noqa: D301
    if targets:
        if directories:
            raise UsageError("--session-keys takes no directory; run `captool harvest DIR -o KEYS` for the keys on disk")
        take_until_stopped(targets, output)
        return
    from captool.keys.harvest import harvest as run
    from captool.report.printable import printable

    sources = directories or default_sources()
    report = run(sources, output, time.time_ns())
    for problem in report.problems:
        click.echo(f"captool: {printable(problem)}", err=True)
    for one in report.generations:
        about = (
            one.machine.name,
            one.machine.driver or "-",
            one.machine.ip or "-",
            f"generation {one.number}",
            "new" if one.new else "unchanged",
        )
        click.echo("\t".join(printable(word) for word in about))
    if not report.generations:
        where = ", ".join(str(source) for source in sources)
        if report.problems:
            raise KeyMaterialError(f"no machine in {where} has a usable key")
        raise NothingMatchedError(f"no machine of docker-machine in {where}")


def default_sources() -> tuple[Path, ...]:
    """Every store of TLS material that this machine has. Raises UsageError where there is none."""
    from captool.keys.stores import default_stores

    if stores := default_stores(os.environ):
        return stores
    raise UsageError(
        "no docker-machine storage, ~/.docker, DOCKER_CERT_PATH, /etc/docker or /certs here; name a directory: captool harvest DIR -o KEYS"
    )


def take_until_stopped(words: tuple[str, ...], output: Path) -> None:
    """Write session keys to `output` (in a directory: to session-keys.log) until SIGINT, SIGTERM or SIGHUP."""
    from captool.report.printable import printable
    from captool.session_keys.key_log import FILE_NAME
    from captool.session_keys.taker import take_session_keys
    from captool.session_keys.targets import parse_targets
    from captool.units import counted

    key_log = output / FILE_NAME if output.is_dir() else output
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: stop.set())

    def say(sentence: str) -> None:
        click.echo(f"captool: {printable(sentence)}", err=True)

    with take_session_keys(parse_targets(words), key_log, ports=(DOCKER_TLS_PORT,), clock_ns=time.time_ns, say=say) as taker:
        if taker.failure is None:
            stop.wait()
    if taker.failure is not None:
        raise SystemExit(taker.failure.exit_code)  # the reason has been said
    taken = taker.summary
    if not taken.secrets:
        raise NothingMatchedError("no program has made a TLS connection meanwhile; no session keys were taken")
    say(f"session keys: {counted(taken.secrets, 'secret')} of {counted(taken.sessions, 'TLS session')} in {key_log}")
