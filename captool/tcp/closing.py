"""The state of a connection at its end -> TcpConnection, once for each connection. Compiled, since captures have many connections."""

# ruff: noqa: F403, F405, PLR0911, PLR1730
# (layout.py is the vocabulary; the compiler makes Python calls of min and max)

from typing import Final

import cython

from captool.direction import Moment, PerDirection
from captool.tcp.connection import (
    OPEN_WINDOWS,
    Endpoint,
    Gap,
    Reset,
    ShutWindow,
    SideName,
    TcpConnection,
    Unanswered,
)
from captool.tcp.layout import LETTERS

if not cython.compiled:  # compiled, they come from closing.pxd
    from captool.tcp.layout import *
    from captool.tcp.named import new
    from captool.tcp.side import (
        Side,
        awaited_data,
        keepalive,
        moment,
        payload_bytes,
        repeated_data,
        side_of,
        stream_holes,
        syn_again,
        unacknowledged_bytes,
        unanswered_data,
    )

ZERO: Final = PerDirection(0, 0)
NOTHING: Final[PerDirection[Unanswered | None]] = PerDirection(None, None)
BOTH_LETTERS: Final = LETTERS + LETTERS.lower()
NAMES: Final[tuple[SideName, SideName]] = ("client", "server")
# Of many connections they are the same: of so many each the text is kept.
HISTORY_TEXTS = cython.declare(dict, {})
ADDRESS_TEXTS = cython.declare(dict, {})
MAX_TEXTS = cython.declare(cython.Py_ssize_t, 4096)
OCTETS = cython.declare(list, [str(octet) for octet in range(256)])


@cython.cfunc
def describe(
    state: cython.longlong[::1],
    conn: cython.longlong,
    gaps: object,
    probing: tuple,
    shut: tuple,
    seen_reset: object,
    holes: tuple,
    keepalive_window_ns: cython.longlong,
    outages: tuple,
    repeats: tuple,
    syns: tuple,
    overtaken: tuple,
) -> object:
    """The summary (TcpConnection) of the connection whose row begins at `conn`, after its last gap was ended.

    What is kept beside the row: `gaps` (SeenGap), `seen_reset` (SeenReset or None), and for each side its `probing`, its `shut` windows
    (or None), the `holes` in its stream, its longest outage (Outage or None), its `repeats` (Repeats or None), its `syns` (SynsAgain or
    None) and what was `overtaken` (Overtaken or None).
    """
    bits: cython.longlong = state[conn + STATE]
    client: Side = side_of(state, conn, 0, holes[0], probing[0])
    server: Side = side_of(state, conn, 1, holes[1], probing[1])
    last: Side = client if client.last_packet > server.last_packet else server
    ports: cython.longlong = state[conn + PORTS]
    end_ns: cython.longlong = state[conn + START_NS]
    opened: cython.bint = bits & OPENED != 0
    lost_by_client: cython.longlong = unacknowledged_bytes(client, server)
    lost_by_server: cython.longlong = unacknowledged_bytes(server, client)
    first: object = new(Endpoint, (address(state[conn + FIRST_HIGH], state[conn + FIRST_LOW]), ports >> 16))
    second: object = new(Endpoint, (address(state[conn + SECOND_HIGH], state[conn + SECOND_LOW]), ports & 0xFFFF))
    client_last: object = moment(client.last_packet, client.last_ns)
    server_last: object = moment(server.last_packet, server.last_ns)
    missing: object = both(stream_holes(client), stream_holes(server))
    gap_count: cython.longlong = state[conn + GAP_COUNT]
    longest_gap: cython.longlong = state[conn + LONGEST_GAP]
    closed_by: cython.longlong = bits & (CLOSED_BY_CLIENT | CLOSED_BY_SERVER)
    unanswered: object = NOTHING
    shut_windows: object = OPEN_WINDOWS
    if gaps and missing is not ZERO:
        kept = [gap for gap in gaps if not crossed_unseen(gap, client, server)]
        if len(kept) < len(gaps):
            gap_count -= len(gaps) - len(kept)
            longest_gap = max([gap.duration_ns for gap in kept], default=0)
            client.longest_idle = max([gap.silence_ns if gap.client_probes else gap.duration_ns for gap in kept], default=0)
            server.longest_idle = max([gap.silence_ns if gap.server_probes else gap.duration_ns for gap in kept], default=0)
            gaps = kept
    if closed_by == CLOSED_BY_CLIENT | CLOSED_BY_SERVER:
        closed_by = 0
    if shut[0] is not None or shut[1] is not None:  # the receiver of a direction is the other side
        shut_windows = new(PerDirection, (shut_window(shut[1], last.last_ns), shut_window(shut[0], last.last_ns)))
        client.longest_idle = longest_idle(client, gaps, 0, shut_windows.to_server)
        server.longest_idle = longest_idle(server, gaps, 1, shut_windows.to_client)
    by_client: object = keepalive(client, server, keepalive_window_ns)
    by_server: object = keepalive(server, client, keepalive_window_ns)
    if lost_by_client or lost_by_server:
        unanswered = new(
            PerDirection, (unanswered_data(client, server, lost_by_client), unanswered_data(server, client, lost_by_server))
        )
    eventful: cython.bint = gaps is not None or seen_reset is not None or missing is not ZERO
    eventful = eventful or either(holes) or either(shut) or either(outages) or either(repeats) or either(syns) or either(overtaken)
    eventful = eventful or client.retransmissions > 0 or server.retransmissions > 0 or client.stuck or server.stuck
    eventful = eventful or (client.probing is not None and troubled(by_client))
    eventful = eventful or (server.probing is not None and troubled(by_server))
    if client.last_ns > end_ns:
        end_ns = client.last_ns
    if server.last_ns > end_ns:
        end_ns = server.last_ns
    # In the order of TcpConnection's fields: taking them by name costs as much as all the rest.
    return new(
        TcpConnection,
        (
            state[conn + ID],
            second if bits & CLIENT_SECOND else first,
            first if bits & CLIENT_SECOND else second,
            bits & GUESSED != 0,
            state[conn + START_NS],
            end_ns,
            both(client.packets, server.packets),
            both(payload_bytes(client), payload_bytes(server)),
            client.synchronised and server.synchronised and opened,  # handshake_seen
            close(client, server, unanswered),
            "client" if closed_by & CLOSED_BY_CLIENT else "server" if closed_by else None,
            conn_state(client, server, opened),
            history(bits, state[conn + HISTORY], state[conn + HISTORY_MORE]),
            new(PerDirection, (by_client, by_server)),  # keepalive
            tuple([described_gap(gap, client, server) for gap in gaps]) if gaps else (),
            gap_count,
            longest_gap,
            both(client.retransmissions, server.retransmissions),
            both(lost_by_client, lost_by_server),  # unacknowledged_bytes
            both(client.acknowledged, server.acknowledged),  # acknowledged_offset
            unanswered,
            missing,
            state[conn + SNAPPED],
            server_last if last is server else client_last,  # last_packet
            state[conn + START_PACKET],
            moment(state[conn + CLOSING_PACKET], state[conn + CLOSING_NS]) if closed_by else None,
            described_reset(state[conn + FIRST_HIGH] == 0 and state[conn + FIRST_LOW] >> 32 == 0xFFFF, seen_reset),
            shut_windows,
            new(PerDirection, (client_last, server_last)),  # last_sent
            new(PerDirection, (awaited_data(client), awaited_data(server))) if client.stuck or server.stuck else NOTHING,
            NOTHING if outages[0] is None and outages[1] is None else new(PerDirection, outages),
            new(PerDirection, (client.sequence, server.sequence)),  # next_sequence
            NOTHING
            if repeats[0] is None and repeats[1] is None
            else new(PerDirection, (repeated_data(client, repeats[0]), repeated_data(server, repeats[1]))),
            NOTHING if syns[0] is None and syns[1] is None else new(PerDirection, (syn_again(syns[0]), syn_again(syns[1]))),
            both(late(overtaken[0]), late(overtaken[1])),  # reordered
            eventful,
        ),
    )


@cython.cfunc
def crossed_unseen(gap: object, client: Side, server: Side) -> cython.bint:
    """Whether bytes that the capture does not have, and that were acknowledged, crossed in a gap (SeenGap) or at its end.

    When they did is not known: nothing says that it was idle.
    """
    side: Side = server if gap.missing & 1 else client
    offset: cython.longlong = gap.missing >> 1
    if gap.missing < 0 or offset >= side.acked:
        return False
    if offset >= side.next and not side.finished:
        return True
    for begin, end, _, _ in side.holes or ():
        if begin <= offset < end:
            return True
    return side.forgotten > 0


@cython.cfunc
def longest_idle(side: Side, gaps: object, direction: cython.longlong, window: object) -> cython.longlong:
    """The longest idle time of a side outside of that in which its peer let nothing in (ShutWindow or None).

    Whoever has something to send then probes the window, and Linux sends no keepalive probes beside that.
    """
    if window is None or not gaps:
        return side.longest_idle
    begin, end = window.since.ts_ns, window.since.ts_ns + window.duration_ns
    return max(
        [
            gap.silence_ns if (gap.server_probes if direction else gap.client_probes) else gap.duration_ns
            for gap in gaps
            if begin >= gap.start_ns + gap.duration_ns or end <= gap.start_ns
        ],
        default=0,
    )


@cython.cfunc
def described_gap(gap: object, client: Side, server: Side) -> object:
    """The Gap of a SeenGap with the side that spoke last before it: what the other one acknowledged last was that side's data."""
    known = client.packets and server.packets and gap.acknowledged_by
    return Gap(
        start_ns=gap.start_ns,
        duration_ns=gap.duration_ns,
        probes=PerDirection(gap.client_probes, gap.server_probes),
        longest_silence_ns=gap.silence_ns,
        after_packet=gap.after_packet,
        ended_by=gap.ended_by,
        ended_by_packet=gap.ended_by_packet,
        spoke_last=NAMES[2 - gap.acknowledged_by] if known else None,
    )


@cython.cfunc
def described_reset(ipv4: cython.bint, seen: object) -> object:
    """The Reset of a SeenReset: what is known of the RST, and of its sender before it; None of none."""
    if seen is None:
        return None
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
        newly_acknowledged=seen.acknowledged,
        acknowledged_unseen=seen.beyond,
    )


def identification(mark: int) -> int:
    """The IPv4 identification of a packet with this mark (packets/headers.py): there are other marks only where it is 0."""
    return mark if 0 <= mark < 1 << 16 else 0


@cython.cfunc
def shut_window(windows: object, end_ns: cython.longlong) -> object:
    """The ShutWindow of ShutWindows (or None): the longest time in which the window was 0, also if it still is at the end."""
    if windows is None:
        return None
    windows.opened(None, end_ns)
    if windows.longest is None:
        return None
    duration, since_ns, since, probes, until = windows.longest
    return ShutWindow(Moment(since, since_ns), duration, until, probes, windows.count)


@cython.cfunc
def either(pair: tuple) -> cython.bint:
    """Whether there is something of one side or the other."""
    return pair[0] is not None or pair[1] is not None


@cython.cfunc
def troubled(probes: object) -> cython.bint:
    """Whether a side's probes (Keepalive) went unanswered, or did not come when they should have."""
    return probes.unanswered != 0 or probes.lapse is not None


@cython.cfunc
def both(to_server: cython.longlong, to_client: cython.longlong) -> object:
    """The pair of two numbers; pairs of zeros, the most frequent, are one object."""
    return new(PerDirection, (to_server, to_client)) if to_server or to_client else ZERO


@cython.cfunc
def late(overtaken: object) -> cython.longlong:
    """How many segments others had overtaken."""
    return 0 if overtaken is None else overtaken.count


@cython.cfunc
def address(high: cython.longlong, low: cython.longlong) -> str:
    """The text of an address kept as two signed 64-bit words."""
    text: object
    if high == 0 and low >> 32 == 0xFFFF:
        text = ADDRESS_TEXTS.get(low)
        if text is None:
            text = ".".join((OCTETS[low >> 24 & 255], OCTETS[low >> 16 & 255], OCTETS[low >> 8 & 255], OCTETS[low & 255]))
            if len(ADDRESS_TEXTS) < MAX_TEXTS:
                ADDRESS_TEXTS[low] = text
        return text
    import socket
    import struct

    return socket.inet_ntop(socket.AF_INET6, struct.pack(">qq", high, low))


@cython.cfunc
def history(bits: cython.longlong, first: cython.longlong, more: cython.longlong) -> str:
    """Zeek's history: what was seen of each side for the first time, in order; `^` if the server, as guessed, spoke first."""
    text: str = letters_of(first)
    if more:
        text += letters_of(more)
    return "^" + text if bits & SERVER_FIRST else text


@cython.cfunc
def letters_of(word: cython.longlong) -> str:
    """The letters of one word of history."""
    text: object = HISTORY_TEXTS.get(word)
    letters: list
    rest: cython.longlong = word
    if text is None:
        letters = []
        while rest:
            letters.append(BOTH_LETTERS[(rest & 31) - 1])
            rest >>= 5
        text = "".join(letters)
        if len(HISTORY_TEXTS) < MAX_TEXTS:
            HISTORY_TEXTS[word] = text
    return text


@cython.cfunc
def close(client: Side, server: Side, unanswered: object) -> str:
    """How the connection ended; `fin` as soon as one side sent a FIN (conn_state tells a half-close)."""
    if unanswered is not NOTHING and vanished(client, server, unanswered):
        return "silent-drop"
    if client.reset or server.reset:
        return "rst"
    return "fin" if client.finished or server.finished else "open"


@cython.cfunc
def vanished(client: Side, server: Side, unanswered: object) -> cython.bint:
    """Whether a side that has unanswered data to answer was not heard again since that was sent again, nor closed."""
    return unheard(client, server, unanswered.to_server) or unheard(server, client, unanswered.to_client)


@cython.cfunc
def unheard(sender: Side, receiver: Side, lost: object) -> cython.bint:
    """Whether the receiver of `lost` (Unanswered or None) was silent since that was sent again."""
    if lost is None or receiver.finished or receiver.reset:
        return False
    # Acknowledgements of earlier data may still arrive after the first transmission, but not after it was sent again.
    if receiver.last_packet >= sender.resent_first:
        return False
    return lost.persistent


@cython.cfunc
def conn_state(client: Side, server: Side, opened: cython.bint) -> str:
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
