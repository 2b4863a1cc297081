"""A progress bar for large captures."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from captool.connections import Progress

PROGRESS_BYTES = 50_000_000


@contextmanager
def progress_bar(*, wanted: bool = True) -> Iterator["Progress | None"]:
    """A progress bar on stderr for large captures, and only on a terminal; for others nothing is imported and nothing written."""
    if not (wanted and sys.stderr.isatty()):
        yield None
        return
    begun: list[Progress] = []
    with ExitStack() as until_done:

        def advance(done: int, total: int) -> None:
            if not begun and total >= PROGRESS_BYTES:
                begun.append(until_done.enter_context(_bar()))
            if begun:
                begun[0](done, total)

        yield advance


@contextmanager
def _bar() -> Iterator["Progress"]:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
