"""The way of a capture from file to verdict: every stage by name, in order.

    capture -> packets -> tcp -> tls -> http, dockerapi -> findings

Nothing here runs per packet: the compiled stages work on chunks, and what follows them on in-order stream pieces of those
connections that somebody still wants to read.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from captool.capture.reader import CaptureReader
from captool.capture.summary import CaptureSummary
from captool.conversation import Conversation
from captool.direction import Direction
from captool.errors import NothingMatchedError
from captool.findings import Finding, find
from captool.findings.gaps import chosen_timeouts
from captool.findings.key_use import KeyUse, key_uses, machine_of
from captool.findings.tables import Connection, Settings, Tables
from captool.findings.verdict import verdict
from captool.keys.keylog import add_secrets, parse_key_log
from captool.keys.load import load_keys
from captool.keys.material import KeyRing
from captool.middlebox.catalogue import load_catalogue
from captool.packets.decode import Decoder
from captool.tcp import tracker as tracker_module
from captool.tcp.tracker import Tracker
from captool.units import SECOND_NS

DOCKER_PORTS = (2375, 2376)
GAP_NS = 2 * SECOND_NS
# Without a timeout to judge by, one minute without a probe is called missing keepalive: the shortest idle timeout of the catalogue
# that a probe resets at all (Google's external passthrough load balancer).
KEEPALIVE_WINDOW_NS = 60 * SECOND_NS

Paths = str | Path | Iterable[str | Path]
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Analysis:
    """What a capture says. `verdict` is the answer in sentences; `findings` give the evidence, the gravest first."""

    capture: CaptureSummary
    settings: Settings
    keys: tuple[KeyUse, ...]
    key_problems: tuple[str, ...]
    connections: tuple[Connection, ...]
    findings: tuple[Finding, ...]
    verdict: tuple[str, ...]


def analyze(
    paths: Paths,
    keys: Paths | KeyRing = (),
    *,
    network: str | None = None,
    idle_timeout_ns: int | None = None,
    ports: Sequence[int] = (),
    progress: Progress | None = None,
) -> Analysis:
    """Explain the connections of a capture.

    `paths` is a capture file or several that together are one capture (a rotated set); `keys` are directories, PEM files or key
    logs, or what `captool.keys.load.load_keys` made of them. `network` is an id of the middlebox catalogue and `idle_timeout_ns`
    a timeout in nanoseconds: gaps are judged by them, or by the whole catalogue when neither is given. `ports` keeps only
    connections to these server ports. `progress(done, total)` is called with bytes of the capture.

    Raises CaptureError, KeyMaterialError, UsageError and NothingMatchedError (no TCP connection at all, or none to `ports`).
    """
    catalogue = load_catalogue()
    settings = Settings(idle_timeout_ns, network, tuple(ports) or DOCKER_PORTS)
    chosen = chosen_timeouts(settings, catalogue)
    ring = _ring(keys)
    window_ns = min((entry.timeout_ns for entry in chosen), default=KEEPALIVE_WINDOW_NS)
    tracker = Tracker(service_ports=settings.ports, only_ports=tuple(ports), gap_ns=min(GAP_NS, window_ns), keepalive_window_ns=window_ns)
    with CaptureReader(_paths(paths)) as capture:
        decoder = Decoder()
        connections = tuple(_connections(capture, decoder, tracker, ring, progress))
        summary = capture.summary(decoder, tracker)
    if not connections:
        raise NothingMatchedError(_nothing(summary, ports))
    tables = Tables(
        summary, settings, connections, catalogue, keys_given=bool(ring.private_keys or ring.session_secrets or ring.premaster_secrets)
    )
    findings = find(tables)
    uses = key_uses(ring, ((connection.id, connection.tls) for connection in connections if connection.tls))
    return Analysis(summary, settings, uses, ring.problems, connections, findings, verdict(tables, findings))


def hot_path_compiled() -> bool:
    """Whether the modules that touch every packet run compiled; without a C compiler they run as plain Python, with the same answers."""
    return not str(tracker_module.__file__).endswith(".py")


def _connections(capture: CaptureReader, decoder: Decoder, tracker: Tracker, ring: KeyRing, progress: Progress | None) -> list[Connection]:
    """Every connection of the capture on all layers, in order of its first packet."""
    conversations: dict[int, Conversation] = {}
    connections: list[Connection] = []
    for frames in capture.chunks():
        tracker.add(frames, decoder.decode(frames))
        for origin, text in capture.take_secrets():
            add_secrets(ring, parse_key_log(text, origin)[0])
        connections.extend(_read(tracker, conversations, ring))
        if progress:
            progress(capture.bytes_read, capture.total_bytes)
    tracker.finish()
    connections.extend(_read(tracker, conversations, ring))
    return sorted(connections, key=lambda connection: connection.id)


def _read(tracker: Tracker, conversations: dict[int, Conversation], ring: KeyRing) -> Iterator[Connection]:
    """Take what the streams brought up the layers, and give the connections that ended.

    Connections with nothing more to say are no longer put together.
    """
    closed = {tcp.id: tcp for tcp in tracker.take_closed()}
    for piece in tracker.take_pieces():
        number = piece.connection
        conversation = conversations.get(number)
        if conversation is None:
            conversation = conversations[number] = Conversation(ring, piece)
        if conversation.wants_more:
            ended = closed.get(number)
            conversation.feed(piece, ended.acknowledged_offset.to_client if ended else tracker.acknowledged(number, Direction.TO_CLIENT))
        if not conversation.wants_more and number not in closed:
            tracker.stop_stream(number)
    for tcp in closed.values():
        conversation = conversations.pop(tcp.id, None)
        tls, exchanges = conversation.finish(tcp) if conversation else (None, ())
        yield Connection(tcp, machine_of(tcp, tls, ring), tls, exchanges)


def _ring(keys: Paths | KeyRing) -> KeyRing:
    """The key material; a caller's own ring is copied, because secrets inside the capture are added to it."""
    if isinstance(keys, KeyRing):
        return replace(keys, session_secrets=dict(keys.session_secrets), premaster_secrets=dict(keys.premaster_secrets))
    paths = _paths(keys)
    return load_keys(paths) if paths else KeyRing()


def _paths(paths: Paths) -> list[Path]:
    return [Path(paths)] if isinstance(paths, str | Path) else [Path(path) for path in paths]


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
