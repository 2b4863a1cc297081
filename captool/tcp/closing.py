"""The state of a connection at its end -> TcpConnection, once for each connection."""

import socket
import statistics
from typing import Any

from captool.direction import Direction, Moment, PerDirection
from captool.tcp.connection import Close, Endpoint, Gap, Keepalive, TcpConnection, Unanswered

SILENT_TRANSMISSIONS = 3
SILENT_NS = 3_000_000_000


def describe(flow: Any, keepalive_window_ns: int) -> TcpConnection:
    """The summary of `flow` (tracker.Flow), whose last gap was ended."""
    client, server = flow.sides()
    unanswered = PerDirection(unanswered_data(client, server), unanswered_data(server, client))
    gaps = tuple(
        Gap(start, duration, PerDirection(by_client, by_server), silence, after_packet, ended_by, packet)
        for start, duration, by_client, by_server, silence, after_packet, ended_by, packet in flow.gaps or ()
    )
    return TcpConnection(
        id=flow.id,
        client=Endpoint(address(flow.client_high, flow.client_low), flow.client_port),
        server=Endpoint(address(flow.server_high, flow.server_low), flow.server_port),
        client_guessed=flow.client_guessed,
        start_ns=flow.start_ns,
        end_ns=flow.end_ns,
        packets=PerDirection(client.packets, server.packets),
        payload_bytes=PerDirection(payload_bytes(client), payload_bytes(server)),
        handshake_seen=client.syn >= 0 and server.syn >= 0 and flow.opened,
        close=close(client, server, unanswered),
        closed_by=None if flow.closed_by < 0 else "server" if flow.closed_by else "client",
        conn_state=conn_state(flow, client, server),
        history=flow.history,
        keepalive=PerDirection(keepalive(client, keepalive_window_ns), keepalive(server, keepalive_window_ns)),
        gaps=gaps,
        gap_count=flow.gap_count,
        longest_gap_ns=flow.longest_gap,
        retransmissions=PerDirection(client.retransmissions, server.retransmissions),
        unacknowledged_bytes=PerDirection(unacknowledged_bytes(client, server), unacknowledged_bytes(server, client)),
        acknowledged_offset=PerDirection(acknowledged_offset(client), acknowledged_offset(server)),
        unanswered=unanswered,
        stream_holes=PerDirection(stream_holes(client), stream_holes(server)),
        snapped_segments=flow.snapped,
        last_packet=Moment(flow.last_packet, flow.last_ns),
    )


def address(high: int, low: int) -> str:
    """The text of an address kept as two 64-bit words."""
    if high == 0 and low >> 32 == 0xFFFF:
        return socket.inet_ntop(socket.AF_INET, (low & 0xFFFFFFFF).to_bytes(4, "big"))
    return socket.inet_ntop(socket.AF_INET6, high.to_bytes(8, "big") + low.to_bytes(8, "big"))


def data_end(side: Any) -> int:
    """The offset after the last byte of payload that the side sent."""
    return int(side.fin if side.fin >= 0 else side.next)


def acknowledged_offset(side: Any) -> int:
    """The offset up to which the peer acknowledged payload."""
    return int(max(min(side.acked, data_end(side)) if side.fin >= 0 else side.acked, 0))


def payload_bytes(side: Any) -> int:
    """Bytes of the stream that were captured, each counted once."""
    return max(0, data_end(side) - side.lost - sum(end - begin for begin, end in side.holes or ()))


def stream_holes(side: Any) -> int:
    """Bytes that the peer acknowledged and the capture does not have."""
    inside = sum(max(0, min(end, side.acked) - begin) for begin, end in side.holes or ())
    beyond = side.acked - side.next if side.acked > side.next and side.fin < 0 else 0
    return int(side.lost + inside + beyond)


def unacknowledged_bytes(side: Any, peer: Any) -> int:
    """Payload without an acknowledgement; where the peer was never heard, only what was sent again counts."""
    if peer.packets:
        return max(0, data_end(side) - max(side.acked, 0))
    return max(0, data_end(side) - side.first_offset) if side.resent else 0


def unanswered_data(side: Any, peer: Any) -> Unanswered | None:
    """Data that was sent again since the peer's last acknowledgement, and is not acknowledged."""
    missing = unacknowledged_bytes(side, peer)
    if not side.resent or not missing:
        return None
    return Unanswered(
        first=Moment(side.first_packet, side.first_ns),
        last=Moment(side.resent_packet, side.resent_ns),
        bytes=missing,
        retransmissions=side.resent,
        peer_last_heard=Moment(peer.last_packet, peer.last_ns) if peer.packets else None,
    )


def close(client: Any, server: Any, unanswered: PerDirection[Unanswered | None]) -> Close:
    """How the connection ended; `fin` as soon as one side sent a FIN (conn_state tells a half-close)."""
    for lost, receiver in ((unanswered.to_server, server), (unanswered.to_client, client)):
        if lost is None or receiver.fin >= 0 or receiver.reset:
            continue
        unheard = lost.peer_last_heard is None or lost.peer_last_heard.packet < lost.first.packet
        often = lost.retransmissions + 1 >= SILENT_TRANSMISSIONS or lost.last.ts_ns - lost.first.ts_ns >= SILENT_NS
        if unheard and often:
            return "silent-drop"
    if client.reset or server.reset:
        return "rst"
    return "fin" if client.fin >= 0 or server.fin >= 0 else "open"


def keepalive(side: Any, window_ns: int) -> Keepalive:
    """The probes that one side sent."""
    seen_idle = side.packets > 0 and side.longest_idle >= window_ns
    return Keepalive(
        status="present" if side.probes else "missing" if seen_idle else "not-observable",
        probes=side.probes,
        answered=side.answered,
        interval_ns=int(statistics.median_low(side.intervals)) if side.intervals else None,
        longest_idle_ns=side.longest_idle if side.packets else 0,
    )


def conn_state(flow: Any, client: Any, server: Any) -> str:
    """Zeek's conn_state (its base/protocols/conn), with the originator being the client."""
    if server.reset:
        if client.syn >= 0 and server.syn < 0 and not flow.opened:
            return "REJ"
        return "RSTR" if client.syn >= 0 or server.syn < 0 else "RSTRH"
    if client.reset:
        return "RSTOS0" if client.syn >= 0 and server.syn < 0 else "RSTO"
    if client.syn < 0 and server.syn < 0:
        return "OTH"
    if client.fin >= 0 and server.fin >= 0:
        return "SF"
    if client.fin >= 0:
        return "SH" if server.syn < 0 else "S2"
    if server.fin >= 0:
        return "SHR" if client.syn < 0 else "S3"
    if client.syn >= 0 and server.syn < 0:
        return "S0"
    return "S1" if flow.opened and client.syn >= 0 else "OTH"
