"""`captool harvest`: the keys of docker-machine copied to where they outlive their machine."""

import os
import time
from pathlib import Path

import click

from captool.errors import KeyMaterialError, NothingMatchedError, UsageError


@click.command()
@click.argument("directories", metavar="[DIR]...", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path), metavar="KEYS", help="Directory of the bundle; made if need be."
)
def harvest(directories: tuple[Path, ...], output: Path) -> None:
    """Keep the TLS keys of docker-machine before a machine is removed.

    DIR is docker-machine's storage, its machines directory, or one machine; without DIR it is MACHINE_STORAGE_PATH or
    ~/.docker/machine. Certificates and keys are copied, of config.json only harmless fields (it holds cloud credentials).
    Repeat the command as often as you like: keys that changed become a new generation, and nothing is ever overwritten.

    \b
    captool harvest -o keys
    captool analyze trace.pcap --keys keys
    """  # noqa: D301
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
    """docker-machine's own storage. Raises UsageError where there is none."""
    from captool.keys.machine_store import default_storage

    storage = default_storage(os.environ)
    if storage is None or not storage.is_dir():
        missing = f" ({storage} does not exist)" if storage else ""
        raise UsageError(f"no docker-machine storage here{missing}; name a directory: captool harvest DIR -o KEYS")
    return (storage,)
