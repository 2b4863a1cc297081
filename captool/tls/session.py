"""What the records of both directions mean: handshake, change of keys, application data, alerts (RFC 5246, RFC 8446)."""

import contextlib
from typing import Final

from captool.direction import Direction, Moment
from captool.errors import DecodeError
from captool.keys.material import KeyRing
from captool.tls.alerts import ALERT_LENGTH, alert_words
from captool.tls.handshake import HandshakeType
from captool.tls.hello import ClientHello
from captool.tls.lost_records import Stand, beside_content
from captool.tls.negotiation import FINISHED_MESSAGES, Negotiation
from captool.tls.plaintext_run import PlaintextRun, single_record
from captool.tls.proof import opener12
from captool.tls.protection import opener13
from captool.tls.reasons import Failure, altered_handshake, bad_record, locked, not_supported
from captool.tls.records import HEADER_LENGTH, ContentType
from captool.tls.recovery import Guess, Recovery, survives_loss
from captool.tls.sealed_handshake import SealedHandshake
from captool.tls.session_secrets import SessionSecrets
from captool.tls.side import Event, Place, Side, State, can_be_read
from captool.tls.summary import Alert
from captool.tls.traffic_secrets import Epoch, next_traffic_secret

MAX_SKIPPED_RECORDS: Final = 1024
MAX_ALERTS: Final = 32
MID_STREAM: Final = Failure(
    "handshake-not-captured", "The capture begins after the handshake of this connection, which holds what its keys are made from."
)


class Session:
    """Both directions of a TLS session, the handshake in progress and the secrets found for it.

    Renegotiation starts a new `Negotiation` under the old keys; `first` is the one that both began with.
    """

    def __init__(self, ring: KeyRing) -> None:
        self.sides = (Side(Direction.TO_SERVER), Side(Direction.TO_CLIENT))
        self.negotiation = Negotiation()
        self.first = self.negotiation
        self.alerts: list[Alert] = []
        self.secrets = SessionSecrets(ring)
        self._client = Direction.TO_SERVER
        self._patient = True
        self._server_finishes = False
        self.sealed: SealedHandshake | None = None
        self._earlier: Negotiation | None = None

    @property
    def shown(self) -> Negotiation:
        """The negotiation that describes the session: the latest one that the server answered."""
        return self.negotiation if self.negotiation.server_hello or self._earlier is None else self._earlier

    def _keyed(self, *, by_client: bool) -> Negotiation:
        """The negotiation that a direction's keys come from: while one is renegotiated, the one before."""
        return self.negotiation if self._earlier is None or self.negotiation.changed(by_client=by_client) else self._earlier

    @property
    def handshake_over(self) -> bool:
        """Whether both sides' Finished was read."""
        return self.negotiation.finished == FINISHED_MESSAGES

    def start_with_sslv2_hello(self, side: Side, hello: ClientHello, message: bytes) -> None:
        """Take a ClientHello in the form of SSL 2.0."""
        self._client = side.direction
        self.negotiation.add_sslv2_hello(hello, message)

    def take(self, side: Side, record: bytes, place: Place, released: list[PlaintextRun]) -> None:
        """Read a record, or keep it until what it needs from the other direction was seen; plaintext goes to `released`."""
        if not side.hold(record, place):
            self._patient = False
        self.settle(side, released)

    def stop_all(self, failure: Failure) -> None:
        """Nothing more can be read in either direction."""
        for side in self.sides:
            if not side.stopped:
                side.stop(failure)

    def _stop_protected(self, side: Side, failure: Failure) -> None:
        """Nothing opens the session: of the other direction only what is still in clear is read, such as the alert that refuses it."""
        other = self.sides[1 - side.direction]
        side.stop(failure)
        if other.state is not State.CLEAR and not other.stopped:
            other.stop(failure)

    def lose(self, side: Side, missing: int, offset: int) -> bool:
        """There is a hole of `missing` bytes. The next record behind it is looked for; False where none can be found.

        The first record that was not read began at this offset of the stream.
        """
        if self.sealed is not None:
            side.stop(self.sealed.failure)
            return True
        negotiation, by_client = self.negotiation, side.direction == self._client
        negotiation.whole = negotiation.whole and negotiation.finished == FINISHED_MESSAGES
        keyed = self._keyed(by_client=by_client)
        hello, suite = keyed.server_hello, keyed.suite
        if hello is None or suite is None or not survives_loss(hello.version, suite) or not_supported(self.shown) is not None:
            return False
        guesses = self.secrets.guesses(side, self.shown, by_client=by_client)
        if not guesses:
            return False
        stand = None
        if side.opener is not None and not side.held:
            tickets = side.tls13 and not by_client and not side.plaintext_bytes  # as a rule they are the first that a server says
            mixed = tickets or (self._earlier is not None and not self.handshake_over)
            stand = Stand(offset, side.sequence, side.opener, beside_content(hello.version, suite), mixed=mixed)
        side.seek(Recovery(hello.version, guesses, missing), stand)
        return True

    def recovered(self, side: Side, guess: Guess) -> None:
        """Reading went on behind a hole, with the keys of this guess."""
        if guess.master is not None:
            self.secrets.adopt(self.shown, guess.master)
            self.shown.change(by_client=side.direction == self._client)

    def finish(self) -> None:
        """The capture ended: of what is still held only messages in clear tell something; the rest will never be read."""
        self._patient = False
        for side in self.sides:
            while side.held and side.state is State.CLEAR:
                self._read_held(side, [])
            if (side.held or self.sealed) and not side.stopped:
                side.stop(self.sealed.failure if self.sealed else self._locked(tried=0))

    def settle(self, side: Side, released: list[PlaintextRun]) -> None:
        """Read the records that were held, as far as what they need from the other direction is known."""
        while side.held and self._ready(side, side.held[0][0]):
            self._read_held(side, released)
        # What was read may be what the other direction waits for.
        other = self.sides[1 - side.direction]
        if other.held and self._ready(other, other.held[0][0]):
            self.settle(other, released)

    def _read_held(self, side: Side, released: list[PlaintextRun]) -> None:
        record, place = side.release()
        try:
            self._record(side, record, place, released)
        except DecodeError as fault:
            side.stop(Failure("handshake-not-captured", f"The handshake in the capture cannot be read: {fault}.", place.packet))

    def _ready(self, side: Side, record: bytes) -> bool:
        """Whether a record can be read now, or must wait for the other direction."""
        other = self.sides[1 - side.direction]
        if side.state is State.LOCKED and self._earlier is not None and not self.negotiation.hellos_seen and not other.stopped:
            return not self._patient  # renegotiated: the other side's hello may come behind a hole
        if not (self._patient and other.readable):
            return True
        by_client = side.direction == self._client
        return can_be_read(side, record, self.negotiation, by_client=by_client, server_finishes=self._server_finishes)

    def _record(self, side: Side, record: bytes, place: Place, released: list[PlaintextRun]) -> None:
        content_type, content = record[0], record[HEADER_LENGTH:]
        if self.negotiation.is_tls13 and self._passes_by13(side, content_type, record, place):
            return
        if side.state is State.LOCKED and not self._unlock(side, record, place):
            return
        if side.opener is not None:
            opened = side.opener(side.sequence, record, 0, len(record))
            if opened is None and side.epoch is Epoch.EARLY and self._unlock13(side, record, (Epoch.HANDSHAKE,), place):
                opened = side.opener(side.sequence, record, 0, len(record))
            if opened is None:
                side.stop(bad_record(side.direction, side.sequence, place.packet))
                return
            side.sequence += 1
            content = opened
            if side.tls13:  # RFC 8446 section 5.2: content, its type, zeros
                stripped = content.rstrip(b"\0")
                padded = len(stripped) < len(content) and side.epoch is Epoch.APPLICATION
                content_type, content = (stripped[-1], stripped[:-1]) if stripped else (0, b"")
                side.mixed = side.mixed or padded
            side.mixed = side.mixed or (side.plaintext_bytes > 0 and content_type != ContentType.APPLICATION_DATA)
        if content_type == ContentType.APPLICATION_DATA:
            self._application_data(side, content, place, released)
        elif content_type == ContentType.HANDSHAKE:
            for message_type, message in side.messages.messages(content):
                self._message(side, message_type, message, place)
                if side.stopped:
                    return
        elif content_type == ContentType.CHANGE_CIPHER_SPEC and not self.negotiation.is_tls13:
            self._change_cipher_spec(side)
        elif content_type == ContentType.ALERT:
            self._alert(side, content, place)

    def _passes_by13(self, side: Side, content_type: int, record: bytes, place: Place) -> bool:
        """Whether a record of TLS 1.3 is dealt with: it is not protected, or nobody can open it.

        ChangeCipherSpec means nothing (RFC 8446 appendix D.4), alerts may be early.
        """
        if content_type == ContentType.CHANGE_CIPHER_SPEC:
            return True
        if content_type == ContentType.ALERT and len(record) == HEADER_LENGTH + ALERT_LENGTH:
            self._alert(side, record[HEADER_LENGTH:], place)
            return True
        if side.state is State.CLEAR and content_type == ContentType.APPLICATION_DATA:
            side.skipped += 1  # early data that a HelloRetryRequest refused (RFC 8446 section 4.1.2)
            return True
        if self.sealed is None:
            return False
        if self.sealed.take(side, len(record), place, by_client=side.direction == self._client):
            self.stop_all(self.sealed.failure)
        return True

    def _application_data(self, side: Side, content: bytes, place: Place, released: list[PlaintextRun]) -> None:
        if side.opener is None:
            self.stop_all(MID_STREAM)
        elif content:
            side.plaintext_bytes += len(content)
            released.append(single_record(side.direction, content, *place, side.after_loss))
            side.after_loss = False

    def _alert(self, side: Side, content: bytes, place: Place) -> None:
        words = alert_words(content)
        if words is not None and len(self.alerts) < MAX_ALERTS:
            self.alerts.append(Alert(side.direction, *words, place.packet, place.ts_ns))

    def _change_cipher_spec(self, side: Side) -> None:
        self.negotiation.change(by_client=side.direction == self._client)
        side.move(Event.CHANGE_CIPHER_SPEC)

    def _message(self, side: Side, message_type: int, message: bytes, place: Place) -> None:
        negotiation = self.negotiation
        if message_type == HandshakeType.CLIENT_HELLO and negotiation.client_hello is None:
            self._client = side.direction
        elif side.state is State.OPEN and not negotiation.is_tls13 and self._renegotiates(message_type):
            self._earlier = negotiation
            self.negotiation = negotiation = Negotiation()
            self.secrets.master = None
        by_client = side.direction == self._client
        if negotiation.is_tls13 and side.epoch is Epoch.APPLICATION:
            if message_type == HandshakeType.KEY_UPDATE:
                self._change_key13(side)
            else:
                with contextlib.suppress(DecodeError):  # what is said does not depend on it any more
                    negotiation.present(message_type, message, Moment(place.packet, place.ts_ns), by_client=by_client)
            return
        if message_type == HandshakeType.FINISHED and not self._finished(side, message, place, by_client=by_client):
            return
        negotiation.add(message_type, message, Moment(place.packet, place.ts_ns), by_client=by_client)
        if message_type == HandshakeType.SERVER_HELLO and not by_client and negotiation.is_tls13 and negotiation.server_hello:
            self._protect13()
        elif message_type == HandshakeType.END_OF_EARLY_DATA and side.epoch is Epoch.EARLY:
            side.move(Event.EARLY_DATA_ENDED)
            side.epoch = Epoch.HANDSHAKE
        elif message_type == HandshakeType.FINISHED:
            self._after_finished(side, by_client=by_client)

    def _renegotiates(self, message_type: int) -> bool:
        """Whether a message begins a new handshake under the old keys (RFC 5246 section 7.4.1.2).

        The ServerHello may be read first: the ClientHello lies behind a hole that is not known to be one yet, or in it.
        """
        return message_type == HandshakeType.CLIENT_HELLO or (message_type == HandshakeType.SERVER_HELLO and self.handshake_over)

    def _finished(self, side: Side, message: bytes, place: Place, *, by_client: bool) -> bool:
        """Check a Finished message; False where it is wrong and the direction must stop."""
        verified = self.secrets.finished(self.negotiation, side, message, by_client=by_client)
        if verified is False and not self.negotiation.is_tls13:
            self.stop_all(altered_handshake(self._locked(tried=1), place.packet))
            return False
        return True

    def _after_finished(self, side: Side, *, by_client: bool) -> None:
        negotiation = self.negotiation
        negotiation.finished += 1
        if negotiation.is_tls13:
            side.epoch = Epoch.APPLICATION
            found = self.secrets.trials(negotiation, (Epoch.APPLICATION,), by_client=by_client)
            if not found:
                label = f"{'CLIENT' if by_client else 'SERVER'}_{Epoch.APPLICATION.value}"
                side.stop(Failure("no-matching-session-key", f"The key log has the session's handshake secrets, but no {label}."))
                return
            side.secret = found[0].secret.secret
            side.move(Event.KEYS_CHANGED, found[0].opener)
        else:
            self.secrets.remember(negotiation)
        if negotiation.finished == FINISHED_MESSAGES:
            negotiation.drop_transcript()

    def _locked(self, *, tried: int) -> Failure:
        return locked(self.negotiation, self.secrets.ring, tried=tried)

    def _unlock(self, side: Side, record: bytes, place: Place) -> bool:
        """Find the key for the first protected record of a direction; False where there is none (yet)."""
        if side.tls13:
            # Early data that the server refused no program has got (RFC 8446 section 4.2.10): it is passed by.
            early = side.epoch is Epoch.EARLY and self.negotiation.early_data_accepted is not False
            epochs = (Epoch.EARLY, Epoch.HANDSHAKE) if early else (Epoch.HANDSHAKE,)
            return self._unlock13(side, record, epochs, place)
        negotiation, by_client = self.negotiation, side.direction == self._client
        failure = not_supported(negotiation)
        if failure is not None:
            self._stop_protected(side, failure)
            return False
        search = self.secrets.search(negotiation, record, by_client=by_client)
        if search.master is None:
            failure = self._locked(tried=search.tried)
            if search.altered:
                self.stop_all(altered_handshake(failure, place.packet))
            elif search.tried:
                side.stop(failure._replace(packet=place.packet))
            else:
                self._stop_protected(side, failure)
            return False
        side.move(Event.OPENED, opener12(negotiation, search.master, by_client=by_client))
        return True

    def _unlock13(self, side: Side, record: bytes, epochs: tuple[Epoch, ...], place: Place) -> bool:
        search = self.secrets.search13(self.negotiation, record, epochs, by_client=side.direction == self._client)
        if search.trial is not None:
            side.epoch, side.secret = search.trial.epoch, search.trial.secret.secret
            side.move(Event.OPENED, search.trial.opener)
            return True
        side.skipped += 1
        early = side.epoch is Epoch.EARLY
        if not search.tried or not (early or not search.handshake_known) or side.skipped > MAX_SKIPPED_RECORDS:
            side.stop(self._locked(tried=search.tried)._replace(packet=place.packet))
        return False

    def _protect13(self) -> None:
        """After ServerHello all is protected; without any secret of this session lengths are all that can be learnt."""
        negotiation, client_hello = self.negotiation, self.negotiation.client_hello
        failure = not_supported(negotiation)
        if failure is None and (client_hello is None or client_hello.random not in self.secrets.ring.session_secrets):
            failure = self._locked(tried=0)
            if not negotiation.offers_early_data:
                self.sealed = SealedHandshake(failure, negotiation.suite)
                failure = None
        if failure is not None:
            self.stop_all(failure)
            return
        self._server_finishes = not self.sealed and bool(self.secrets.trials(negotiation, (Epoch.HANDSHAKE,), by_client=False))
        for side in self.sides:
            side.tls13 = True
            side.epoch = Epoch.EARLY if negotiation.offers_early_data and side.direction == self._client else Epoch.HANDSHAKE
            side.move(Event.SERVER_HELLO_13)

    def _change_key13(self, side: Side) -> None:
        """KeyUpdate (RFC 8446 section 4.6.3): what follows in this direction is under the next secret."""
        hello, suite = self.negotiation.server_hello, self.negotiation.suite
        if hello is not None and suite is not None:
            side.secret = next_traffic_secret(suite, side.secret)
            side.move(Event.KEYS_CHANGED, opener13(hello.version, suite, side.secret))
