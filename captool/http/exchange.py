"""An HTTP request with its response."""

from typing import Literal, NamedTuple

from captool.direction import Moment


class HttpExchange(NamedTuple):
    """One request and the response to it, without bodies.

    `request` is the moment of the request's first byte, `response` that of the end of the response's head, `end` that of the last
    body byte (None while it goes on: a hijacked stream ends with its connection). `hijack` is how the connection stopped being
    HTTP: `upgrade` (101), `raw` (200 without a length on an endpoint that hijacks, the old form, or the answer to CONNECT), or
    None; after it the bytes of the stream count as body bytes of their direction. `complete` is true when the whole response
    was seen. `response_followed` is false where the capture lacks some of the response or of a hijacked stream, where bytes of it make no
    sense, or where it could not be told among those behind a hole: what is missing then says nothing about the server.
    `request_hole` and `response_hole` say that the capture lacks some of the request or the response, or all of it. `uncertain`: found
    behind a hole by what it looks like, so that it may be text inside of something else, or the response that to another request.
    Header names are lower case; values of credentials (authorization, x-registry-auth, ...) are replaced by `[redacted]`.
    Long targets and header values are cut and end with `[...]`.
    """

    method: str
    target: str
    request: Moment
    request_headers: tuple[tuple[str, str], ...]
    request_body_bytes: int
    status: int | None
    response: Moment | None
    response_headers: tuple[tuple[str, str], ...]
    response_body_bytes: int
    end: Moment | None
    complete: bool
    hijack: Literal["upgrade", "raw"] | None
    response_followed: bool = True
    request_hole: bool = False
    response_hole: bool = False
    uncertain: bool = False
