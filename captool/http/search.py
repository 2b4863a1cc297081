"""Where a message may begin behind a hole in the stream: at the beginning of a record or segment, and with a whole head.

Both ends write the head of a message with a call of its own, so that it begins a record, and on a connection on which the client asks
one thing at a time a segment as well. That bytes look like a head there is no proof: who takes them for one knows what else speaks for it.
"""

import re
from collections.abc import Callable
from typing import Final

import h11

from captool.direction import Moment
from captool.http.message import events, request_reader, response_reader
from captool.http.request_reader import ascii_line

MAX_SOUGHT: Final = 1 << 14
_STATUS_LINE: Final = b"HTTP/0.0 000"
_DIGITS: Final = bytes.maketrans(b"123456789", b"000000000")
# Compiled when the first hole is met, which most captures do not have.
_STATUS: Final = rb"HTTP/1\.[01] [1-5][0-9][0-9][ \r\n]"
_REQUEST: Final = rb"[A-Z][A-Z-]{1,31} [^ \r\n]+ HTTP/1\.[01]\r?\n"
_METHOD: Final = rb"[A-Z][A-Z-]{0,31}(?: [^\r\n]*\r?)?"
_BLANK_LINE: Final = rb"\n\r?\n"
_CHUNK: Final = rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;[^\r\n]*)?\r\n"
LAST_CHUNK: Final = b"0\r\n\r\n"


class HeadSearch:
    """Looks for a whole head that begins where a piece begins; keeps at most `MAX_SOUGHT` bytes of one that is not whole yet.

    `begun` is the moment of the piece in which the head under suspicion begins, None while there is none.
    """

    __slots__ = ("_begins", "_in_line", "_kept", "_parses", "begun")

    def __init__(self, begins: Callable[[bytes], bool], parses: Callable[[bytes], bool]) -> None:
        self._begins = begins
        self._parses = parses
        self.clear()

    def clear(self) -> None:
        """What was kept does not go on with what follows."""
        self._kept = bytearray()
        self._in_line = True
        self.begun: Moment | None = None

    def add(self, data: bytes, moment: Moment, *, candidate: bool = True) -> bytes | None:
        """Look at one more piece; gives the bytes from the beginning of a whole head on, None while there is none.

        Only a `candidate` may begin one. A head that is not whole gives way to another beginning, unless that goes on with its first line.
        """
        goes_on = self.begun is not None and (b"\n" not in data or (self._in_line and self._begins(bytes(self._kept) + data)))
        if candidate and not goes_on and self._begins(data):
            self.clear()
            self.begun = moment
        elif self.begun is None:
            return None
        seen = max(len(self._kept) - 2, 0)
        in_line, self._in_line = self._in_line, self._in_line and b"\n" not in data
        self._kept += data[: MAX_SOUGHT + 1]
        end = re.compile(_BLANK_LINE).search(self._kept, seen)
        if end is None and len(self._kept) <= MAX_SOUGHT and (not in_line or self._begins(bytes(self._kept))):
            return None
        kept = bytes(self._kept) + data[MAX_SOUGHT + 1 :]
        if end is None or not self._begins(kept) or not self._parses(kept[: end.end()]):
            self.clear()
            return None
        return kept


def begins_response(data: bytes) -> bool:
    """Whether this may be the beginning of a status line (RFC 9112 section 4), or of a part of one."""
    if len(data) > len(_STATUS_LINE):
        return re.match(_STATUS, data) is not None
    return _STATUS_LINE.startswith(data.translate(_DIGITS))


def begins_request(data: bytes) -> bool:
    """Whether this may be the beginning of a request line (RFC 9112 section 3), or of a part of one."""
    line, newline, _ = data.partition(b"\n")
    return (re.fullmatch(_REQUEST, line + newline) if newline else re.fullmatch(_METHOD, line)) is not None


def parses_as_request(head: bytes) -> bool:
    """Whether this is the whole head of a request."""
    return any(isinstance(event, h11.Request) for event in _events(request_reader(), ascii_line(head)))


def parses_as_response(head: bytes) -> bool:
    """Whether this is the whole head of a response, perhaps of an interim one."""
    return any(isinstance(event, h11.Response | h11.InformationalResponse) for event in _events(response_reader("GET"), head))


def _events(reader: h11.Connection, head: bytes) -> list[h11.Event]:
    try:
        return list(events(reader, head))
    except h11.ProtocolError:
        return []


def only_whole_chunks(data: bytes) -> bool:
    """Whether a piece is nothing but whole chunks of a body (RFC 9112 section 7.1), the last one without trailers."""
    position, chunks = 0, re.compile(_CHUNK)
    while chunk := chunks.match(data, position):
        size = int(chunk[1], 16)
        end = chunk.end() + size
        if data[end : end + 2] != b"\r\n":
            return False
        position = end + 2
        if position == len(data):
            return True
        if not size:
            return False
    return False
