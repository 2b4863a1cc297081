"""IP fragments of TCP segments, put together within a bound (RFC 791 3.2, RFC 8200 4.5).

TCP avoids fragments (path MTU discovery), so this is plain Python: it runs for the few packets that are fragments.
Overlapping fragments: the first bytes stay (RFC 5722 forbids the overlap in IPv6; real stacks differ in IPv4). However many there are, a
datagram costs no more than its length, and a fragment no more than a look at the datagram's holes.
"""

from typing import Final

from captool.capture.frames import Frames

MAX_DATAGRAMS: Final = 256  # under way at one time; Linux allows 4 MiB of them
MAX_DATAGRAM: Final = 65535
MAX_HOLES: Final = 64  # in one datagram; a sender that splits it in order leaves one


class Datagram:
    """The fragments of one datagram that were seen so far.

    `payload` is as long as the furthest of them reaches, `holes` are the ranges of it that are still missing, in order (RFC 815); `parts`
    counts the fragments.
    """

    def __init__(self) -> None:
        self.parts = 0
        self.payload = bytearray()
        self.holes = [(0, MAX_DATAGRAM)]
        self.header = b""
        self.length: int | None = None

    def add(self, place: int, part: bytes, *, last: bool) -> bytes | None:
        """The whole payload once no byte is missing."""
        self.parts += 1
        end = place + len(part)
        if end > len(self.payload):
            self.payload.extend(bytes(end - len(self.payload)))
        left = []
        for begin, stop in self.holes:
            first, behind = max(begin, place), min(stop, end)
            if first >= behind:
                left.append((begin, stop))
                continue
            self.payload[first:behind] = part[first - place : behind - place]
            left += [hole for hole in ((begin, first), (behind, stop)) if hole[0] < hole[1]]
        if last and self.length is None:
            self.length = end
        if self.length is not None:
            left = [(begin, min(stop, self.length)) for begin, stop in left if begin < self.length]
        self.holes = left
        return bytes(self.payload[: self.length]) if not left and self.length is not None else None


class Fragments:
    """All datagrams of which a part was seen. A finished one is written into the spare room of the chunk's buffer."""

    def __init__(self) -> None:
        self.length = 0
        self.seen = 0
        self.lost = 0
        self._datagrams: dict[bytes, Datagram] = {}
        self._buffer = bytearray()
        self._spare = 0

    def begin_chunk(self, frames: Frames) -> None:
        """Use the spare room of this chunk; what was written for the last one is no longer needed."""
        self._buffer = frames.buffer
        self._spare = frames.spare

    def notes(self) -> list[str]:
        """A sentence about fragments that never became whole."""
        lost = self.lost + sum(datagram.parts for datagram in self._datagrams.values())
        if not lost:
            return []
        return [f"{lost} of {self.seen} IP fragments of TCP segments could not be put together; they count as other packets"]

    def add_ipv4(self, at: int, end: int) -> int:
        """Take the fragment whose IPv4 header is at `at`; the place of the whole datagram (of `length` bytes), or -1."""
        buffer = self._buffer
        header = (buffer[at] & 15) * 4
        total = int.from_bytes(buffer[at + 2 : at + 4], "big")
        field = int.from_bytes(buffer[at + 6 : at + 8], "big")
        key = bytes(buffer[at + 4 : at + 6] + buffer[at + 12 : at + 20])
        ip_header = bytes(buffer[at : at + header])
        more = bool(field & 0x2000)
        return self._add(key, ip_header, (field & 0x1FFF) * 8, bytes(buffer[at + header : min(end, at + total)]), total - header, more=more)

    def add_ipv6(self, at: int, extension: int, end: int) -> int:
        """Take the fragment whose IPv6 header is at `at` and whose fragment header is `extension` bytes further; as above."""
        buffer = self._buffer
        length = int.from_bytes(buffer[at + 4 : at + 6], "big") + 40
        field = int.from_bytes(buffer[at + extension + 2 : at + extension + 4], "big")
        key = bytes(buffer[at + extension + 4 : at + extension + 8] + buffer[at + 8 : at + 40])
        begin = at + extension + 8
        ip_header = bytes(buffer[at : at + 40])
        part = bytes(buffer[begin : min(end, at + length)])
        return self._add(key, ip_header, field & 0xFFF8, part, length - extension - 8, more=bool(field & 1))

    def _add(self, key: bytes, header: bytes, place: int, part: bytes, wire_length: int, *, more: bool) -> int:
        self.seen += 1
        if len(part) < wire_length or wire_length <= 0 or place + wire_length > MAX_DATAGRAM:
            self.lost += 1  # cut by a snap length, or longer than a datagram can be
            return -1
        datagram = self._datagrams.get(key)
        if datagram is None:
            if len(self._datagrams) >= MAX_DATAGRAMS:
                oldest = next(iter(self._datagrams))
                self.lost += self._datagrams.pop(oldest).parts
            datagram = self._datagrams[key] = Datagram()
        if place == 0:
            datagram.header = header
        whole = datagram.add(place, part, last=not more)
        if whole is None:
            if len(datagram.holes) > MAX_HOLES:
                self.lost += self._datagrams.pop(key).parts
            return -1
        del self._datagrams[key]
        payload = datagram.header + whole
        if self._spare + len(payload) > len(self._buffer):
            self.lost += datagram.parts
            return -1
        at = self._spare
        self._buffer[at : at + len(payload)] = payload
        self._spare += len(payload)
        self.length = len(payload)
        return at
