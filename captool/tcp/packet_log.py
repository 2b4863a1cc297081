"""TCP segments -> what another capture of the same connection needs to recognise them, kept for each pair of ends.

Compiled by Cython (pure-Python mode) and runs unchanged without it. Memory is bounded whatever the capture: of a long conversation
the first packets (the handshake) and the last ones are kept, and when all room is taken the long ones give some back.
"""

# ruff: noqa: D102
# (the compiler makes plain comparisons of chained ones, Python calls of min, max and `in`)

import ipaddress
from collections.abc import Iterator
from functools import lru_cache

import cython

from captool.tcp.connection import Endpoint

if not cython.compiled:  # compiled, they come from packet_log.pxd
    from captool.capture.frames import Frames
    from captool.capture.literals import HALF32, MASK32, MASK64, MIX_A, MIX_B, TWO32
    from captool.packets.segments import Segments
    from captool.tcp.copies import plain_mark
    from captool.tcp.packet_blocks import PacketBlocks

NONE = cython.declare(cython.longlong, -1)
TELLING_FLAGS = cython.declare(cython.longlong, 23)  # FIN, SYN, RST, ACK; PSH comes and goes with offload
ACK_FLAG = cython.declare(cython.longlong, 16)

# As in packet_blocks.py. A row: time; packet number and whether the second end sent it; seq and ack; mark; length, hop limit and flags.
ROWS = cython.declare(cython.longlong, 16)
WORDS = cython.declare(cython.longlong, 5)
BLOCK = cython.declare(cython.longlong, 82)


@cython.final
@cython.cclass
class PacketLog:
    """What was recorded of each conversation (all connections of one pair of addresses and ports).

    `max_rows` bounds all packets that are kept, `max_conversation_rows` those of one. `unlogged_packets` counts packets of conversations
    that found no room at all.
    """

    unlogged_packets = cython.declare(cython.longlong, visibility="readonly")
    blocks: PacketBlocks
    slots: dict
    secret: cython.longlong

    def __init__(self, max_rows: int = 1_000_000, max_conversation_rows: int = 32_768) -> None:
        self.unlogged_packets = 0
        self.blocks = PacketBlocks(max_rows, max_conversation_rows)
        self.slots = {}
        # Secret to each process, so that no capture can be built to fill one chain of the dictionary; no result depends on it.
        self.secret = hash(b"captool") & 0x7FFFFFFF

    def add(self, frames: Frames, segments: Segments) -> None:
        """Take in one chunk."""
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
        mark: cython.longlong[::1] = segments.mark
        hops: cython.uchar[::1] = segments.hops
        payload_length: cython.int[::1] = segments.payload_length
        first_packet: cython.longlong = frames.first_packet
        blocks: PacketBlocks = self.blocks
        row: cython.Py_ssize_t
        slot: cython.longlong = -1
        at: cython.longlong
        second: cython.bint
        last_source: cython.longlong = 0
        last_destination: cython.longlong = 0
        last_ports: cython.longlong = -1
        for row in range(segments.count):
            segments.tell_ends(row)
            second = is_second(
                source_high[row], source_low[row], destination_high[row], destination_low[row], ports[row]
            )
            if (
                slot < 0
                or last_ports != ports[row]
                or last_source != source_low[row]
                or last_destination != destination_low[row]
                or source_high[row] != 0
                or destination_high[row] != 0
            ):
                slot = self.slot_of(
                    self.key(source_high[row], source_low[row], destination_high[row], destination_low[row], ports[row])
                )
                last_ports = ports[row]
                last_source = source_low[row]
                last_destination = destination_low[row]
            at = blocks.room(slot) if slot >= 0 else NONE
            if at < 0:
                self.unlogged_packets += 1
                continue
            blocks.store[at] = ts_ns[frame[row]]
            blocks.store[at + 1] = (first_packet + frame[row]) << 1 | second
            blocks.store[at + 2] = ((seq[row] ^ HALF32) - HALF32) * TWO32 + ack[row]
            blocks.store[at + 3] = mark[row]
            blocks.store[at + 4] = (
                cython.cast(cython.longlong, payload_length[row]) << 24
                | cython.cast(cython.longlong, hops[row]) << 16
                | flags[row]
            )

    @cython.cfunc
    def key(
        self,
        source_high: cython.longlong,
        source_low: cython.longlong,
        destination_high: cython.longlong,
        destination_low: cython.longlong,
        ports: cython.longlong,
    ) -> object:
        """The same for both directions."""
        if is_second(source_high, source_low, destination_high, destination_low, ports):
            ports = (ports & 0xFFFF) << 16 | ports >> 16
            return (destination_high, destination_low ^ self.secret, source_high, source_low ^ self.secret, ports)
        return (source_high, source_low ^ self.secret, destination_high, destination_low ^ self.secret, ports)

    @cython.cfunc
    def slot_of(self, key: object) -> cython.longlong:
        """The conversation's number, made where it is new; -1 where there is no room."""
        slot: cython.longlong = self.slots.get(key, -1)
        if slot < 0:
            slot = self.blocks.open()
            if slot >= 0:
                self.slots[key] = slot
        return slot

    def digest(self, one: Endpoint, other: Endpoint, after: int, until: int) -> list[tuple[int, int, int, int]]:
        """What `one` sent and what `other` sent, in short: count, digest, number of the last packet and its time.

        Of the packets above `after` and up to `until`. Digests are equal only for packets that are the same, in the same order.
        """
        blocks: PacketBlocks = self.blocks
        slot: cython.longlong
        block: cython.longlong
        last: cython.longlong
        row: cython.longlong
        at: cython.longlong
        flags: cython.longlong
        packet: cython.longlong
        side: cython.longlong
        begin: cython.longlong = after
        end: cython.longlong = until
        seq: cython.ulonglong
        ack: cython.ulonglong
        mixed: cython.ulonglong
        digests: cython.ulonglong[2]
        counts: cython.longlong[2]
        packets: cython.longlong[2]
        times: cython.longlong[2]
        if not cython.compiled:
            digests, counts, packets, times = [0, 0], [0, 0], [0, 0], [0, 0]
        for side in range(2):
            digests[side] = 0
            counts[side] = 0
            packets[side] = 0
            times[side] = 0
        slot = self.find(one, other)
        if slot >= 0:
            one_second: cython.bint = self.second(one, other)
            block = blocks.first_block(slot)
            last = blocks.last_block(slot)
            while True:
                for row in range(blocks.store[block * BLOCK + 1]):
                    at = block * BLOCK + 2 + row * WORDS
                    packet = blocks.store[at + 1] >> 1
                    if packet <= begin or packet > end:
                        continue
                    side = (blocks.store[at + 1] & 1) ^ (1 if one_second else 0)
                    flags = blocks.store[at + 4] & TELLING_FLAGS
                    seq = blocks.store[at + 2] >> 32 & MASK32
                    ack = blocks.store[at + 2] & MASK32 if flags & ACK_FLAG else 0
                    mixed = ((seq << 31 ^ ack) * MIX_A) & MASK64
                    flags ^= plain_mark(blocks.store[at + 3])
                    ack = cython.cast(cython.ulonglong, (blocks.store[at + 4] >> 24) << 34 ^ flags) & MASK64
                    mixed = ((mixed ^ ack) * MIX_B) & MASK64
                    digests[side] = ((digests[side] ^ mixed ^ mixed >> 29) * MIX_A + cython.cast(cython.ulonglong, self.secret)) & MASK64
                    counts[side] += 1
                    packets[side] = packet
                    times[side] = blocks.store[at]
                if block == last:
                    break
                block = blocks.store[block * BLOCK]
        return [(counts[side], digests[side], packets[side], times[side]) for side in range(2)]

    @cython.cfunc
    def find(self, one: object, other: object) -> cython.longlong:
        source_high, source_low = words(one.ip)
        destination_high, destination_low = words(other.ip)
        return self.slots.get(self.key(source_high, source_low, destination_high, destination_low, one.port << 16 | other.port), -1)

    @cython.cfunc
    def second(self, one: object, other: object) -> cython.bint:
        source_high, source_low = words(one.ip)
        destination_high, destination_low = words(other.ip)
        return is_second(source_high, source_low, destination_high, destination_low, one.port << 16 | other.port)

    def rows(
        self, one: Endpoint, other: Endpoint, ends: int = 0
    ) -> Iterator[tuple[bool, int, int, int, int, int, int, int, int]]:
        """(sent by `one`, time, packet, seq, ack, flags, length, mark, hop limit) of each packet kept, as recorded.

        With `ends` only of the first and the last so many blocks of 16.
        """
        blocks: PacketBlocks = self.blocks
        slot: cython.longlong = self.find(one, other)
        block: cython.longlong
        used: cython.longlong
        at: cython.longlong
        number: cython.longlong = 0
        if slot < 0:
            return
        one_second = self.second(one, other)
        block = blocks.first_block(slot)
        last = blocks.last_block(slot)
        count = blocks.block_count(slot)
        while True:
            number += 1
            if ends and ends < number <= count - ends:
                block = blocks.store[block * BLOCK]
                continue
            for used in range(blocks.store[block * BLOCK + 1]):
                at = block * BLOCK + 2 + used * WORDS
                yield (
                    (blocks.store[at + 1] & 1 != 0) == one_second,
                    blocks.store[at],
                    blocks.store[at + 1] >> 1,
                    blocks.store[at + 2] >> 32 & MASK32,
                    blocks.store[at + 2] & MASK32,
                    blocks.store[at + 4] & 0xFFFF,
                    blocks.store[at + 4] >> 24,
                    blocks.store[at + 3],
                    blocks.store[at + 4] >> 16 & 0xFF,
                )
            if block == last:
                return
            block = blocks.store[block * BLOCK]

    def given_back(self, one: Endpoint, other: Endpoint) -> int:
        """How many packets between the first block of a conversation and those kept last are not kept."""
        slot: cython.longlong = self.find(one, other)
        return self.blocks.given_back(slot) if slot >= 0 else 0

    def hole(self, one: Endpoint, other: Endpoint) -> tuple[int, int] | None:
        """The times of the packets before and after those of a conversation that are not kept; None where all are."""
        if not self.given_back(one, other):
            return None
        times = [row[1] for row in self.rows(one, other)]
        return times[ROWS - 1], times[ROWS]


@cython.cfunc
@cython.inline
@cython.exceptval(check=False)
def is_second(
    source_high: cython.longlong,
    source_low: cython.longlong,
    destination_high: cython.longlong,
    destination_low: cython.longlong,
    ports: cython.longlong,
) -> cython.bint:
    """Whether the sender is the second of the two ends in their order."""
    if source_high != destination_high:
        return source_high > destination_high
    if source_low != destination_low:
        return source_low > destination_low
    return ports >> 16 > ports & 0xFFFF


@lru_cache(maxsize=4096)
def words(ip: str) -> tuple[int, int]:
    """An address as two signed 64-bit words, as the decoder gives it."""
    address = ipaddress.ip_address(ip)
    if address.version == 4:
        return 0, 0xFFFF << 32 | int(address)
    high, low = divmod(int(address), 1 << 64)
    return high - (high >> 63 << 64), low - (low >> 63 << 64)
