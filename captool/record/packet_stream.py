"""tcpdump's standard output, cut into whole packets: whatever is written of them ends where a packet ends.

Compiled by Cython (pure-Python mode) and runs unchanged without it: beside tcpdump, looking at every header cost more than all else.
"""

import struct
from dataclasses import dataclass
from typing import Final

import cython

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
        self._big_endian = False
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
            self._big_endian, self._time = order == ">", struct.Struct(f"{order}II")
            self.header, position = data[:FILE_HEADER], FILE_HEADER
        ends, broken = _whole_packets(bytearray(data), position, self._big_endian)
        if broken and not ends:  # behind whole packets it is told at the next piece, when they are safe
            raise MissingToolError("tcpdump wrote a broken packet header; the trace ends before it")
        end = position + (ends[len(ends) - 1] if ends else 0)
        self._waiting = data[end:]
        return PacketRun(data[position:end], ends)

    def time_ns(self, run: PacketRun, index: int) -> int:
        """When packet `index` of a run was captured, nanoseconds since 1970."""
        seconds, fraction = self._time.unpack_from(run.data, run.ends[index - 1] if index else 0)
        return int(seconds) * 1_000_000_000 + int(fraction) * self._fraction_ns


@cython.cfunc
def _whole_packets(data: cython.uchar[::1], begin: cython.Py_ssize_t, big_endian: cython.bint) -> tuple:
    """Where the packets from `begin` on end that are whole, counted from there; and whether a broken header follows them."""
    ends: list = []
    position: cython.Py_ssize_t = begin
    available: cython.Py_ssize_t = len(data)
    captured: cython.longlong
    while position + 16 <= available:  # PACKET_HEADER
        captured = _length(data, position + 8, big_endian)
        if captured > 1048576:  # _LARGEST_PACKET
            return ends, True
        position += 16 + captured
        if position > available:
            break
        ends.append(position - begin)
    return ends, False


@cython.cfunc
@cython.inline
@cython.boundscheck(False)  # the caller has checked that it is there
@cython.exceptval(check=False)
def _length(data: cython.uchar[::1], at: cython.Py_ssize_t, big_endian: cython.bint) -> cython.longlong:
    """An unsigned number of 32 bits."""
    first: cython.longlong = data[at]
    second: cython.longlong = data[at + 1]
    third: cython.longlong = data[at + 2]
    fourth: cython.longlong = data[at + 3]
    if big_endian:
        return first << 24 | second << 16 | third << 8 | fourth
    return fourth << 24 | third << 16 | second << 8 | first
