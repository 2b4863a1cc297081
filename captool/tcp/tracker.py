"""TCP segments -> connections: who spoke, when it was quiet, what was probed, sent again, lost, and how it ended.

Compiled by Cython (pure-Python mode) and runs unchanged without it, so arithmetic is masked explicitly. Sequence numbers
(RFC 9293 3.4) become 64-bit stream offsets at once: offset 0 is the first payload byte after the SYN, or the first byte
seen where the capture starts mid-stream; nothing after that compares raw sequence numbers. An idle connection is never
aged out. A closed one lingers for late packets, then becomes a TcpConnection and its state is freed.
"""

# ruff: noqa: D102, D103, FURB136, PLR0911, PLR0912, PLR0915, PLR1730, SIM102
# (the compiler makes plain comparisons of chained ones, Python calls of min, max and `in`)

import array
from collections import deque

import cython

from captool.capture.frames import Frames
from captool.packets.decode import Segments
from captool.tcp import layout
from captool.tcp.closing import describe
from captool.tcp.connection import StreamPiece, TcpConnection
from captool.tcp.holes import add_hole, fill_holes
from captool.tcp.quiet import SeenGap, keep_gap, keep_interval
from captool.tcp.reassembly import Reassembly

FIN = cython.declare(cython.longlong, 1)
SYN = cython.declare(cython.longlong, 2)
RST = cython.declare(cython.longlong, 4)
PSH = cython.declare(cython.longlong, 8)
ACK = cython.declare(cython.longlong, 16)

# Numbers above 31 bits would be Python objects to the compiler if they stood in the expressions.
ONE = cython.declare(cython.longlong, 1)
TWO32 = cython.declare(cython.longlong, 0x100000000)
MASK32 = cython.declare(cython.longlong, 0xFFFFFFFF)
HALF32 = cython.declare(cython.longlong, 0x80000000)
MASK64 = cython.declare(cython.ulonglong, cython.cast(cython.ulonglong, 0xFFFFFFFFFFFFFFFF))
MIX_A = cython.declare(cython.ulonglong, cython.cast(cython.ulonglong, 0x9E3779B97F4A7C15))
MIX_B = cython.declare(cython.ulonglong, cython.cast(cython.ulonglong, 0xBF58476D1CE4E5B9))

# The same packet seen twice (-i any, a bridge and its port) comes within 5 ms, here in units of 1024 ns; no TCP timer is that short.
DUPLICATE_TICKS = cython.declare(cython.longlong, 5_000_000 >> 10)
# How far above the captured data an acknowledgement is believed: the capture may have missed that much.
MAX_UNSEEN = cython.declare(cython.longlong, 1 << 30)

LINGER_NS = cython.declare(cython.longlong, 120_000_000_000)  # twice the 60 s that Linux keeps TIME_WAIT
BATCH = cython.declare(cython.Py_ssize_t, 128)
MAX_LINGERING = cython.declare(cython.longlong, 8192)

# Of BITS: what must be set and what must not be where a segment goes as predicted.
STEADY_BITS = cython.declare(cython.longlong, layout.BASED | layout.ACK_KNOWN)
STEADY_MASK = cython.declare(
    cython.longlong,
    layout.BASED | layout.ACK_KNOWN | layout.AWAITING | layout.RESET | layout.FINISHED | layout.RESENDING | layout.HOLED,
)

# The compiler needs the layout's numbers as C variables.
HOT_ROW = cython.declare(cython.longlong, layout.HOT_ROW)
ADDRESSES = cython.declare(cython.longlong, layout.ADDRESSES)
PORTS_FLAGS = cython.declare(cython.longlong, layout.PORTS_FLAGS)
NEXTS = cython.declare(cython.longlong, layout.NEXTS)
ACKEDS = cython.declare(cython.longlong, layout.ACKEDS)
BASES = cython.declare(cython.longlong, layout.BASES)
PACKET_COUNTS = cython.declare(cython.longlong, layout.PACKET_COUNTS)
TIMES = cython.declare(cython.longlong, layout.TIMES)
STEADY = cython.declare(cython.longlong, layout.STEADY)
HOT_IPV6 = cython.declare(cython.longlong, layout.HOT_IPV6)
SWAPPED = cython.declare(cython.longlong, layout.SWAPPED)
IDLE = cython.declare(cython.longlong, layout.IDLE)
DATA_EXPECTED = cython.declare(cython.longlong, layout.DATA_EXPECTED)
ACK_EXPECTED = cython.declare(cython.longlong, layout.ACK_EXPECTED)
NEWEST_IS_LAST = cython.declare(cython.longlong, layout.NEWEST_IS_LAST)
FIRST_KNOWN = cython.declare(cython.longlong, layout.FIRST_KNOWN)
LIMIT_SHIFT = cython.declare(cython.longlong, layout.LIMIT_SHIFT)
ROW = cython.declare(cython.longlong, layout.ROW)
SIDES = cython.declare(cython.longlong, layout.SIDES)
SIDE = cython.declare(cython.longlong, layout.SIDE)
FIRST_LOW = cython.declare(cython.longlong, layout.FIRST_LOW)
SECOND_LOW = cython.declare(cython.longlong, layout.SECOND_LOW)
PORTS = cython.declare(cython.longlong, layout.PORTS)
STATE = cython.declare(cython.longlong, layout.STATE)
IDLE_SINCE = cython.declare(cython.longlong, layout.IDLE_SINCE)
IDLE_PACKET = cython.declare(cython.longlong, layout.IDLE_PACKET)
IDLE_LIMIT = cython.declare(cython.longlong, layout.IDLE_LIMIT)
HISTORY = cython.declare(cython.longlong, layout.HISTORY)
ID = cython.declare(cython.longlong, layout.ID)
HASH = cython.declare(cython.longlong, layout.HASH)
FIRST_HIGH = cython.declare(cython.longlong, layout.FIRST_HIGH)
SECOND_HIGH = cython.declare(cython.longlong, layout.SECOND_HIGH)
START_NS = cython.declare(cython.longlong, layout.START_NS)
SNAPPED = cython.declare(cython.longlong, layout.SNAPPED)
GAP_COUNT = cython.declare(cython.longlong, layout.GAP_COUNT)
LONGEST_GAP = cython.declare(cython.longlong, layout.LONGEST_GAP)
SILENCE = cython.declare(cython.longlong, layout.SILENCE)
HISTORY_MORE = cython.declare(cython.longlong, layout.HISTORY_MORE)
LIMIT_CODE = cython.declare(cython.longlong, layout.LIMIT_CODE)
BASE = cython.declare(cython.longlong, layout.BASE)
NEXT = cython.declare(cython.longlong, layout.NEXT)
ACKED = cython.declare(cython.longlong, layout.ACKED)
LAST_NS = cython.declare(cython.longlong, layout.LAST_NS)
LAST_PACKET = cython.declare(cython.longlong, layout.LAST_PACKET)
PACKETS = cython.declare(cython.longlong, layout.PACKETS)
BITS = cython.declare(cython.longlong, layout.BITS)
WINDOW = cython.declare(cython.longlong, layout.WINDOW)
RECENT = cython.declare(cython.longlong, layout.RECENT)
NEWEST_OFFSET = cython.declare(cython.longlong, layout.NEWEST_OFFSET)
NEWEST_NS = cython.declare(cython.longlong, layout.NEWEST_NS)
NEWEST_PACKET = cython.declare(cython.longlong, layout.NEWEST_PACKET)
FIRST_PACKET = cython.declare(cython.longlong, layout.FIRST_PACKET)
SYN_SEQ = cython.declare(cython.longlong, layout.SYN_SEQ)
FIN_OFFSET = cython.declare(cython.longlong, layout.FIN_OFFSET)
FIRST_NS = cython.declare(cython.longlong, layout.FIRST_NS)
RESENT_FIRST = cython.declare(cython.longlong, layout.RESENT_FIRST)
RETRANSMISSIONS = cython.declare(cython.longlong, layout.RETRANSMISSIONS)
RESENT = cython.declare(cython.longlong, layout.RESENT)
RESENT_NS = cython.declare(cython.longlong, layout.RESENT_NS)
RESENT_PACKET = cython.declare(cython.longlong, layout.RESENT_PACKET)
PROBES = cython.declare(cython.longlong, layout.PROBES)
ANSWERED = cython.declare(cython.longlong, layout.ANSWERED)
GAP_PROBES = cython.declare(cython.longlong, layout.GAP_PROBES)
QUIET_SINCE = cython.declare(cython.longlong, layout.QUIET_SINCE)
LONGEST_IDLE = cython.declare(cython.longlong, layout.LONGEST_IDLE)
FORGOTTEN = cython.declare(cython.longlong, layout.FORGOTTEN)
OPENED = cython.declare(cython.longlong, layout.OPENED)
WANTED = cython.declare(cython.longlong, layout.WANTED)
LINGERING = cython.declare(cython.longlong, layout.LINGERING)
GUESSED = cython.declare(cython.longlong, layout.GUESSED)
STIRRED = cython.declare(cython.longlong, layout.STIRRED)
CLOSED_BY_CLIENT = cython.declare(cython.longlong, layout.CLOSED_BY_CLIENT)
CLOSED_BY_SERVER = cython.declare(cython.longlong, layout.CLOSED_BY_SERVER)
SERVER_FIRST = cython.declare(cython.longlong, layout.SERVER_FIRST)
CLIENT_SECOND = cython.declare(cython.longlong, layout.CLIENT_SECOND)
BASED = cython.declare(cython.longlong, layout.BASED)
ACK_KNOWN = cython.declare(cython.longlong, layout.ACK_KNOWN)
DATA_SEEN = cython.declare(cython.longlong, layout.DATA_SEEN)
FROM_START = cython.declare(cython.longlong, layout.FROM_START)
AWAITING = cython.declare(cython.longlong, layout.AWAITING)
RESET = cython.declare(cython.longlong, layout.RESET)
FINISHED = cython.declare(cython.longlong, layout.FINISHED)
RESENDING = cython.declare(cython.longlong, layout.RESENDING)
HOLED = cython.declare(cython.longlong, layout.HOLED)
LETTER_SYN = cython.declare(cython.longlong, layout.LETTER_SYN)
LETTER_SYN_ACK = cython.declare(cython.longlong, layout.LETTER_SYN_ACK)
LETTER_ACK = cython.declare(cython.longlong, layout.LETTER_ACK)
LETTER_DATA = cython.declare(cython.longlong, layout.LETTER_DATA)
LETTER_FIN = cython.declare(cython.longlong, layout.LETTER_FIN)
LETTER_RST = cython.declare(cython.longlong, layout.LETTER_RST)
LETTER_AGAIN = cython.declare(cython.longlong, layout.LETTER_AGAIN)
LETTER_WINDOW = cython.declare(cython.longlong, layout.LETTER_WINDOW)
LETTER_GAP = cython.declare(cython.longlong, layout.LETTER_GAP)


@cython.cfunc
@cython.inline
@cython.exceptval(check=False)
def seq_delta(later: cython.longlong, earlier: cython.longlong) -> cython.longlong:
    """Signed distance of two sequence numbers, right across the 2**32 wrap."""
    return ((later - earlier + HALF32) & MASK32) - HALF32


@cython.cfunc
@cython.inline
@cython.exceptval(check=False)
def endpoint_hash(
    high: cython.longlong, low: cython.longlong, port: cython.longlong, seed: cython.ulonglong
) -> cython.ulonglong:
    mixed: cython.ulonglong = cython.cast(cython.ulonglong, high) & MASK64
    mixed = (mixed * MIX_B & MASK64) ^ (cython.cast(cython.ulonglong, low) & MASK64) ^ seed
    mixed = ((mixed ^ cython.cast(cython.ulonglong, port << 40)) * MIX_A) & MASK64
    return ((mixed ^ mixed >> 32) * MIX_B) & MASK64


@cython.cfunc
@cython.inline
@cython.exceptval(check=False)
def pair(high: cython.longlong, low: cython.longlong) -> cython.longlong:
    """Two 32-bit numbers as one signed number of 64 bits."""
    return ((high ^ HALF32) - HALF32) * TWO32 + low


@cython.cfunc
@cython.inline
@cython.exceptval(check=False)
def row_addresses(first_low: cython.longlong, second_low: cython.longlong) -> cython.longlong:
    """Two IPv4 addresses in one number. IPv6 addresses are only told apart by it, not always: those in the full row decide."""
    return pair(first_low & MASK32, second_low & MASK32)


@cython.cfunc
@cython.inline
@cython.exceptval(check=False)
def max_of(one: cython.longlong, other: cython.longlong) -> cython.longlong:
    return one if one > other else other


@cython.cfunc
@cython.exceptval(check=False)
def limit_code(limit: cython.longlong) -> cython.longlong:
    """A time in ten bits, rounded down: 4 bits of mantissa, 6 of exponent; 0 is none."""
    exponent: cython.longlong = 0
    if limit < 16:
        return 0
    while limit >> exponent >= 32:
        exponent += 1
    return (exponent << 4 | (limit >> exponent) - 16) + 1


@cython.cfunc
@cython.inline
@cython.exceptval(check=False)
def idle_limit(code: cython.longlong) -> cython.longlong:
    if code == 0:
        return -1
    return (((code - 1) & 15) + 16) << (code - 1 >> 4)


@cython.cfunc
@cython.inline
@cython.exceptval(check=False)
def packet_identity(
    seq: cython.longlong, ack: cython.longlong, flags: cython.longlong, length: cython.longlong, mark: cython.longlong
) -> cython.longlong:
    """31 bits that tell a sender's packets apart; never 0."""
    mixed: cython.ulonglong = (cython.cast(cython.ulonglong, seq << 31 ^ ack) * MIX_A) & MASK64
    mixed = ((mixed ^ cython.cast(cython.ulonglong, length << 41 ^ flags << 34 ^ mark)) * MIX_B) & MASK64
    return cython.cast(cython.longlong, mixed >> 33) | 1


@cython.final
@cython.cclass
class Tracker:
    """Follows all connections of a capture; see the module for what it knows of them.

    `service_ports` tell the server where no SYN was captured. With `only_ports`, connections to other server ports are
    passed over. `gap_ns` is the shortest gap to keep, `keepalive_window_ns` the idle time from which a missing probe is a fact.
    `max_buffer` bounds the bytes that wait for a hole to fill, for one direction; all together may hold 16 times as much.
    Without `streams` no stream pieces are made.
    """

    duplicate_packets = cython.declare(cython.longlong, visibility="readonly")
    connections = cython.declare(cython.longlong, visibility="readonly")
    gap_ns: cython.longlong
    keepalive_window_ns: cython.longlong
    seed: cython.ulonglong
    filtered: cython.bint
    streams: cython.bint
    service: cython.uchar[::1]
    only: cython.uchar[::1]
    state: cython.longlong[::1]
    hot: cython.longlong[::1]
    origin: cython.longlong
    hot_origin: cython.longlong
    doubled: cython.bint
    slots: cython.longlong
    free: list
    by_id: dict
    table: cython.longlong[::1]
    table_mask: cython.longlong
    open_connections: cython.longlong
    touched: cython.longlong
    now: cython.longlong
    assembly: object
    holes: dict
    gaps: dict
    intervals: dict
    closed: list
    linger: object
    batch_keys: object

    def __init__(
        self,
        service_ports: tuple[int, ...] = (2375, 2376),
        only_ports: tuple[int, ...] = (),
        gap_ns: int = 2_000_000_000,
        keepalive_window_ns: int = 60_000_000_000,
        max_buffer: int = 4 << 20,
        *,
        streams: bool = True,
    ) -> None:
        port: cython.Py_ssize_t
        self.gap_ns = gap_ns
        self.streams = streams
        self.keepalive_window_ns = keepalive_window_ns
        self.service = bytearray(65536)
        for port in service_ports:
            self.service[port] = 1
        self.only = bytearray(65536)
        for port in only_ports:
            self.only[port] = 1
        self.filtered = len(only_ports) > 0
        # Secret to each process, so that no capture can be built to fill one chain; no result depends on it.
        self.seed = hash(b"captool") & 0xFFFFFFFFFFFFFFFF
        self.table = array.array("q", bytes(8 * 1024))
        self.table_mask = 1023
        self.slots = 0
        self.origin = 0
        self.hot_origin = 0
        self.state = array.array("q", [0])
        self.hot = array.array("q", [0])
        self.grow_state(256)
        self.free = []
        self.by_id = {}
        self.holes = {}
        self.gaps = {}
        self.intervals = {}
        self.open_connections = 0
        self.doubled = False
        self.duplicate_packets = 0
        self.connections = 0
        self.now = 0
        self.touched = 0
        self.assembly = Reassembly(max_buffer)
        self.closed = []
        self.linger = deque()
        self.batch_keys = array.array("q", bytes(8 * BATCH))

    def notes(self) -> list[str]:
        """Sentences about limits that were reached."""
        return self.assembly.notes()

    def add(self, frames: Frames, segments: Segments) -> None:
        """Take in one chunk; its stream pieces and closed connections can be taken afterwards."""
        key: cython.longlong[::1] = self.batch_keys
        ts_ns: cython.longlong[::1] = frames.ts_ns
        frame: cython.int[::1] = segments.frame
        source_high: cython.longlong[::1] = segments.source_high
        source_low: cython.longlong[::1] = segments.source_low
        destination_high: cython.longlong[::1] = segments.destination_high
        destination_low: cython.longlong[::1] = segments.destination_low
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
        begin: cython.Py_ssize_t = 0
        end: cython.Py_ssize_t
        count: cython.Py_ssize_t = segments.count
        frame_count: cython.Py_ssize_t = frames.count
        place: cython.longlong
        entry: cython.longlong
        touched: cython.longlong = 0
        ts: cython.longlong
        self.assembly.begin_chunk(frames.buffer)
        while begin < count:
            end = begin + BATCH if begin + BATCH < count else count
            # Batch by batch, and each step for the whole batch: hashing, fetching the rows, using them. So the processor can
            # fetch many rows at a time; waiting for one after the other took more than half of the time.
            for row in range(begin, end):
                key[row - begin] = self.hash_ends(
                    source_high[row], source_low[row], destination_high[row], destination_low[row], ports[row]
                )
            for row in range(end - begin):
                entry = self.table[key[row] >> 1 & self.table_mask] & MASK32
                if entry:
                    entry = self.hot_origin + (entry - 1) * HOT_ROW
                    touched ^= self.hot[entry] ^ self.hot[entry + TIMES]
            self.touched = touched
            for row in range(begin, end):
                if self.filtered and not self.only[ports[row] >> 16] and not self.only[ports[row] & 0xFFFF]:
                    continue
                ts = ts_ns[frame[row]]
                place = self.find(
                    key[row - begin],
                    source_high[row],
                    source_low[row],
                    destination_high[row],
                    destination_low[row],
                    ports[row],
                )
                if place >= 0:
                    if self.predicted(
                        place,
                        ts,
                        first_packet + frame[row],
                        seq[row],
                        ack[row],
                        flags[row],
                        window[row],
                        mark[row],
                        payload_length[row],
                        payload_captured[row],
                    ):
                        continue
                    if flags[row] & SYN and self.starts_anew(place, seq[row], flags[row]):
                        self.close(place >> 1)
                        place = -1
                if place < 0:
                    place = self.open(
                        key[row - begin],
                        source_high[row],
                        source_low[row],
                        destination_high[row],
                        destination_low[row],
                        ports[row],
                        flags[row],
                        ts,
                    )
                self.segment(
                    place,
                    ts,
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
            begin = end
        for row in range(frame_count):
            if ts_ns[row] > self.now:
                self.now = ts_ns[row]
        self.assembly.end_chunk()
        if self.linger:
            self.close_lingering()

    @cython.cfunc
    @cython.inline
    @cython.exceptval(check=False)
    def hash_ends(
        self,
        source_high: cython.longlong,
        source_low: cython.longlong,
        destination_high: cython.longlong,
        destination_low: cython.longlong,
        ports: cython.longlong,
    ) -> cython.longlong:
        """31 bits of a hash that is the same for both directions, and below them whether the destination is the first end.

        The order of the two ends in a row is that of their hashes, so finding branches on nothing that must be fetched.
        """
        source: cython.ulonglong = endpoint_hash(source_high, source_low, ports >> 16, self.seed)
        destination: cython.ulonglong = endpoint_hash(destination_high, destination_low, ports & 0xFFFF, self.seed)
        mixed: cython.ulonglong = (source + destination) & MASK64
        mixed = ((mixed ^ mixed >> 29) * MIX_A) & MASK64
        return cython.cast(cython.longlong, mixed >> 33) << 1 | (1 if source > destination else 0)

    @cython.cfunc
    def find(
        self,
        key: cython.longlong,
        source_high: cython.longlong,
        source_low: cython.longlong,
        destination_high: cython.longlong,
        destination_low: cython.longlong,
        ports: cython.longlong,
    ) -> cython.longlong:
        """2 * slot + direction of the open connection that the segment belongs to; -1 for none. `key` is of `hash_ends`."""
        swapped: cython.longlong = key & 1
        differ: cython.longlong = (source_low ^ destination_low) & -swapped
        addresses: cython.longlong = row_addresses(source_low ^ differ, destination_low ^ differ)
        at: cython.longlong
        entry: cython.longlong
        row: cython.longlong
        conn: cython.longlong
        key >>= 1
        differ = ((ports >> 16) ^ (ports & 0xFFFF)) & -swapped
        ports ^= differ << 16 | differ
        at = key & self.table_mask
        while True:
            entry = self.table[at]
            if entry == 0:
                return -1
            if entry >> 32 == key:
                entry = (entry & MASK32) - 1
                row = self.hot_origin + entry * HOT_ROW
                if self.hot[row + ADDRESSES] == addresses and self.hot[row + PORTS_FLAGS] >> 32 & MASK32 == ports:
                    if not (self.hot[row + PORTS_FLAGS] & HOT_IPV6 | source_high | destination_high | (source_low >> 32 ^ 0xFFFF)):
                        break
                    conn = self.origin + entry * ROW
                    differ = (source_low ^ destination_low) & -swapped
                    if self.state[conn + FIRST_LOW] == source_low ^ differ:
                        if self.state[conn + SECOND_LOW] == destination_low ^ differ:
                            differ = (source_high ^ destination_high) & -swapped
                            if self.state[conn + FIRST_HIGH] == source_high ^ differ:
                                if self.state[conn + SECOND_HIGH] == destination_high ^ differ:
                                    break
            at = (at + 1) & self.table_mask
        return entry << 1 | (swapped ^ (1 if self.hot[row + PORTS_FLAGS] & SWAPPED else 0))

    @cython.cfunc
    def starts_anew(self, place: cython.longlong, seq: cython.longlong, flags: cython.longlong) -> cython.bint:
        """Whether a SYN opens another connection on the same ports, not this one again."""
        conn: cython.longlong = self.origin + (place >> 1) * ROW
        sender: cython.longlong = conn + SIDES + SIDE * (place & 1)
        receiver: cython.longlong = conn + SIDES + SIDE * (1 - (place & 1))
        opened: cython.bint
        self.unpack(place >> 1)
        opened = self.state[conn + STATE] & OPENED != 0
        if self.state[sender + SYN_SEQ] == seq:
            return False
        if self.state[sender + PACKETS] == 0:
            if flags & ACK:
                return False
            # Both sides at once (RFC 9293 3.5, simultaneous open), unless the other side had gone on long ago.
            return self.state[receiver + SYN_SEQ] < 0 or opened
        return opened or not flags & ACK

    @cython.cfunc
    def open(
        self,
        key: cython.longlong,
        source_high: cython.longlong,
        source_low: cython.longlong,
        destination_high: cython.longlong,
        destination_low: cython.longlong,
        ports: cython.longlong,
        flags: cython.longlong,
        ts: cython.longlong,
    ) -> cython.longlong:
        """Make room for a new connection, `find` having failed; returns 2 * slot + direction of its first segment."""
        swapped: cython.bint = key & 1 != 0
        hot: cython.longlong
        hot_flags: cython.longlong = 0
        slot: cython.longlong
        conn: cython.longlong
        side: cython.longlong
        at: cython.longlong
        bits: cython.longlong = WANTED if self.streams else 0
        from_client: cython.bint
        source_port: cython.longlong = ports >> 16
        destination_port: cython.longlong = ports & 0xFFFF
        if flags & SYN:
            from_client = not flags & ACK
        else:
            bits |= GUESSED
            if self.service[source_port] != self.service[destination_port]:
                from_client = self.service[destination_port] != 0
            else:
                from_client = source_port >= destination_port
            if not from_client:
                bits |= SERVER_FIRST
        if self.free:
            slot = self.free.pop()
        else:
            slot = self.slots
            self.slots += 1
            if self.origin + self.slots * ROW > len(self.state) or self.hot_origin + self.slots * HOT_ROW > len(self.hot):
                self.grow_state(2 * self.slots)
        conn = self.origin + slot * ROW
        for at in range(conn, conn + ROW):
            self.state[at] = 0
        for side in range(conn + SIDES, conn + SIDES + 2 * SIDE, SIDE):
            self.state[side + ACKED] = -1
            self.state[side + WINDOW] = 1
            self.state[side + SYN_SEQ] = -1
            self.state[side + FIN_OFFSET] = -1
        key >>= 1
        if swapped:
            self.state[conn + PORTS] = destination_port << 16 | source_port
            self.state[conn + FIRST_LOW] = destination_low
            self.state[conn + FIRST_HIGH] = destination_high
            self.state[conn + SECOND_LOW] = source_low
            self.state[conn + SECOND_HIGH] = source_high
        else:
            self.state[conn + PORTS] = ports
            self.state[conn + FIRST_LOW] = source_low
            self.state[conn + FIRST_HIGH] = source_high
            self.state[conn + SECOND_LOW] = destination_low
            self.state[conn + SECOND_HIGH] = destination_high
        if swapped == from_client:
            bits |= CLIENT_SECOND
            hot_flags |= SWAPPED
        if source_high or destination_high or source_low >> 32 != 0xFFFF or destination_low >> 32 != 0xFFFF:
            hot_flags |= HOT_IPV6  # whatever is not ::ffff:a.b.c.d on both sides
        hot = self.hot_origin + slot * HOT_ROW
        for at in range(hot, hot + HOT_ROW):
            self.hot[at] = 0
        self.hot[hot + ADDRESSES] = row_addresses(self.state[conn + FIRST_LOW], self.state[conn + SECOND_LOW])
        self.hot[hot + PORTS_FLAGS] = pair(self.state[conn + PORTS], hot_flags)
        self.state[conn + IDLE_SINCE] = -1
        self.state[conn + START_NS] = ts
        self.state[conn + HASH] = key
        if self.filtered and not self.only[destination_port if from_client else source_port]:
            self.state[conn + ID] = -1
            bits &= ~WANTED
        else:
            self.state[conn + ID] = self.connections
            self.by_id[self.connections] = slot
            self.connections += 1
        self.state[conn + STATE] = bits
        self.open_connections += 1
        if 2 * self.open_connections > self.table_mask:
            self.grow_table()
        at = key & self.table_mask
        while self.table[at]:
            at = (at + 1) & self.table_mask
        self.table[at] = key << 32 | (slot + 1)
        return slot << 1 | (0 if from_client else 1)

    @cython.cfunc
    def grow_state(self, slots: cython.longlong) -> cython.int:
        at: cython.longlong
        old: cython.longlong[::1] = self.state
        old_origin: cython.longlong = self.origin
        state = array.array("q", [0]) * (slots * ROW + 8)
        # Rows begin at cache lines, as the layout assumes.
        self.origin = (-state.buffer_info()[0] % 64) // 8
        self.state = state
        for at in range(len(old) - old_origin):
            if at < slots * ROW:
                self.state[self.origin + at] = old[old_origin + at]
        old = self.hot
        old_origin = self.hot_origin
        hot = array.array("q", [0]) * (slots * HOT_ROW + 8)
        self.hot_origin = (-hot.buffer_info()[0] % 64) // 8
        self.hot = hot
        for at in range(len(old) - old_origin):
            if at < slots * HOT_ROW:
                self.hot[self.hot_origin + at] = old[old_origin + at]
        return 0

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
    def close(self, slot: cython.longlong) -> cython.int:
        """Turn the connection into its summary and free its state."""
        conn: cython.longlong = self.origin + slot * ROW
        at: cython.longlong = self.state[conn + HASH] & self.table_mask
        hole: cython.longlong
        home: cython.longlong
        last: cython.longlong
        self.unpack(slot)
        last = self.last_ns(conn)
        if self.state[conn + IDLE_SINCE] >= 0:
            self.stop_idling(conn, self.now if self.now > last else last, last, "end-of-capture", None)
        if self.state[conn + ID] >= 0:
            if self.state[conn + STATE] & WANTED:
                self.assembly.finish(self.state[conn + ID])
            self.closed.append(
                describe(
                    list(self.state[conn : conn + ROW]),
                    self.gaps.pop(slot, ()),
                    (self.intervals.pop(2 * slot, None), self.intervals.pop(2 * slot + 1, None)),
                    (self.holes.pop(2 * slot, ()), self.holes.pop(2 * slot + 1, ())),
                    self.keepalive_window_ns,
                )
            )
            del self.by_id[self.state[conn + ID]]
        while (self.table[at] & MASK32) - 1 != slot:
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
        self.state[conn + ID] = -2
        self.free.append(slot)
        self.open_connections -= 1
        return 0

    @cython.cfunc
    @cython.inline
    def last_ns(self, conn: cython.longlong) -> cython.longlong:
        """Time of the connection's last packet."""
        client: cython.longlong = conn + SIDES
        server: cython.longlong = conn + SIDES + SIDE
        if self.state[client + LAST_PACKET] > self.state[server + LAST_PACKET]:
            return self.state[client + LAST_NS]
        return self.state[server + LAST_NS]

    @cython.cfunc
    def close_lingering(self) -> cython.int:
        """Close the connections that ended and of which nothing was heard since."""
        slot: cython.longlong
        number: cython.longlong
        until: cython.longlong
        conn: cython.longlong
        while self.linger:
            until, slot, number = self.linger[0]
            conn = self.origin + slot * ROW
            self.unpack(slot)
            if self.state[conn + ID] == number and len(self.linger) <= MAX_LINGERING:
                if self.now < until:
                    break
                if self.last_ns(conn) + LINGER_NS > self.now:  # late packets still come
                    self.linger.popleft()
                    self.linger.append((self.last_ns(conn) + LINGER_NS, slot, number))
                    continue
            self.linger.popleft()
            if self.state[conn + ID] == number:
                self.close(slot)
        return 0

    @cython.cfunc
    def predicted(
        self,
        place: cython.longlong,
        ts: cython.longlong,
        packet: cython.longlong,
        seq: cython.longlong,
        ack: cython.longlong,
        flags: cython.longlong,
        window: cython.longlong,
        mark: cython.longlong,
        length: cython.longlong,
        captured: cython.longlong,
    ) -> cython.bint:
        """Take in a segment that does what nearly all do (Jacobson's header prediction), else change nothing and say so.

        Predicted are the next bytes in order, where the content is not wanted, and bare acknowledgements that say something
        new. Neither can be a duplicate. What is done here is what `segment` would do, with the hot row alone if possible.
        """
        direction: cython.longlong = place & 1
        row: cython.longlong = self.hot_origin + (place >> 1) * HOT_ROW
        times: cython.longlong = row + TIMES + 4 * direction
        known: cython.longlong = self.hot[row + PORTS_FLAGS] & MASK32
        now: cython.longlong = known
        following: cython.longlong = self.hot[row + NEXTS + 2 * direction]
        acked: cython.longlong = self.hot[row + ACKEDS + 2 * direction]
        peer_acked: cython.longlong = self.hot[row + ACKEDS + 2 - 2 * direction]
        peer_following: cython.longlong = self.hot[row + NEXTS + 2 - 2 * direction]
        bases: cython.longlong = self.hot[row + BASES]
        counts: cython.longlong = self.hot[row + PACKET_COUNTS]
        progress: cython.longlong
        if not known & STEADY or flags & (SYN | FIN | RST | ACK) != ACK or window == 0 or self.doubled:
            return False
        if seq != ((bases >> (32 - 32 * direction)) + following) & MASK32:
            return False
        progress = seq_delta(ack, (bases >> (32 * direction) & MASK32) + peer_acked)
        if progress < 0 or peer_acked + progress > peer_following:
            return False
        if length == 0:
            if progress == 0 or not known & ACK_EXPECTED << direction:
                return False
        elif captured != length or not known & DATA_EXPECTED << direction:
            return False
        elif known & IDLE:
            if ts - self.last_hot_ns(row) > idle_limit(known >> LIMIT_SHIFT):
                return False
            now &= ~IDLE

        if acked < following:
            if known & NEWEST_IS_LAST << direction:
                if length == 0:
                    self.keep_moment(place, times, NEWEST_NS, NEWEST_PACKET)
                    now &= ~(NEWEST_IS_LAST << direction)
                elif not known & FIRST_KNOWN << direction:
                    self.keep_moment(place, times, FIRST_NS, FIRST_PACKET)
                    now |= FIRST_KNOWN << direction
            elif length and not known & FIRST_KNOWN << direction:
                self.begin_from_newest(self.origin + (place >> 1) * ROW + SIDES + SIDE * direction)
                now |= FIRST_KNOWN << direction
        else:
            now &= ~((FIRST_KNOWN | NEWEST_IS_LAST) << direction)
        if length:
            now |= NEWEST_IS_LAST << direction
            self.hot[row + NEXTS + 2 * direction] = following + length
        if progress:
            peer_acked += progress
            self.hot[row + ACKEDS + 2 - 2 * direction] = peer_acked
            now &= ~(FIRST_KNOWN << (1 - direction))
            if length == 0 and peer_acked >= peer_following and acked >= following:
                now |= IDLE
        self.hot[row + PORTS_FLAGS] += now - known
        self.hot[row + PACKET_COUNTS] = counts + (1 if direction else TWO32)
        counts = counts >> (32 - 32 * direction)
        self.hot[times] = ts
        self.hot[times + 1] = packet
        self.hot[times + 2 + (counts & 1)] = packet_identity(seq, ack, flags, length, mark) << 32 | (ts >> 10 & MASK32)
        return True

    @cython.cfunc
    @cython.inline
    def last_hot_ns(self, row: cython.longlong) -> cython.longlong:
        if self.hot[row + TIMES + 1] > self.hot[row + TIMES + 5]:
            return self.hot[row + TIMES]
        return self.hot[row + TIMES + 4]

    @cython.cfunc
    def keep_moment(
        self, place: cython.longlong, times: cython.longlong, ns_field: cython.longlong, packet_field: cython.longlong
    ) -> cython.int:
        """Bring the side's last moment over to a pair of fields of its full row."""
        side: cython.longlong = self.origin + (place >> 1) * ROW + SIDES + SIDE * (place & 1)
        self.state[side + ns_field] = self.hot[times]
        self.state[side + packet_field] = self.hot[times + 1]
        return 0

    @cython.cfunc
    def begin_from_newest(self, side: cython.longlong) -> cython.int:
        """More new data while some is unacknowledged: what was the newest is the first of it, as far as is known."""
        self.state[side + FIRST_NS] = self.state[side + NEWEST_NS]
        self.state[side + FIRST_PACKET] = self.state[side + NEWEST_PACKET]
        return 0

    @cython.cfunc
    def unpack(self, slot: cython.longlong) -> cython.int:
        """Bring what the hot row knows better over to the full row."""
        row: cython.longlong = self.hot_origin + slot * HOT_ROW
        conn: cython.longlong = self.origin + slot * ROW
        flags: cython.longlong = self.hot[row + PORTS_FLAGS] & MASK32
        direction: cython.longlong
        side: cython.longlong
        times: cython.longlong
        if not flags & STEADY:
            return 0
        for direction in range(2):
            side = conn + SIDES + SIDE * direction
            times = row + TIMES + 4 * direction
            self.state[side + NEXT] = self.hot[row + NEXTS + 2 * direction]
            self.state[side + ACKED] = self.hot[row + ACKEDS + 2 * direction]
            self.state[side + PACKETS] = self.hot[row + PACKET_COUNTS] >> (32 - 32 * direction) & MASK32
            self.state[side + LAST_NS] = self.hot[times]
            self.state[side + LAST_PACKET] = self.hot[times + 1]
            if flags & NEWEST_IS_LAST << direction:
                self.state[side + NEWEST_NS] = self.hot[times]
                self.state[side + NEWEST_PACKET] = self.hot[times + 1]
            if not flags & FIRST_KNOWN << direction:
                self.state[side + FIRST_PACKET] = 0
        if flags & IDLE:
            self.state[conn + IDLE_SINCE] = self.last_hot_ns(row)
            self.state[conn + IDLE_PACKET] = max_of(self.hot[row + TIMES + 1], self.hot[row + TIMES + 5])
        else:
            self.state[conn + IDLE_SINCE] = -1
        return 0

    @cython.cfunc
    def pack(self, slot: cython.longlong) -> cython.int:
        """Bring the full row over to the hot row, and find out whether the next segment may do as predicted."""
        row: cython.longlong = self.hot_origin + slot * HOT_ROW
        conn: cython.longlong = self.origin + slot * ROW
        client: cython.longlong = conn + SIDES
        server: cython.longlong = conn + SIDES + SIDE
        state: cython.longlong = self.state[conn + STATE]
        flags: cython.longlong = self.hot[row + PORTS_FLAGS] & (HOT_IPV6 | SWAPPED)
        direction: cython.longlong
        side: cython.longlong
        steady: cython.bint = state & OPENED != 0
        for direction in range(2):
            side = conn + SIDES + SIDE * direction
            self.hot[row + NEXTS + 2 * direction] = self.state[side + NEXT]
            self.hot[row + ACKEDS + 2 * direction] = self.state[side + ACKED]
            self.hot[row + TIMES + 4 * direction] = self.state[side + LAST_NS]
            self.hot[row + TIMES + 4 * direction + 1] = self.state[side + LAST_PACKET]
            if (
                self.state[side + BITS] & STEADY_MASK != STEADY_BITS
                or self.state[side + WINDOW] == 0
                or self.state[side + ACKED] > self.state[side + NEXT]
            ):
                steady = False
            if self.state[side + FIRST_PACKET]:
                flags |= FIRST_KNOWN << direction
            if state >> (9 * direction) & LETTER_ACK:
                flags |= ACK_EXPECTED << direction
            if state >> (9 * direction) & LETTER_DATA and self.state[side + BITS] & DATA_SEEN and not state & WANTED:
                flags |= DATA_EXPECTED << direction
        if self.state[conn + IDLE_SINCE] >= 0:
            flags |= IDLE
            if state & STIRRED or self.state[conn + IDLE_PACKET] != max_of(
                self.state[client + LAST_PACKET], self.state[server + LAST_PACKET]
            ):
                steady = False
        if steady:
            flags |= STEADY
        self.hot[row + BASES] = pair(self.state[client + BASE], self.state[server + BASE])
        self.hot[row + PACKET_COUNTS] = self.state[client + PACKETS] * TWO32 + self.state[server + PACKETS]
        self.hot[row + PORTS_FLAGS] = pair(self.state[conn + PORTS], flags | self.state[conn + LIMIT_CODE] << LIMIT_SHIFT)
        return 0

    @cython.cfunc
    def segment(
        self,
        place: cython.longlong,
        ts: cython.longlong,
        packet: cython.longlong,
        seq: cython.longlong,
        ack: cython.longlong,
        flags: cython.longlong,
        window: cython.longlong,
        mark: cython.longlong,
        length: cython.longlong,
        captured: cython.longlong,
        start: cython.longlong,
    ) -> cython.int:
        """Take in any segment."""
        self.unpack(place >> 1)
        self.take(place, ts, packet, seq, ack, flags, window, mark, length, captured, start)
        self.pack(place >> 1)
        return 0

    @cython.cfunc
    def take(
        self,
        place: cython.longlong,
        ts: cython.longlong,
        packet: cython.longlong,
        seq: cython.longlong,
        ack: cython.longlong,
        flags: cython.longlong,
        window: cython.longlong,
        mark: cython.longlong,
        length: cython.longlong,
        captured: cython.longlong,
        start: cython.longlong,
    ) -> cython.int:
        direction: cython.longlong = place & 1
        conn: cython.longlong = self.origin + (place >> 1) * ROW
        sender: cython.longlong = conn + SIDES + SIDE * direction
        receiver: cython.longlong = conn + SIDES + SIDE * (1 - direction)
        offset: cython.longlong
        letters: cython.longlong = 0
        identity: cython.longlong = packet_identity(seq, ack, flags, length, mark)
        ticks: cython.longlong = ts >> 10 & MASK32
        previous: cython.longlong = ts
        hot: cython.longlong = self.hot_origin + (place >> 1) * HOT_ROW + TIMES + 4 * direction
        doubled: cython.bint = False
        at: cython.longlong

        if mark >= 0 or flags & (SYN | RST):
            for at in range(sender + RECENT, sender + RECENT + 4):
                doubled = doubled or self.same_packet(self.state[at], identity, ticks)
            for at in range(hot + 2, hot + 4):
                doubled = doubled or self.same_packet(self.hot[at], identity, ticks)
            if doubled:
                self.doubled = True  # from now on the longer memory of the full rows is needed
                self.duplicate_packets += 1
                return 0
        self.hot[hot + 2 + (self.state[sender + PACKETS] & 1)] = identity << 32 | ticks
        self.state[sender + RECENT + (self.state[sender + PACKETS] & 3)] = identity << 32 | ticks
        self.state[sender + PACKETS] += 1
        if self.state[conn + IDLE_SINCE] >= 0:
            previous = self.last_ns(conn)
        self.state[sender + LAST_NS] = ts
        self.state[sender + LAST_PACKET] = packet

        if flags & SYN:
            letters = LETTER_SYN_ACK if flags & ACK else LETTER_SYN
            self.synchronise(sender, seq)
            seq += 1
        elif not self.state[sender + BITS] & BASED:
            self.state[sender + BITS] |= BASED
            self.state[sender + BASE] = seq
            self.state[sender + ACKED] = 0
        offset = self.state[sender + NEXT] + seq_delta(seq, self.state[sender + BASE] + self.state[sender + NEXT])

        if flags & RST:
            self.note_letters(conn, direction, LETTER_RST)
            self.stop_idling(conn, ts, previous, "rst", packet)
            self.state[sender + BITS] |= RESET
            self.note_closing(place)
            self.start_linger(place, ts)
            return 0

        if flags & ACK:
            if not flags & SYN and not self.state[conn + STATE] & OPENED:
                self.state[conn + STATE] |= OPENED
            self.acknowledge(place, sender, receiver, ack, flags, ts)

        if window == 0 and not flags & SYN:
            letters |= LETTER_WINDOW
        self.state[sender + WINDOW] = window

        if length <= 1 and offset == self.state[sender + ACKED] - 1 and self.is_probe(sender, receiver, offset, length, flags):
            letters |= LETTER_ACK
            self.probe(place, conn, sender, ts, previous)
        elif length:
            if self.state[conn + IDLE_SINCE] >= 0:
                self.stop_idling(conn, ts, previous, "data", packet)
            if captured < length:
                self.state[conn + SNAPPED] += 1
            letters |= LETTER_DATA
            if offset == self.state[sender + NEXT] and self.state[sender + BITS] & DATA_SEEN:
                if self.state[sender + ACKED] >= offset or not self.state[receiver + PACKETS]:
                    self.begin_flight(sender)
                elif not self.state[sender + FIRST_PACKET]:
                    self.begin_from_newest(sender)
                self.state[sender + NEWEST_OFFSET] = offset
                self.state[sender + NEWEST_NS] = ts
                self.state[sender + NEWEST_PACKET] = packet
                self.state[sender + NEXT] = offset + length
            else:
                offset = self.irregular_data(place, sender, receiver, offset, length, ts, packet)
            if self.state[conn + STATE] & WANTED:
                self.assembly.segment(
                    self.state[conn + ID],
                    direction,
                    offset,
                    length,
                    captured,
                    start,
                    packet,
                    ts,
                    self.state[sender + BITS] & FROM_START != 0,
                    self.state[sender + ACKED],
                )
        elif not flags & (SYN | FIN):
            letters |= LETTER_ACK
            if self.state[conn + IDLE_SINCE] >= 0:
                self.stir(conn, ts, previous)
            if self.state[receiver + BITS] & AWAITING and offset >= self.state[sender + NEXT]:
                if self.state[receiver + ACKED] >= self.state[receiver + NEXT]:
                    self.state[receiver + BITS] &= ~AWAITING
                    self.state[receiver + ANSWERED] += 1

        if flags & FIN:
            letters |= LETTER_FIN
            self.finish_side(place, offset + length, ts, previous, packet)
        if letters << (9 * direction) & ~self.state[conn + STATE]:
            self.note_letters(conn, direction, letters)

        # Idle: nothing unacknowledged in either direction; a side that was never heard cannot acknowledge.
        if self.state[receiver + ACKED] >= self.state[receiver + NEXT] and (
            self.state[sender + ACKED] >= self.state[sender + NEXT]
            or (self.state[receiver + PACKETS] == 0 and not self.state[sender + BITS] & RESENDING)
        ):
            if self.state[conn + IDLE_SINCE] < 0 and self.state[conn + STATE] & OPENED:
                if not (self.state[sender + BITS] & self.state[receiver + BITS] & FINISHED) and not (
                    self.state[receiver + BITS] & RESET
                ):
                    self.state[conn + IDLE_SINCE] = ts
                    self.state[conn + IDLE_PACKET] = packet
        elif self.state[conn + IDLE_SINCE] >= 0:
            self.state[conn + IDLE_SINCE] = -1
            self.state[conn + STATE] &= ~STIRRED
        return 0


    @cython.cfunc
    @cython.inline
    def same_packet(self, kept: cython.longlong, identity: cython.longlong, ticks: cython.longlong) -> cython.bint:
        return kept >> 32 == identity and (ticks - kept + DUPLICATE_TICKS) & MASK32 <= 2 * DUPLICATE_TICKS

    @cython.cfunc
    def synchronise(self, sender: cython.longlong, seq: cython.longlong) -> cython.int:
        if self.state[sender + SYN_SEQ] == seq:
            return 0
        self.state[sender + SYN_SEQ] = seq
        self.state[sender + BITS] |= FROM_START
        if not self.state[sender + BITS] & BASED or self.state[sender + BASE] != (seq + 1) & MASK32:
            self.state[sender + BITS] = (self.state[sender + BITS] | BASED) & ~ACK_KNOWN
            self.state[sender + BASE] = (seq + 1) & MASK32
            self.state[sender + ACKED] = -1
            self.state[sender + NEXT] = 0
        return 0

    @cython.cfunc
    def acknowledge(
        self,
        place: cython.longlong,
        sender: cython.longlong,
        receiver: cython.longlong,
        ack: cython.longlong,
        flags: cython.longlong,
        ts: cython.longlong,
    ) -> cython.int:
        """Take in `sender`'s acknowledgement of what `receiver` sent."""
        offset: cython.longlong
        bits: cython.longlong = self.state[receiver + BITS]
        if not bits & BASED:
            self.state[receiver + BASE] = ack
            self.state[receiver + ACKED] = 0
            self.state[receiver + BITS] = bits | BASED | ACK_KNOWN | (FROM_START if flags & SYN else 0)
            return 0
        offset = self.state[receiver + ACKED] + seq_delta(ack, self.state[receiver + BASE] + self.state[receiver + ACKED])
        if offset > self.state[receiver + ACKED] or not bits & ACK_KNOWN:
            if offset > self.state[receiver + NEXT] + MAX_UNSEEN:
                return 0
            self.state[receiver + ACKED] = offset
            if bits & (ACK_KNOWN | RESENDING) != ACK_KNOWN:
                self.state[receiver + BITS] = (bits | ACK_KNOWN) & ~RESENDING
                self.state[receiver + RESENT] = 0
            self.state[receiver + FIRST_PACKET] = 0
            if offset > self.state[receiver + NEXT] and not bits & (DATA_SEEN | FROM_START):
                self.rebase_unseen(place, sender, receiver, offset, ts)
        if bits & HOLED:
            conn: cython.longlong = self.origin + (place >> 1) * ROW
            if self.state[conn + STATE] & WANTED:
                self.assembly.acknowledged(self.state[conn + ID], 1 - (place & 1), self.state[receiver + ACKED], ts)
        return 0

    @cython.cfunc
    def rebase_unseen(
        self,
        place: cython.longlong,
        sender: cython.longlong,
        receiver: cython.longlong,
        offset: cython.longlong,
        ts: cython.longlong,
    ) -> cython.int:
        """Mid-stream, only empty segments came from `receiver`, and now bytes above them are acknowledged."""
        conn: cython.longlong = self.origin + (place >> 1) * ROW
        probes: cython.longlong = self.state[receiver + PACKETS]
        if offset == self.state[receiver + NEXT] + 1 and probes and self.state[sender + WINDOW]:
            # They stood one below what is acknowledged: they were probes.
            if not self.state[receiver + BITS] & FINISHED:
                self.state[receiver + PROBES] += probes
                self.state[receiver + BITS] |= AWAITING
                if self.state[conn + IDLE_SINCE] >= 0:
                    self.stir(conn, ts, ts)
                    self.state[receiver + GAP_PROBES] += probes
                    self.state[receiver + QUIET_SINCE] = self.state[receiver + LAST_NS]
        if not self.state[receiver + BITS] & FINISHED:
            self.state[receiver + BASE] = (self.state[receiver + BASE] + offset) & MASK32
            self.state[receiver + ACKED] = self.state[receiver + NEXT] = 0
        return 0

    @cython.cfunc
    def is_probe(
        self,
        sender: cython.longlong,
        receiver: cython.longlong,
        offset: cython.longlong,
        length: cython.longlong,
        flags: cython.longlong,
    ) -> cython.bint:
        """Whether a segment one below the acknowledged offset is a keepalive probe (RFC 9293 3.8.4)."""
        bits: cython.longlong = self.state[sender + BITS]
        if flags & (SYN | FIN) or self.state[receiver + WINDOW] == 0:  # a full receiver is probed by the same shape
            return False
        if not bits & ACK_KNOWN:
            return False
        # Stacks that probe with a byte of rubbish do not push it; a pushed one is its own last byte sent again, and one that
        # was not seen before is data that the capture shows after its acknowledgement.
        return length == 0 or not (flags & PSH or offset >= self.state[sender + NEXT])

    @cython.cfunc
    def probe(
        self,
        place: cython.longlong,
        conn: cython.longlong,
        sender: cython.longlong,
        ts: cython.longlong,
        previous: cython.longlong,
    ) -> cython.int:
        quiet: cython.longlong
        self.state[sender + PROBES] += 1
        self.state[sender + BITS] |= AWAITING
        if self.state[conn + IDLE_SINCE] < 0:
            return 0
        self.stir(conn, ts, previous)
        quiet = ts - self.state[sender + QUIET_SINCE]
        if self.state[sender + GAP_PROBES]:
            keep_interval(self.intervals.setdefault(place, []), quiet, self.state[sender + PROBES])
        if quiet > self.state[sender + LONGEST_IDLE]:
            self.state[sender + LONGEST_IDLE] = quiet
        self.state[sender + GAP_PROBES] += 1
        self.state[sender + QUIET_SINCE] = ts
        return 0

    @cython.cfunc
    @cython.inline
    def begin_flight(self, sender: cython.longlong) -> cython.int:
        """All that was sent is acknowledged (or nothing ever is): what follows is the first transmission to remember."""
        self.state[sender + FIRST_PACKET] = 0
        if self.state[sender + BITS] & RESENDING:
            self.state[sender + BITS] &= ~RESENDING
            self.state[sender + RESENT] = 0
        return 0

    @cython.cfunc
    def irregular_data(
        self,
        place: cython.longlong,
        sender: cython.longlong,
        receiver: cython.longlong,
        offset: cython.longlong,
        length: cython.longlong,
        ts: cython.longlong,
        packet: cython.longlong,
    ) -> cython.longlong:
        """Take in payload that is the first of its side, above a hole, or (partly) below what was sent; returns its offset."""
        conn: cython.longlong = self.origin + (place >> 1) * ROW
        end: cython.longlong
        forgotten: cython.longlong
        if not self.state[sender + BITS] & DATA_SEEN:
            self.state[sender + BITS] |= DATA_SEEN
            if offset and not self.state[sender + BITS] & FROM_START:  # mid-stream: offset 0 is the first byte seen
                self.state[sender + BASE] = (self.state[sender + BASE] + offset) & MASK32
                self.state[sender + ACKED] -= offset
                self.state[sender + NEXT] = 0
                offset = 0
        end = offset + length
        if offset >= self.state[sender + NEXT]:
            if offset > self.state[sender + NEXT]:
                self.note_letters(conn, place & 1, LETTER_GAP)
                self.state[sender + BITS] |= HOLED
                forgotten = add_hole(self.holes.setdefault(place, []), self.state[sender + NEXT], offset)
                self.state[sender + FORGOTTEN] += forgotten
            if self.state[sender + ACKED] >= self.state[sender + NEXT] or not self.state[receiver + PACKETS]:
                self.begin_flight(sender)
            elif not self.state[sender + FIRST_PACKET]:
                self.begin_from_newest(sender)
            self.state[sender + NEWEST_OFFSET] = offset
            self.state[sender + NEWEST_NS] = ts
            self.state[sender + NEWEST_PACKET] = packet
            self.state[sender + NEXT] = end
            return offset
        self.note_letters(conn, place & 1, LETTER_AGAIN)
        self.state[sender + RETRANSMISSIONS] += 1
        if end > self.state[sender + ACKED]:
            self.state[sender + BITS] |= RESENDING
            self.state[sender + RESENT] += 1
            if self.state[sender + RESENT] == 1:
                self.state[sender + RESENT_FIRST] = packet
            self.state[sender + RESENT_NS] = ts
            self.state[sender + RESENT_PACKET] = packet
        if self.state[sender + BITS] & HOLED:
            left = fill_holes(self.holes[place], offset, end)
            self.holes[place] = left
            if not left:
                self.state[sender + BITS] &= ~HOLED
        if end > self.state[sender + NEXT] and not self.state[sender + BITS] & FINISHED:
            self.state[sender + NEXT] = end
        return offset

    @cython.cfunc
    def finish_side(
        self,
        place: cython.longlong,
        offset: cython.longlong,
        ts: cython.longlong,
        previous: cython.longlong,
        packet: cython.longlong,
    ) -> cython.int:
        """Take in a FIN that stands at `offset`."""
        conn: cython.longlong = self.origin + (place >> 1) * ROW
        sender: cython.longlong = conn + SIDES + SIDE * (place & 1)
        receiver: cython.longlong = conn + SIDES + SIDE * (1 - (place & 1))
        self.stop_idling(conn, ts, previous, "fin", packet)
        if self.state[sender + BITS] & FINISHED:
            return 0
        self.state[sender + BITS] |= FINISHED
        self.state[sender + FIN_OFFSET] = offset
        if offset >= self.state[sender + NEXT]:
            if offset > self.state[sender + NEXT] and self.state[sender + BITS] & (DATA_SEEN | FROM_START):
                self.state[sender + BITS] |= HOLED
                self.state[sender + FORGOTTEN] += add_hole(
                    self.holes.setdefault(place, []), self.state[sender + NEXT], offset
                )
            self.state[sender + NEXT] = offset + 1
        self.note_closing(place)
        if self.state[receiver + BITS] & FINISHED:
            self.start_linger(place, ts)
        return 0

    @cython.cfunc
    def stir(self, conn: cython.longlong, ts: cython.longlong, previous: cython.longlong) -> cython.int:
        """A packet without data in an idle time; the packet before it was seen at `previous`."""
        side: cython.longlong
        if not self.state[conn + STATE] & STIRRED:
            self.state[conn + STATE] |= STIRRED
            self.state[conn + SILENCE] = 0
            for side in range(conn + SIDES, conn + SIDES + 2 * SIDE, SIDE):
                self.state[side + GAP_PROBES] = 0
                self.state[side + QUIET_SINCE] = self.state[conn + IDLE_SINCE]
        if ts - previous > self.state[conn + SILENCE]:
            self.state[conn + SILENCE] = ts - previous
        return 0

    @cython.cfunc
    def stop_idling(
        self, conn: cython.longlong, ts: cython.longlong, previous: cython.longlong, ended_by: str, packet: object
    ) -> cython.int:
        """The idle time, if there is one, ends at `ts`; the packet before was seen at `previous`."""
        if self.state[conn + IDLE_SINCE] < 0:
            return 0
        if ts - self.state[conn + IDLE_SINCE] > self.state[conn + IDLE_LIMIT] or self.state[conn + STATE] & STIRRED:
            self.end_gap(conn, ts, previous, ended_by, packet)
        self.state[conn + IDLE_SINCE] = -1
        self.state[conn + STATE] &= ~STIRRED
        return 0

    @cython.cfunc
    def end_gap(
        self, conn: cython.longlong, ts: cython.longlong, previous: cython.longlong, ended_by: str, packet: object
    ) -> cython.int:
        client: cython.longlong = conn + SIDES
        server: cython.longlong = conn + SIDES + SIDE
        side: cython.longlong
        limit: cython.longlong = self.gap_ns - 1
        duration: cython.longlong
        self.stir(conn, ts, previous)
        duration = ts - self.state[conn + IDLE_SINCE]
        if duration < 0:
            duration = 0
        for side in range(client, server + 1, SIDE):
            if ts - self.state[side + QUIET_SINCE] > self.state[side + LONGEST_IDLE]:
                self.state[side + LONGEST_IDLE] = ts - self.state[side + QUIET_SINCE]
            if self.state[side + LONGEST_IDLE] < limit:
                limit = self.state[side + LONGEST_IDLE]
        if duration > self.state[conn + LONGEST_GAP]:
            self.state[conn + LONGEST_GAP] = duration
        if self.state[conn + LONGEST_GAP] < limit:
            limit = self.state[conn + LONGEST_GAP]
        self.state[conn + IDLE_LIMIT] = limit
        self.state[conn + LIMIT_CODE] = limit_code(limit)
        if duration >= self.gap_ns:
            self.state[conn + GAP_COUNT] += 1
            gap = SeenGap(
                self.state[conn + IDLE_SINCE],
                duration,
                self.state[client + GAP_PROBES],
                self.state[server + GAP_PROBES],
                self.state[conn + SILENCE],
                self.state[conn + IDLE_PACKET],
                ended_by,
                packet,
            )
            keep_gap(self.gaps.setdefault((conn - self.origin) // ROW, []), gap)
        return 0

    @cython.cfunc
    def note_closing(self, place: cython.longlong) -> cython.int:
        """The first FIN or RST tells who closed."""
        conn: cython.longlong = self.origin + (place >> 1) * ROW
        if not self.state[conn + STATE] & (CLOSED_BY_CLIENT | CLOSED_BY_SERVER):
            self.state[conn + STATE] |= CLOSED_BY_SERVER if place & 1 else CLOSED_BY_CLIENT
        return 0

    @cython.cfunc
    def start_linger(self, place: cython.longlong, ts: cython.longlong) -> cython.int:
        conn: cython.longlong = self.origin + (place >> 1) * ROW
        if not self.state[conn + STATE] & LINGERING:
            self.state[conn + STATE] |= LINGERING
            self.linger.append((ts + LINGER_NS, place >> 1, self.state[conn + ID]))
        return 0

    @cython.cfunc
    def note_letters(self, conn: cython.longlong, direction: cython.longlong, letters: cython.longlong) -> cython.int:
        """Append the history letters that are new, five bits each: 1 + number of the letter, + 9 for the server's."""
        bit: cython.longlong
        shift: cython.longlong
        for bit in range(9 * direction, 9 * direction + 9):
            if letters << (9 * direction) >> bit & 1 and not self.state[conn + STATE] >> bit & 1:
                self.state[conn + STATE] |= ONE << bit
                shift = 0
                while self.state[conn + HISTORY] >> shift & 31:
                    shift += 5
                    if shift == 60:
                        break
                if shift < 60:
                    self.state[conn + HISTORY] |= (bit + 1) << shift
                else:
                    shift = 0
                    while self.state[conn + HISTORY_MORE] >> shift & 31:
                        shift += 5
                    self.state[conn + HISTORY_MORE] |= (bit + 1) << shift
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
        slot: cython.longlong = self.by_id.get(connection, -1)
        if slot >= 0:
            self.unpack(slot)
            self.state[self.origin + slot * ROW + STATE] &= ~WANTED
            self.pack(slot)
        self.assembly.stop(connection)

    def acknowledged(self, connection: int, direction: int) -> int:
        """Stream offset up to which the receiver of `direction` acknowledged; KeyError once the connection was closed."""
        slot: cython.longlong = self.by_id[connection]
        side: cython.longlong = self.origin + slot * ROW + SIDES + SIDE * cython.cast(cython.longlong, direction)
        offset: cython.longlong
        self.unpack(slot)
        offset = self.state[side + ACKED]
        if self.state[side + BITS] & FINISHED and offset > self.state[side + FIN_OFFSET]:
            offset = self.state[side + FIN_OFFSET]
        return offset if offset > 0 else 0

    def finish(self) -> None:
        """The capture is over: holes will not fill, every connection ends. Take the last pieces and connections after it."""
        slot: cython.longlong
        for slot in range(self.slots):
            if self.state[self.origin + slot * ROW + ID] >= -1:
                self.close(slot)
        self.closed.sort(key=lambda connection: connection.id)
        self.linger.clear()
