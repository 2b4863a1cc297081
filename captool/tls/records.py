"""The record layer's framing (RFC 8446 section 5.1, RFC 5246 section 6.2): where a record begins and ends, nothing of its content."""

from collections.abc import Sequence
from enum import IntEnum
from typing import Final, Protocol

HEADER_LENGTH: Final = 5
# RFC 5246 section 6.2.3: 2**14 bytes of content, 2048 more for protection. TLS 1.3 allows fewer.
MAX_FRAGMENT_LENGTH: Final = (1 << 14) + 2048
MAX_RECORD_LENGTH: Final = HEADER_LENGTH + MAX_FRAGMENT_LENGTH
VERSION_MAJOR: Final = 3
MAX_VERSION_MINOR: Final = 4
SSLV2_CLIENT_HELLO: Final = 1


class ContentType(IntEnum):
    """The record types (RFC 8446 section 5.1, RFC 6520)."""

    CHANGE_CIPHER_SPEC = 20
    ALERT = 21
    HANDSHAKE = 22
    APPLICATION_DATA = 23
    HEARTBEAT = 24


FIRST_TYPE: Final = int(ContentType.CHANGE_CIPHER_SPEC)  # a look into the enumeration costs more than the comparison
LAST_TYPE: Final = int(ContentType.HEARTBEAT)


class StreamRun(Protocol):
    """A run of in-order bytes of one direction, as TCP reassembly gives it.

    `offset` is the place of `data[0]` in the direction's stream, `missing_before` the number of bytes that are lost just before it
    (`snapped`: cut off by the capture). `mark_offsets` says where the segments of `mark_packets` and `mark_times_ns` begin.
    """

    @property
    def direction(self) -> int: ...  # noqa: D102  # the class says it
    @property
    def offset(self) -> int: ...  # noqa: D102
    @property
    def data(self) -> bytes: ...  # noqa: D102
    @property
    def missing_before(self) -> int: ...  # noqa: D102
    @property
    def snapped(self) -> bool: ...  # noqa: D102
    @property
    def from_start(self) -> bool: ...  # noqa: D102
    @property
    def mark_offsets(self) -> Sequence[int]: ...  # noqa: D102
    @property
    def mark_packets(self) -> Sequence[int]: ...  # noqa: D102
    @property
    def mark_times_ns(self) -> Sequence[int]: ...  # noqa: D102


class RecordBuffer:
    """The bytes of one direction that do not make a whole record yet: less than one record. `kept` counts them."""

    __slots__ = ("_missing", "_parts", "kept")

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._missing = 0
        self.kept = 0

    @property
    def missing(self) -> int:
        """How many bytes what is kept lacks to be a whole record, or a whole header while that is not there; 0 where nothing is kept."""
        return max(self._missing, 1) if self._parts else 0

    def join(self, data: bytes) -> bytes | None:
        """What was kept with `data` behind it, None (and all kept) while that cannot hold a whole record."""
        if not self._parts:
            return data
        self._parts.append(data)
        self.kept += len(data)
        self._missing -= len(data)
        if self._missing > 0:
            return None
        joined = b"".join(self._parts)
        self._parts.clear()
        self.kept = 0
        return joined

    def keep(self, rest: bytes, length: int = HEADER_LENGTH) -> None:
        """Keep the beginning of a record, whose `length` is known once its header is there."""
        self._parts = [rest] if rest else []
        self.kept = len(rest)
        self._missing = length - len(rest)


def record_length(data: bytes, start: int = 0) -> int:
    """Length of the record whose header is at `start`, header included."""
    return HEADER_LENGTH + (data[start + 3] << 8 | data[start + 4])


def is_record_header(data: bytes, start: int = 0) -> bool:
    """Whether a record can begin with the bytes at `start` (as many of the header as there are)."""
    header = data[start : start + HEADER_LENGTH]
    if not header or not FIRST_TYPE <= header[0] <= LAST_TYPE:
        return False
    if len(header) > 1 and header[1] != VERSION_MAJOR:
        return False
    if len(header) > 2 and header[2] > MAX_VERSION_MINOR:
        return False
    return len(header) < HEADER_LENGTH or header[3] << 8 | header[4] <= MAX_FRAGMENT_LENGTH


def sslv2_hello_length(data: bytes) -> int | None:
    """Length of the ClientHello in the form of SSL 2.0 that `data` begins with (RFC 5246 appendix E.2), None for anything else."""
    if len(data) < HEADER_LENGTH or not data[0] & 0x80 or data[2] != SSLV2_CLIENT_HELLO or data[3] != VERSION_MAJOR:
        return None
    return 2 + ((data[0] & 0x7F) << 8 | data[1])


def starts_like_tls(data: bytes) -> bool:
    """Whether a stream that begins with these bytes looks like TLS records (or a ClientHello of SSL 2.0)."""
    first = data[0] if data else 0  # of neither, for most streams that are no TLS
    return (FIRST_TYPE <= first <= LAST_TYPE and is_record_header(data)) or (first & 0x80 != 0 and sslv2_hello_length(data) is not None)
