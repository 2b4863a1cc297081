"""Ctrl-C while a capture is still coming in: the first ends the reading and gives the report, the second interrupts."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from captool.cli.output import say


@contextmanager
def first_interrupt_noted(said: str, *, wanted: bool = True) -> Iterator[Callable[[], bool]]:
    """Gives a function that says whether Ctrl-C was pressed; `said` goes to standard error then."""
    noted: list[int] = []
    if not wanted:
        yield lambda: False
        return
    import signal

    def note(number: int, _frame: FrameType | None) -> None:
        noted.append(number)
        signal.signal(signal.SIGINT, before)
        say(said)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield lambda: bool(noted)
    finally:
        signal.signal(signal.SIGINT, before)
