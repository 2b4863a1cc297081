"""Settings of this kernel that bear on idle connections: keepalive's defaults, and conntrack, which is a middlebox too.

Spec: Documentation/networking/ip-sysctl.rst, Documentation/networking/nf_conntrack-sysctl.rst. Both are settings of the network
namespace of whoever reads them.
"""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from captool.units import SECOND_NS

SYSCTL: Final = Path("/proc/sys/net")
_CONNTRACK_TIMEOUTS: Final = ("established", "close_wait", "fin_wait", "unacknowledged", "max_retrans")


@dataclass(frozen=True, slots=True)
class KeepaliveDefaults:
    """net.ipv4.tcp_keepalive_time, _intvl (nanoseconds) and _probes: for sockets that ask for keepalive and for no times of their own."""

    time_ns: int
    interval_ns: int
    probes: int


@dataclass(frozen=True, slots=True)
class Conntrack:
    """Connection tracking of this network namespace. `tracked` connections at present, `timeouts_ns` by the state's name.

    `loose` says whether a connection that is not known (any more) is taken up in the middle.
    """

    tracked: int | None
    loose: bool | None
    timeouts_ns: dict[str, int]


@dataclass(frozen=True, slots=True)
class Kernel:
    """What of it could be read; None: not there."""

    keepalive: KeepaliveDefaults | None
    conntrack: Conntrack | None


def kernel_settings(sysctl: Path = SYSCTL) -> Kernel:
    """Read the settings; conntrack is None where the module is not loaded."""
    time, interval, probes = (_number(sysctl / "ipv4" / f"tcp_keepalive_{name}") for name in ("time", "intvl", "probes"))
    keepalive = None
    if time is not None and interval is not None and probes is not None:
        keepalive = KeepaliveDefaults(time * SECOND_NS, interval * SECOND_NS, probes)
    netfilter = sysctl / "netfilter"
    timeouts = {}
    for name in _CONNTRACK_TIMEOUTS:
        if (value := _number(netfilter / f"nf_conntrack_tcp_timeout_{name}")) is not None:
            timeouts[name] = value * SECOND_NS
    if not timeouts:
        return Kernel(keepalive, None)
    loose = _number(netfilter / "nf_conntrack_tcp_loose")
    return Kernel(keepalive, Conntrack(_number(netfilter / "nf_conntrack_count"), None if loose is None else bool(loose), timeouts))


def _number(path: Path) -> int | None:
    with suppress(OSError, ValueError):
        return int(path.read_text(encoding="ascii"))
    return None
