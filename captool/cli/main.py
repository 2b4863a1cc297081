"""`captool`: the group of commands, and the one place where an expected failure becomes a line and an exit code."""

import os
import sys
from importlib import import_module
from io import TextIOWrapper
from typing import Any

import click

from captool import __version__
from captool.cli.command import HELP, option
from captool.cli.output import IN_PLAIN_LETTERS, NO_ROOM, OutputClosedError, forget_output, open_standard_streams, say
from captool.errors import CaptoolError, CaptureError, UsageError

COMMANDS = {
    "analyze": "captool.cli.analyze",
    "doctor": "captool.cli.doctor",
    "export": "captool.cli.export",
    "follow": "captool.cli.follow",
    "harvest": "captool.cli.harvest",
    "keys": "captool.cli.keys",
    "record": "captool.cli.record",
}
INTERRUPTED = 130

EXAMPLES = (
    ("captool record -i eth0 -w trace.pcap", "record TCP port 2376 and the keys of docker-machine beside it"),
    ("captool record --session-keys auto", "... and the session keys of docker, dockerd and other Go programs"),
    ("captool record --ssh root@10.77.2.2", "... on another machine, where tcpdump is and nothing else"),
    ("captool harvest -o keys", "keep the TLS keys of docker-machine before a machine is removed"),
    ("captool harvest --watch -o keys", "... and of machines that come and go meanwhile"),
    ("captool analyze trace.pcap --keys keys", "what happened to each connection, and what to change"),
    ("captool follow trace.pcap --keys keys", "what the containers printed"),
    ("captool export trace.pcap --keys keys --to pcapng -o one.pcapng", "capture and secrets in one file, for Wireshark"),
    ("captool keys keys --trace trace.pcap", "which key opens which connection"),
    ("captool doctor", "which live connections will be cut, without a capture"),
)
EXAMPLE_ROOM = 40  # columns for the commands; a longer one has its explanation below
EPILOG = """\
Exit codes: 0 done; 1 findings at or above --fail-on; 2 usage, or an output that cannot be written; 3 input unreadable or a named key file
unusable; 4 nothing matched; 5 a tool or a privilege is missing, or a host does not answer; 130 interrupted."""


class LazyGroup(click.Group):
    """A group whose commands are imported when they are asked for, so that `--help` answers at once."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """The commands in alphabetical order."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """The command object of that name, None if there is no such command."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(import_module(COMMANDS[cmd_name]), cmd_name)
        return command

    def get_help_option(self, ctx: click.Context) -> click.Option:  # noqa: ARG002
        """What shows the help."""
        return HELP

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that is named first. Raises UsageError, with the one that was probably meant."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            from difflib import get_close_matches

            meant = get_close_matches(args[0], COMMANDS, 1)
            if not meant or "Did you mean" in error.message:  # newer releases of click say it
                raise
            raise click.UsageError(f"{error.message.rstrip('.')}. Did you mean {meant[0]!r}?", ctx) from None

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The question, then examples beside what they are for, as wide as the terminal."""
        super().format_help_text(ctx, formatter)
        with formatter.section("Examples"):
            formatter.write_dl(EXAMPLES, col_max=min(EXAMPLE_ROOM, formatter.width // 2))

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any  # noqa: ANN401
    ) -> click.Context:
        """The context; --help and --version print while it is made. Raises OutputClosedError when nobody reads that any more."""
        try:
            return super().make_context(info_name, args, parent, **extra)
        except BrokenPipeError:
            raise OutputClosedError from None

    def invoke(self, ctx: click.Context) -> object:
        """Run the command. Raises OutputClosedError when nobody reads what it prints any more."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise OutputClosedError from None


def show_version(ctx: click.Context, _param: click.Parameter, value: bool) -> None:  # noqa: FBT001
    """Print the version and whether the hot path is compiled, then leave."""
    if value and not ctx.resilient_parsing:
        from captool.analysis import hot_path_compiled

        hot_path = "compiled" if hot_path_compiled() else "not compiled (slower; reinstall with a C compiler)"
        click.echo(f"captool {__version__}, Python {sys.version.split()[0]}, hot path {hot_path}")
        ctx.exit()


@click.group(cls=LazyGroup, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@option("--version", is_flag=True, expose_value=False, is_eager=True, callback=show_version, help="Show the version and exit.")
def cli() -> None:
    """Why did that Docker stream die? Record its traffic, keep its keys, and read the answer from the capture."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; expected failures are one line on stderr and an exit code, anything else is a bug."""
    open_standard_streams()
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors=IN_PLAIN_LETTERS)  # a terminal that cannot show a character must not end the report
    try:
        sys.exit(cli(arguments, prog_name="captool", standalone_mode=False))
    except (click.exceptions.Abort, KeyboardInterrupt):
        say("interrupted")
        sys.exit(INTERRUPTED)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except CaptoolError as error:
        sys.exit(told(error))
    except (BrokenPipeError, OutputClosedError):
        forget_output()
        sys.exit(0)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        if error.filename is None and error.errno in NO_ROOM:
            forget_output()
            sys.exit(told(UsageError(f"the output cannot be written: {reason}; make room, or write elsewhere")))
        if not isinstance(error, PermissionError) or error.filename is None:
            raise
        sys.exit(told(CaptureError(f"{os.fsdecode(error.filename)}: {reason}; let this user into its directory, or run as root")))


def told(error: CaptoolError) -> int:
    """Say what went wrong in one line; gives the exit code."""
    say(str(error))
    return error.exit_code


if __name__ == "__main__":
    main()
