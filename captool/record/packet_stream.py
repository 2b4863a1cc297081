"""tcpdump's standard output, cut into whole packets: whatever is written of them ends where a packet ends."""

import struct
from dataclasses import dataclass
from typing import Final

from captool.errors import MissingToolError

FILE_HEADER: Final = 24
PACKET_HEADER: Final = 16
_FORMATS: Final = {
    b"\xd4\xc3\xb2\xa1": ("<", 1000), b"\x4d\x3c\xb2\xa1": ("<", 1), b"\xa1\xb2\xc3\xd4": (">", 1000), b"\xa1\xb2\x3c\x4d": (">", 1),
}  # fmt: skip
_LARGEST_PACKET: Final = 1 << 20  # four times what tcpdump is asked for: beyond that the stream is broken


@dataclass(frozen=True, slots=True)
class PacketRun:
    """Whole packets as they stand in a pcap file; `ends[i]` is where packet i ends in `data`."""

    data: bytes
    ends: list[int]


class PacketStream:
    """Give it the stream piece by piece. `header` is the file header, empty until it has come."""

    def __init__(self) -> None:
        self.header = b""
        self._waiting = b""
        self._length = struct.Struct("=I")
        self._time = struct.Struct("=II")
        self._fraction_ns = 1

    def feed(self, data: bytes) -> PacketRun:
        """The packets that are whole by now. Raises MissingToolError where the stream is no pcap, at the place and not before it."""
        data = self._waiting + data
        position = 0
        if not self.header:
            if len(data) < FILE_HEADER:
                self._waiting = data
                return PacketRun(b"", [])
            if (form := _FORMATS.get(data[:4])) is None:
                raise MissingToolError("tcpdump wrote something that is no pcap file; is it an old or patched version?")
            order, self._fraction_ns = form
            self._length, self._time = struct.Struct(f"{order}I"), struct.Struct(f"{order}II")
            self.header, position = data[:FILE_HEADER], FILE_HEADER
        begin = position
        ends: list[int] = []
        available, unpack = len(data), self._length.unpack_from
        while position + PACKET_HEADER <= available:
            captured = unpack(data, position + 8)[0]
            if captured > _LARGEST_PACKET:
                if not ends:
                    raise MissingToolError("tcpdump wrote a broken packet header; the trace ends before it")
                break  # told at the next piece, when the packets before it are safe
            position += PACKET_HEADER + captured
            if position > available:
                break
            ends.append(position - begin)
        end = begin + (ends[-1] if ends else 0)
        self._waiting = data[end:]
        return PacketRun(data[begin:end], ends)

    def time_ns(self, run: PacketRun, index: int) -> int:
        """When packet `index` of a run was captured, nanoseconds since 1970."""
        seconds, fraction = self._time.unpack_from(run.data, run.ends[index - 1] if index else 0)
        return int(seconds) * 1_000_000_000 + int(fraction) * self._fraction_ns
