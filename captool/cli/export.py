"""`captool export`: a capture in a form that other programs read, with the secrets that open it."""

import sys
from pathlib import Path

import click

from captool.cli.command import command, option
from captool.cli.options import KEYS_HELP, PATH, STDOUT, key_password, key_password_option
from captool.cli.output import keep_inputs, say
from captool.cli.progress import progress_bar
from captool.errors import NothingMatchedError, UsageError
from captool.units import counted


@command(short_help="Write a capture with its secrets, for Wireshark.")
@click.argument("trace", nargs=-1, required=True, type=PATH)
@option("-k", "--keys", multiple=True, type=PATH, metavar="PATH", help=KEYS_HELP)
@key_password_option
@option(
    "--to",
    "form",
    type=click.Choice(["pcapng", "keylog"]),
    required=True,
    help="pcapng: the packets with their secrets in front, which Wireshark opens decrypted. keylog: the secrets alone (SSLKEYLOGFILE).",
)
@option(
    "-o",
    "--output",
    required=True,
    type=PATH,
    metavar="FILE",
    help="The file; - is standard output.",
)
def export(trace: tuple[Path, ...], keys: tuple[Path, ...], key_password_file: Path | None, form: str, output: Path) -> None:
    """Write TRACE for Wireshark and other programs, with the secrets of its own TLS connections and no others.

    Several files, or a directory of them, are one capture. Private keys never leave: what they open is written as the session's
    master secret. FILE is readable for its owner only, and whoever gets it can read the decrypted connections.

    \b
    captool export trace.pcap --keys keys --to pcapng -o trace.pcapng
    captool export trace.pcap --keys keys --to keylog -o keys.log
    """  # noqa: D301
    from captool.export.key_log import key_log_of, key_log_text, write_key_log
    from captool.export.pcapng import export_pcapng, write_pcapng

    to_stdout = output == STDOUT
    refuse_what_cannot_be_done(trace, form, output)
    files = (inner for path in trace if path.is_dir() for inner in path.iterdir())
    keep_inputs(None if to_stdout else output, filter(None, (*trace, *keys, key_password_file, *files)))
    password = key_password(key_password_file)
    with progress_bar(wanted=not to_stdout) as progress:
        lines = key_log_of(trace, keys, key_password=password, progress=progress)
        if not lines:
            named = ", ".join(map(str, trace))
            raise NothingMatchedError(
                f"{named}: no secret of its TLS connections is known; captool analyze {named} says why, for each connection"
            )
        notes: tuple[str, ...] = ()
        if form == "keylog":
            if to_stdout:
                sys.stdout.buffer.write(key_log_text(lines))
            else:
                write_key_log(output, lines)
        elif to_stdout:
            notes = write_pcapng(list(trace), lines, sys.stdout.buffer, progress).notes
        else:
            notes = export_pcapng(list(trace), lines, output, progress).notes
    for note in notes:
        say(note)
    if to_stdout:
        sys.stdout.buffer.flush()
    else:
        say(f"{output}: {counted(len(lines), 'secret')} inside: whoever has it can read it")


def refuse_what_cannot_be_done(trace: tuple[Path, ...], form: str, output: Path) -> None:
    """Raises UsageError for a trace that cannot be read twice, and for an output that must not be a terminal."""
    from captool.capture.source import STANDARD_INPUT

    for path in trace:
        if path == STANDARD_INPUT or (path.exists() and not path.is_file() and not path.is_dir()):
            raise UsageError(f"{path}: a pipe can be read only once, and secrets are looked for first; write it to a file")
    if output == STDOUT and form == "pcapng" and sys.stdout.isatty():
        raise UsageError("standard output is a terminal; write the pcapng to a file with -o FILE, or pipe it into wireshark -k -i -")
