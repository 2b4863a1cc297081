"""The tracker against a slow, obvious twin that keeps every byte offset by itself, on conversations made up by hypothesis."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from captool.tcp.connection import StreamPiece, TcpConnection
from tests.builders import ACK, FIN, RST, SECOND, START, Endpoint, Packet, Talk, analyze, ethernet, ip, tcp

GAP_NS = 2 * SECOND
ENDS: tuple[Endpoint, Endpoint] = (("10.0.0.1", 40000), ("10.0.0.2", 2376))
Said = tuple[int, int, int, int, int, bytes, int]  # direction, time, offset, acknowledged offset, flags, payload, window


class Twin:
    """One connection whose two SYNs were seen. Offsets are plain integers; sent bytes are a dict, holes what is not in it."""

    def __init__(self, begin_ns: int) -> None:
        self.sent: tuple[dict[int, int], dict[int, int]] = ({}, {})
        self.next, self.acked, self.window, self.fin = [0, 0], [0, 0], [500, 500], [None, None]
        self.retransmissions, self.probes, self.answered, self.awaiting = [0, 0], [0, 0], [0, 0], [False, False]
        self.resent, self.packets = [0, 0], [2, 1]
        self.idle_since: int | None = begin_ns
        self.gaps: list[tuple[int, int, tuple[int, int]]] = []
        self.missing: list[tuple[int, int] | None] = []  # the side and first byte that was not captured at the end of each gap
        self.gap_probes = [0, 0]
        self.idle_by, self.number = 0, 3
        self.last_packet, self.probe_runs, self.closing = [3, 2], [(0, 0), (0, 0)], None
        self.shut: list[list[list[int]]] = [[], []]
        self.firsts: list[list[int]] = [[], []]
        self.intervals: list[list[int]] = [[], []]
        self.retries: list[list[int]] = [[], []]
        self.run: list[list[int]] = [[], []]  # times of the probes since the peer was heard
        self.lapses: list[list[int]] = [[0], [0]]
        self.first_ns: list[int | None] = [None, None]  # of what is not acknowledged, since the last acknowledgement; else the newest
        self.newest_ns, self.resent_ns, self.outages = [0, 0], [0, 0], [0, 0]
        self.probed_ns = [0, 0]
        self.reset: tuple[int, int, int, int, int] | None = None
        self.was_reset = [False, False]

    def add(self, direction: int, ts: int, offset: int, ack: int, flags: int, payload: bytes, window: int) -> None:
        me, peer = direction, 1 - direction
        self.number += 1
        self.packets[me] += 1
        if flags & RST:
            self.end_gap(ts)
            if self.reset is None:
                self.peer_next = self.next[peer]
            self.reset = self.reset or (self.number, me, offset - self.next[me], self.last_packet[me], self.last_packet[peer])
            self.was_reset[me] = True
            if offset == self.next[me] and self.acked[peer] < ack <= self.next[peer]:  # its ends, hop limit and number are as always here
                self.acked[peer], self.resent[peer] = ack, 0
            self.closing = self.closing or (self.number, ts, self.acked[peer] > self.next[peer])
            self.last_packet[me] = self.number
            return
        self.last_packet[me] = self.number
        if ack > self.acked[peer]:
            if ack > max(self.acked[peer], self.next[peer]):  # data or a FIN that the capture does not have
                self.end_gap(ts, (peer, self.next[peer]))
            if self.resent[peer] and self.window[me]:
                first_ns = self.first_ns[peer]
                waited = ts - (self.newest_ns[peer] if first_ns is None else first_ns)
                tried = waited - (ts - self.resent_ns[peer])  # at first it tries again within a second, then after twice the time
                fin = self.fin[peer]
                whole = all(place in self.sent[peer] or place == fin for place in range(max(0, self.acked[peer]), ack))
                if waited - tried <= tried + SECOND and whole:
                    self.outages[peer] = max(self.outages[peer], waited if waited >= SECOND else 0)
            self.acked[peer] = ack
            self.resent[peer], self.first_ns[peer] = 0, None
        if self.reset and self.reset[1] == me and not self.was_reset[peer] and self.peer_next < self.acked[peer] <= self.next[peer]:
            if self.closing and self.closing[0] == self.reset[0]:
                self.closing = None
            self.reset, self.was_reset[me] = None, False
        if (window == 0) != (self.window[me] == 0):
            if window:
                self.shut[me][-1][1] = ts
            else:
                self.shut[me].append([ts, 0, 0])
        self.window[me] = window
        length = len(payload)
        if self.window[peer] == 0 and not flags & FIN and length <= 1:
            self.shut[peer][-1][2] += offset == self.acked[me] - 1 or (length == 1 and offset == self.acked[me])
        rubbish = length == 1 and not flags & 8 and offset < self.next[me]
        late = not length and offset == self.next[me] - 1 >= self.acked[me] and self.fin[me] is None and bool(self.sent[me])
        late = late and ts - self.newest_ns[me] >= SECOND  # the acknowledgement of all that it had sent was not captured
        if (((not length or rubbish) and offset == self.acked[me] - 1) or late) and not flags & FIN and self.window[peer]:
            if late:
                self.acked[me], self.resent[me], self.first_ns[me] = self.next[me], 0, None
                if self.acked[peer] >= self.next[peer] and not self.was_reset[peer]:
                    self.idle_since, self.gap_probes, self.idle_by = ts, [0, 0], me
            self.probes[me] += 1
            run, heard = self.probe_runs[me]
            if heard != self.last_packet[peer]:
                self.end_run(me)
            self.run[me].append(ts)
            self.awaiting[me] = True
            self.probe_runs[me] = (run + 1 if heard == self.last_packet[peer] else 1, self.last_packet[peer])
            if self.idle_since is not None:
                if self.gap_probes[me]:
                    (self.intervals if self.probe_runs[me][0] == 1 else self.retries)[me].append(ts - self.probed_ns[me])
                elif ts > self.idle_since:
                    self.firsts[me].append(ts - self.idle_since)
                self.gap_probes[me] += 1
                self.probed_ns[me] = ts
        elif length:
            self.end_gap(ts, (me, self.next[me]) if offset > max(self.next[me], self.acked[me]) else None)
            if offset >= self.next[me]:
                if self.acked[me] >= self.next[me]:
                    self.first_ns[me] = None
                elif self.first_ns[me] is None:
                    self.first_ns[me] = self.newest_ns[me]
                self.newest_ns[me] = ts
            else:
                self.retransmissions[me] += 1
                if offset + length > self.acked[me]:
                    self.resent[me] += 1
                    self.resent_ns[me] = ts
            for place, byte in enumerate(payload, offset):
                self.sent[me].setdefault(place, byte)
            if self.fin[me] is None:
                self.next[me] = max(self.next[me], offset + length)
        elif not flags & FIN and self.awaiting[peer] and offset >= self.next[me] and self.acked[peer] >= self.next[peer]:
            self.awaiting[peer] = False
            self.answered[peer] += 1
        if flags & FIN:
            unknown = offset + length > max(self.next[me], self.acked[me])
            self.end_gap(ts, (me, self.next[me]) if unknown else None)
            self.closing = self.closing or (self.number, ts, self.acked[peer] > self.next[peer])
            if self.fin[me] is None:
                self.fin[me] = offset + length
                self.next[me] = max(self.next[me], offset + length + 1)
        quiet = all(self.acked[side] >= self.next[side] for side in (0, 1))
        if not quiet:
            self.idle_since = None
        elif self.idle_since is None and None in self.fin and not self.was_reset[peer]:
            self.idle_since, self.gap_probes, self.idle_by = ts, [0, 0], me

    def end_gap(self, ts: int, missing: tuple[int, int] | None = None) -> None:
        if self.idle_since is not None and ts - self.idle_since >= GAP_NS:
            spoke = ("server", "client")[self.idle_by] if self.next[1 - self.idle_by] else None
            self.gaps.append((self.idle_since, ts - self.idle_since, tuple(self.gap_probes), spoke))
            self.missing.append(missing)
        self.idle_since = None

    def lacks(self, side: int, offset: int) -> bool:
        """Whether what stands there, a byte or a FIN, was acknowledged and is not in the capture."""
        return offset < self.acked[side] and offset not in self.sent[side] and (self.fin[side] is None or offset < self.fin[side])

    def end_run(self, side: int) -> None:
        """The peer was heard since the last probes: how long those went unanswered."""
        run = self.run[side] if self.awaiting[side] else self.run[side][:-1]
        if len(run) > 1:
            self.lapses[side].append(run[-1] - run[0])
        self.run[side] = []

    def data_end(self, side: int) -> int:
        return self.next[side] if self.fin[side] is None else self.fin[side]

    def result(self, end_ns: int) -> dict[str, object]:
        self.end_gap(end_ns)
        for side in (0, 1):
            if self.probe_runs[side][1] != self.last_packet[1 - side] and not self.was_reset[1 - side]:
                self.end_run(side)
        ends = [self.data_end(side) for side in (0, 1)]
        missing = [[place for place in range(ends[side]) if place not in self.sent[side]] for side in (0, 1)]
        return {
            "packets": tuple(self.packets),
            "retransmissions": tuple(self.retransmissions),
            "probes": tuple(zip(self.probes, self.answered, strict=True)),
            "gaps": [gap for gap, missing in zip(self.gaps, self.missing, strict=True) if missing is None or not self.lacks(*missing)],
            "unacknowledged": tuple(max(0, ends[side] - self.acked[side]) for side in (0, 1)),
            "payload_bytes": tuple(ends[side] - len(missing[side]) for side in (0, 1)),
            "holes": tuple(
                sum(place < self.acked[side] for place in missing[side])
                + (max(0, self.acked[side] - self.next[side]) if self.fin[side] is None else 0)
                for side in (0, 1)
            ),
            "closing": self.closing[:2] if self.closing and not self.closing[2] else None,  # whose FIN came first is not known
            "reset": self.reset,
            "first_probe": tuple(middle(distances) for distances in self.firsts),
            "interval": tuple(middle(some or others) for some, others in zip(self.intervals, self.retries, strict=True)),
            "lapse": tuple(map(max, self.lapses)),
            "outage": tuple(self.outages),
            "unanswered": tuple(run if heard == self.last_packet[1 - side] else 0 for side, (run, heard) in enumerate(self.probe_runs)),
            "shut": tuple(self.longest_shut(side, end_ns) for side in (1, 0)),
            "resent": tuple(self.resent[side] if ends[side] > self.acked[side] else 0 for side in (0, 1)),
        }

    def longest_shut(self, side: int, end_ns: int) -> tuple[int, int, int] | None:
        times = [(max(0, (end or end_ns) - begin), probes) for begin, end, probes in self.shut[side]]
        if not times:
            return None
        longest = max(times, key=lambda one: one[0])
        return (*longest, len(times))

    def check(self, direction: int, pieces: list[StreamPiece]) -> None:
        """Pieces follow each other, hold the bytes that were sent, and miss nothing that came before its loss was certain."""
        at = 0
        for piece in pieces:
            assert at + piece.missing_before == piece.offset
            assert bytes(self.sent[direction][piece.offset + place] for place in range(len(piece.data))) == piece.data
            if any(place in self.sent[direction] for place in range(at, piece.offset)):
                assert at < self.acked[direction]
            at = piece.offset + len(piece.data)
        assert at == 1 + max((place for place in self.sent[direction] if place >= 0), default=-1)


def middle(distances: list[int]) -> int | None:
    """The median, of two the lower one."""
    return sorted(distances)[(len(distances) - 1) // 2] if distances else None


@st.composite
def conversations(draw: st.DrawFn) -> tuple[int, int, list[Said]]:
    """Two stacks that talk, acknowledge, probe, repeat and close; then the capture loses and shuffles some of it."""
    said: list[Said] = []
    now, following, acked, closed = START + SECOND, [0, 0], [0, 0], [False, False]
    for _ in range(draw(st.integers(1, 40))):
        now += draw(st.sampled_from([1_000, 300_000, 20_000_000, 700_000_000, 3 * SECOND, 70 * SECOND]))
        me = draw(st.integers(0, 1))
        what = draw(st.sampled_from(["data", "data", "data", "ack", "ack", "ack", "probe", "rubbish", "again", "full", "fin", "rst"]))
        size = draw(st.sampled_from([1, 2, 9, 40]))
        payload = bytes((following[me] + place) % 251 for place in range(size))
        if what in {"ack", "data", "full", "fin"}:
            acked[1 - me] = following[1 - me]
        ack, window = acked[1 - me], 0 if what == "full" else 500
        if what == "data" and not closed[me]:
            said.append((me, now, following[me], ack, ACK | 8, payload, window))
            following[me] += size
        elif what == "fin" and not closed[me]:
            said.append((me, now, following[me], ack, ACK | FIN, b"", window))
            closed[me] = True
            following[me] += 1
        elif what == "rst" and draw(st.booleans()):
            ack = draw(st.sampled_from([ack, following[1 - me]]))
            said.append((me, now, following[me] + draw(st.sampled_from([0, 0, 9, -1])), ack, RST | ACK, b"", window))
        elif what in {"probe", "rubbish"}:
            # The twin keeps what came first, the tracker (as Linux) what is in order first: the byte must not differ.
            rubbish = bytes([(acked[me] - 1) % 251]) if what == "rubbish" else b""
            said.append((me, now, acked[me] - 1, ack, ACK, rubbish, window))
        elif what == "again" and following[me] - closed[me] > 0:
            end = following[me] - closed[me]
            start = max(0, end - size - draw(st.integers(0, 30)))
            again = bytes(place % 251 for place in range(start, min(end, start + size)))
            said.append((me, now, start, ack, ACK | 8, again, window))
        else:
            said.append((me, now, following[me], ack, ACK, b"", window))
    kept = [packet for packet in said if draw(st.integers(0, 9))]
    for _ in range(draw(st.integers(0, 3))):
        if len(kept) > 1:
            at = draw(st.integers(0, len(kept) - 2))
            kept[at : at + 2] = [(*kept[at + 1][:1], kept[at][1], *kept[at + 1][2:]), (*kept[at][:1], kept[at + 1][1], *kept[at][2:])]
    return draw(st.sampled_from([1000, 2**32 - 1, 2**32 - 60])), draw(st.sampled_from([5, 2**32 - 2, 2**31])), kept


@settings(max_examples=3 * settings.default.max_examples, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(conversations(), st.sampled_from([300, 1 << 20]), st.booleans())
def test_the_tracker_agrees_with_its_slow_twin(tmp_path: Path, told: tuple[int, int, list[Said]], chunk: int, wanted: bool) -> None:
    client_isn, server_isn, said = told
    talk = Talk(client_isn=client_isn, server_isn=server_isn).opened()
    twin = Twin(talk.now)
    packets = talk.packets
    isn = (client_isn + 1, server_isn + 1)
    for number, (direction, ts, offset, ack, flags, payload, window) in enumerate(said):
        source, destination = ENDS[direction], ENDS[1 - direction]
        segment = tcp(source, destination, isn[direction] + offset, isn[1 - direction] + ack, flags, payload, window)
        packets.append(Packet(ethernet(ip(segment, source, destination, 1000 + number)), ts))
        twin.add(direction, ts, offset, ack, flags, payload, window)
    expected = twin.result(packets[-1].ts_ns)
    only = {} if wanted else {"streams": False}
    _, (seen,), pieces = analyze(tmp_path / "trace.pcap", packets, chunk_size=chunk, **only)
    actual = {
        "packets": tuple(seen.packets),
        "retransmissions": tuple(seen.retransmissions),
        "probes": tuple((side.probes, side.answered) for side in seen.keepalive),
        "gaps": [(gap.start_ns, gap.duration_ns, tuple(gap.probes), gap.spoke_last) for gap in seen.gaps],
        "closing": seen.closing and (seen.closing.packet, seen.closing.ts_ns),
        "reset": seen.reset
        and (
            seen.reset.moment.packet,
            ("client", "server").index(seen.reset.sender),
            seen.reset.sequence_distance,
            seen.reset.own_last and seen.reset.own_last.packet,
            seen.reset.peer_last and seen.reset.peer_last.packet,
        ),
        "first_probe": tuple(side.first_probe_ns for side in seen.keepalive),
        "interval": tuple(side.interval_ns for side in seen.keepalive),
        "lapse": tuple(side.lapse.last.ts_ns - side.lapse.first.ts_ns if side.lapse else 0 for side in seen.keepalive),
        "outage": tuple(out.until.ts_ns - out.first.ts_ns if out else 0 for out in seen.outages),
        "unanswered": tuple(side.unanswered for side in seen.keepalive),
        "shut": tuple(shut and (shut.duration_ns, shut.probes, shut.times) for shut in seen.shut_windows),
        "unacknowledged": tuple(seen.unacknowledged_bytes),
        "payload_bytes": tuple(seen.payload_bytes),
        "holes": tuple(seen.stream_holes),
        "resent": tuple(0 if lost is None else lost.retransmissions for lost in seen.unanswered),
    }
    assert expected == actual
    assert seen.eventful or nothing_happened(seen)
    for direction in (0, 1) if wanted else ():
        twin.check(direction, [piece for piece in pieces if piece.direction == direction])
    assert wanted or not pieces


def nothing_happened(seen: TcpConnection) -> bool:
    """Whether a summary says nothing that a rule looks for only where something happened."""
    pairs = (seen.unanswered, seen.shut_windows, seen.awaited, seen.outages, seen.repeated)
    counts = (seen.retransmissions, seen.stream_holes, [side.unanswered or side.lapse for side in seen.keepalive])
    return not (seen.gaps or seen.gap_count or seen.reset or any(map(any, pairs)) or any(map(any, counts)))


def test_every_byte_of_a_shuffled_stream_is_where_it_belongs(tmp_path: Path) -> None:
    talk = Talk(client_isn=2**32 - 50).opened()
    for number in range(200):
        talk.client(bytes([number]) * (1 + number % 7))
    body = talk.packets[3:]
    times = [packet.ts_ns for packet in body]
    body.sort(key=lambda packet: hash(packet.frame[34:54]))
    for packet, ts in zip(body, times, strict=True):
        packet.ts_ns = ts
    talk.packets[3:] = body
    _, _, pieces = analyze(tmp_path / "trace.pcap", talk.packets)
    assert b"".join(bytes([number]) * (1 + number % 7) for number in range(200)) == b"".join(piece.data for piece in pieces)


pytestmark = pytest.mark.slow
