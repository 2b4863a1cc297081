"""The way of a capture from file to verdict: every stage by name, in order.

    capture -> packets -> tcp -> tls -> http, dockerapi -> (other side) -> findings

The way up to a connection on all layers is in `captool.connections`.
"""

from collections.abc import Callable, Sequence
from functools import partial
from io import FileIO
from itertools import chain
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from captool.capture.reader import CaptureReader
from captool.capture.source import Pipe
from captool.capture.summary import CaptureSummary
from captool.connections import DOCKER_PORTS, Paths, Progress, Reading, as_paths, key_ring, read_connections, take_new_secrets
from captool.cores import may_read_ahead
from captool.errors import NothingMatchedError
from captool.findings import Finding, find
from captool.findings.gaps import believed, keepalive_window_ns
from captool.findings.icmp import with_errors
from captool.findings.key_use import KeyUse, key_uses
from captool.findings.tables import Connection, Settings, Tables, eventful
from captool.findings.verdict import verdict
from captool.keys.material import KeyRing
from captool.middlebox.catalogue import STATES, load_catalogue
from captool.packets.decode import Decoder
from captool.packets.icmp import IcmpErrors
from captool.packets.sender_clock import SenderClocks
from captool.record.manifest_file import recorded_until_ns
from captool.tcp import tracker as tracker_module
from captool.tcp.tracker import Tracker
from captool.units import SECOND_NS, counted

if TYPE_CHECKING:  # imported only where a second capture is given
    from captool.other_side import OtherSide

GAP_NS = 2 * SECOND_NS
SHARED_BYTES = 16 << 20  # a smaller capture is read before other processes are at work
MAX_UNEVENTFUL = 50_000
NOTES_OF_NOTHING = 3  # about damage, in the message that there is nothing
EXAMPLES = 20  # of a flood in which nothing else was


class Analysis(NamedTuple):
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
    jobs: int = 1,
    progress: Progress | None = None,
) -> Analysis:
    """Explain the connections of a capture.

    `paths` is a capture file, a directory of them, or several that together are one capture (a rotated set, or files recorded at the
    same time on several interfaces of one machine); `-` is standard input.
    `keys` are directories, PEM files or key logs, or what `captool.keys.load.load_keys` made of them. `network` is an id of the
    middlebox catalogue and `idle_timeout_ns` a timeout in nanoseconds: gaps are judged by them, or by the whole catalogue when neither
    is given. `ports` keeps only connections to these server ports. `key_password` opens encrypted key files. `timeouts` is a file with
    entries of your own for the catalogue. `wait` follows files that are still being written (`captool.capture.growing.Following`); key logs
    are read again at their end then.
    `other_side` is a capture (named like `paths`) of the same connections recorded at the other end of the path: it shows which packets
    arrived.
    `jobs` is the number of processes that share the work on a large capture; the result is the same.
    `progress(done, total)` is called with bytes of the capture.

    Raises CaptureError, KeyMaterialError, UsageError and NothingMatchedError (no TCP connection at all, or none to `ports`).
    """
    middleboxes = load_catalogue(timeouts, state=None)
    catalogue, half_closed = (tuple(one for one in middleboxes if one.state == state) for state in STATES)
    settings = Settings(idle_timeout_ns, network, tuple(ports) or DOCKER_PORTS)
    ring, renew = _key_material(keys, key_password, growing=wait is not None)
    window_ns = keepalive_window_ns(settings, catalogue)
    other = log = None
    if as_paths(other_side):
        from captool.other_side import compare, read_other_side
        from captool.tcp.packet_log import PacketLog
        from captool.tcp.recorded import Recorded

        other, log = read_other_side(as_paths(other_side), settings.ports), PacketLog()
        there = other.capture
        until_ns = later(recorded_until_ns(map(Path, there.files), there.packets), there.end_ns)
        other = other._replace(capture=there._replace(recorded_until_ns=until_ns))

    def read(shard: int, shards: int, progress: Progress | None) -> Reading:
        tracker = Tracker(
            service_ports=settings.ports, only_ports=tuple(ports), gap_ns=min(GAP_NS, window_ns), keepalive_window_ns=window_ns,
            shards=shards,
        )  # fmt: skip
        next_file, stopped = getattr(wait, "next_file", None), getattr(wait, "stopped", None)  # what Following has
        with CaptureReader(as_paths(paths), wait=wait, next_file=next_file, stopped=stopped) as capture:
            decoder, clocks, refusals = Decoder(shard, shards), SenderClocks(), IcmpErrors()

            def listened() -> int | None:
                return later(recorded_until_ns(capture.paths, capture.packets), decoder.end_ns)

            chunks = read_connections(
                capture, decoder, tracker, ring,
                progress=progress, log=log, clocks=clocks, refusals=refusals, watched_until=listened, ahead=may_read_ahead(shards),
                renew=renew,
            )  # fmt: skip
            found: list[Connection] = []
            others: list[Connection] = []
            for one in chain.from_iterable(chunks):
                if one.tcp.id < MAX_UNEVENTFUL or worth_listing(one, window_ns):
                    found.append(one)
                elif len(others) < EXAMPLES:
                    others.append(one)
            found = sorted(found or others, key=attrgetter("tcp.id"))
            jumps, errors = clocks.jumps(), refusals.found()
            summary = capture.summary(decoder, tracker)._replace(recorded_until_ns=listened(), clock_jumps=jumps, icmp_errors=errors)
            alone = tracker.limited or tracker.connections > MAX_UNEVENTFUL or any(map(resumes_another, found)) or clocks.open_jumps > 0
            return Reading(summary, found, tracker.connections, ring, alone)

    reading = None
    if jobs > 1 and wait is None and log is None and file_bytes(as_paths(paths)) >= SHARED_BYTES:
        from captool.shards import read_in_shards

        reading = read_in_shards(read, jobs, progress)
    reading = reading or read(0, 1, progress)
    ring = ring.with_secrets(reading.ring.session_secrets, reading.ring.premaster_secrets)
    summary, connections = listed(reading, window_ns)
    if not connections:
        raise NothingMatchedError(_nothing(summary, ports))
    compared = compare(Recorded(summary, [one.tcp for one in connections], log), other) if other and log else None
    if compared:
        counterparts = {one.connection: one for one in compared.counterparts}
        connections = tuple(one._replace(counterpart=counterparts.get(one.id)) for one in connections)
    keys_given = bool(ring.private_keys or ring.session_secrets or ring.premaster_secrets)
    tables = Tables(summary, settings, connections, eventful(connections), catalogue, keys_given, compared, half_closed)
    tables = believed(with_errors(tables))
    findings = find(tables)
    uses = key_uses(ring, ((connection.id, connection.tls) for connection in connections if connection.tls))
    return Analysis(summary, settings, uses, ring.problems, tables.connections, findings, verdict(tables, findings), compared)


def _key_material(keys: Paths | KeyRing, password: bytes | None, *, growing: bool) -> tuple[KeyRing, Callable[[], None] | None]:
    """The keys, and, where key logs among them are still being written, what reads them again."""
    if isinstance(keys, KeyRing):
        return key_ring(keys), None
    named = as_paths(keys)
    ring = key_ring(named, password, growing=growing)
    return ring, partial(take_new_secrets, ring, named, password) if growing and named else None


def later(until_ns: int | None, end_ns: int | None) -> int | None:
    """The time until which a recorder listened, where that is later than the last packet."""
    return until_ns if until_ns is not None and end_ns is not None and until_ns > end_ns else None


def file_bytes(paths: Sequence[Path]) -> int:
    """Size of the capture files; 0 where a path is no file or directory (a pipe can be read only once)."""
    total = 0
    for path in paths:
        files = list(path.iterdir()) if path.is_dir() else [path]
        if not path.is_dir() and not path.is_file():
            return 0
        total += sum(file.stat().st_size for file in files if file.is_file())
    return total


def resumes_another(connection: Connection) -> bool:
    """Whether the connection resumes a TLS session whose secret was not found."""
    tls = connection.tls
    return tls is not None and tls.resumed is True and tls.status != "decrypted"


def worth_listing(connection: Connection, window_ns: int) -> bool:
    """Whether anything happened on the connection that findings are made of, besides that it was opened and closed.

    An idle time counts from the shortest timeout on that gaps are judged by.
    """
    tcp = connection.tcp
    silent = tcp.longest_gap_ns >= window_ns
    told = any(pair != (None, None) for pair in (tcp.unanswered, tcp.awaited, tcp.shut_windows))
    return bool(silent or connection.exchanges or tcp.reset or told)


def listed(reading: Reading, window_ns: int) -> tuple[CaptureSummary, tuple[Connection, ...]]:
    """The connections to tell of. Of more than `MAX_UNEVENTFUL` those on which nothing happened are counted only, but for examples."""
    kept = tuple(one for one in reading.connections if one.tcp.id < MAX_UNEVENTFUL or worth_listing(one, window_ns))
    kept = kept or tuple(reading.connections)
    passed = reading.opened - len(kept)
    if not passed:
        return reading.capture, kept
    note = (
        f"{counted(passed, 'connection')} on which nothing happened are counted but not listed: those that came to nothing in a flood, "
        f"and those after the first {MAX_UNEVENTFUL:,}"
    )
    return reading.capture._replace(notes=(*reading.capture.notes, note), unlisted_connections=passed), kept


def hot_path_compiled() -> bool:
    """Whether the modules that touch every packet run compiled; without a C compiler they run as plain Python, with the same answers."""
    return not str(tracker_module.__file__).endswith(".py")


def _nothing(summary: CaptureSummary, ports: Sequence[int]) -> str:
    files = ", ".join(summary.files)
    damage = "".join(f"; {note}" for note in summary.notes[:NOTES_OF_NOTHING]) if summary.truncated_file else ""
    if not summary.packets and damage:
        return f"{files}: the capture holds no whole packet{damage}"
    if not summary.packets:
        return f"{files}: the capture holds no packets; check the interface and the filter it was recorded with"
    if ports and summary.tcp_packets:
        wanted = " or ".join(str(port) for port in ports)
        return (
            f"{files}: none of its {summary.tcp_packets} TCP packets belongs to a connection to port {wanted}; "
            f"leave --port out to see all{damage}"
        )
    packets = f"none of its {summary.packets:,} packets is" if summary.packets > 1 else "its only packet is not"
    return f"{files}: {packets} a TCP packet{damage}"
