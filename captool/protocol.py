"""Which protocol a stream speaks, told by its first bytes; what speaks none of them needs none of the layers above TCP."""

from typing import Final, Literal

from captool.direction import Direction
from captool.tcp.connection import StreamPiece
from captool.tls.records import starts_like_tls

Protocol = Literal["tls", "http"]
# A ciphertext that begins with a letter is no text: one in five does.
TEXT: Final = bytes((*b"\t\r\n", *range(0x20, 0x7F)))
LOOKED_AT: Final = len("GET / HTTP/1.1\r\n")  # of eight bytes one in four thousand ciphertexts looks like text
FRAMES: Final = (b"\1\0\0\0\0", b"\2\0\0\0\0")  # how frames of Docker's output begin, of less than 16 MiB


def protocol_of(first: StreamPiece) -> Protocol | None:
    """TLS records, or plain HTTP as on port 2375, or None: neither, which nobody reads any further.

    A capture that begins in the middle of a connection may show none of them at first; what is no text was TLS then.
    """
    head = first.data[:LOOKED_AT]
    printable = not head.translate(None, TEXT)
    text = printable and head[:1].isalpha()
    amidst = (printable and len(head) == LOOKED_AT) or head.startswith(FRAMES)  # of a body, or of what a container prints
    if starts_like_tls(first.data) or not (first.from_start or text or amidst):
        return "tls"
    # A server says so when the capture lacks what the client asked first.
    answers = first.data.startswith(b"HTTP/1.")
    return "http" if (text and first.direction == Direction.TO_SERVER) or answers or not first.from_start else None
