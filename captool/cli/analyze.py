"""`captool analyze`: what happened to the connections of a capture."""

import os
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from captool.cli.command import command, option
from captool.cli.interrupt import first_interrupt_noted
from captool.cli.options import KEYS_HELP, PATH, STDOUT, Duration, key_password, key_password_option
from captool.cli.output import forget_output, is_same_file, keep_inputs, say, width_of_output
from captool.cli.progress import progress_bar
from captool.cores import default_jobs
from captool.errors import NothingMatchedError, UsageError
from captool.units import SECOND_NS

if TYPE_CHECKING:
    from captool.analysis import Analysis

FINDINGS_FOUND = 1
SLOW_BYTES = 20_000_000


@command(short_help="Say what happened to each connection of a capture, and what to change.")
@click.argument("trace", nargs=-1, required=True, type=PATH)
@option("-k", "--keys", multiple=True, type=PATH, metavar="PATH", help=KEYS_HELP)
@key_password_option
@option(
    "--network", metavar="ID", help="Judge idle times by this middlebox of the catalogue, e.g. gcp-vpc, aws-nlb (see docs/middleboxes.md)."
)
@option("--idle-timeout", "idle_timeout_ns", type=Duration(), metavar="D", help="Judge idle times by this timeout, e.g. 600s, 10m.")
@option(
    "--timeouts",
    type=PATH,
    metavar="FILE",
    help="Middleboxes of your own, in TOML, on top of the catalogue (form: docs/middleboxes.md).",
)
@option(
    "--port",
    "ports",
    multiple=True,
    type=click.IntRange(1, 65535),
    metavar="N",
    help="Only connections to this server port (repeatable). Default: all; 2375 and 2376 are known as Docker's.",
)
@option(
    "--other-side",
    multiple=True,
    type=PATH,
    metavar="TRACE",
    help="The same connections as recorded at the other end of the path (repeatable: a rotated set). Shows which packets arrived.",
)
@option("--connection", type=click.IntRange(0), metavar="N", help="Show only this connection, in full.")
@option(
    "--follow",
    "following",
    is_flag=True,
    help="Read on while the last file and those beside it are being written (tcpdump -U), and in the next file of the set, until their "
    "writers close them (told to owner and to root) and begin no other, or Ctrl-C.",
)
@option("--duration", "duration_ns", type=Duration(), metavar="D", help="With --follow: report after this time at the latest.")
@option(
    "--format", "output_format", type=click.Choice(["text", "json"]), default="text", show_default=True, help="Form of the report."
)
@option("-o", "--output", type=PATH, metavar="FILE", help="Write the report to FILE; - is standard output, the default.")
@option(
    "--jobs",
    type=click.IntRange(1, 64),
    metavar="N",
    help="Processes that share the work on a large capture; the report is the same. Default: one for every two processor cores, since a "
    "process reads ahead, and decrypts, beside its work.",
)
@option(
    "--fail-on",
    metavar="LIST",
    help="Exit with 1 on findings of this severity or above (error, warning, info), or with these codes; comma-separated.",
)
def analyze(
    trace: tuple[Path, ...],
    keys: tuple[Path, ...],
    key_password_file: Path | None,
    network: str | None,
    idle_timeout_ns: int | None,
    timeouts: Path | None,
    ports: tuple[int, ...],
    other_side: tuple[Path, ...],
    connection: int | None,
    following: bool,  # noqa: FBT001 - a flag of the command line
    duration_ns: int | None,
    output_format: str,
    output: Path | None,
    jobs: int | None,
    fail_on: str | None,
) -> None:
    """Explain what happened to each connection of TRACE: a capture, a directory of captures, or - for standard input.

    Several are read as one capture in order of time: a rotated set, or what was recorded on several interfaces of one machine at the
    same time; packets are numbered through all of them. When standard input is a pipe or a file is followed, the first Ctrl-C ends the
    recording and not the report.

    Without --network and --idle-timeout every middlebox of the catalogue that an idle time would trip is named, nearest first.

    \b
    captool analyze trace.pcap --keys keys --network gcp-vpc
    captool analyze trace.pcap --fail-on silent-drop,missing-keepalive
    captool analyze server.pcap --other-side client.pcap
    tcpdump -U -i eth0 -w - tcp port 2376 | captool analyze -
    """  # noqa: D301
    wanted = fail_on_codes(fail_on)
    output = None if output == STDOUT else output
    from captool.analysis import analyze as run
    from captool.analysis import hot_path_compiled
    from captool.capture.source import STANDARD_INPUT

    if not hot_path_compiled() and sum(path.stat().st_size for path in trace if path.is_file()) > SLOW_BYTES:
        say("the hot path is not compiled, so this takes longer; reinstall captool with a C compiler at hand")
    if duration_ns is not None and not following:
        raise UsageError("--duration goes with --follow; leave it out, or follow a file that is being written")
    if twice := [other for other in other_side if any(is_same_file(other, path) for path in trace)]:
        raise UsageError(f"{twice[0]}: is the trace itself; --other-side takes what was recorded at the other end of the path")
    keep_inputs(output, filter(None, (*trace, *keys, *other_side, timeouts, key_password_file)))
    password = key_password(key_password_file)
    end_s = None if duration_ns is None else time.monotonic() + duration_ns / SECOND_NS
    piped = STANDARD_INPUT in trace
    said = "reading what was recorded; Ctrl-C again interrupts"
    with progress_bar() as progress, first_interrupt_noted(said, wanted=piped or following) as interrupted:

        def stopped() -> bool:
            return interrupted() or (end_s is not None and time.monotonic() >= end_s)

        wait = None
        if following:
            from captool.capture.growing import Following

            wait = Following(stopped, time.sleep, trace)
        analysis = run(
            trace,
            keys,
            network=network,
            idle_timeout_ns=idle_timeout_ns,
            ports=ports,
            key_password=password,
            other_side=other_side,
            timeouts=timeouts,
            wait=wait,
            jobs=jobs or default_jobs(),
            progress=progress,
        )
    from captool.record.manifest_file import cut_short

    for sentence in cut_short(map(Path, analysis.capture.files)):
        say(sentence)
    if connection is not None and connection not in {one.id for one in analysis.connections}:
        raise NothingMatchedError(
            f"there is no connection {connection}; the capture holds 0 to {max(one.id for one in analysis.connections)}"
        )
    others = analysis.other_side.capture.files if analysis.other_side else ()
    keep_inputs(output, map(Path, (*analysis.capture.files, *others)))  # those of a directory
    write(report_text(analysis, output_format, connection, to_terminal=output is None and sys.stdout.isatty()), output)
    found = any(finding.code in wanted or finding.severity in wanted for finding in analysis.findings)
    sys.exit(FINDINGS_FOUND if found else 0)  # to return would free all that was found, object by object (captool.__main__.leave)


def fail_on_codes(text: str | None) -> frozenset[str]:
    """The severities and codes that `--fail-on` names; a severity stands for itself and everything graver. Raises UsageError."""
    from captool.findings.finding import CODES, SEVERITIES

    names = [name.strip() for name in text.split(",")] if text is not None else []
    for name in names:
        if name not in CODES and name not in SEVERITIES:
            raise UsageError(f"--fail-on: there is no finding {name!r}; choose from {', '.join((*SEVERITIES, *CODES))}")
    graver = [severity for name in names if name in SEVERITIES for severity in SEVERITIES[: SEVERITIES.index(name) + 1]]
    return frozenset([*(name for name in names if name in CODES), *graver])


def report_text(analysis: "Analysis", output_format: str, connection: int | None, *, to_terminal: bool) -> str:
    """The report in the form asked for; as wide as the terminal, and coloured, where it goes to one."""
    if output_format == "json":
        from captool.report.json_report import render as render_json

        return render_json(analysis, connection)
    from captool.report.text import WIDTH, render

    width = width_of_output(WIDTH) if to_terminal else WIDTH
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return render(analysis, connection=connection, width=width, colour=to_terminal and not plain)


def write(text: str, output: Path | None) -> None:
    """Print the report, or put it into a file whole or not at all. Raises UsageError when the file cannot be written."""
    if output is None:
        try:
            sys.stdout.write(text)
            sys.stdout.flush()
        except BrokenPipeError:  # head has seen enough; what --fail-on asked for is still to be answered
            forget_output()
        return
    from captool.export.private_file import NAME_KEPT

    unfinished = output.with_name(f".{output.name[:NAME_KEPT]}.{os.getpid()}.part")
    try:
        if output.exists() and not output.is_file():  # /dev/null, a named pipe: to be written to, never replaced
            output.write_text(text, encoding="utf-8")
            return
        unfinished.write_text(text, encoding="utf-8")
        unfinished.replace(output)
    except OSError as error:
        with suppress(OSError):
            unfinished.unlink()
        reason = (error.strerror or str(error)).lower()
        raise UsageError(f"{output}: cannot write the report: {reason}; choose another place with -o") from None
