"""The requests of one client, read one after the other (RFC 9112 section 3)."""

import re
from collections.abc import Iterator
from typing import Final, Literal

import h11

from captool.direction import Moment
from captool.http.body import Body, body_of_request
from captool.http.message import events, request_reader, rest_of_request

MAX_METHOD: Final = 32
TAIL: Final = len(b" HTTP/1.1\r")
_VERSION: Final = re.compile(rb" HTTP/[0-9]\.[0-9]\r?$")
HTTP2_PREFACE: Final = b"PRI * HTTP/2.0"  # RFC 9113 section 3.4

Beginning = Literal["request", "http2", "other"]


class RequestReader:
    """Reads one request at a time.

    `begun` is the moment of the first byte of the request that is being read, None between two; `rest` is what follows the one that ended.
    """

    __slots__ = ("_body", "_in_first_line", "_reader", "_start", "begun", "rest")

    def __init__(self) -> None:
        self.rest = b""
        self.begin_anew()

    def begin_anew(self) -> None:
        """The next bytes are the beginning of a request."""
        self.begun: Moment | None = None
        self._body: Body | None = None
        self._in_first_line = True
        self._start = RequestStart()
        self._reader = request_reader()

    def beginning(self, data: bytes, moment: Moment) -> Beginning:
        """What these bytes, with those before them, can be the beginning of."""
        self.begun = self.begun or moment
        self._in_first_line = not self._start.whole
        return self._start.add(data)

    def read(self, data: bytes) -> Iterator[h11.Event]:
        """Read on, to the end of the request at most; raises `h11.ProtocolError`."""
        self.rest = b""
        if self._in_first_line:
            self._in_first_line = False
            data = ascii_line(data)
        for event in events(self._reader, data):
            if isinstance(event, h11.Request):
                self._body = body_of_request(event)
            elif isinstance(event, h11.Data):
                self._body = self._body and self._body.after(len(event.data))
            elif isinstance(event, h11.EndOfMessage):
                self.rest = self._reader.trailing_data[0]
                self.begin_anew()
                yield event
                return
            yield event

    def lose(self, missing: int | None) -> Literal["goes on", "ended", "unknown"]:
        """So many bytes are missing before the next ones: what that makes of the request being read. Where it does not go on it is over."""
        body = self._body.behind(missing) if self._body is not None else None
        if body is None or not body.left:
            self.begin_anew()
            return "ended" if body is not None else "unknown"
        self._reader = rest_of_request(body.left)
        self._body = body
        return "goes on"


class RequestStart:
    """The first line of what should be a request, looked at before h11 sees its end (RFC 9112 section 3).

    h11 speaks up only once a whole head is there; the stdin of an unseen stream may never look like one.
    """

    __slots__ = ("_head", "_tail", "whole")

    def __init__(self) -> None:
        self._head = b""
        self._tail = b""
        self.whole = False

    def add(self, data: bytes) -> Beginning:
        """What these and the earlier bytes can be the start of."""
        if self.whole:
            return "request"
        line, newline, _ = data.partition(b"\n")
        self._head = (self._head + line[: MAX_METHOD + 1])[: MAX_METHOD + 1]
        self._tail = (self._tail + line)[-TAIL:]
        self.whole = bool(newline)
        if self._head.startswith(HTTP2_PREFACE):
            return "http2"
        method, space, _ = self._head.partition(b" ")
        fits = method.isalpha() and (space or len(method) <= MAX_METHOD) and (not newline or _VERSION.search(self._tail))
        return "request" if fits else "other"


def ascii_line(data: bytes) -> bytes:
    """The data with what h11 takes for no part of a target percent-encoded in its first line, since a server answers it all the same.

    Go's takes what is not ASCII as it is, and refuses control characters with 400.
    """
    line, newline, rest = data.partition(b"\n")
    if line.isascii() and line.removesuffix(b"\r").decode().isprintable():
        return data
    return b"".join(b"%%%02X" % byte if byte > 126 or (byte < 32 and byte != 13) else bytes((byte,)) for byte in line) + newline + rest
