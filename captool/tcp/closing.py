"""The state of a connection at its end -> TcpConnection, once for each connection. Compiled, since captures have many connections."""

# ruff: noqa: F403, F405, PLR1730
# (layout.py is the vocabulary)

from collections.abc import Sequence
from typing import Final

import cython

from captool.direction import Moment, PerDirection
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
from captool.tcp.layout import LETTERS
from captool.tcp.quiet import Probing, SeenGap, SeenReset, ShutWindows

if not cython.compiled:  # compiled, they come from closing.pxd
    from captool.tcp.layout import *

SILENT_TRANSMISSIONS: Final = 3
SILENT_NS: Final = 3_000_000_000

ZERO: Final = PerDirection(0, 0)
NOTHING: Final[PerDirection[Unanswered | None]] = PerDirection(None, None)
BOTH_LETTERS: Final = LETTERS + LETTERS.lower()
NAMES: Final[tuple[SideName, SideName]] = ("client", "server")


@cython.final
@cython.cclass
class Side:
    """One side as a sender: its block of the connection's row, and what is kept beside it."""

    next: cython.longlong
    acked: cython.longlong
    last_ns: cython.longlong
    last_packet: cython.longlong
    packets: cython.longlong
    fin: cython.longlong
    first_ns: cython.longlong
    first_packet: cython.longlong
    newest_offset: cython.longlong
    resent_first: cython.longlong
    retransmissions: cython.longlong
    resent: cython.longlong
    resent_ns: cython.longlong
    resent_packet: cython.longlong
    probes: cython.longlong
    answered: cython.longlong
    longest_idle: cython.longlong
    forgotten: cython.longlong
    data_end: cython.longlong
    acknowledged: cython.longlong
    reset: cython.bint
    finished: cython.bint
    synchronised: cython.bint
    holes: object
    probing: object

    def __init__(self, row: list, direction: cython.Py_ssize_t, holes: object, probing: object) -> None:
        side: cython.Py_ssize_t = SIDES + direction * SIDE
        bits: cython.longlong = row[side + BITS]
        self.next = row[side + NEXT]
        self.acked = row[side + ACKED]
        self.last_ns = row[side + LAST_NS]
        self.last_packet = row[side + LAST_PACKET]
        self.packets = row[side + PACKETS]
        self.fin = row[side + FIN_OFFSET]
        self.newest_offset = row[side + NEWEST_OFFSET]
        self.first_packet = row[side + FIRST_PACKET]
        self.first_ns = row[side + FIRST_NS]
        if not self.first_packet:
            self.first_packet = row[side + NEWEST_PACKET]
            self.first_ns = row[side + NEWEST_NS]
        self.resent_first = row[side + RESENT_FIRST]
        self.retransmissions = row[side + RETRANSMISSIONS]
        self.resent = row[side + RESENT]
        self.resent_ns = row[side + RESENT_NS]
        self.resent_packet = row[side + RESENT_PACKET]
        self.probes = row[side + PROBES]
        self.answered = row[side + ANSWERED]
        self.longest_idle = row[side + LONGEST_IDLE]
        self.forgotten = row[side + FORGOTTEN]
        self.reset = bits & RESET != 0
        self.finished = bits & FINISHED != 0
        self.synchronised = row[side + SYN_SEQ] >= 0
        self.holes = holes
        self.probing = probing
        self.data_end = self.fin if self.finished else self.next
        self.acknowledged = self.acked
        if self.finished and self.data_end < self.acknowledged:
            self.acknowledged = self.data_end
        if self.acknowledged < 0:
            self.acknowledged = 0


def describe(
    row: list,
    gaps: Sequence[SeenGap],
    probing: tuple[Probing | None, Probing | None],
    shut: tuple[ShutWindows | None, ShutWindows | None],
    seen_reset: SeenReset | None,
    holes: tuple[Holes, Holes],
    keepalive_window_ns: int,
) -> TcpConnection:
    """The summary of the connection with this row of state (py), after its last gap was ended."""
    bits = row[STATE]
    client = Side(row, 0, holes[0], probing[0])
    server = Side(row, 1, holes[1], probing[1])
    first = Endpoint(address(row[FIRST_HIGH], row[FIRST_LOW]), row[PORTS] >> 16)
    second = Endpoint(address(row[SECOND_HIGH], row[SECOND_LOW]), row[PORTS] & 0xFFFF)
    swapped = bits & CLIENT_SECOND
    opened = bool(bits & OPENED)
    unacknowledged = both(unacknowledged_bytes(client, server), unacknowledged_bytes(server, client))
    unanswered = NOTHING
    if unacknowledged is not ZERO:
        unanswered = PerDirection(
            unanswered_data(client, server, unacknowledged.to_server),
            unanswered_data(server, client, unacknowledged.to_client),
        )
    last = client if client.last_packet > server.last_packet else server
    return TcpConnection(
        id=row[ID],
        client=second if swapped else first,
        server=first if swapped else second,
        client_guessed=bool(bits & GUESSED),
        start_ns=row[START_NS],
        end_ns=max(row[START_NS], client.last_ns, server.last_ns),
        packets=both(client.packets, server.packets),
        payload_bytes=both(payload_bytes(client), payload_bytes(server)),
        handshake_seen=client.synchronised and server.synchronised and opened,
        close=close(client, server, unanswered),
        closed_by="client" if bits & CLOSED_BY_CLIENT else "server" if bits & CLOSED_BY_SERVER else None,
        conn_state=conn_state(client, server, opened=opened),
        history=history(row),
        keepalive=PerDirection(keepalive(client, server, keepalive_window_ns), keepalive(server, client, keepalive_window_ns)),
        gaps=tuple([described_gap(gap, client, server) for gap in gaps]),
        gap_count=row[GAP_COUNT],
        longest_gap_ns=row[LONGEST_GAP],
        retransmissions=both(client.retransmissions, server.retransmissions),
        unacknowledged_bytes=unacknowledged,
        acknowledged_offset=both(client.acknowledged, server.acknowledged),
        unanswered=unanswered,
        stream_holes=both(stream_holes(client), stream_holes(server)),
        snapped_segments=row[SNAPPED],
        last_packet=Moment(last.last_packet, last.last_ns),
        first_packet=row[START_PACKET],
        closing=moment(row[CLOSING_PACKET], row[CLOSING_NS]),
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
        spoke_last=NAMES[2 - gap.acknowledged_by] if known else None,
    )


def described_reset(row: list, seen: SeenReset) -> Reset:
    """What is known of the RST, and of its sender before it."""
    ipv4 = row[FIRST_HIGH] == 0 and row[FIRST_LOW] >> 32 == 0xFFFF
    return Reset(
        moment=Moment(seen.packet, seen.ts_ns),
        sender=NAMES[seen.direction],
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


def address(high: cython.longlong, low: cython.longlong) -> str:
    """The text of an address kept as two signed 64-bit words."""
    if high == 0 and low >> 32 == 0xFFFF:
        return f"{low >> 24 & 255}.{low >> 16 & 255}.{low >> 8 & 255}.{low & 255}"
    import socket
    import struct

    return socket.inet_ntop(socket.AF_INET6, struct.pack(">qq", high, low))


def history(row: list) -> str:
    """Zeek's history: what was seen of each side for the first time, in order; `^` if the server, as guessed, spoke first."""
    letters = ["^"] if row[STATE] & SERVER_FIRST else []
    rest: cython.longlong
    for word in (row[HISTORY], row[HISTORY_MORE]):
        rest = word
        while rest:
            letters.append(BOTH_LETTERS[(rest & 31) - 1])
            rest >>= 5
    return "".join(letters)


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
