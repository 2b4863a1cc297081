"""Which container output arrived: what was sent, against what the client's TCP acknowledged."""

from collections import deque
from typing import Final

from captool.direction import Moment
from captool.dockerapi.exchange import LostOutput
from captool.dockerapi.stdcopy import Payload

TEXT: Final = 200
MAX_SPANS: Final = 1024


class _Span:
    """Output of one piece, or of neighbours joined: its first piece ended at `first_end`, its last one at `stream_end`."""

    __slots__ = ("first", "first_end", "last", "stderr", "stdout", "stream_end", "text")

    def __init__(self, stream_end: int, moment: Moment, stdout: int, stderr: int, text: bytes) -> None:
        self.first_end = self.stream_end = stream_end
        self.first = self.last = moment
        self.stdout = stdout
        self.stderr = stderr
        self.text = text

    def join(self, later: "_Span") -> None:
        self.stream_end = max(self.stream_end, later.stream_end)
        self.last = later.last
        self.stdout += later.stdout
        self.stderr += later.stderr
        if len(self.text) < TEXT:
            self.text = (self.text + later.text)[:TEXT]


class OutputArrival:
    """Counts output and keeps what the client has not acknowledged yet.

    At most `MAX_SPANS` spans are kept: with more pieces than that on their way neighbours are joined, all alike, so that an
    acknowledgement is judged in coarser steps (never in the client's favour: a span is lost unless it arrived whole).
    """

    __slots__ = ("_pending", "_step", "last_output", "stderr_bytes", "stdout_bytes")

    def __init__(self) -> None:
        self.stdout_bytes = 0
        self.stderr_bytes = 0
        self.last_output: Moment | None = None
        self._pending: deque[_Span] = deque()
        self._step = 0

    def sent(self, payloads: list[Payload], moment: Moment, stream_end: int) -> None:
        """Output of one piece was seen on its way to the client."""
        stdout = stderr = 0
        text = b""
        for output, data in payloads:
            if output == "stdout":
                stdout += len(data)
            else:
                stderr += len(data)
            if len(text) < TEXT:
                text += data[: TEXT - len(text)]
        self.counted(stdout, stderr, text, moment, stream_end)

    def counted(self, stdout: int, stderr: int, text: bytes, moment: Moment, stream_end: int) -> None:
        """So many bytes of output, which begin with `text`, were seen on their way to the client."""
        if not stdout + stderr:
            return
        self.stdout_bytes += stdout
        self.stderr_bytes += stderr
        self._append(_Span(stream_end, moment, stdout, stderr, text))
        if len(self._pending) > MAX_SPANS:
            spans = self._pending
            reach = spans[-1].stream_end - spans[0].first_end
            self._step = max(2 * self._step, reach // (MAX_SPANS // 2) + 1)
            self._pending = deque()
            for span in spans:
                self._append(span)

    def _append(self, span: _Span) -> None:
        if self._pending and span.stream_end - self._pending[-1].first_end <= self._step:
            self._pending[-1].join(span)
        else:
            self._pending.append(span)

    def acknowledge(self, acknowledged: int | None) -> None:
        """The client has acknowledged its direction up to this offset; None: its acknowledgements cannot be seen."""
        pending = self._pending
        while pending and (acknowledged is None or pending[0].stream_end <= acknowledged):
            self.last_output = pending.popleft().last
        if not pending:
            self._step = 0

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
