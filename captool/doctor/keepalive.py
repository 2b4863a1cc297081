"""Whether a socket sends keepalive probes, and what that is known from."""

from dataclasses import dataclass
from typing import Final, Literal

from captool.doctor.socket_options import SocketOptions
from captool.session_keys.live_sockets import (
    ESTABLISHED,
    NO_TIMER,
    RETRANSMIT_TIMER,
    SOCKET_TIMER,
    WINDOW_PROBE_TIMER,
    LiveSocket,
    SocketCondition,
)

Status = Literal["present", "missing", "not-observable"]
Evidence = Literal["socket options", "timer"]

CLOSE_WAIT: Final = 8
# Where the socket's own timer is that of keepalive alone: in FIN_WAIT2 the same timer ends the socket (net/ipv4/tcp_timer.c).
PROBING_STATES: Final = frozenset({ESTABLISHED, CLOSE_WAIT})
HIDDEN_BY: Final[dict[int | None, str]] = {
    RETRANSMIT_TIMER: "data is in flight, whose retransmission timer hides the keepalive timer",
    WINDOW_PROBE_TIMER: "the other end's window is full, and the timer for probing it hides the keepalive timer",
    None: "the kernel told nothing of its timers",
}


@dataclass(frozen=True, slots=True)
class SocketKeepalive:
    """What one end does. `evidence` is None where nothing was to be seen; times in nanoseconds.

    `timer_ns` is the time until the keepalive timer fires; then a probe is sent, unless something was received meanwhile. `at_least_ns` is
    a lower bound for the time between probes, from that timer.
    """

    status: Status
    evidence: Evidence | None
    why: str | None
    timer_ns: int | None
    at_least_ns: int | None
    options: SocketOptions | None

    @property
    def period_ns(self) -> int | None:
        """Between probes in silence, if this end sends any and the options could be read."""
        return self.options.period_ns if self.options is not None and self.options.keepalive else None


def keepalive_of(each: LiveSocket, options: SocketOptions | None) -> SocketKeepalive:
    """From the options where they could be read; else from the timer.

    Only while nothing else is due does the kernel show the keepalive timer: while data waits for its acknowledgement or for a window,
    retransmissions and window probes have the place, and no keepalive timer to be seen is no proof that there is none.
    """
    timer = None if each.condition is None else each.condition.timer
    if options is not None and not options.keepalive:
        return SocketKeepalive("missing", "socket options", None, None, None, options)
    if options is not None or timer == SOCKET_TIMER:
        shown = each.condition if timer == SOCKET_TIMER else None
        evidence: Evidence = "timer" if options is None else "socket options"
        return SocketKeepalive(
            "present", evidence, None, None if shown is None else shown.timer_ns, None if shown is None else _at_least_ns(shown), options
        )
    if timer == NO_TIMER:
        return SocketKeepalive("missing", "timer", None, None, None, None)
    return SocketKeepalive("not-observable", None, HIDDEN_BY.get(timer, "the kernel shows no timer that says so"), None, None, None)


def _at_least_ns(condition: SocketCondition) -> int | None:
    """The timer runs out no later than one period after the last segment from the other side, unless probes went unanswered since."""
    heard = [ago for ago in (condition.received_ago_ns, condition.acknowledged_ago_ns) if ago is not None]
    return condition.timer_ns + min(heard) if heard and not condition.attempts else None
