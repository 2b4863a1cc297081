"""One HTTP/1.1 message at a time, read by h11 (RFC 9112).

h11 is made for the ends of a connection: it wants to be told what its own side sends. A sniffer has no own side, so
each message gets a reader of its own, and the response's reader is told only what it must know of the request (RFC 9112
section 6.3: the method decides whether a body follows).
"""

from collections.abc import Iterator
from typing import Final

import h11

# Go's server takes heads of 1 MiB and its client more (net/http DefaultMaxHeaderBytes); the sniffer must not be stricter.
HEAD_LIMIT: Final = 1 << 20

SWITCHING_PROTOCOLS: Final = 101
Head = h11.InformationalResponse | h11.Response


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


def rest_of_request(left: int) -> h11.Connection:
    """A reader for the `left` bytes of a request's body that are still to come."""
    reader = request_reader()
    reader.receive_data(b"POST / HTTP/1.1\r\nHost: -\r\nContent-Length: %d\r\n\r\n" % left)
    reader.next_event()
    return reader


def rest_of_response(framing: bytes) -> h11.Connection:
    """A reader for the rest of a response's body, whose end the header field `framing` tells (none: it is that of the connection)."""
    reader = response_reader("GET")
    reader.receive_data(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n")
    reader.next_event()
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
