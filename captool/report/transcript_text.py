"""Container output for a terminal: one line of output a line, with time and stream in front. Nothing from the wire acts on the terminal."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from captool.direction import Moment
from captool.findings.silence import shortened
from captool.findings.tables import Connection
from captool.report.printable import clock, printable, printable_bytes, utc
from captool.transcript import Printed
from captool.units import missing_output, size

# A line that does not end (a progress bar, binary output) is shown in parts of this many bytes.
MAX_LINE: Final = 4096


@dataclass(slots=True)
class _Line:
    """The beginning of a line that has not ended yet."""

    moment: Moment
    request: str
    data: bytes = b""


class TranscriptText:
    """Makes the lines. A heading names connection, day and request whenever they are others than those of the line before."""

    def __init__(self) -> None:
        self._lines: dict[tuple[int, int, str], _Line] = {}
        self._heading = ""

    def render(self, heard: Iterable[Printed | Connection]) -> Iterator[str]:
        """The text, line by line, each with its end. A connection that ended brings what was left of its lines, and what was lost."""
        for one in heard:
            if isinstance(one, Printed):
                yield from self._printed(one)
            else:
                for key in [key for key in self._lines if key[0] == one.id]:
                    yield from self._shown(key, self._lines.pop(key))
                yield from self._lost(one)

    def _printed(self, printed: Printed) -> Iterator[str]:
        output = printed.output
        key = (printed.connection, output.exchange, output.stream)
        if output.stream == "hole":
            for begun in [key for key in self._lines if key[:2] == (printed.connection, output.exchange)]:
                yield from self._shown(begun, self._lines.pop(begun))
            yield from self._headed(printed.connection, output.moment, output.request)
            missing = missing_output(output.missing, output.of_stdout, output.of_stderr)
            missing = f" ({missing})" if missing else ""
            yield f"{clock(output.moment.ts_ns)}  the capture lacks what was printed before this{missing}\n"
            return
        for part in _at_newlines(output.data):
            line = self._lines.pop(key, None) or _Line(output.moment, output.request)
            line.data += part
            if line.data.endswith(b"\n") or len(line.data) >= MAX_LINE:
                yield from self._shown(key, line)
            else:
                self._lines[key] = line

    def _shown(self, key: tuple[int, int, str], line: _Line) -> Iterator[str]:
        connection, _, stream = key
        yield from self._headed(connection, line.moment, line.request)
        text = line.data.removesuffix(b"\n").removesuffix(b"\r")
        for start in range(0, len(text) or 1, MAX_LINE):
            yield f"{clock(line.moment.ts_ns)}  {stream:<6}  {printable_bytes(text[start : start + MAX_LINE])}\n"

    def _headed(self, connection: int, moment: Moment, request: str) -> Iterator[str]:
        heading = f"connection {connection}  {utc(moment.ts_ns)[:10]} UTC  {printable(shortened(request))}"
        if heading != self._heading:
            yield f"{chr(10) if self._heading else ''}{heading}\n"
            self._heading = heading

    def _lost(self, connection: Connection) -> Iterator[str]:
        for exchange in connection.exchanges:
            lost = exchange.stream.lost if exchange.stream else None
            if lost is not None:
                yield from self._headed(connection.id, lost.first, f"{exchange.http.method} {exchange.http.target}")
                parts = f"stdout {size(lost.stdout_bytes)}, stderr {size(lost.stderr_bytes)}"
                yield f"the client never acknowledged what was printed from {clock(lost.first.ts_ns)} on ({parts})\n"


def _at_newlines(data: bytes) -> list[bytes]:
    """The lines, each with its newline; a carriage return alone belongs to its line, as in a progress bar."""
    lines = [part + b"\n" for part in data.split(b"\n")]
    last = lines.pop().removesuffix(b"\n")
    return [*lines, last] if last else lines
