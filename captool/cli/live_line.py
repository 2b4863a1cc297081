"""The line that `captool record` keeps up to date on a terminal."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from captool.cli.output import say
from captool.units import counted, size

if TYPE_CHECKING:
    from captool.record.plan import Plan, Progress


@contextmanager
def live_line(
    plan: "Plan", ports: tuple[int, ...]
) -> Iterator[tuple[Callable[[], None], "Callable[[Progress], None] | None", Callable[[str], None] | None]]:
    """What is said when the recording has started, a line that is kept up to date, and what prints another one above it.

    The last two on a terminal only.
    """
    about = f"recording on {plan.place} ({plan.expression}) to {plan.output}"
    if not sys.stderr.isatty():
        yield (lambda: say(about)), None, None
        return
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    from captool.record.silence import SilenceWatch
    from captool.report.printable import printable

    silence = None if plan.remote else SilenceWatch(ports, plan.namespace)
    console = Console(stderr=True, highlight=False)
    with Live("", console=console, auto_refresh=False, transient=True, redirect_stdout=False) as live:

        def started() -> None:
            console.print(Text(f"captool: {printable(about)}; stop with Ctrl-C"))
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
            yield started, progress, lambda text: console.print(Text(text), soft_wrap=True)
        finally:
            if silence is not None:
                silence.stop()
