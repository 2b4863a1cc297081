"""Which container output arrived: what was sent, against what the client's TCP acknowledged."""

from collections import deque
from dataclasses import dataclass
from typing import Final

from captool.direction import Moment
from captool.dockerapi.exchange import LostOutput
from captool.dockerapi.stdcopy import Payload

TEXT: Final = 200
MAX_SPANS: Final = 1024


@dataclass(slots=True)
class _Span:
    """Output whose last byte needs an acknowledgement up to `stream_end`."""

    stream_end: int
    first: Moment
    last: Moment
    stdout: int
    stderr: int
    text: bytes


class OutputArrival:
    """Counts output and keeps what the client has not acknowledged yet.

    At most `MAX_SPANS` spans are kept: over that, neighbours are joined, so that with more than that many pieces on their way
    a partial acknowledgement is judged in coarser steps (never in the client's favour: a span is lost unless it arrived whole).
    """

    __slots__ = ("_pending", "_reached", "last_output", "stderr_bytes", "stdout_bytes")

    def __init__(self) -> None:
        self.stdout_bytes = 0
        self.stderr_bytes = 0
        self.last_output: Moment | None = None
        self._reached = 0
        self._pending: deque[_Span] = deque()

    def sent(self, payload: Payload, moment: Moment, stream_end: int) -> None:
        """Output was seen on its way to the client."""
        output, data = payload
        size = len(data)
        if not size:
            return
        stdout = size if output == "stdout" else 0
        self.stdout_bytes += stdout
        self.stderr_bytes += size - stdout
        newest = self._pending[-1] if self._pending else None
        if newest is not None and newest.stream_end == stream_end:
            newest.stdout += stdout
            newest.stderr += size - stdout
            newest.last = moment
            if len(newest.text) < TEXT:
                newest.text += data[: TEXT - len(newest.text)]
            return
        if len(self._pending) >= MAX_SPANS:
            self._join_neighbours()
        self._pending.append(_Span(stream_end, moment, moment, stdout, size - stdout, data[:TEXT]))

    def acknowledge(self, acknowledged: int | None) -> None:
        """The client has acknowledged its direction up to this offset; None: its acknowledgements cannot be seen."""
        pending = self._pending
        while pending and (acknowledged is None or pending[0].stream_end <= acknowledged):
            self.last_output = pending.popleft().last

    def lost(self) -> LostOutput | None:
        """What was sent and not acknowledged, None when everything was."""
        pending = self._pending
        if not pending:
            return None
        text = b""
        for span in pending:
            text += span.text[: TEXT - len(text)]
            if len(text) == TEXT:
                break
        stdout = sum(span.stdout for span in pending)
        return LostOutput(stdout, sum(span.stderr for span in pending), pending[0].first, text)

    def _join_neighbours(self) -> None:
        joined: deque[_Span] = deque()
        for place, span in enumerate(self._pending):
            if place % 2 == 0:
                joined.append(span)
                continue
            before = joined[-1]
            before.stream_end = span.stream_end
            before.last = span.last
            before.stdout += span.stdout
            before.stderr += span.stderr
            before.text = (before.text + span.text)[:TEXT]
        self._pending = joined
