"""The state of a connection at its end -> TcpConnection, once for each connection."""

from collections.abc import Sequence
from typing import Final

from captool.direction import Moment, PerDirection
from captool.tcp import layout
from captool.tcp.connection import (
    OPEN_WINDOWS,
    Close,
    Endpoint,
    Gap,
    Keepalive,
    Reset,
    ShutWindow,
    SideName,
    TcpConnection,
    Unanswered,
)
from captool.tcp.holes import Holes
from captool.tcp.quiet import Probing, SeenGap, SeenReset, ShutWindows

SILENT_TRANSMISSIONS: Final = 3
SILENT_NS: Final = 3_000_000_000

ZERO: Final = PerDirection(0, 0)
NOTHING: Final[PerDirection[Unanswered | None]] = PerDirection(None, None)
SIDES: Final[tuple[SideName, SideName]] = ("client", "server")


class Side:
    """One side as a sender: its block of the connection's row, and what is kept beside it."""

    def __init__(self, row: list[int], direction: int, holes: Holes, probing: Probing | None) -> None:
        begin = layout.SIDES + direction * layout.SIDE
        hot, cold = row[begin : begin + layout.SIDE], row[begin + layout.SYN_SEQ : begin + layout.SYN_SEQ + layout.SIDE]
        _, self.next, self.acked, self.last_ns, self.last_packet, self.packets, bits, _ = hot[:8]
        self.syn, self.fin, first_ns, self.resent_first, self.retransmissions, self.resent, resent_ns, resent_packet = cold[:8]
        self.probes, self.answered, _, _, self.longest_idle, self.forgotten = cold[8:14]
        self.resent_packet, self.resent_ns = resent_packet, resent_ns
        self.newest_offset, self.first_ns, self.first_packet, first_packet = hot[layout.NEWEST_OFFSET :]
        if first_packet:
            self.first_packet, self.first_ns = first_packet, first_ns
        self.reset = bool(bits & layout.RESET)
        self.finished = bool(bits & layout.FINISHED)
        self.synchronised = self.syn >= 0
        self.holes = holes
        self.probing = probing
        self.data_end = self.fin if self.finished else self.next
        self.acknowledged = max(0, min(self.acked, self.data_end) if self.finished else self.acked)


def describe(
    row: list[int],
    gaps: Sequence[SeenGap],
    probing: tuple[Probing | None, Probing | None],
    shut: tuple[ShutWindows | None, ShutWindows | None],
    seen_reset: SeenReset | None,
    holes: tuple[Holes, Holes],
    keepalive_window_ns: int,
) -> TcpConnection:
    """The summary of the connection with this row of state (layout.py), after its last gap was ended."""
    bits = row[layout.STATE]
    client = Side(row, 0, holes[0], probing[0])
    server = Side(row, 1, holes[1], probing[1])
    first = Endpoint(address(row[layout.FIRST_HIGH], row[layout.FIRST_LOW]), row[layout.PORTS] >> 16)
    second = Endpoint(address(row[layout.SECOND_HIGH], row[layout.SECOND_LOW]), row[layout.PORTS] & 0xFFFF)
    swapped = bits & layout.CLIENT_SECOND
    opened = bool(bits & layout.OPENED)
    unacknowledged = both(unacknowledged_bytes(client, server), unacknowledged_bytes(server, client))
    unanswered = NOTHING
    if unacknowledged is not ZERO:
        unanswered = PerDirection(
            unanswered_data(client, server, unacknowledged.to_server),
            unanswered_data(server, client, unacknowledged.to_client),
        )
    last = client if client.last_packet > server.last_packet else server
    return TcpConnection(
        id=row[layout.ID],
        client=second if swapped else first,
        server=first if swapped else second,
        client_guessed=bool(bits & layout.GUESSED),
        start_ns=row[layout.START_NS],
        end_ns=max(row[layout.START_NS], client.last_ns, server.last_ns),
        packets=both(client.packets, server.packets),
        payload_bytes=both(payload_bytes(client), payload_bytes(server)),
        handshake_seen=client.synchronised and server.synchronised and opened,
        close=close(client, server, unanswered),
        closed_by="client" if bits & layout.CLOSED_BY_CLIENT else "server" if bits & layout.CLOSED_BY_SERVER else None,
        conn_state=conn_state(client, server, opened=opened),
        history=history(row),
        keepalive=PerDirection(keepalive(client, server, keepalive_window_ns), keepalive(server, client, keepalive_window_ns)),
        gaps=tuple([described_gap(gap, client, server) for gap in gaps]),
        gap_count=row[layout.GAP_COUNT],
        longest_gap_ns=row[layout.LONGEST_GAP],
        retransmissions=both(client.retransmissions, server.retransmissions),
        unacknowledged_bytes=unacknowledged,
        acknowledged_offset=both(client.acknowledged, server.acknowledged),
        unanswered=unanswered,
        stream_holes=both(stream_holes(client), stream_holes(server)),
        snapped_segments=row[layout.SNAPPED],
        last_packet=Moment(last.last_packet, last.last_ns),
        closing=moment(row[layout.CLOSING_PACKET], row[layout.CLOSING_NS]),
        reset=described_reset(row, seen_reset) if seen_reset else None,
        # The receiver of a direction is the other side.
        shut_windows=PerDirection(shut_window(shut[1], last.last_ns), shut_window(shut[0], last.last_ns)) if any(shut) else OPEN_WINDOWS,
    )


def moment(packet: int, ts_ns: int) -> Moment | None:
    """The moment of a packet, None for no packet."""
    return Moment(packet, ts_ns) if packet else None


def described_gap(gap: SeenGap, client: Side, server: Side) -> Gap:
    """The gap with the side that spoke last before it: what the other one acknowledged last was that side's data."""
    known = client.packets and server.packets and gap.acknowledged_by
    return Gap(
        start_ns=gap.start_ns,
        duration_ns=gap.duration_ns,
        probes=PerDirection(gap.client_probes, gap.server_probes),
        longest_silence_ns=gap.silence_ns,
        after_packet=gap.after_packet,
        ended_by=gap.ended_by,  # type: ignore[arg-type]
        ended_by_packet=gap.ended_by_packet,
        spoke_last=SIDES[2 - gap.acknowledged_by] if known else None,
    )


def described_reset(row: list[int], seen: SeenReset) -> Reset:
    """What is known of the RST, and of its sender before it."""
    ipv4 = row[layout.FIRST_HIGH] == 0 and row[layout.FIRST_LOW] >> 32 == 0xFFFF
    return Reset(
        moment=Moment(seen.packet, seen.ts_ns),
        sender=SIDES[seen.direction],
        hops=seen.hops,
        usual_hops=seen.usual & 0xFF if seen.usual or seen.own_packet else None,
        identification=identification(seen.mark) if ipv4 else None,
        usual_identification=identification((seen.usual >> 8) - 1) if ipv4 and seen.own_packet else None,
        acknowledges=seen.acknowledges,
        window=seen.window,
        sequence_distance=seen.offset,
        own_last=moment(seen.own_packet, seen.own_ns),
        peer_last=moment(seen.peer_packet, seen.peer_ns),
    )


def identification(mark: int) -> int:
    """The IPv4 identification of a packet with this mark (packets/decode.py): there are other marks only where it is 0."""
    return mark if 0 <= mark < 1 << 16 else 0


def shut_window(windows: ShutWindows | None, end_ns: int) -> ShutWindow | None:
    """The longest time in which the window was 0, also if it still is at the end."""
    if windows is None:
        return None
    windows.opened(None, end_ns)
    if windows.longest is None:
        return None
    duration, since_ns, since, probes, until = windows.longest
    return ShutWindow(Moment(since, since_ns), duration, until, probes, windows.count)


def both(to_server: int, to_client: int) -> PerDirection[int]:
    """The pair of two numbers; pairs of zeros, the most frequent, are one object."""
    return PerDirection(to_server, to_client) if to_server or to_client else ZERO


def address(high: int, low: int) -> str:
    """The text of an address kept as two signed 64-bit words."""
    if high == 0 and low >> 32 == 0xFFFF:
        return f"{low >> 24 & 255}.{low >> 16 & 255}.{low >> 8 & 255}.{low & 255}"
    import socket

    return socket.inet_ntop(socket.AF_INET6, high.to_bytes(8, "big", signed=True) + low.to_bytes(8, "big", signed=True))


def history(row: list[int]) -> str:
    """Zeek's history: what was seen of each side for the first time, in order; `^` if the server, as guessed, spoke first."""
    letters = "^" if row[layout.STATE] & layout.SERVER_FIRST else ""
    for word in (row[layout.HISTORY], row[layout.HISTORY_MORE]):
        rest = word
        while rest:
            number = (rest & 31) - 1
            letters += layout.LETTERS[number] if number < 9 else layout.LETTERS[number - 9].lower()
            rest >>= 5
    return letters


def payload_bytes(side: Side) -> int:
    """Bytes of the stream that were captured, each counted once."""
    missing = sum([end - begin for begin, end in side.holes]) if side.holes else 0
    return max(0, side.data_end - side.forgotten - missing)


def stream_holes(side: Side) -> int:
    """Bytes that the peer acknowledged and the capture does not have."""
    inside = sum([max(0, min(end, side.acked) - begin) for begin, end in side.holes]) if side.holes else 0
    beyond = max(0, side.acked - side.next) if not side.finished else 0
    return side.forgotten + inside + beyond


def unacknowledged_bytes(side: Side, peer: Side) -> int:
    """Payload without an acknowledgement; where the peer was never heard, only what was sent again counts."""
    if peer.packets:
        return max(0, side.data_end - max(side.acked, 0))
    return max(0, side.data_end - side.newest_offset) if side.resent else 0


def unanswered_data(side: Side, peer: Side, missing: int) -> Unanswered | None:
    """Data that was sent again since the peer's last acknowledgement, and is not acknowledged."""
    if not side.resent or not missing:
        return None
    return Unanswered(
        first=Moment(side.first_packet, side.first_ns),
        last=Moment(side.resent_packet, side.resent_ns),
        bytes=missing,
        retransmissions=side.resent,
        peer_last_heard=Moment(peer.last_packet, peer.last_ns) if peer.packets else None,
    )


def close(client: Side, server: Side, unanswered: PerDirection[Unanswered | None]) -> Close:
    """How the connection ended; `fin` as soon as one side sent a FIN (conn_state tells a half-close)."""
    if unanswered is not NOTHING and vanished(client, server, unanswered):
        return "silent-drop"
    if client.reset or server.reset:
        return "rst"
    return "fin" if client.finished or server.finished else "open"


def vanished(client: Side, server: Side, unanswered: PerDirection[Unanswered | None]) -> bool:
    """Whether a side that has unanswered data to answer was not heard again since that was sent again, nor closed."""
    for lost, sender, receiver in ((unanswered.to_server, client, server), (unanswered.to_client, server, client)):
        if lost is None or receiver.finished or receiver.reset:
            continue
        # Acknowledgements of earlier data may still arrive after the first transmission, but not after it was sent again.
        unheard = receiver.last_packet < sender.resent_first
        often = lost.retransmissions + 1 >= SILENT_TRANSMISSIONS or lost.last.ts_ns - lost.first.ts_ns >= SILENT_NS
        if unheard and often:
            return True
    return False


def keepalive(side: Side, peer: Side, window_ns: int) -> Keepalive:
    """The probes that one side sent."""
    longest_idle = side.longest_idle if side.packets else 0
    probing = side.probing
    unanswered = 0
    if probing is not None and peer.packets and probing.heard_packet == peer.last_packet:
        unanswered = probing.run
    return Keepalive(
        status="present" if side.probes else "missing" if longest_idle >= window_ns > 0 else "not-observable",
        probes=side.probes,
        answered=side.answered,
        interval_ns=median(probing.intervals) if probing else None,
        longest_idle_ns=longest_idle,
        first_probe_ns=median(probing.firsts) if probing else None,
        unanswered=unanswered,
        unanswered_since=Moment(*probing.first) if probing and unanswered else None,
        last_probe=Moment(*probing.last) if probing else None,
    )


def median(distances: list[int]) -> int | None:
    """The lower of the middle two, None of none."""
    return sorted(distances)[(len(distances) - 1) // 2] if distances else None


def conn_state(client: Side, server: Side, *, opened: bool) -> str:  # noqa: PLR0911 - one return for each state
    """Zeek's conn_state (its base/protocols/conn), the originator being the client."""
    if server.reset:
        if client.synchronised and not server.synchronised and not opened:
            return "REJ"
        return "RSTR" if client.packets else "RSTRH"
    if client.reset:
        return "RSTOS0" if client.synchronised and not server.packets else "RSTO"
    if not client.synchronised and not server.synchronised:
        return "OTH"
    if client.finished and server.finished:
        return "SF"
    if client.finished:
        return "S2" if server.packets else "SH"
    if server.finished:
        return "S3" if client.packets else "SHR"
    if client.synchronised and not server.packets:
        return "S0"
    return "S1" if opened else "OTH"
