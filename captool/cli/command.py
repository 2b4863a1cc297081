"""Commands and options of click's whose help is written as it is to be shown.

click looks for indentation in every help text, and imports `inspect` for it, which takes a fifteenth of the time of a small run; here only
those who ask for help wait for it (`captool.cli.import_later`).
"""

from functools import partial
from typing import Any, Final

import click


class Option(click.Option):
    """An option; `help` is one line without indentation."""

    def __init__(self, *names: Any, help: str | None = None, **settings: Any) -> None:  # noqa: A002, ANN401 - click's own signature
        super().__init__(*names, **settings)
        self.help = help


def show_help(context: click.Context, _param: click.Parameter, value: bool) -> None:  # noqa: FBT001
    """Print the help of the command, then leave."""
    if value and not context.resilient_parsing:
        click.echo(context.get_help(), color=context.color)
        context.exit()


HELP: Final = Option(
    ["-h", "--help"], is_flag=True, is_eager=True, expose_value=False, callback=show_help, help="Show this message and exit."
)


class Command(click.Command):
    """A command."""

    def get_help_option(self, ctx: click.Context) -> click.Option:  # noqa: ARG002
        """What shows its help."""
        return HELP


command = partial(click.command, cls=Command)
option = partial(click.option, cls=Option)
