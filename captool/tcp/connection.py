"""What is known of a TCP connection once it was tracked: plain values, no packets.

Times are integer nanoseconds since 1970 (UTC), durations integer nanoseconds, sizes bytes of TCP payload. Captures have many connections,
and a named tuple is made in a quarter of the time that a frozen dataclass takes.
"""

from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

from captool.direction import Moment, PerDirection

# From when on data sent again is called unanswered: a burst that is sent again at once is still on its way.
SILENT_TRANSMISSIONS: Final = 3
SILENT_LEAST_NS: Final = 1_000_000_000
SILENT_NS: Final = 3_000_000_000
# Bytes of a segment that may be too large for a path. No tunnel leaves less than IPv6's 1280 bytes, of which headers take up to 100
# (RFC 8200 5); Ethernet leaves 1460.
LARGE: Final = 1000

KeepaliveStatus = Literal["present", "missing", "not-observable"]
Close = Literal["fin", "rst", "open", "silent-drop"]
GapEnd = Literal["data", "fin", "rst", "syn", "end-of-capture"]
SideName = Literal["client", "server"]


class Endpoint(NamedTuple):
    """One side of a connection."""

    ip: str
    port: int


class Gap(NamedTuple):
    """A time in which no data crossed in either direction while nothing was left unacknowledged.

    `probes` counts the keepalive probes that each side sent in it (to_server: sent by the client). `longest_silence_ns` is the
    longest time within the gap in which no packet at all crossed (probes and their answers end a silence, not the gap): that
    is what a middlebox's idle timer sees. A gap ended by `syn` is one after
    which another connection used its ports. A time is no gap if bytes crossed in it, or at its end, that were acknowledged and that the
    capture does not have: nothing says that it was idle. `spoke_last` is the side whose data was the last to be acknowledged before the
    gap, so that the other one may owe an answer; None where nothing was said or one side is not in the capture.
    """

    start_ns: int
    duration_ns: int
    probes: PerDirection[int]
    longest_silence_ns: int
    after_packet: int
    ended_by: GapEnd
    ended_by_packet: int | None
    spoke_last: SideName | None = None


class Lapse(NamedTuple):
    """The longest time in which the keepalive probes of one side, two or more, were not answered, before its peer was heard again."""

    first: Moment
    last: Moment
    probes: int


class Keepalive(NamedTuple):
    """Keepalive probes sent in one direction (to_server: by the client).

    `missing` is claimed only when an idle time at least as long as the tracker's `keepalive_window_ns` was seen whole without a
    probe; a shorter observation, or a connection of which only one direction was captured, is `not-observable`.
    `longest_idle_ns` is the longest idle time without a probe in this direction that was seen. `interval_ns` is the median
    distance of two probes in one idle time of which the first was answered, or, where none was, of any two; None with fewer than two.
    `first_probe_ns` is the median time from the beginning of an idle time to its first probe. `unanswered` counts the probes at the end,
    after which nothing came from the other side any more: `unanswered_since` is the first of them, `last_probe` the last probe of all.
    """

    status: KeepaliveStatus
    probes: int
    answered: int
    interval_ns: int | None
    longest_idle_ns: int
    first_probe_ns: int | None = None
    unanswered: int = 0
    unanswered_since: Moment | None = None
    last_probe: Moment | None = None
    lapse: Lapse | None = None


class Unanswered(NamedTuple):
    """Data of one direction that was sent again and again and never acknowledged before the capture or the connection ended.

    `first` is its first transmission, `last` its last; `retransmissions` counts the segments sent again after `first`.
    `peer_last_heard` is the last packet of any kind that came from the other side, None if there was none at all.
    `head_sent_again` counts those of them that begin at the first byte that is not acknowledged (at most 255), `head_bytes` is the smallest
    of these; `duplicate_acks` counts how often that byte was asked for again, because something above it arrived (RFC 5681 2).
    """

    first: Moment
    last: Moment
    bytes: int
    retransmissions: int
    peer_last_heard: Moment | None
    head_bytes: int = 0
    head_sent_again: int = 0
    duplicate_acks: int = 0

    @property
    def persistent(self) -> bool:
        """Whether it was sent again for so long that an answer would have come, if any could: three times in a second, or for 3 seconds.

        The number of segments alone does not say it: each of a burst counts.
        """
        lasted = self.last.ts_ns - self.first.ts_ns
        return lasted >= SILENT_NS or (self.retransmissions + 1 >= SILENT_TRANSMISSIONS and lasted >= SILENT_LEAST_NS)


class Outage(NamedTuple):
    """The longest time in which data of one direction was sent again and its receiver, whose window was open, acknowledged none of it.

    `first` is its first transmission, `last` its last, `until` the acknowledgement that came at last; `retransmissions` counts the
    segments sent again in between. Times below a second are not kept, nor those after most of which its sender had not tried again:
    then it had been answered, and the capture lacks that.
    """

    first: Moment
    last: Moment
    until: Moment
    retransmissions: int


class Repeated(NamedTuple):
    """The longest time in which one side sent again, and nothing new, what its peer had acknowledged: the answers do not reach it.

    `first` and `last` are the first and the last of `times` segments. `lasting` says that it sent nothing new any more.
    """

    first: Moment
    last: Moment
    times: int
    lasting: bool


class SynAgain(NamedTuple):
    """The SYN of one direction (to the client: the SYN-ACK) that was sent again `times` times after `first`, last in `last`.

    `early` of them came before an answer to it: a SYN-ACK, or for that any segment of the client's. `answer` is that answer, None where it
    came before any of them, or not at all.
    """

    first: Moment
    last: Moment
    times: int
    early: int
    answer: Moment | None


class Awaited(NamedTuple):
    """Bytes of one direction that its receiver asked for again (RFC 5681 2) and that had not come when the connection or capture ended.

    `later` is the last new packet of the data above them. `requests` counts the duplicate acknowledgements, at most 255.
    """

    bytes: int
    later: Moment
    requests: int


class ShutWindow(NamedTuple):
    """The longest time in which the receiver of a direction let nothing in: its window was 0.

    From packet `since` to packet `until_packet`, which opened it again (None: it never did; then the time is that until the
    connection's last packet). `probes` counts the sender's window probes in it, `times` how often the window was shut.
    """

    since: Moment
    duration_ns: int
    until_packet: int | None
    probes: int
    times: int


OPEN_WINDOWS: Final[PerDirection[ShutWindow | None]] = PerDirection(None, None)


class Reset(NamedTuple):
    """The first RST of a connection, and what tells whether its sender is the side whose address it bears.

    `hops` is its TTL or hop limit, `usual_hops` that of the side's other packets (None: it sent none). `identification` is that of
    its IPv4 header, `usual_identification` that of another packet of the side, None where an IPv6 header has none. `sequence_distance`
    says how far it stands from the byte that its sender would send next. `own_last` is the last packet of its sender before it,
    `peer_last` that of the other side. `newly_acknowledged` is how far its acknowledgement stands above the one before it: that counts only
    where the RST looks like its side's packets, since a firewall acknowledges in the name of a host what never arrived there.
    `acknowledged_unseen` is how much of that the capture does not have.
    """

    moment: Moment
    sender: SideName
    hops: int
    usual_hops: int | None
    identification: int | None
    usual_identification: int | None
    acknowledges: bool
    window: int
    sequence_distance: int
    own_last: Moment | None
    peer_last: Moment | None
    newly_acknowledged: int = 0
    acknowledged_unseen: int = 0


class TcpConnection(NamedTuple):
    """One TCP connection: both directions of a 5-tuple from its first packet to its last.

    `conn_state` and `history` use Zeek's letters. `gaps` holds the longest gaps in order of time (`gap_count` all of them).
    `unacknowledged_bytes` is payload that the receiver had not acknowledged at the end; `stream_holes` counts bytes that the
    receiver acknowledged and the capture does not have. `close` is `silent-drop` where data went unanswered, no FIN or RST
    came from its receiver, and the peer was not heard again. `acknowledged_offset` is the stream offset (0 = first payload byte)
    up to which the receiver of the direction acknowledged. `closing` is the first FIN or RST, which `closed_by` sent; both are None where
    the capture may lack an earlier FIN of the other side: something behind all that it was seen to send was acknowledged by then.
    `awaited` is data that this capture does not have and the receiver neither.
    `next_sequence` is the sequence number that each side would send next.
    `syns` tells what was sent again while the connection was opened. `reordered` counts segments that others had overtaken: they came late,
    and were not sent again (`retransmissions`).
    `last_sent` is the last packet of each side as a sender (to_server: the client's), None for a side that was not seen.
    `eventful` is False where nothing was idle for long, lost, sent again, shut or reset: it was opened, spoke, and was closed or is open.
    """

    id: int
    client: Endpoint
    server: Endpoint
    client_guessed: bool
    start_ns: int
    end_ns: int
    packets: PerDirection[int]
    payload_bytes: PerDirection[int]
    handshake_seen: bool
    close: Close
    closed_by: SideName | None
    conn_state: str
    history: str
    keepalive: PerDirection[Keepalive]
    gaps: tuple[Gap, ...]
    gap_count: int
    longest_gap_ns: int
    retransmissions: PerDirection[int]
    unacknowledged_bytes: PerDirection[int]
    acknowledged_offset: PerDirection[int]
    unanswered: PerDirection[Unanswered | None]
    stream_holes: PerDirection[int]
    snapped_segments: int
    last_packet: Moment
    first_packet: int = 0
    closing: Moment | None = None
    reset: Reset | None = None
    shut_windows: PerDirection[ShutWindow | None] = OPEN_WINDOWS
    last_sent: PerDirection[Moment | None] = PerDirection(None, None)
    awaited: PerDirection[Awaited | None] = PerDirection(None, None)
    outages: PerDirection[Outage | None] = PerDirection(None, None)
    next_sequence: PerDirection[int] = PerDirection(0, 0)
    repeated: PerDirection[Repeated | None] = PerDirection(None, None)
    syns: PerDirection[SynAgain | None] = PerDirection(None, None)
    reordered: PerDirection[int] = PerDirection(0, 0)
    eventful: bool = True

    @property
    def lacking(self) -> PerDirection[int]:
        """Bytes (a FIN counts as one) that were acknowledged and that the capture lacks, of the directions that it has packets of.

        A RST without an acknowledgement stands where the packet that it answers acknowledges (RFC 9293 3.10.7.1).
        """
        lacking = [holes if packets else 0 for holes, packets in zip(self.stream_holes, self.packets, strict=True)]
        if self.reset is not None and not self.reset.acknowledges and self.reset.own_last is not None:
            side = self.reset.sender == "server"
            lacking[side] = max(lacking[side], self.reset.sequence_distance)
        return PerDirection(*lacking)


class StreamPiece(NamedTuple):
    """A run of in-order payload of one direction, as it became available.

    `from_start` says that the SYN of this direction was captured, so that offset 0 is truly the first byte.
    `offset` is the place of `data[0]` in the direction's stream (0 = first byte after the SYN, or the first byte seen where the
    capture starts mid-stream). `missing_before` is the number of bytes that the capture does not have just before it (0 normally);
    `snapped` says that they are missing because packets were cut by a snap length.
    `mark_offsets[i]` is the stream offset of the first byte that the segment of packet `mark_packets[i]`, time `mark_times_ns[i]`,
    brought; sorted, the first is <= offset. Pieces of a connection come in the order in which the capture saw them, both directions
    interleaved; a run ends where the direction changes.
    """

    connection: int
    direction: int
    offset: int
    data: bytes
    missing_before: int
    snapped: bool
    from_start: bool
    mark_offsets: Sequence[int]
    mark_packets: Sequence[int]
    mark_times_ns: Sequence[int]
