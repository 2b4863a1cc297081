"""Open connections to the recorded ports while recording, and the one that has been silent for longest: sock_diag(7)."""

import os
import threading
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from captool.record.namespace import NetworkNamespace
from captool.session_keys.live_sockets import ESTABLISHED, SOCKET_TIMER, LiveSocket, live_sockets
from captool.session_keys.open_connections import shown_end
from captool.units import SECOND_NS, counted, seconds

LOOK_S: Final = 2.0
MARGIN_NS: Final = 1 * SECOND_NS  # an ACK of the last data comes later than the data


@dataclass(frozen=True, slots=True)
class Silence:
    """How many connections are open, and about the longest silent one: its ends, for how long no data came or went, its probes.

    `next_probe_ns` is None where no keepalive timer runs at this end. `heard_ago_ns` is the time since the last ACK if that came
    after the last data: a probe of the other side, or an answer to one of this side. `unanswered` probes of this side are still to be
    answered.
    """

    connections: int
    local: tuple[str, int] | None = None
    remote: tuple[str, int] | None = None
    silent_ns: int = 0
    next_probe_ns: int | None = None
    heard_ago_ns: int | None = None
    unanswered: int = 0

    def sentence(self) -> str:
        """For the live line; empty where nothing is open."""
        if self.local is None or self.remote is None:
            return ""
        timer = "no keepalive timer" if self.next_probe_ns is None else f"next probe in {seconds(self.next_probe_ns)}"
        heard = "no probe yet" if self.heard_ago_ns is None else f"probe or answer {seconds(self.heard_ago_ns)} ago"
        if self.unanswered:
            heard = f"{counted(self.unanswered, 'probe')} unanswered"
        return f"{shown_end(self.local)} - {shown_end(self.remote)} silent for {seconds(self.silent_ns)}, {heard}, {timer}"


def longest_silence(sockets: Collection[LiveSocket]) -> Silence:
    """Of established sockets whose conditions are known. A connection with both ends here is counted once."""
    best: LiveSocket | None = None
    best_ns = -1
    ends = set()
    for one in sockets:
        if one.state != ESTABLISHED or one.condition is None:
            continue
        ends.add(frozenset((one.local, one.remote)))
        sent, received = one.condition.sent_ago_ns, one.condition.received_ago_ns
        if sent is not None and received is not None and min(sent, received) > best_ns:
            best, best_ns = one, min(sent, received)
    if best is None or best.condition is None:
        return Silence(len(ends))
    condition = best.condition
    heard = condition.acknowledged_ago_ns
    return Silence(
        connections=len(ends),
        local=best.local,
        remote=best.remote,
        silent_ns=best_ns,
        next_probe_ns=condition.timer_ns if condition.timer == SOCKET_TIMER else None,
        unanswered=condition.attempts if condition.timer == SOCKET_TIMER else 0,
        heard_ago_ns=heard if heard is not None and heard + MARGIN_NS < best_ns else None,
    )


class SilenceWatch:
    """Looks every two seconds in a thread of its own, so that no packet waits for it; `latest` is what it saw."""

    def __init__(self, ports: Collection[int], namespace: NetworkNamespace | None) -> None:
        self.latest = Silence(0)
        self._ports = ports
        self._inode = namespace.inode if namespace else os.stat("/proc/self/ns/net").st_ino  # noqa: PTH116
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="captool-silence", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        while True:
            sockets = live_sockets(self._ports, conditions=True)
            self.latest = longest_silence([one for one in sockets if one.namespace == self._inode])
            if self._stop.wait(LOOK_S):
                return
