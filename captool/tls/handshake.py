"""Handshake messages (RFC 8446 section 4, RFC 5246 section 7.4): their types, and cutting them from records."""

from enum import IntEnum
from typing import Final

from captool.errors import DecodeError

MESSAGE_HEADER_LENGTH: Final = 4
MAX_MESSAGE_LENGTH: Final = 1 << 17


class HandshakeType(IntEnum):
    """The messages that are named here; all others are kept by number."""

    HELLO_REQUEST = 0
    CLIENT_HELLO = 1
    SERVER_HELLO = 2
    NEW_SESSION_TICKET = 4
    END_OF_EARLY_DATA = 5
    ENCRYPTED_EXTENSIONS = 8
    CERTIFICATE = 11
    SERVER_KEY_EXCHANGE = 12
    CERTIFICATE_REQUEST = 13
    SERVER_HELLO_DONE = 14
    CERTIFICATE_VERIFY = 15
    CLIENT_KEY_EXCHANGE = 16
    FINISHED = 20
    CERTIFICATE_STATUS = 22
    KEY_UPDATE = 24
    COMPRESSED_CERTIFICATE = 25


class MessageBuffer:
    """Handshake bytes of one direction that do not make a whole message yet; at most one message and one record long."""

    __slots__ = ("_pending",)

    def __init__(self) -> None:
        self._pending = bytearray()

    def messages(self, data: bytes) -> list[tuple[int, bytes]]:
        """The messages that `data` completes, each with its type and its header in front; raises DecodeError on one too long."""
        self._pending += data
        complete = []
        while len(self._pending) >= MESSAGE_HEADER_LENGTH:
            length = int.from_bytes(self._pending[1:4])
            if length > MAX_MESSAGE_LENGTH:
                raise DecodeError(f"a handshake message of {length} bytes")
            end = MESSAGE_HEADER_LENGTH + length
            if len(self._pending) < end:
                break
            complete.append((self._pending[0], bytes(self._pending[:end])))
            del self._pending[:end]
        return complete

    def __bool__(self) -> bool:
        return bool(self._pending)

    def clear(self) -> None:
        """Forget a message whose rest was lost."""
        self._pending.clear()
