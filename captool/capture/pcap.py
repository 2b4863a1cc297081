"""The pcap file format: its header, in all byte orders and time units (libpcap: pcap-savefile, sf-pcap.c)."""

import struct
from typing import Final

from captool.capture.frames import Frames
from captool.capture.walk import CORRUPT, PcapWalk

HEADER_LENGTH: Final = 24

# First four bytes -> byte order, unit of the timestamp's fraction, length of a record header.
MAGICS: Final = {
    bytes.fromhex("a1b2c3d4"): (">", 1000, 16),
    bytes.fromhex("d4c3b2a1"): ("<", 1000, 16),
    bytes.fromhex("a1b23c4d"): (">", 1, 16),
    bytes.fromhex("4d3cb2a1"): ("<", 1, 16),
    bytes.fromhex("a1b2cd34"): (">", 1000, 24),  # Kuznetzov's modified format: interface, protocol, packet type
    bytes.fromhex("34cdb2a1"): ("<", 1000, 24),
}

# tcpdump's own ceiling is 262144; bus captures write more. What claims more than this is not a record header.
MAX_CAPTURED: Final = 16 << 20


class PcapFile:
    """One pcap file: what its header says, and the walk over its records."""

    format = "pcap"

    def __init__(self, header: bytes) -> None:
        self.order, self.fraction_ns, self.record_header = MAGICS[header[:4]]
        _, _, _, _, self.snap_length, link_type = struct.unpack(self.order + "HHiIII", header[4:HEADER_LENGTH])
        self.link_type: int = link_type & 0xFFFF  # the upper half describes the frame check sequence
        self.packets = 0
        self.dropped_packets: int | None = None
        self.fault = f"a record claims more than {MAX_CAPTURED} bytes"

    @property
    def link_types(self) -> dict[int, int]:
        """Packets seen of each link type."""
        return {self.link_type: self.packets}

    @property
    def untimed_packets(self) -> int:
        """0: each record has a time."""
        return 0

    def walker(self) -> PcapWalk:
        """What walks the records of the file."""
        return PcapWalk(self.order == ">", self.fraction_ns, self.record_header, self.link_type, MAX_CAPTURED)

    def walk(self, frames: Frames) -> None:
        """Fill the columns from `frames.buffer[frames.reached : frames.fill]`; see `captool.capture.walk` for what that leaves."""
        before = frames.count
        self.walker().walk(frames)
        self.packets += frames.count - before
        if frames.needed == CORRUPT and bytes(frames.buffer[frames.reached : frames.reached + 4]) in MAGICS:
            self.fault = "another capture begins there, as cat puts them together; name the files one by one, or use mergecap"

    def count(self, frames: Frames) -> None:
        """Count the packets of a chunk that another walked."""
        self.packets += frames.count
