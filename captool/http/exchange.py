"""An HTTP request with its response."""

from dataclasses import dataclass, field
from typing import Literal

from captool.direction import Moment


@dataclass(frozen=True, slots=True)
class HttpExchange:
    """One request and the response to it, without bodies.

    `response` is the moment of the response's head, `end` that of its last body byte (None while it goes on: a hijacked stream
    ends with its connection). `hijack` is how the connection stopped being HTTP: `upgrade` (101), `raw` (200 without a length
    on an endpoint that hijacks, the old form), or None. `complete` is true when the whole response was seen.
    Header names are lower case; values of credentials (authorization, x-registry-auth, ...) are replaced by `[redacted]`.
    """

    method: str
    target: str
    request: Moment
    request_headers: tuple[tuple[str, str], ...] = field(repr=False)
    request_body_bytes: int
    status: int | None
    response: Moment | None
    response_headers: tuple[tuple[str, str], ...] = field(repr=False)
    response_body_bytes: int
    end: Moment | None
    complete: bool
    hijack: Literal["upgrade", "raw"] | None
