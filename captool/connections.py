"""The connections of a capture on all layers: capture -> packets -> tcp -> tls -> http, dockerapi.

Nothing here runs per packet: the compiled stages work on chunks, and what follows them on in-order stream pieces of those
connections that somebody still wants to read.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from captool.capture.frames import Frames
from captool.capture.reader import CaptureReader
from captool.capture.summary import CaptureSummary
from captool.direction import Direction
from captool.errors import CaptureError, KeyMaterialError
from captool.findings.key_use import machine_of
from captool.findings.tables import Connection
from captool.keys.material import KeyRing
from captool.packets.decode import Decoder
from captool.packets.icmp import IcmpErrors
from captool.packets.sender_clock import SenderClocks
from captool.summing_up import UNREAD, OpenConversation, PieceReader, SummingUp
from captool.tcp.connection import StreamPiece
from captool.tcp.tracker import Tracker

if TYPE_CHECKING:  # imported only where a second capture is given
    from captool.tcp.packet_log import PacketLog

DOCKER_PORTS: Final = (2375, 2376)
ENDED_AT_ONCE: Final = 10_000
MAX_WAITING: Final = 1 << 14
MAX_READINGS: Final = 3  # sessions resumed in a chain, each before the one that it resumes, need one more each

Paths = str | Path | Iterable[str | Path]
Progress = Callable[[int, int], None]


class Reading(NamedTuple):
    """What one process read: the capture, the connections of its shard that can be told of, and how many there were in all (`opened`).

    `ring` is the key ring with the secrets that the capture holds.
    `alone` says that a connection may depend on those of other shards.
    """

    capture: CaptureSummary
    connections: list[Connection]
    opened: int
    ring: KeyRing
    alone: bool


def read_connections(
    capture: CaptureReader,
    decoder: Decoder,
    tracker: Tracker,
    ring: KeyRing,
    *,
    open_conversation: OpenConversation | None = None,
    progress: Progress | None = None,
    log: "PacketLog | None" = None,
    clocks: SenderClocks | None = None,
    refusals: IcmpErrors | None = None,
    watched_until: Callable[[], int | None] | None = None,
    ahead: bool = True,
    renew: Callable[[], None] | None = None,
) -> Iterator[list[Connection]]:
    """The connections that ended, after every chunk of the capture; the last lists hold those that its end cut off.

    Secrets inside the capture are added to `ring`. `open_conversation` makes the conversation for a connection's first piece (its default
    only sums up). `progress(done, total)` is called with bytes of the capture; `log` keeps packets to compare with another capture,
    `clocks` finds out whether the recorder's clock was set forward, `refusals` collects ICMP errors. `watched_until()`, asked at the end,
    is until when nothing more came. With `ahead` a thread of their own reads files, and decrypts large pieces, where
    that can be done. `renew()`, asked at the end, adds to `ring` what secrets were written meanwhile. Raises CaptureError.

    A connection whose secret, or that of the session that it resumes, becomes known only later is given last: it is read a second time.
    """
    refusals = refusals or IcmpErrors()
    waiting: dict[int, Connection] = {}
    cut = ""
    conversations: dict[int, PieceReader] = {}
    with contextlib.closing(SummingUp(ring, capture if ahead else None)) as summing:
        for frames in capture.chunks(decoder if ahead else None):
            segments = decoder.decode(frames)
            tracker.add(frames, segments)
            if clocks is not None:
                clocks.add(frames, segments)
            refusals.add(frames, segments, decoder.other_packets)
            if log is not None:
                log.add(frames, segments)
            for origin, text in capture.take_secrets():
                from captool.keys.keylog import add_secrets, parse_key_log

                add_secrets(ring, parse_key_log(text, origin)[0])
            if decoder.snapped_packets and not cut:
                cut = _first_cut(frames)
            summing.catch_up()
            late = renew is not None or capture.may_bring_secrets
            yield _but_waiting(_read(tracker, conversations, ring, open_conversation or summing), waiting, cut, late=late)
            if progress:
                progress(capture.bytes_read, capture.total_bytes)
        if watched_until is not None and (until_ns := watched_until()) is not None:
            tracker.watched_until(until_ns)
        finished = False
        while not finished:  # of many open connections not all at once become summaries
            finished = tracker.finish(ENDED_AT_ONCE)
            summing.catch_up()
            late = renew is not None or capture.may_bring_secrets
            yield _but_waiting(_read(tracker, conversations, ring, open_conversation or summing), waiting, cut, late=late)
        if renew is not None:
            renew()
        again_by = open_conversation or SummingUp(ring)
        yield from _once_more(capture, decoder, tracker, ring, again_by, waiting, cut)
        yield list(waiting.values())


def _first_cut(frames: Frames) -> str:
    """A sentence about the first packet of a chunk that the snap length cut; empty where none was.

    What a file's header says of it is an upper bound only, and tools that cut packets later do not correct it.
    """
    for row in range(frames.count):
        captured, original = frames.captured[row], frames.original[row]
        if captured < original:
            return f" Packet {frames.first_packet + row} was recorded to {captured} of its {original} bytes, as with tcpdump -s {captured}."
    return ""


def _with_snap_length(connection: Connection, cut: str) -> Connection:
    """The connection; where cut packets keep it closed, with how long they were."""
    tls = connection.tls
    if tls is None or tls.reason != "snapped":
        return connection
    return connection._replace(tls=tls._replace(detail=f"{tls.detail}{cut}"))


def _but_waiting(ended: Iterable[Connection], waiting: dict[int, Connection], cut: str, *, late: bool) -> list[Connection]:
    """The connections that ended, but for those whose original session, or (`late`) whose secrets may still come: they go to `waiting`."""
    others = []
    for connection in ended:
        if connection.tls is None:
            others.append(connection)
        elif (_resumes(connection) or (late and connection.tls.client_random)) and len(waiting) < MAX_WAITING:
            waiting[connection.id] = connection
        else:
            others.append(_with_snap_length(connection, cut))
    return others


def _resumes(connection: Connection) -> tuple[bytes, ...]:
    """By what the connection resumes a session that is not known; nothing where a part of it could be read all the same."""
    return connection.tls.resumes if connection.tls and connection.tls.status == "encrypted" else ()


def _once_more(
    capture: CaptureReader,
    decoder: Decoder,
    tracker: Tracker,
    ring: KeyRing,
    open_conversation: OpenConversation,
    waiting: dict[int, Connection],
    cut: str,
) -> Iterator[list[Connection]]:
    """The connections of `waiting` whose secrets are known by now, after every chunk of each further reading."""
    for _ in range(MAX_READINGS):
        before = len(waiting)
        if any(_can_be_opened(one, ring) for one in waiting.values()):
            for again in _read_again(capture.paths, decoder.again(), tracker.again(), ring, open_conversation, waiting):
                yield [_with_snap_length(one, cut) for one in again]
        if len(waiting) == before:
            return


def _can_be_opened(connection: Connection, ring: KeyRing) -> bool:
    """Whether a secret is known by now that was not when the connection was read."""
    named = connection.tls.client_random if connection.tls else None
    return named in ring.session_secrets or any(name in ring.resumable for name in _resumes(connection))


def _read_again(
    paths: list[Path],
    decoder: Decoder,
    tracker: Tracker,
    ring: KeyRing,
    open_conversation: OpenConversation,
    waiting: dict[int, Connection],
) -> Iterator[list[Connection]]:
    """Read the waiting connections, and no others, once more from the beginning; gives, after every chunk, those that could be read now.

    What TCP knows of them is what it knew. A capture that cannot be read twice (a pipe, a file that has gone or is another by now) leaves
    all as it was.
    """
    if len(set(paths)) < len(paths) or not all(path.is_file() for path in paths):  # a ring may write the same file again
        return
    conversations: dict[int, PieceReader] = {}
    left = set(waiting)

    def opened(piece: StreamPiece) -> PieceReader:
        return open_conversation(piece) if piece.connection in left else UNREAD

    def ended() -> Iterator[Connection]:
        for again in _read(tracker, conversations, ring, opened):
            if again.id in left:
                left.remove(again.id)
                first = waiting[again.id].tcp
                same = (first.client, first.server, first.start_ns) == (again.tcp.client, again.tcp.server, again.tcp.start_ns)
                if same and not _resumes(again):
                    yield again._replace(tcp=waiting.pop(again.id).tcp)

    with contextlib.suppress(CaptureError), CaptureReader(paths) as capture:
        for frames in capture.chunks(decoder):
            tracker.add(frames, decoder.decode(frames))
            yield list(ended())
            if not left:
                return
        tracker.finish()
        yield list(ended())


def key_ring(keys: Paths | KeyRing, password: bytes | None = None, *, growing: bool = False) -> KeyRing:
    """The key material; a caller's own ring is copied, because secrets inside the capture are added to it.

    `growing` as for `captool.keys.load.load_keys`.
    """
    if isinstance(keys, KeyRing):
        return keys.with_secrets(dict(keys.session_secrets), dict(keys.premaster_secrets))
    named = as_paths(keys)
    if not named:
        return KeyRing()
    from captool.keys.load import load_keys

    return load_keys(named, password=password, growing=growing)


def take_new_secrets(ring: KeyRing, keys: Paths, password: bytes | None) -> None:
    """Add to `ring` what the key logs at `keys` hold by now; what is wrong with the files is what is wrong with them now."""
    from captool.keys.keylog import add_secrets

    with contextlib.suppress(KeyMaterialError):  # gone meanwhile: what was read of them counts
        now = key_ring(keys, password, growing=True)
        add_secrets(ring, (secret for by_label in now.session_secrets.values() for secret in by_label.values()))
        add_secrets(ring, now.premaster_secrets.values())
        ring.problems = now.problems


def as_paths(paths: Paths) -> list[Path]:
    """One path, or several."""
    return [Path(paths)] if isinstance(paths, str | Path) else [Path(path) for path in paths]


def _read(
    tracker: Tracker, conversations: dict[int, PieceReader], ring: KeyRing, open_conversation: OpenConversation
) -> Iterator[Connection]:
    """Take what the streams brought up the layers, and give the connections that ended.

    Connections with nothing more to say are no longer put together.
    """
    closed = {tcp.id: tcp for tcp in tracker.take_closed()}
    for piece in tracker.take_pieces():
        number = piece.connection
        conversation = conversations.get(number)
        if conversation is None:
            conversation = conversations[number] = open_conversation(piece)
        if conversation.wants_more:
            ended = closed.get(number)
            conversation.feed(piece, ended.acknowledged_offset.to_client if ended else tracker.acknowledged(number, Direction.TO_CLIENT))
        if not conversation.wants_more and number not in closed:
            tracker.stop_stream(number)
    for tcp in closed.values():
        conversation = conversations.pop(tcp.id, UNREAD)
        if conversation is UNREAD:  # of a capture with nothing but other protocols, every one
            yield Connection(tcp, machine_of(tcp, None, ring), None, ())
            continue
        tls, exchanges = conversation.finish(tcp)
        yield Connection(tcp, machine_of(tcp, tls, ring), tls, exchanges, losses=conversation.losses)
