"""Frames -> one row of columns for each TCP segment. No object is made for a packet.

Compiled by Cython (pure-Python mode) and runs unchanged without it. Every frame is counted once: as TCP, as something
else, or as undecodable. The headers are read by headers.py, perhaps ahead of Python; what needs its objects is done here.
"""

# ruff: noqa: PLR1730
# (the compiler makes plain comparisons of what would be Python calls of min and max)

from typing import Self

import cython

from captool.packets.fragments import Fragments

if not cython.compiled:  # compiled, they come from decode.pxd
    from captool.capture.frames import Frames, Stage
    from captool.packets.headers import read_headers
    from captool.packets.segments import Segments

SECOND = cython.declare(cython.longlong, 1_000_000_000)


@cython.cclass
class Decoder(Stage):
    """Turns chunks of frames into chunks of TCP segments and counts what it saw.

    `bytes` are lengths on the wire, `snapped_packets` packets of which a snap length cut something. `clock_steps` counts the packets that
    are more than a second older than the one before them, `clock_step_ns` is the largest step back, at packet `clock_step_packet`.
    Several processes may share the work on a capture: each decoder counts all packets, and hands on the connections of one `shard` out of
    `shards`, told apart by a hash of their ends.
    """

    tcp_packets = cython.declare(cython.longlong, visibility="readonly")
    other_packets = cython.declare(cython.longlong, visibility="readonly")
    undecodable_packets = cython.declare(cython.longlong, visibility="readonly")
    snapped_packets = cython.declare(cython.longlong, visibility="readonly")
    bytes = cython.declare(cython.longlong, visibility="readonly")
    clock_steps = cython.declare(cython.longlong, visibility="readonly")
    clock_step_ns = cython.declare(cython.longlong, visibility="readonly")
    clock_step_packet = cython.declare(cython.longlong, visibility="readonly")
    start_ns = cython.declare(cython.longlong, visibility="readonly")
    end_ns = cython.declare(cython.longlong, visibility="readonly")
    previous_ns: cython.longlong
    fragments = cython.declare(object, visibility="readonly")
    seed: cython.ulonglong
    shard: cython.longlong
    shards: cython.longlong

    def __init__(self, shard: int = 0, shards: int = 1) -> None:
        # Secret to this process and those that it forks, so that no capture can be built to fill one chain of a table. No result depends
        # on it.
        self.seed = hash(b"captool") & 0xFFFFFFFFFFFFFFFF
        self.shard = shard
        self.shards = shards
        self.tcp_packets = 0
        self.other_packets = 0
        self.undecodable_packets = 0
        self.snapped_packets = 0
        self.bytes = 0
        self.clock_steps = 0
        self.clock_step_ns = 0
        self.clock_step_packet = 0
        self.start_ns = 0
        self.end_ns = -1
        self.previous_ns = -1
        self.fragments = Fragments()

    def again(self) -> Self:
        """A decoder for the same connections of the capture, from its beginning."""
        return Decoder(self.shard, self.shards)

    def notes(self) -> list[str]:
        """Sentences about packets that could not be used."""
        return self.fragments.notes()

    def prepare(self, frames: Frames) -> None:
        """Make room for the segments of such chunks."""
        frames.decoded = Segments(len(frames.ts_ns))

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def work(self, frames: Frames) -> cython.int:
        """Read the headers of what is there of the chunk, up to the first fragment of an IP datagram."""
        if frames.staged and cython.cast(Segments, frames.decoded).fragment_at:  # it waits for `put_together`
            return 0
        return read_headers(frames, cython.cast(Segments, frames.decoded), self.seed, self.shard, self.shards)

    def decode(self, frames: Frames) -> Segments:
        """The TCP segments of `frames`, in the same order; valid until the chunk is replaced, or decoded again."""
        segments: Segments
        if frames.decoded is None:
            self.prepare(frames)
        segments = frames.decoded
        if not frames.staged or segments.row < frames.count:
            self.work(frames)
        if segments.row < frames.count:
            self.put_together(frames, segments)
        frames.staged = False
        self.tell_time(frames)
        self.tcp_packets += segments.count + segments.elsewhere
        self.other_packets += segments.other
        self.undecodable_packets += segments.undecodable
        self.snapped_packets += segments.snapped
        self.bytes += segments.size
        segments.latest_ns = self.end_ns
        return segments

    @cython.cfunc
    def put_together(self, frames: Frames, segments: Segments) -> cython.int:
        """Go on at a fragment, to the end of the chunk."""
        at: cython.longlong
        self.fragments.begin_chunk(frames)
        while segments.row < frames.count:
            if segments.fragment_at < 0:
                raise IndexError("a frame lies outside of the chunk")
            if segments.fragment_header:
                at = self.fragments.add_ipv6(segments.fragment_at, segments.fragment_header, segments.fragment_end)
            else:
                at = self.fragments.add_ipv4(segments.fragment_at, segments.fragment_end)
            if at < 0:
                segments.other += 1
                segments.row += 1
            else:
                segments.fragment_at = at
                segments.whole_length = self.fragments.length
            read_headers(frames, segments, self.seed, self.shard, self.shards)
        return 0

    @cython.cfunc
    @cython.boundscheck(False)
    def tell_time(self, frames: Frames) -> cython.int:
        """Note when the packets of the chunk were recorded, and where the recorder's clock went back."""
        row: cython.Py_ssize_t
        ts_ns: cython.longlong[::1] = frames.ts_ns
        previous: cython.longlong = self.previous_ns
        first: cython.longlong = self.start_ns
        last: cython.longlong = self.end_ns
        if frames.count > len(ts_ns):
            raise IndexError("more packets than rows")
        if frames.count and last < first:
            first = last = previous = ts_ns[0]
        for row in range(1 if frames.ordered and frames.count else frames.count):
            if ts_ns[row] < first:
                first = ts_ns[row]
            if ts_ns[row] > last:
                last = ts_ns[row]
            elif previous - ts_ns[row] > SECOND:  # packets of several queues are out of order by far less
                self.clock_steps += 1
                if previous - ts_ns[row] > self.clock_step_ns:
                    self.clock_step_ns = previous - ts_ns[row]
                    self.clock_step_packet = frames.first_packet + row
            previous = ts_ns[row]
        if frames.ordered and frames.count:
            previous = ts_ns[frames.count - 1]
            if previous > last:
                last = previous
        self.previous_ns = previous
        self.start_ns = first
        self.end_ns = last
        return 0
