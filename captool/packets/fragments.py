"""IP fragments of TCP segments, put together within a bound (RFC 791 3.2, RFC 8200 4.5).

TCP avoids fragments (path MTU discovery), so this is plain Python: it runs for the few packets that are fragments.
Overlapping fragments: the first bytes stay (RFC 5722 forbids the overlap in IPv6; real stacks differ in IPv4).
"""

from typing import Final

from captool.capture.frames import Frames

MAX_DATAGRAMS: Final = 256  # under way at one time; Linux allows 4 MiB of them
MAX_DATAGRAM: Final = 65535


class Datagram:
    """The fragments of one datagram that were seen so far: first byte's place -> bytes."""

    def __init__(self) -> None:
        self.parts: dict[int, bytes] = {}
        self.header = b""
        self.length: int | None = None

    def add(self, place: int, part: bytes, *, last: bool) -> bytes | None:
        """The whole payload once no byte is missing."""
        self.parts.setdefault(place, part)
        if last and self.length is None:
            self.length = place + len(part)
        if self.length is None:
            return None
        whole = bytearray()
        for start in sorted(self.parts):
            if start > len(whole):
                return None
            whole += self.parts[start][len(whole) - start :]
        return bytes(whole[: self.length]) if len(whole) >= self.length else None


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
        lost = self.lost + sum(len(datagram.parts) for datagram in self._datagrams.values())
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
                self.lost += len(self._datagrams.pop(oldest).parts)
            datagram = self._datagrams[key] = Datagram()
        if place == 0:
            datagram.header = header
        whole = datagram.add(place, part, last=not more)
        if whole is None:
            return -1
        del self._datagrams[key]
        payload = datagram.header + whole
        if self._spare + len(payload) > len(self._buffer):
            self.lost += len(datagram.parts)
            return -1
        at = self._spare
        self._buffer[at : at + len(payload)] = payload
        self._spare += len(payload)
        self.length = len(payload)
        return at
