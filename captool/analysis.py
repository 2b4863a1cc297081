"""The way of a capture from file to verdict: every stage by name, in order.

    capture -> packets -> tcp -> tls -> http, dockerapi -> (other side) -> findings

The way up to a connection on all layers is in `captool.connections`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING

from captool.capture.reader import CaptureReader
from captool.capture.source import Pipe
from captool.capture.summary import CaptureSummary
from captool.connections import DOCKER_PORTS, Paths, Progress, as_paths, key_ring, read_connections
from captool.errors import NothingMatchedError
from captool.findings import Finding, find
from captool.findings.gaps import chosen_timeouts
from captool.findings.key_use import KeyUse, key_uses
from captool.findings.tables import Connection, Settings, Tables
from captool.findings.verdict import verdict
from captool.keys.material import KeyRing
from captool.middlebox.catalogue import load_catalogue
from captool.packets.decode import Decoder
from captool.tcp import tracker as tracker_module
from captool.tcp.tracker import Tracker
from captool.units import SECOND_NS

if TYPE_CHECKING:  # imported only where a second capture is given
    from captool.other_side import OtherSide

GAP_NS = 2 * SECOND_NS
# Without a timeout to judge by, one minute without a probe is called missing keepalive: the shortest idle timeout of the catalogue
# that a probe resets at all (Google's external passthrough load balancer).
KEEPALIVE_WINDOW_NS = 60 * SECOND_NS


@dataclass(frozen=True, slots=True)
class Analysis:
    """What a capture says. `verdict` is the answer in sentences; `findings` give the evidence, the gravest first.

    `other_side` is what a second capture of the same connections adds, None where none was given.
    """

    capture: CaptureSummary
    settings: Settings
    keys: tuple[KeyUse, ...]
    key_problems: tuple[str, ...]
    connections: tuple[Connection, ...]
    findings: tuple[Finding, ...]
    verdict: tuple[str, ...]
    other_side: "OtherSide | None" = None


def analyze(
    paths: Paths,
    keys: Paths | KeyRing = (),
    *,
    network: str | None = None,
    idle_timeout_ns: int | None = None,
    ports: Sequence[int] = (),
    key_password: bytes | None = None,
    other_side: Paths = (),
    timeouts: Path | None = None,
    wait: Callable[[FileIO | Pipe], bool] | None = None,
    progress: Progress | None = None,
) -> Analysis:
    """Explain the connections of a capture.

    `paths` is a capture file, a directory of them, or several that together are one capture (a rotated set); `-` is standard input.
    `keys` are directories, PEM files or key logs, or what `captool.keys.load.load_keys` made of them. `network` is an id of the
    middlebox catalogue and `idle_timeout_ns` a timeout in nanoseconds: gaps are judged by them, or by the whole catalogue when neither
    is given. `ports` keeps only connections to these server ports. `key_password` opens encrypted key files. `timeouts` is a file with
    entries of your own for the catalogue. `wait` follows a file that is still being written (`captool.capture.growing.Following`).
    `other_side` is a capture (named like `paths`) of the same connections recorded at the other end of the path: it shows which packets
    arrived.
    `progress(done, total)` is called with bytes of the capture.

    Raises CaptureError, KeyMaterialError, UsageError and NothingMatchedError (no TCP connection at all, or none to `ports`).
    """
    catalogue = load_catalogue(timeouts)
    settings = Settings(idle_timeout_ns, network, tuple(ports) or DOCKER_PORTS)
    chosen = chosen_timeouts(settings, catalogue)
    ring = key_ring(keys, key_password)
    window_ns = min((entry.timeout_ns for entry in chosen), default=KEEPALIVE_WINDOW_NS)
    other = log = None
    if as_paths(other_side):
        from captool.other_side import Recorded, compare, read_other_side
        from captool.tcp.packet_log import PacketLog

        other, log = read_other_side(as_paths(other_side), settings.ports), PacketLog()
    tracker = Tracker(service_ports=settings.ports, only_ports=tuple(ports), gap_ns=min(GAP_NS, window_ns), keepalive_window_ns=window_ns)
    with CaptureReader(as_paths(paths), wait=wait) as capture:
        decoder = Decoder()
        chunks = read_connections(capture, decoder, tracker, ring, progress=progress, log=log)
        ended = [connection for chunk in chunks for connection in chunk]
        connections = tuple(sorted(ended, key=lambda connection: connection.id))
        summary = capture.summary(decoder, tracker)
    if not connections:
        raise NothingMatchedError(_nothing(summary, ports))
    compared = compare(Recorded(summary, [one.tcp for one in connections], log), other) if other and log else None
    if compared:
        counterparts = {one.connection: one for one in compared.counterparts}
        connections = tuple(replace(one, counterpart=counterparts.get(one.id)) for one in connections)
    keys_given = bool(ring.private_keys or ring.session_secrets or ring.premaster_secrets)
    tables = Tables(summary, settings, connections, catalogue, keys_given=keys_given, other_side=compared)
    findings = find(tables)
    uses = key_uses(ring, ((connection.id, connection.tls) for connection in connections if connection.tls))
    return Analysis(summary, settings, uses, ring.problems, connections, findings, verdict(tables, findings), compared)


def hot_path_compiled() -> bool:
    """Whether the modules that touch every packet run compiled; without a C compiler they run as plain Python, with the same answers."""
    return not str(tracker_module.__file__).endswith(".py")


def _nothing(summary: CaptureSummary, ports: Sequence[int]) -> str:
    files = ", ".join(summary.files)
    if not summary.packets:
        return f"{files}: the capture holds no packets; check the interface and the filter it was recorded with"
    if ports and summary.tcp_packets:
        wanted = " or ".join(str(port) for port in ports)
        return (
            f"{files}: none of its {summary.tcp_packets} TCP packets belongs to a connection to port {wanted}; leave --port out to see all"
        )
    return f"{files}: none of its {summary.packets} packets is a TCP packet"
