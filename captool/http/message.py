"""One HTTP/1.1 message at a time, read by h11 (RFC 9112).

h11 is made for the ends of a connection: it wants to be told what its own side sends. A sniffer has no own side, so
each message gets a reader of its own, and the response's reader is told only what it must know of the request (RFC 9112
section 6.3: the method decides whether a body follows).
"""

import re
from collections.abc import Iterator
from typing import Final, Literal

import h11

# Go's server takes heads of 1 MiB and its client more (net/http DefaultMaxHeaderBytes); the sniffer must not be stricter.
HEAD_LIMIT: Final = 1 << 20

MAX_METHOD: Final = 32
TAIL: Final = len(b" HTTP/1.1\r")
_VERSION: Final = re.compile(rb" HTTP/[0-9]\.[0-9]\r?$")
HTTP2_PREFACE: Final = b"PRI * HTTP/2.0"  # RFC 9113 section 3.4
SWITCHING_PROTOCOLS: Final = 101


def request_reader() -> h11.Connection:
    """A reader for the next request."""
    return h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_LIMIT)


def response_reader(method: str) -> h11.Connection:
    """A reader for the response to a request with this method, prepared to meet a 101 even where nobody asked for it."""
    reader = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD_LIMIT)
    fields = [("host", "-"), ("connection", "upgrade"), ("upgrade", "-")]
    reader.send(h11.Request(method=method, target="*", headers=fields))
    reader.send(h11.EndOfMessage())
    return reader


def events(reader: h11.Connection, data: bytes) -> Iterator[h11.Event]:
    """What the reader makes of more data (not empty: that would mean the end to h11); raises `h11.ProtocolError`."""
    reader.receive_data(data)
    while True:
        event = reader.next_event()
        if isinstance(event, h11.Event):
            yield event
        else:
            return


def has_length(response: h11.Response) -> bool:
    """Whether the response says where its body ends (RFC 9112 section 6.3)."""
    return any(name in {b"content-length", b"transfer-encoding"} for name, _ in response.headers)


def proposes_upgrade(request: h11.Request) -> bool:
    """Whether the client would like to leave HTTP/1.1 behind this request (RFC 9110 section 7.8)."""
    return request.method == b"CONNECT" or any(name == b"upgrade" for name, _ in request.headers)


class RequestStart:
    """The first line of what should be a request, looked at before h11 sees its end (RFC 9112 section 3).

    h11 speaks up only once a whole head is there; the stdin of an unseen stream may never look like one.
    """

    __slots__ = ("_head", "_tail", "whole")

    def __init__(self) -> None:
        self._head = b""
        self._tail = b""
        self.whole = False

    def add(self, data: bytes) -> Literal["request", "http2", "other"]:
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
    """The data with what is not ASCII in its first line percent-encoded: Go's server takes such targets as they are, h11 does not."""
    line, newline, rest = data.partition(b"\n")
    if line.isascii():
        return data
    return b"".join(b"%%%02X" % byte if byte > 127 else bytes((byte,)) for byte in line) + newline + rest
