"""TCP segments -> connections: who spoke, when it was quiet, what was probed, sent again, lost, and how it ended.

Compiled by Cython (pure-Python mode) and runs unchanged without it, so arithmetic is masked explicitly. Sequence numbers
(RFC 9293 3.4) become 64-bit stream offsets at once: offset 0 is the first payload byte after the SYN, or the first byte
seen where the capture starts mid-stream; nothing after that compares raw sequence numbers. An idle connection is never
aged out. A closed one lingers for late packets, then becomes a TcpConnection and its state is freed.
"""

import array
from collections import deque

import cython

from captool.capture.frames import Frames
from captool.packets.decode import Segments
from captool.tcp.closing import describe
from captool.tcp.connection import StreamPiece, TcpConnection
from captool.tcp.reassembly import Reassembly

FIN = cython.declare(cython.int, 1)
SYN = cython.declare(cython.int, 2)
RST = cython.declare(cython.int, 4)
PSH = cython.declare(cython.int, 8)
ACK = cython.declare(cython.int, 16)

MASK64 = cython.declare(cython.ulonglong, cython.cast(cython.ulonglong, 0xFFFFFFFFFFFFFFFF))
MIX_A = cython.declare(cython.ulonglong, cython.cast(cython.ulonglong, 0x9E3779B97F4A7C15))
MIX_B = cython.declare(cython.ulonglong, cython.cast(cython.ulonglong, 0xBF58476D1CE4E5B9))

# The same packet seen twice (-i any, a bridge and its port) comes within this time; no TCP timer is that short.
DUPLICATE_NS = cython.declare(cython.longlong, 5_000_000)
# An acknowledgement above data that was not captured may only have overtaken it on another queue of the capture.
MAX_UNSEEN = cython.declare(cython.longlong, 1 << 30)

LINGER_NS = 120_000_000_000  # 2 MSL in Linux is 60 s
MAX_LINGERING = 8192
MAX_GAPS = 64
MAX_INTERVALS = 1024
MAX_HOLES = 1024

# Zeek's history letters, as bits: S H A D F R T W G of the client, then of the server.
LETTERS = "SHADFRTWG"


@cython.cfunc
@cython.inline
@cython.exceptval(check=False)
def seq_delta(later: cython.longlong, earlier: cython.longlong) -> cython.longlong:
    """Signed distance of two sequence numbers, right across the 2**32 wrap."""
    return ((later - earlier + 0x80000000) & 0xFFFFFFFF) - 0x80000000


@cython.cfunc
@cython.inline
@cython.exceptval(check=False)
def endpoint_hash(
    high: cython.ulonglong, low: cython.ulonglong, port: cython.ulonglong, seed: cython.ulonglong
) -> cython.ulonglong:
    mixed: cython.ulonglong = ((((high * MIX_B) & MASK64) ^ low ^ seed ^ port << 48) * MIX_A) & MASK64
    return ((mixed ^ mixed >> 32) * MIX_B) & MASK64


@cython.cclass
class Side:
    """What is known of one side as a sender. Offsets are stream offsets of what it sends; -1 where there is none.

    `next` is one above the highest offset sent (a FIN takes one offset), `acked` what the peer acknowledged (-1 while a
    SYN is not), `base` the sequence number of offset 0. `holes` are the ranges below `next` that were not captured.
    `first_*` is the earliest known transmission of what is not acknowledged, `second_*` a later one to fall back on.
    """

    base = cython.declare(cython.longlong, visibility="readonly")
    next = cython.declare(cython.longlong, visibility="readonly")
    acked = cython.declare(cython.longlong, visibility="readonly")
    packets = cython.declare(cython.longlong, visibility="readonly")
    last_ns = cython.declare(cython.longlong, visibility="readonly")
    last_packet = cython.declare(cython.longlong, visibility="readonly")
    window = cython.declare(cython.int, visibility="readonly")
    based = cython.declare(cython.bint, visibility="readonly")
    ack_known = cython.declare(cython.bint, visibility="readonly")
    data_seen = cython.declare(cython.bint, visibility="readonly")
    from_start = cython.declare(cython.bint, visibility="readonly")
    awaiting_answer = cython.declare(cython.bint, visibility="readonly")
    fin = cython.declare(cython.longlong, visibility="readonly")
    syn = cython.declare(cython.longlong, visibility="readonly")
    reset = cython.declare(cython.bint, visibility="readonly")
    holes = cython.declare(object, visibility="readonly")
    lost = cython.declare(cython.longlong, visibility="readonly")
    first_offset = cython.declare(cython.longlong, visibility="readonly")
    first_ns = cython.declare(cython.longlong, visibility="readonly")
    first_packet = cython.declare(cython.longlong, visibility="readonly")
    second_offset = cython.declare(cython.longlong, visibility="readonly")
    second_ns = cython.declare(cython.longlong, visibility="readonly")
    second_packet = cython.declare(cython.longlong, visibility="readonly")
    newest_offset = cython.declare(cython.longlong, visibility="readonly")
    newest_ns = cython.declare(cython.longlong, visibility="readonly")
    newest_packet = cython.declare(cython.longlong, visibility="readonly")
    resent = cython.declare(cython.longlong, visibility="readonly")
    resent_ns = cython.declare(cython.longlong, visibility="readonly")
    resent_packet = cython.declare(cython.longlong, visibility="readonly")
    retransmissions = cython.declare(cython.longlong, visibility="readonly")
    probes = cython.declare(cython.longlong, visibility="readonly")
    answered = cython.declare(cython.longlong, visibility="readonly")
    gap_probes = cython.declare(cython.longlong, visibility="readonly")
    quiet_since = cython.declare(cython.longlong, visibility="readonly")
    longest_idle = cython.declare(cython.longlong, visibility="readonly")
    intervals = cython.declare(object, visibility="readonly")

    def __init__(self) -> None:
        self.base = self.next = self.packets = self.last_ns = self.last_packet = 0
        self.acked = self.fin = self.syn = -1
        self.window = 1
        self.based = self.ack_known = self.data_seen = self.from_start = self.awaiting_answer = self.reset = False
        self.holes = None
        self.intervals = None
        self.lost = 0
        self.first_offset = self.second_offset = self.newest_offset = -1
        self.first_ns = self.first_packet = self.second_ns = self.second_packet = 0
        self.newest_ns = self.newest_packet = 0
        self.resent = self.resent_ns = self.resent_packet = self.retransmissions = 0
        self.probes = self.answered = self.gap_probes = self.quiet_since = self.longest_idle = 0


@cython.cclass
class Flow:
    """One open connection. `idle_since` is -1 while data is under way; `id` -1 for a connection that is not wanted."""

    client_high = cython.declare(cython.ulonglong, visibility="readonly")
    client_low = cython.declare(cython.ulonglong, visibility="readonly")
    server_high = cython.declare(cython.ulonglong, visibility="readonly")
    server_low = cython.declare(cython.ulonglong, visibility="readonly")
    client_port = cython.declare(cython.uint, visibility="readonly")
    server_port = cython.declare(cython.uint, visibility="readonly")
    hash = cython.declare(cython.longlong, visibility="readonly")
    client: Side
    server: Side
    idle_since = cython.declare(cython.longlong, visibility="readonly")
    idle_packet = cython.declare(cython.longlong, visibility="readonly")
    id = cython.declare(cython.longlong, visibility="readonly")
    slot = cython.declare(cython.Py_ssize_t, visibility="readonly")
    letters = cython.declare(cython.longlong, visibility="readonly")
    opened = cython.declare(cython.bint, visibility="readonly")
    wanted = cython.declare(cython.bint, visibility="readonly")
    lingering = cython.declare(cython.bint, visibility="readonly")
    client_guessed = cython.declare(cython.bint, visibility="readonly")
    closed_by = cython.declare(cython.int, visibility="readonly")
    start_ns = cython.declare(cython.longlong, visibility="readonly")
    end_ns = cython.declare(cython.longlong, visibility="readonly")
    last_packet = cython.declare(cython.longlong, visibility="readonly")
    last_ns = cython.declare(cython.longlong, visibility="readonly")
    snapped = cython.declare(cython.longlong, visibility="readonly")
    gap_count = cython.declare(cython.longlong, visibility="readonly")
    silence = cython.declare(cython.longlong, visibility="readonly")
    longest_gap = cython.declare(cython.longlong, visibility="readonly")
    gaps = cython.declare(object, visibility="readonly")
    history = cython.declare(object, visibility="readonly")

    def __init__(self) -> None:
        self.client = Side()
        self.server = Side()
        self.idle_since = self.idle_packet = -1
        self.letters = 0
        self.opened = self.lingering = self.client_guessed = False
        self.wanted = True
        self.closed_by = -1
        self.snapped = self.gap_count = self.longest_gap = self.silence = 0
        self.last_ns = self.last_packet = 0
        self.gaps = None
        self.history = ""

    def sides(self) -> tuple:
        """The client and the server as senders."""
        return self.client, self.server


@cython.cclass
class Tracker:
    """Follows all connections of a capture; see the module for what it knows of them.

    `service_ports` tell the server where no SYN was captured. With `only_ports`, connections to other server ports are
    passed over. `gap_ns` is the shortest gap to keep, `keepalive_window_ns` the idle time from which a missing probe is a fact.
    `max_buffer` bounds the bytes that wait for a hole to fill, for one direction; all together may hold 16 times as much.
    """

    duplicate_packets = cython.declare(cython.longlong, visibility="readonly")
    connections = cython.declare(cython.longlong, visibility="readonly")
    gap_ns: cython.longlong
    keepalive_window_ns: cython.longlong
    seed: cython.ulonglong
    flows: list
    free: list
    by_id: dict
    table: cython.longlong[::1]
    recent: cython.longlong[::1]
    service: cython.uchar[::1]
    only: cython.uchar[::1]
    filtered: cython.bint
    table_mask: cython.longlong
    open_flows: cython.longlong
    now: cython.longlong
    assembly: object
    closed: list
    linger: object

    def __init__(
        self,
        service_ports: tuple[int, ...] = (2375, 2376),
        only_ports: tuple[int, ...] = (),
        gap_ns: int = 2_000_000_000,
        keepalive_window_ns: int = 60_000_000_000,
        max_buffer: int = 4 << 20,
    ) -> None:
        self.gap_ns = gap_ns
        self.keepalive_window_ns = keepalive_window_ns
        self.service = bytearray(65536)
        for port in service_ports:
            self.service[port] = 1
        self.only = bytearray(65536)
        for port in only_ports:
            self.only[port] = 1
        self.filtered = bool(only_ports)
        # Secret to each process, so that no capture can be built to fill one chain; no result depends on it.
        self.seed = hash(b"captool") & 0xFFFFFFFFFFFFFFFF
        self.table = array.array("q", bytes(8 * 1024))
        self.table_mask = 1023
        self.recent = array.array("q", bytes(8 * 16 * 256))
        self.flows = []
        self.free = []
        self.by_id = {}
        self.open_flows = 0
        self.duplicate_packets = 0
        self.connections = 0
        self.now = 0
        self.assembly = Reassembly(max_buffer)
        self.closed = []
        self.linger = deque()

    def notes(self) -> list[str]:
        """Sentences about limits that were reached."""
        return self.assembly.notes()

    def add(self, frames: Frames, segments: Segments) -> None:
        """Take in one chunk; its stream pieces and closed connections can be taken afterwards."""
        ts_ns: cython.longlong[::1] = frames.ts_ns
        frame: cython.int[::1] = segments.frame
        source_high: cython.ulonglong[::1] = segments.source_high
        source_low: cython.ulonglong[::1] = segments.source_low
        destination_high: cython.ulonglong[::1] = segments.destination_high
        destination_low: cython.ulonglong[::1] = segments.destination_low
        ports: cython.uint[::1] = segments.ports
        seq: cython.uint[::1] = segments.seq
        ack: cython.uint[::1] = segments.ack
        flags: cython.ushort[::1] = segments.flags
        window: cython.ushort[::1] = segments.window
        mark: cython.longlong[::1] = segments.mark
        payload_offset: cython.int[::1] = segments.payload_offset
        payload_length: cython.int[::1] = segments.payload_length
        payload_captured: cython.int[::1] = segments.payload_captured
        first_packet: cython.longlong = frames.first_packet
        row: cython.Py_ssize_t
        count: cython.Py_ssize_t = segments.count
        frame_count: cython.Py_ssize_t = frames.count
        source_port: cython.uint
        destination_port: cython.uint
        key: cython.longlong
        at: cython.longlong
        entry: cython.longlong
        direction: cython.int
        flow: Flow
        now: cython.longlong = self.now
        self.assembly.begin_chunk(frames.buffer)
        for row in range(count):
            source_port = ports[row] >> 16
            destination_port = ports[row] & 0xFFFF
            if self.filtered and not self.only[source_port] and not self.only[destination_port]:
                continue
            key = self.key(
                source_high[row], source_low[row], source_port, destination_high[row], destination_low[row], destination_port
            )
            at = key & self.table_mask
            direction = -1
            flow = None
            while True:
                entry = self.table[at]
                if entry == 0:
                    break
                if entry >> 32 == key:
                    flow = self.flows[(entry & 0xFFFFFFFF) - 1]
                    if (
                        flow.client_port == source_port
                        and flow.server_port == destination_port
                        and flow.client_low == source_low[row]
                        and flow.server_low == destination_low[row]
                        and flow.client_high == source_high[row]
                        and flow.server_high == destination_high[row]
                    ):
                        direction = 0
                        break
                    if (
                        flow.client_port == destination_port
                        and flow.server_port == source_port
                        and flow.client_low == destination_low[row]
                        and flow.server_low == source_low[row]
                        and flow.client_high == destination_high[row]
                        and flow.server_high == source_high[row]
                    ):
                        direction = 1
                        break
                at = (at + 1) & self.table_mask
            now = ts_ns[frame[row]]
            if direction >= 0 and flags[row] & SYN and self.starts_anew(flow, direction, seq[row], flags[row]):
                self.close(flow)
                direction = -1
            if direction < 0:
                flow = self.open(
                    key,
                    source_high[row],
                    source_low[row],
                    source_port,
                    destination_high[row],
                    destination_low[row],
                    destination_port,
                    flags[row],
                    now,
                )
                direction = (
                    0
                    if flow.client_port == source_port
                    and flow.client_low == source_low[row]
                    and flow.client_high == source_high[row]
                    else 1
                )
                if flow.client_guessed and direction:
                    flow.history = "^"
            self.segment(
                flow,
                direction,
                now,
                first_packet + frame[row],
                seq[row],
                ack[row],
                flags[row],
                window[row],
                mark[row],
                payload_length[row],
                payload_captured[row],
                payload_offset[row],
            )
        for row in range(frame_count):
            if ts_ns[row] > self.now:
                self.now = ts_ns[row]
        self.assembly.end_chunk()
        if self.linger:
            self.close_lingering()

    @cython.cfunc
    @cython.inline
    @cython.exceptval(check=False)
    def key(
        self,
        source_high: cython.ulonglong,
        source_low: cython.ulonglong,
        source_port: cython.uint,
        destination_high: cython.ulonglong,
        destination_low: cython.ulonglong,
        destination_port: cython.uint,
    ) -> cython.longlong:
        """31 bits of a hash that is the same for both directions."""
        mixed: cython.ulonglong = (
            endpoint_hash(source_high, source_low, source_port, self.seed)
            + endpoint_hash(destination_high, destination_low, destination_port, self.seed)
        ) & MASK64
        mixed = ((mixed ^ mixed >> 29) * MIX_A) & MASK64
        return cython.cast(cython.longlong, mixed >> 33)

    @cython.cfunc
    def starts_anew(self, flow: Flow, direction: cython.int, seq: cython.longlong, flags: cython.int) -> cython.bint:
        """Whether a SYN opens another connection on the same ports, not this one again."""
        sender: Side = flow.server if direction else flow.client
        receiver: Side = flow.client if direction else flow.server
        if sender.syn == seq:
            return False
        if sender.syn < 0 and sender.packets == 0:
            if flags & ACK:
                return False
            # Both sides at once (RFC 9293 3.5, simultaneous open), unless the other side had gone on long ago.
            return receiver.syn < 0 or flow.opened
        return flow.opened or not flags & ACK

    @cython.cfunc
    def open(
        self,
        key: cython.longlong,
        source_high: cython.ulonglong,
        source_low: cython.ulonglong,
        source_port: cython.uint,
        destination_high: cython.ulonglong,
        destination_low: cython.ulonglong,
        destination_port: cython.uint,
        flags: cython.int,
        now: cython.longlong,
    ) -> Flow:
        flow: Flow = Flow()
        from_client: cython.bint
        at: cython.longlong
        if flags & SYN:
            from_client = not flags & ACK
        else:
            flow.client_guessed = True
            if self.service[source_port] != self.service[destination_port]:
                from_client = self.service[destination_port] != 0
            else:
                from_client = source_port >= destination_port
        if from_client:
            flow.client_high, flow.client_low, flow.client_port = source_high, source_low, source_port
            flow.server_high, flow.server_low, flow.server_port = destination_high, destination_low, destination_port
        else:
            flow.client_high, flow.client_low, flow.client_port = destination_high, destination_low, destination_port
            flow.server_high, flow.server_low, flow.server_port = source_high, source_low, source_port
        flow.start_ns = flow.end_ns = now
        flow.hash = key
        if self.filtered and not self.only[flow.server_port]:
            flow.id = -1
            flow.wanted = False
        else:
            flow.id = self.connections
            self.connections += 1
            self.by_id[flow.id] = flow
        if self.free:
            flow.slot = self.free.pop()
            self.flows[flow.slot] = flow
        else:
            flow.slot = len(self.flows)
            self.flows.append(flow)
            if 16 * len(self.flows) > len(self.recent):
                self.recent = array.array("q", bytes(self.recent) + bytes(8 * len(self.recent)))
        for at in range(16 * flow.slot, 16 * flow.slot + 16):
            self.recent[at] = 0
        self.open_flows += 1
        if 2 * self.open_flows > self.table_mask:
            self.grow_table()
        at = key & self.table_mask
        while self.table[at]:
            at = (at + 1) & self.table_mask
        self.table[at] = key << 32 | (flow.slot + 1)
        return flow

    @cython.cfunc
    def grow_table(self) -> cython.int:
        size: cython.longlong = 2 * (self.table_mask + 1)
        old: cython.longlong[::1] = self.table
        row: cython.longlong
        at: cython.longlong
        self.table = array.array("q", bytes(8 * size))
        self.table_mask = size - 1
        for row in range(len(old)):
            if old[row]:
                at = old[row] >> 32 & self.table_mask
                while self.table[at]:
                    at = (at + 1) & self.table_mask
                self.table[at] = old[row]
        return 0

    @cython.cfunc
    def close(self, flow: Flow) -> cython.int:
        """Turn the connection into its summary and free its state."""
        at: cython.longlong = flow.hash & self.table_mask
        hole: cython.longlong
        home: cython.longlong
        if flow.idle_since >= 0:
            if self.now - flow.last_ns > flow.silence:
                flow.silence = self.now - flow.last_ns
            self.end_gap(flow, self.now if self.now > flow.last_ns else flow.last_ns, "end-of-capture", None)
        if flow.wanted:
            self.assembly.finish(flow.id)
        if flow.id >= 0:
            self.closed.append(describe(flow, self.keepalive_window_ns))
            del self.by_id[flow.id]
        while (self.table[at] & 0xFFFFFFFF) - 1 != flow.slot:
            at = (at + 1) & self.table_mask
        # Linear probing without tombstones: later entries of the chain move up into the hole (Knuth 6.4, algorithm R).
        hole = at
        while True:
            at = (at + 1) & self.table_mask
            if self.table[at] == 0:
                break
            home = self.table[at] >> 32 & self.table_mask
            if (at - home) & self.table_mask >= (at - hole) & self.table_mask:
                self.table[hole] = self.table[at]
                hole = at
        self.table[hole] = 0
        self.flows[flow.slot] = None
        self.free.append(flow.slot)
        flow.slot = -1
        self.open_flows -= 1
        return 0

    @cython.cfunc
    def close_lingering(self) -> cython.int:
        flow: Flow
        while self.linger:
            until, flow = self.linger[0]
            if flow.slot >= 0 and len(self.linger) <= MAX_LINGERING:
                if self.now < until:
                    break
                if flow.last_ns + LINGER_NS > self.now:  # late packets still come
                    self.linger.popleft()
                    self.linger.append((flow.last_ns + LINGER_NS, flow))
                    continue
            self.linger.popleft()
            if flow.slot >= 0:
                self.close(flow)
        return 0

    @cython.cfunc
    def segment(
        self,
        flow: Flow,
        direction: cython.int,
        ts: cython.longlong,
        packet: cython.longlong,
        seq: cython.longlong,
        ack: cython.longlong,
        flags: cython.longlong,
        window: cython.int,
        mark: cython.longlong,
        length: cython.longlong,
        captured: cython.longlong,
        start: cython.Py_ssize_t,
    ) -> cython.int:
        sender: Side = flow.server if direction else flow.client
        receiver: Side = flow.client if direction else flow.server
        offset: cython.longlong
        letters: cython.longlong = 0
        identity: cython.longlong
        at: cython.Py_ssize_t
        ring: cython.Py_ssize_t

        identity = cython.cast(
            cython.longlong,
            ((((seq << 32 | ack) & MASK64) * MIX_A & MASK64) ^ (((length << 42 | flags << 34) ^ mark) * MIX_B & MASK64)) >> 1,
        )
        ring = 16 * flow.slot + 8 * direction
        if mark >= 0 or flags & (SYN | RST):
            for at in range(ring, ring + 8, 2):
                if self.recent[at] == identity and -DUPLICATE_NS <= ts - self.recent[at + 1] <= DUPLICATE_NS:
                    if identity and sender.packets:
                        self.duplicate_packets += 1
                        return 0
        at = ring + 2 * (sender.packets & 3)
        self.recent[at] = identity
        self.recent[at + 1] = ts

        sender.packets += 1
        sender.last_ns = ts
        sender.last_packet = packet
        if flow.idle_since >= 0 and ts - flow.last_ns > flow.silence:
            flow.silence = ts - flow.last_ns
        flow.last_ns = ts
        flow.last_packet = packet
        if ts > flow.end_ns:
            flow.end_ns = ts

        if flags & SYN:
            letters = 2 if flags & ACK else 1
            self.synchronise(sender, seq)
            seq += 1
        elif not sender.based:
            sender.based = True
            sender.base = seq
            sender.acked = 0
        offset = sender.next + seq_delta(seq, sender.base + sender.next)

        if flags & RST:
            self.note_letters(flow, direction, 32)
            self.end_gap(flow, ts, "rst", packet)
            sender.reset = True
            if flow.closed_by < 0:
                flow.closed_by = direction
            self.start_linger(flow)
            return 0

        if flags & ACK:
            if not flags & SYN:
                flow.opened = True
            self.acknowledge(flow, direction, sender, receiver, ack, flags, length, ts)
            offset = sender.next + seq_delta(seq, sender.base + sender.next)

        if window == 0 and not flags & SYN:
            letters |= 128
        sender.window = window

        if (
            length <= 1
            and offset == sender.acked - 1
            and not flags & (SYN | FIN)
            and (receiver.window != 0)
            and (sender.ack_known or (receiver.packets == 0 and length == 0 and sender.data_seen))
            and not (length == 1 and flags & PSH and sender.newest_offset == offset)
        ):
            letters |= 4
            self.probe(flow, sender, ts)
        elif length:
            letters |= 8
            letters |= self.data(flow, direction, sender, receiver, offset, length, captured, start, ts, packet)
        elif not flags & (SYN | FIN):
            letters |= 4
            if not sender.data_seen and not sender.from_start and not sender.ack_known and offset > sender.next:
                sender.next = offset
            if receiver.awaiting_answer and offset >= sender.next and receiver.acked >= receiver.next:
                receiver.awaiting_answer = False
                receiver.answered += 1
        if flags & FIN:
            letters |= 16
            self.end_gap(flow, ts, "fin", packet)
            if sender.fin < 0:
                sender.fin = offset + length
                if sender.fin >= sender.next:
                    sender.next = sender.fin + 1
                if flow.closed_by < 0:
                    flow.closed_by = direction
                if receiver.fin >= 0:
                    self.start_linger(flow)
        if letters << (9 * direction) & ~flow.letters:
            self.note_letters(flow, direction, letters)

        # Idle: nothing unacknowledged in either direction; a side that was never heard cannot acknowledge.
        if (sender.acked >= sender.next or (receiver.packets == 0 and sender.resent == 0)) and receiver.acked >= receiver.next:
            if flow.idle_since < 0 and flow.opened and (sender.fin < 0 or receiver.fin < 0) and not receiver.reset:
                flow.idle_since = ts
                flow.idle_packet = packet
                sender.quiet_since = receiver.quiet_since = ts
                sender.gap_probes = receiver.gap_probes = 0
                flow.silence = 0
        elif flow.idle_since >= 0:
            flow.idle_since = -1
        return 0

    @cython.cfunc
    def synchronise(self, sender: Side, seq: cython.longlong) -> cython.int:
        if sender.syn == seq:
            return 0
        sender.syn = seq
        sender.from_start = True
        if not sender.based or sender.base != (seq + 1) & 0xFFFFFFFF:
            sender.based = True
            sender.base = (seq + 1) & 0xFFFFFFFF
            sender.acked = -1
            sender.next = 0
            sender.ack_known = False
        return 0

    @cython.cfunc
    def acknowledge(
        self,
        flow: Flow,
        direction: cython.int,
        sender: Side,
        receiver: Side,
        ack: cython.longlong,
        flags: cython.int,
        length: cython.longlong,
        ts: cython.longlong,
    ) -> cython.int:
        """Take in `sender`'s acknowledgement of what `receiver` sent."""
        offset: cython.longlong
        if not receiver.based:
            receiver.based = True
            receiver.base = ack
            receiver.acked = 0
            receiver.ack_known = True
            receiver.from_start = flags & SYN != 0
            return 0
        offset = receiver.acked + seq_delta(ack, receiver.base + receiver.acked)
        if offset > receiver.next + MAX_UNSEEN:
            return 0
        if not receiver.ack_known:
            receiver.ack_known = True
            receiver.acked = offset
        elif offset > receiver.acked:
            receiver.acked = offset
        else:
            if flow.wanted and receiver.holes is not None:
                self.assembly.acknowledged(flow.id, 1 - direction, receiver.acked, ts)
            return 0
        receiver.resent = 0
        if offset > receiver.next and not receiver.data_seen and not receiver.from_start:
            # Mid-stream, and only empty segments so far. If they stood one below, they were probes (no byte was seen).
            if offset == receiver.next + 1 and receiver.packets and receiver.fin < 0 and sender.window != 0:
                receiver.probes += receiver.packets
                receiver.gap_probes += receiver.packets
                receiver.quiet_since = receiver.last_ns
                receiver.awaiting_answer = True
            receiver.base = (receiver.base + offset) & 0xFFFFFFFF
            receiver.acked = receiver.next = 0
        elif offset < receiver.next and receiver.first_offset < offset:
            if receiver.second_offset >= offset:
                receiver.first_offset = receiver.second_offset
                receiver.first_ns = receiver.second_ns
                receiver.first_packet = receiver.second_packet
            else:
                receiver.first_offset = receiver.newest_offset
                receiver.first_ns = receiver.newest_ns
                receiver.first_packet = receiver.newest_packet
            receiver.second_offset = -1
        if flow.wanted and receiver.holes is not None:
            self.assembly.acknowledged(flow.id, 1 - direction, receiver.acked, ts)
        return 0

    @cython.cfunc
    def probe(self, flow: Flow, sender: Side, ts: cython.longlong) -> cython.int:
        sender.probes += 1
        sender.awaiting_answer = True
        if flow.idle_since >= 0:
            if sender.gap_probes:
                if sender.intervals is None:
                    sender.intervals = []
                if len(sender.intervals) < MAX_INTERVALS:
                    sender.intervals.append(ts - sender.quiet_since)
                else:
                    sender.intervals[sender.probes % MAX_INTERVALS] = ts - sender.quiet_since
            if ts - sender.quiet_since > sender.longest_idle:
                sender.longest_idle = ts - sender.quiet_since
            sender.gap_probes += 1
            sender.quiet_since = ts
        return 0

    @cython.cfunc
    def data(
        self,
        flow: Flow,
        direction: cython.int,
        sender: Side,
        receiver: Side,
        offset: cython.longlong,
        length: cython.longlong,
        captured: cython.longlong,
        start: cython.Py_ssize_t,
        ts: cython.longlong,
        packet: cython.longlong,
    ) -> cython.longlong:
        """Take in payload; returns history letters."""
        letters: cython.longlong = 0
        end: cython.longlong
        if flow.idle_since >= 0:
            self.end_gap(flow, ts, "data", packet)
        if captured < length:
            flow.snapped += 1
        if not sender.data_seen:
            sender.data_seen = True
            if offset and not sender.from_start:  # mid-stream: offset 0 is the first byte seen
                sender.base = (sender.base + offset) & 0xFFFFFFFF
                sender.acked -= offset
                sender.next = 0
                offset = 0
        end = offset + length
        if offset >= sender.next:
            if offset > sender.next:
                letters = 256
                if sender.holes is None:
                    sender.holes = []
                self.add_hole(sender, sender.next, offset)
            if sender.acked >= sender.next or receiver.packets == 0:
                sender.first_offset, sender.first_ns, sender.first_packet = offset, ts, packet
                sender.second_offset = -1
                sender.resent = 0
            elif sender.second_offset < 0:
                sender.second_offset, sender.second_ns, sender.second_packet = offset, ts, packet
            sender.newest_offset, sender.newest_ns, sender.newest_packet = offset, ts, packet
            sender.next = end
        else:
            letters = 64
            sender.retransmissions += 1
            if end > sender.acked:
                sender.resent += 1
                sender.resent_ns = ts
                sender.resent_packet = packet
            if sender.holes is not None:
                self.fill_holes(sender, offset, end)
            if end > sender.next:
                if sender.fin < 0:
                    sender.next = end
        if flow.wanted:
            self.assembly.segment(
                flow.id, direction, offset, length, captured, start, packet, ts, sender.from_start, sender.acked
            )
        return letters

    @cython.cfunc
    def add_hole(self, sender: Side, begin: cython.longlong, end: cython.longlong) -> cython.int:
        sender.holes.append((begin, end))
        if len(sender.holes) > MAX_HOLES:
            begin, end = sender.holes.pop(0)
            sender.lost += end - begin
        return 0

    @cython.cfunc
    def fill_holes(self, sender: Side, begin: cython.longlong, end: cython.longlong) -> cython.int:
        left = []
        for hole_begin, hole_end in sender.holes:
            if hole_end <= begin or hole_begin >= end:
                left.append((hole_begin, hole_end))
                continue
            if hole_begin < begin:
                left.append((hole_begin, begin))
            if hole_end > end:
                left.append((end, hole_end))
        sender.holes = left or None
        return 0

    @cython.cfunc
    def end_gap(self, flow: Flow, ts: cython.longlong, ended_by: str, packet: object) -> cython.int:
        duration: cython.longlong
        if flow.idle_since < 0:
            return 0
        duration = ts - flow.idle_since
        if duration < 0:
            duration = 0
        if ts - flow.client.quiet_since > flow.client.longest_idle:
            flow.client.longest_idle = ts - flow.client.quiet_since
        if ts - flow.server.quiet_since > flow.server.longest_idle:
            flow.server.longest_idle = ts - flow.server.quiet_since
        if duration > flow.longest_gap:
            flow.longest_gap = duration
        if duration >= self.gap_ns:
            flow.gap_count += 1
            if flow.gaps is None:
                flow.gaps = []
            flow.gaps.append(
                (
                    flow.idle_since,
                    duration,
                    flow.client.gap_probes,
                    flow.server.gap_probes,
                    flow.silence,
                    flow.idle_packet,
                    ended_by,
                    packet,
                )
            )
            if len(flow.gaps) > MAX_GAPS:
                shortest = 0
                for row in range(1, len(flow.gaps)):
                    if flow.gaps[row][1] < flow.gaps[shortest][1]:
                        shortest = row
                del flow.gaps[shortest]
        flow.idle_since = -1
        return 0

    @cython.cfunc
    def start_linger(self, flow: Flow) -> cython.int:
        if not flow.lingering:
            flow.lingering = True
            self.linger.append((flow.last_ns + LINGER_NS, flow))
        return 0

    @cython.cfunc
    def note_letters(self, flow: Flow, direction: cython.int, letters: cython.longlong) -> cython.int:
        bit: cython.int
        for bit in range(9):
            if letters >> bit & 1 and not flow.letters >> (bit + 9 * direction) & 1:
                flow.letters |= cython.cast(cython.longlong, 1) << (bit + 9 * direction)
                letter = LETTERS[bit]
                flow.history += letter.lower() if direction else letter
        return 0

    def take_pieces(self) -> list[StreamPiece]:
        """The stream pieces since the last call, in the order of the capture within each connection."""
        return self.assembly.take()

    def take_closed(self) -> list[TcpConnection]:
        """The connections that closed since the last call and for which no late packet is awaited any more."""
        taken, self.closed = self.closed, []
        return taken

    def stop_stream(self, connection: int) -> None:
        """No more pieces of this connection, in either direction; what waits is dropped."""
        flow: Flow
        if connection in self.by_id:
            flow = self.by_id[connection]
            flow.wanted = False
        self.assembly.stop(connection)

    def acknowledged(self, connection: int, direction: int) -> int:
        """Stream offset up to which the receiver of `direction` acknowledged; KeyError for a connection that was taken as closed."""
        flow: Flow = self.by_id[connection]
        side: Side = flow.server if direction else flow.client
        return max(min(side.acked, side.fin) if side.fin >= 0 else side.acked, 0)

    def finish(self) -> None:
        """The capture is over: holes will not fill, every connection ends. Take the last pieces and connections after it."""
        flow: Flow
        for flow in [flow for flow in self.flows if flow is not None]:
            self.close(flow)
        self.closed.sort(key=lambda connection: connection.id)
        self.linger.clear()
