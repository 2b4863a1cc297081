"""How the body of a message ends, and what is left of it behind a hole in the stream (RFC 9112 section 6.3)."""

from typing import Literal, NamedTuple

import h11

from captool.http.message import Head


class Body(NamedTuple):
    """The body of the message being read: how it ends, and with a `length` how many bytes are still to come."""

    ends: Literal["length", "chunked", "close"]
    left: int = 0

    def after(self, size: int) -> "Body":
        """The body when `size` more bytes of it have come."""
        return Body("length", self.left - size) if self.ends == "length" else self

    def behind(self, missing: int | None) -> "Body | None":
        """What is left behind a hole of `missing` bytes (None: so many as nobody knows) that began inside the body.

        None where the body's end is not known any more, or lies in the hole.
        """
        if self.ends == "close":
            return self
        if self.ends == "chunked" or missing is None or missing > self.left:
            return None
        return self._replace(left=self.left - missing)


def body_of_request(head: h11.Request) -> Body:
    """The body that follows the head of a request."""
    return _declared(head) or Body("length")


def body_of_response(head: Head, method: str) -> Body:
    """The body that follows the final head of the response to a request with this method."""
    if method == "HEAD" or head.status_code in {204, 304}:
        return Body("length")
    return _declared(head) or Body("close")


def _declared(head: h11.Request | Head) -> Body | None:
    fields = dict(head.headers)
    if b"transfer-encoding" in fields:
        return Body("chunked")
    length = fields.get(b"content-length")
    return None if length is None else Body("length", int(length))
