"""One direction of a TLS conversation: its record buffer, its protection, its records that wait for the other direction."""

from collections import deque
from enum import Enum, auto
from typing import Final, NamedTuple

from captool.direction import Direction
from captool.tls.handshake import HandshakeType, MessageBuffer
from captool.tls.lost_records import LostRecords, Stand
from captool.tls.negotiation import Negotiation
from captool.tls.protection import Opener
from captool.tls.reasons import Failure
from captool.tls.records import HEADER_LENGTH, ContentType, RecordBuffer
from captool.tls.recovery import Recovered, Recovery
from captool.tls.traffic_secrets import Epoch

MAX_HELD_BYTES: Final = 1 << 17
CLIENT_HELLO: Final = bytes([HandshakeType.CLIENT_HELLO])
NOTHING_LOST: Final = LostRecords(0, 0, 0, 0)
CLEAR_TYPES: Final = frozenset({ContentType.HANDSHAKE, ContentType.ALERT, ContentType.HEARTBEAT})


class State(Enum):
    """How far a direction has come; what leads from one to the next is in `TRANSITIONS`."""

    CLEAR = auto()  # records are not protected yet
    LOCKED = auto()  # records are protected, and their keys were not found yet
    OPEN = auto()  # records are decrypted
    SEEKING = auto()  # bytes were lost: the next record that authenticates is looked for
    STOPPED = auto()  # nothing more can be read


class Event(Enum):
    """What moves a direction from one state to another."""

    CHANGE_CIPHER_SPEC = auto()  # RFC 5246 section 7.1
    SERVER_HELLO_13 = auto()  # RFC 8446 section 2: all that follows is protected
    OPENED = auto()  # a secret fits
    KEYS_CHANGED = auto()  # the next key is known: Finished or KeyUpdate of TLS 1.3
    EARLY_DATA_ENDED = auto()  # RFC 8446 section 4.5: the handshake keys come next
    BYTES_LOST = auto()
    FAILED = auto()


TRANSITIONS: Final = {
    (State.CLEAR, Event.CHANGE_CIPHER_SPEC): State.LOCKED,
    (State.OPEN, Event.CHANGE_CIPHER_SPEC): State.LOCKED,  # renegotiation
    (State.CLEAR, Event.SERVER_HELLO_13): State.LOCKED,
    (State.LOCKED, Event.OPENED): State.OPEN,
    (State.OPEN, Event.KEYS_CHANGED): State.OPEN,
    (State.OPEN, Event.EARLY_DATA_ENDED): State.LOCKED,
    (State.OPEN, Event.BYTES_LOST): State.SEEKING,
    (State.LOCKED, Event.BYTES_LOST): State.SEEKING,
    (State.CLEAR, Event.BYTES_LOST): State.SEEKING,  # the change of keys may be in the hole
    (State.SEEKING, Event.OPENED): State.OPEN,
    (State.CLEAR, Event.FAILED): State.STOPPED,
    (State.LOCKED, Event.FAILED): State.STOPPED,
    (State.OPEN, Event.FAILED): State.STOPPED,
    (State.SEEKING, Event.FAILED): State.STOPPED,
}


class Place(NamedTuple):
    """Where a record ends: stream offset just behind it, and the segment that completed it."""

    stream_end: int
    packet: int
    ts_ns: int


class Side:
    """State of one direction.

    `sequence` counts records under the present key; `opener` is None unless the state is OPEN; `begun` says that its first bytes
    were looked at.

    `epoch` and `secret` count for TLS 1.3; `skipped` records belonged to an epoch whose secret is not known. `hole` tells of the first
    bytes that the capture lacks, `failure` of what stopped the direction.

    `mixed`: among application data there were records of another type, or padded ones. `lost` is what the capture lacks since the
    last plaintext, None where nobody knows how much that is; `lost_in_all` sums up what is known.
    """

    def __init__(self, direction: Direction) -> None:
        self.direction = direction
        self.state = State.CLEAR
        self.begun = False
        self.buffer = RecordBuffer()
        self.messages = MessageBuffer()
        self.held: deque[tuple[bytes, Place]] = deque()
        self.held_bytes = 0
        self.opener: Opener | None = None
        self.sequence = 0
        self.tls13 = False
        self.epoch = Epoch.HANDSHAKE
        self.secret = b""
        self.skipped = 0
        self.hole: Failure | None = None
        self.plaintext_bytes = 0
        self.failure: Failure | None = None
        self.recovery: Recovery | None = None
        self.after_loss = False
        self.stand: Stand | None = None
        self.mixed = False
        self.lost: LostRecords | None = NOTHING_LOST
        self.lost_in_all = NOTHING_LOST

    def move(self, event: Event, opener: Opener | None = None) -> None:
        """Change state; the sequence number starts again with every key."""
        self.state = TRANSITIONS.get((self.state, event), self.state)
        self.opener = opener
        self.sequence = 0

    def seek(self, recovery: Recovery, stand: Stand | None) -> None:
        """Bytes were lost: nothing is read before `recovery` found a record. `stand` is where reading stood, as far as that is known."""
        self.stand = stand
        self.move(Event.BYTES_LOST)
        self.recovery = recovery
        self.buffer.keep(b"")
        self.messages.clear()
        self.held.clear()
        self.held_bytes = 0

    def resume(self, recovered: Recovered, offset: int) -> None:
        """The next record was found, at this offset of the stream."""
        lost = self.stand.lost_before(recovered, offset, mixed=self.mixed) if self.stand is not None else None
        self.lost = None if lost is None or self.lost is None else self.lost.and_more(lost)
        self.lost_in_all = self.lost_in_all.and_more(lost or NOTHING_LOST)
        self.stand = None
        self.move(Event.OPENED, recovered.guess.opener)
        self.sequence, self.epoch, self.secret = recovered.sequence, recovered.guess.epoch, recovered.guess.secret
        self.recovery = None
        self.after_loss = True

    def take_lost(self) -> LostRecords | None:
        """What the capture lacks before the plaintext that comes next, None where nobody knows; from now on that is another hole."""
        lost, self.lost = self.lost, NOTHING_LOST
        return lost if lost is not None and lost.places else None

    def hold(self, record: bytes, place: Place) -> bool:
        """Keep a record until it can be read; False where too much is kept already."""
        self.held_bytes += len(record)
        self.held.append((record, place))
        return self.held_bytes <= MAX_HELD_BYTES

    def release(self) -> tuple[bytes, Place]:
        """The first record kept."""
        record, place = self.held.popleft()
        self.held_bytes -= len(record)
        return record, place

    def stop(self, failure: Failure) -> None:
        """Nothing more of this direction is read."""
        self.failure = failure
        self.move(Event.FAILED)
        self.held.clear()
        self.held_bytes = 0
        self.buffer.keep(b"")
        self.messages.clear()
        self.recovery = None

    @property
    def stopped(self) -> bool:
        """Whether nothing more of this direction is read."""
        return self.state is State.STOPPED

    @property
    def readable(self) -> bool:
        """Whether all of this direction was read so far and more may come."""
        return not self.stopped and self.hole is None


def can_be_read(side: Side, record: bytes, negotiation: Negotiation, *, by_client: bool, server_finishes: bool) -> bool:
    """Whether what the next record of a direction needs from the other one was seen: captures show the two out of step now and then.

    `server_finishes`: the server's Finished of TLS 1.3 will be readable.
    """
    if side.state is State.CLEAR:
        if negotiation.client_hello is None:
            return bool(side.messages) or record[HEADER_LENGTH : HEADER_LENGTH + 1] == CLIENT_HELLO
        return record[0] in CLEAR_TYPES or negotiation.server_hello is not None or negotiation.retry is not None
    if side.state is not State.LOCKED:
        return True
    if negotiation.is_tls13:
        accepted = side.epoch is Epoch.EARLY and negotiation.early_data_accepted
        return not (by_client and server_finishes) or accepted or negotiation.has_finished(by_client=False)
    return _can_be_unlocked(negotiation, by_client=by_client)


def _can_be_unlocked(negotiation: Negotiation, *, by_client: bool) -> bool:
    """Whether what the first protected record of a direction is verified with was seen (TLS 1.2 and before).

    That are its keys, and what Finished covers: all messages before, the other side's Finished included where that comes first. In a full
    handshake the client's comes first, in an abbreviated one the server's (RFC 5246 section 7.3).
    """
    if by_client:
        return negotiation.server_hello_done or negotiation.has_finished(by_client=False)
    return not negotiation.server_hello_done or negotiation.has_finished(by_client=True)
