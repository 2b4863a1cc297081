"""A TLS conversation read from both sides of a capture: runs of bytes in, authenticated plaintext and a summary out."""

from bisect import bisect_right
from typing import TYPE_CHECKING, Final, NamedTuple

from captool.errors import DecodeError
from captool.keys.material import KeyRing
from captool.tls.hello import parse_sslv2_client_hello
from captool.tls.outcome import summarize
from captool.tls.plaintext_run import PlaintextRun, mark_of
from captool.tls.reasons import Failure
from captool.tls.record_reader import RecordReader
from captool.tls.records import (
    HEADER_LENGTH,
    MAX_RECORD_LENGTH,
    VERSION_MAJOR,
    ContentType,
    StreamRun,
    is_record_header,
    record_length,
    sslv2_hello_length,
)
from captool.tls.session import MID_STREAM, Session
from captool.tls.side import Place, Side, State
from captool.tls.summary import Plaintext, TlsSummary
from captool.tls.traffic_secrets import Epoch

if TYPE_CHECKING:
    from captool.tls.sealed_runs import SealedRuns

# Plain numbers for the loop that runs for every record.
FIRST_TYPE: Final = int(ContentType.CHANGE_CIPHER_SPEC)
LAST_TYPE: Final = int(ContentType.HEARTBEAT)


class _Behind(NamedTuple):
    """A run whose records are still being opened: where reading stands, and the plaintext that it has brought already."""

    side: Side
    reader: RecordReader
    piece: StreamRun
    released: list[PlaintextRun]


class TlsConversation:
    """One TLS connection. Feed it both directions' runs of bytes in the order in which the capture shows them.

    Plaintext comes out only where tag or MAC verified, and in TLS 1.2 and before only where Finished did as well, if it was seen.
    A direction that cannot be read any more stops, with a reason; the other goes on.
    """

    def __init__(self, ring: KeyRing, *, resume_after_loss: bool = False, sealed: "SealedRuns | None" = None) -> None:
        """`resume_after_loss`: go on behind bytes that the capture lacks, where the protocol allows; see `Plaintext.after_loss`.

        Runs that another thread can open are added to `sealed`; their plaintext comes from `catch_up`, to be asked while this is `behind`.
        """
        self._session = Session(ring)
        self._resume_after_loss = resume_after_loss
        self._sealed = sealed
        self._behind: _Behind | None = None

    @property
    def wants_more(self) -> bool:
        """False once no further byte can change the result."""
        one, other = self._session.sides
        return not (one.stopped and other.stopped)

    @property
    def locked(self) -> TlsSummary | None:
        """The summary by now of a session both of whose directions have stopped before anything was read; None while it goes on."""
        return None if self.wants_more or self.opened else summarize(self._session)

    @property
    def opened(self) -> bool:
        """Whether a secret was found, and all is known that a session which resumes this one needs."""
        session = self._session
        return session.secrets.origin is not None and (session.handshake_over or any(side.plaintext_bytes for side in session.sides))

    def ends_unread(self, direction: int) -> bool:
        """Whether bytes of this direction are missing, or could not be read, behind the last plaintext of it."""
        return self.gave_up(direction) or self._session.sides[direction].after_loss

    def gave_up(self, direction: int) -> bool:
        """Whether nothing is known of what this direction said from some place on, not even how much it was."""
        side = self._session.sides[direction]
        return side.failure is not None or side.recovery is not None

    def take_lost(self, direction: int) -> tuple[int, int] | None:
        """How many bytes of application data the capture lacks of this direction since the last plaintext, at least and at most.

        To be asked once for each run that comes `after_loss`, or at the end; None where nobody knows.
        """
        lost = self._session.sides[direction].take_lost()
        return lost.application_bytes if lost is not None else None

    def feed(self, piece: StreamRun) -> list[Plaintext]:
        """Read a run of bytes; gives each record of application data that became readable, in the order of the conversation."""
        return [plain for run in self.read(piece) for plain in run.records()]

    @property
    def behind(self) -> bool:
        """Whether records of the run that was read last are still being opened."""
        return self._behind is not None

    def catch_up(self) -> list[PlaintextRun]:
        """What the run that was read last brought, where one was `behind`; to be asked before anything else of the conversation is."""
        if self._behind is None:
            return []
        (side, reader, piece, released), self._behind = self._behind, None
        reader.sequence = side.sequence
        reader.opened = 0
        reader.take_beside(released)
        side.sequence = reader.sequence
        side.plaintext_bytes += reader.opened
        try:
            self._read(side, reader, piece, released)
        except DecodeError as fault:
            self._stop_at_handshake(side, piece, fault)
        return released

    def read(self, piece: StreamRun) -> list[PlaintextRun]:
        """Read a run of bytes; gives the application data that became readable, many records at once."""
        before = self.catch_up()
        released: list[PlaintextRun] = []
        side = self._session.sides[piece.direction]
        if side.stopped:
            return before
        if piece.missing_before:
            self._lose(side, piece, released)
            if side.stopped:
                return before + released
        try:
            if side.recovery is None and side.begun:
                reader = _reader(side, piece, side.buffer.kept + len(piece.data), self._sealed)
                position = self._complete(side, reader, piece, released)
                if position < len(piece.data) and not side.stopped:
                    reader.turn_to(piece.data, position, piece.offset)
                    if self._reads_beside(side, reader, released):
                        self._behind = _Behind(side, reader, piece, released)
                        return before
                    self._read(side, reader, piece, released)
            else:
                data = side.buffer.join(piece.data) if side.recovery is None else self._recover(side, piece)
                if data is not None and not side.begun:
                    data = self._begin(side, data, piece)
                if data:
                    reader = _reader(side, piece, len(data), None)
                    reader.turn_to(data, 0, piece.offset + len(piece.data) - len(data))
                    self._read(side, reader, piece, released)
        except DecodeError as fault:
            self._stop_at_handshake(side, piece, fault)
        return before + released

    def summary(self) -> TlsSummary:
        """What is known of the session so far; records that still wait for the other direction are given up."""
        self._session.finish()
        return summarize(self._session)

    def key_log(self) -> list[tuple[str, bytes, bytes]]:
        """The known secrets of the session, as (label, client random, secret) of a key log."""
        return list(self._session.secrets.key_log(self._session.negotiation))

    def _reads_beside(self, side: Side, reader: RecordReader, released: list[PlaintextRun]) -> bool:
        """Begin to read records beside everything else where they can only be application data of an open session.

        Whatever they turn out to be then, the other direction goes on, so that it need not be known at once.
        """
        other = self._session.sides[1 - side.direction]
        if self._sealed is None or side.opener is None or side.after_loss or other.state is not State.OPEN:
            return False
        if side.tls13 and side.epoch is not Epoch.APPLICATION:
            return False
        reader.sequence = side.sequence
        return bool(reader.read_beside(side.opener, side.tls13, released))

    def _complete(self, side: Side, reader: RecordReader, piece: StreamRun, released: list[PlaintextRun]) -> int:
        """Read the record that was cut by the end of the run before; gives the place in this run behind it."""
        position = 0
        while not side.stopped and (missing := side.buffer.missing) and position < len(piece.data):
            part = piece.data[position : position + missing]
            position += len(part)
            data = side.buffer.join(part)
            if data is not None:  # a record, or a header by which its length is known now
                reader.turn_to(data, 0, piece.offset + position - len(data))
                self._read(side, reader, piece, released)
        return position

    def _read(self, side: Side, reader: RecordReader, piece: StreamRun, released: list[PlaintextRun]) -> None:
        """Cut the bytes that the reader turned to into records; the rest of the last one is kept."""
        data, base = reader.data, reader.base
        size, length = len(data), HEADER_LENGTH
        while True:
            if side.opener is not None and not side.after_loss:
                reader.sequence = side.sequence
                reader.opened = 0
                reader.read(side.opener, side.tls13, released)
                side.sequence = reader.sequence
                side.plaintext_bytes += reader.opened
            position = reader.position
            if size - position < HEADER_LENGTH:
                length = HEADER_LENGTH
                break
            length = record_length(data, position)
            if not FIRST_TYPE <= data[position] <= LAST_TYPE or data[position + 1] != VERSION_MAJOR or length > MAX_RECORD_LENGTH:
                self._stop_at_garbage(side, piece, base + position)
                return
            end = position + length
            if end > size:
                break
            # Anything but application data, or a record that does not open as such.
            at = mark_of(piece.mark_offsets, base + end)
            place = Place(base + end, piece.mark_packets[at], piece.mark_times_ns[at])
            self._session.take(side, data[position:end], place, released)
            if side.stopped:
                return
            reader.position = end
        side.buffer.keep(data[position:], length)

    def _begin(self, side: Side, data: bytes, piece: StreamRun) -> bytes | None:
        """Look at the first bytes of a direction; gives them without a ClientHello in the form of SSL 2.0, None while that is cut."""
        if len(data) < HEADER_LENGTH:
            side.buffer.keep(data)
            return None
        hello_length = sslv2_hello_length(data) or 0
        if len(data) < hello_length:
            side.buffer.keep(data, hello_length)
            return None
        side.begun = True
        if hello_length:
            message = data[2:hello_length]
            self._session.start_with_sslv2_hello(side, parse_sslv2_client_hello(message), message)
        elif not is_record_header(data):
            if piece.from_start:
                side.stop(Failure("not-tls", "The bytes at the beginning of the connection are no TLS records.", first_packet(piece)))
            else:
                self._session.stop_all(MID_STREAM)
            return None
        elif data[0] in {ContentType.APPLICATION_DATA, ContentType.CHANGE_CIPHER_SPEC} and self._session.negotiation.client_hello is None:
            self._session.stop_all(MID_STREAM)
            return None
        return data[hello_length:]

    def _lose(self, side: Side, piece: StreamRun, released: list[PlaintextRun]) -> None:
        """Bytes are missing: read on behind them where that is possible and wanted."""
        side.hole = side.hole or _hole(piece, clear=side.state is State.CLEAR)
        unread = piece.offset - piece.missing_before - side.buffer.kept
        if side.recovery is not None:
            side.recovery.lose_more(piece.missing_before)
        elif not (self._session.lose(side, piece.missing_before, unread) and self._resume_after_loss) and not side.stopped:
            side.stop(side.hole)
        # The other direction no longer waits for this one.
        self._session.settle(self._session.sides[1 - piece.direction], released)

    def _recover(self, side: Side, piece: StreamRun) -> bytes | None:
        """The bytes of this run from the first record on that authenticates behind a hole; None while there is none."""
        if side.recovery is None or side.hole is None:
            return None
        recovered = side.recovery.find(piece.data)
        if recovered is not None:
            side.resume(recovered, piece.offset + len(piece.data) - len(recovered.data))
            self._session.recovered(side, recovered.guess)
            return recovered.data
        if side.recovery.exhausted:
            side.stop(side.hole)
        return None

    @staticmethod
    def _stop_at_handshake(side: Side, piece: StreamRun, fault: DecodeError) -> None:
        side.stop(Failure("handshake-not-captured", f"The handshake in the capture cannot be read: {fault}.", first_packet(piece)))

    def _stop_at_garbage(self, side: Side, piece: StreamRun, offset: int) -> None:
        where = f"offset {offset} of the direction {side.direction.name.lower()} (packet {first_packet(piece)})"
        detail = f"The bytes at {where} are no TLS record."
        side.stop(Failure("bad-record-mac" if side.opener else "handshake-not-captured", detail, first_packet(piece)))


def _reader(side: Side, piece: StreamRun, room: int, sealed: "SealedRuns | None") -> RecordReader:
    return RecordReader(side.direction, piece.mark_offsets, piece.mark_packets, piece.mark_times_ns, room, sealed)


def first_packet(piece: StreamRun) -> int:
    """The packet that brought the first byte of a run."""
    return piece.mark_packets[max(bisect_right(piece.mark_offsets, piece.offset) - 1, 0)]


def _hole(piece: StreamRun, *, clear: bool) -> Failure:
    packet = first_packet(piece)
    what = ", a part of the handshake among them" * clear  # from which the keys are made
    if piece.snapped:
        detail = f"{piece.missing_before} bytes before packet {packet} were cut off by the snap length of the capture{what}."
        return Failure("snapped", detail, packet)
    return Failure("stream-gap", f"{piece.missing_before} bytes before packet {packet} are missing from the capture{what}.", packet)
