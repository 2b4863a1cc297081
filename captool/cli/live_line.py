"""The line that `captool record` keeps up to date on a terminal."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from captool.cli.output import say
from captool.units import counted, size

if TYPE_CHECKING:
    from captool.record.plan import Plan, Progress


class Shown(NamedTuple):
    """What to call when the recording has started, with its progress, with a line to print, and with a sentence of talk.

    There is a line that is kept up to date on a terminal only, and everything else is printed above it. Elsewhere `progress` and `above`
    are None.
    """

    started: Callable[[], None]
    progress: "Callable[[Progress], None] | None"
    above: Callable[[str], None] | None
    say: Callable[[str], None]


@contextmanager
def live_line(plan: "Plan", ports: tuple[int, ...]) -> Iterator[Shown]:
    """Show how the recording gets on."""
    about = f"recording on {plan.place} ({plan.filter.shown}) to {plan.output}"
    if not sys.stderr.isatty():
        yield Shown(lambda: say(about), None, None, say)
        return
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    from captool.record.silence import SilenceWatch
    from captool.report.printable import printable

    silence = None if plan.remote else SilenceWatch(ports, plan.namespace)
    console = Console(stderr=True, highlight=False)
    with Live("", console=console, auto_refresh=False, transient=True, redirect_stdout=False) as live:

        def above(line: str) -> None:
            console.print(Text(line), soft_wrap=True)

        def talk(sentence: str) -> None:
            above(f"captool: {printable(sentence)}")

        def started() -> None:
            talk(f"{about}; stop with Ctrl-C")
            if silence is not None:
                silence.start()

        def progress(now: "Progress") -> None:
            minutes, seconds = divmod(now.elapsed_ns // 1_000_000_000, 60)
            state = f"{minutes // 60:02}:{minutes % 60:02}:{seconds:02}  {counted(now.packets, 'packet')}  {size(now.size)}"
            if now.dropped is not None:
                state += f"  {now.dropped:,} dropped"
            if silence is not None and (seen := silence.latest).connections:
                state += f"  {counted(seen.connections, 'connection')}  {seen.sentence()}"
            live.update(Text(state), refresh=True)

        try:
            yield Shown(started, progress, above, talk)
        finally:
            if silence is not None:
                silence.stop()
