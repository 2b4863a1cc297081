"""`captool follow`: what containers printed on the connections of a capture."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from captool.cli.command import command, option
from captool.cli.options import KEYS_HELP, PATH, STDOUT, key_password, key_password_option
from captool.cli.output import keep_inputs, say
from captool.cli.progress import progress_bar
from captool.errors import UsageError
from captool.export.private_file import private_file
from captool.units import size

if TYPE_CHECKING:
    from captool.findings.tables import Connection


@command(short_help="Show what the containers of a capture printed.")
@click.argument("trace", nargs=-1, required=True, type=PATH)
@option("-k", "--keys", multiple=True, type=PATH, metavar="PATH", help=KEYS_HELP)
@key_password_option
@option("--connection", type=click.IntRange(0), metavar="N", help="Only this connection. Default: all that carry container output.")
@option(
    "--raw",
    type=click.Choice(["to_server", "to_client"]),
    help="Instead: the application bytes of one direction of one connection, unchanged.",
)
@option("-o", "--output", type=PATH, metavar="FILE", help="Write to FILE; - is standard output, the default.")
def follow(
    trace: tuple[Path, ...],
    keys: tuple[Path, ...],
    key_password_file: Path | None,
    connection: int | None,
    raw: str | None,
    output: Path | None,
) -> None:
    """Show what the containers of TRACE printed, stdout and stderr apart, with times (- is standard input).

    Bytes that would act on a terminal are written as escapes, and output that the client never acknowledged is said to be so.
    With --raw the bytes come as they are, to a terminal only with -o -; without --connection it takes the one connection that carries
    container output.

    \b
    captool follow trace.pcap --keys keys
    captool follow trace.pcap --keys keys --connection 1 --raw to_client | less
    """  # noqa: D301
    from captool.direction import Direction
    from captool.report.transcript_text import TranscriptText
    from captool.transcript import Said, only_connection, plaintext, transcript

    if raw is not None and output is None and sys.stdout.isatty():
        raise UsageError("standard output is a terminal, on which the bytes of --raw may act; pipe them on, or write them with -o FILE")
    if output is not None:
        keep_inputs(output, filter(None, (*trace, *keys, key_password_file)))
    password = key_password(key_password_file)
    output = None if output == STDOUT else output
    with progress_bar(wanted=output is not None) as progress, destination(output) as file:
        if raw is None:
            heard = transcript(trace, keys, connection=connection, key_password=password, progress=progress)
            file.writelines(line.encode("utf-8", "backslashreplace") for line in TranscriptText().render(heard))
            return
        if connection is None and Path("-") in trace:
            raise UsageError("standard input can be read only once; name the connection with --connection N, or read from a file")
        number = only_connection(trace, keys, key_password=password) if connection is None else connection
        for said in plaintext(trace, Direction[raw.upper()], number, keys, key_password=password, progress=progress):
            if isinstance(said, Said):
                file.write(said.data)
            elif missing := what_is_missing(said):
                say(f"connection {number} is not complete: {missing}")


def what_is_missing(connection: "Connection") -> str | None:
    """Why the bytes of a connection are not all there, None where they are."""
    tls = connection.tls
    if tls is not None and tls.reason is not None:
        return f"{tls.reason}: {tls.detail or ''}"
    holes = sum(connection.tcp.stream_holes)
    return f"the capture lacks {size(holes)} of its streams" if holes else None


@contextmanager
def destination(output: Path | None) -> Iterator[BinaryIO]:
    """Standard output, or a file that is there whole or not at all, and only for its owner: it holds what TLS kept secret."""
    if output is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    with private_file(output) as file:
        yield file
