"""When the clock behind a capture was set, as far as is known while it is being recorded."""

import time
from collections.abc import Callable
from typing import Final

from captool.capture.frames import Frames
from captool.capture.summary import ClockJump
from captool.findings.gaps import believed_connection
from captool.packets.decode import Decoder
from captool.packets.segments import Segments
from captool.packets.sender_clock import SenderClocks
from captool.tcp.connection import TcpConnection
from captool.units import SECOND_NS

JUMP_NS: Final = 5 * SECOND_NS  # as in packets/sender_clock.py: a jump ahead by less is none
SETTLED_NS: Final = SECOND_NS  # so long after a jump the senders' clocks are asked
MAX_TIMES: Final = 64


class CaptureClock:
    """Give it each chunk of packets, then ask what may be believed of a connection.

    The packets' own time tells that it was set back, the senders' clocks that it was set forward, as they tell `captool analyze`; and
    `was_set` does, where this machine's clock is the one. `window_ns` is that of the tracker. `monotonic_ns` tells how much time passed
    here between two chunks.
    """

    def __init__(self, window_ns: int, monotonic_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._window_ns, self._monotonic_ns = window_ns, monotonic_ns
        self._senders = SenderClocks()
        self._taken_ns = monotonic_ns()
        self._jumps: list[ClockJump] = []
        self._own_jumps: list[ClockJump] = []
        self._steps: list[int] = []
        self._steps_back = 0
        self._previous_ns = -1
        self._judged_ns: int | None = None
        self._doubted_ns: int | None = None
        self.latest_ns = -1

    def take(self, frames: Frames, segments: Segments, decoder: Decoder, before_ns: int) -> bool:
        """Take in a chunk, before which `before_ns` was the latest time (-1: none); whether it was set back in it."""
        now = self._monotonic_ns()
        ahead = decoder.end_ns - (before_ns if before_ns >= 0 else frames.ts_ns[0]) if frames.count else 0
        if ahead > JUMP_NS:
            self._judged_ns = decoder.end_ns + SETTLED_NS
            if now - self._taken_ns < ahead - JUMP_NS:  # no such time passed here since the last chunk
                self._doubted_ns = self._judged_ns
        self._taken_ns = now
        self._senders.add(frames, segments)
        back = int(decoder.clock_steps) - self._steps_back
        self._steps_back += back
        if back:
            self._step_back(frames)
        if frames.count:
            self._previous_ns = frames.ts_ns[frames.count - 1]
            self.latest_ns = self._previous_ns if self._steps_back else decoder.end_ns
        return back > 0

    def _step_back(self, frames: Frames) -> None:
        """Find the packets at which the chunk's time runs backwards, as the decoder counted them."""
        previous = self._previous_ns
        for row in range(frames.count):
            if previous - frames.ts_ns[row] > SECOND_NS:
                self._note_step(frames.first_packet + row)
            previous = frames.ts_ns[row]

    def _note_step(self, packet: int) -> None:
        self._steps = [*self._steps[1 - MAX_TIMES :], packet]

    def was_set(self, ahead_ns: int, packet: int) -> None:
        """The clock of this machine, which is that of the capture, was set by so much before this packet."""
        if ahead_ns > 0:
            self._own_jumps = [*self._own_jumps[1 - MAX_TIMES :], ClockJump(packet, ahead_ns, 1)]
        else:
            self._note_step(packet)

    def settled(self, now_ns: int, *, ended: bool = False) -> bool:
        """Whether nothing is awaited that would tell if the last jump was a time that passed, all packets up to `now_ns` being known."""
        if self._judged_ns is not None and (ended or now_ns > self._judged_ns):
            self._jumps = [jump for jump in self._senders.jumps() if jump.senders]
            self._judged_ns = None
        if self._doubted_ns is not None and (ended or now_ns > self._doubted_ns):
            self._doubted_ns = None
        return self._doubted_ns is None

    def believed(self, tcp: TcpConnection) -> TcpConnection:
        """The connection without the durations across which the clock was set."""
        if not (self._jumps or self._own_jumps or self._steps):
            return tcp
        return believed_connection(tcp, self._steps, (self._jumps, self._own_jumps), self._window_ns)
