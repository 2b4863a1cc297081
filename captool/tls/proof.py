"""The secrets of one session put to the proof: a guess is accepted when the first protected record verifies with it."""

import hmac
from itertools import islice
from typing import Final, NamedTuple

from captool.keys.material import KeyRing, SessionSecret
from captool.tls.handshake import MESSAGE_HEADER_LENGTH, HandshakeType
from captool.tls.key_schedule import verify_data, write_keys
from captool.tls.master_secrets import MasterSecret, candidates
from captool.tls.negotiation import Negotiation
from captool.tls.protection import Opener, opener, opener13
from captool.tls.records import ContentType
from captool.tls.recovery import Guess, survives_loss
from captool.tls.side import Side, State
from captool.tls.traffic_secrets import Epoch, finished_verify_data, next_traffic_secret

MAX_KEY_UPDATES: Final = 4  # in one hole
MAX_MASTERS: Final = 8  # tried behind one hole
EARLY_LABEL: Final = Epoch.EARLY.value


class Trial(NamedTuple):
    """A guess at the protection of a TLS 1.3 direction."""

    epoch: Epoch
    secret: SessionSecret
    opener: Opener


class Search(NamedTuple):
    """What came of trying secrets: the one that fits, how many were tried, and whether one fits a handshake other than the captured."""

    master: MasterSecret | None
    tried: int
    altered: bool


def find_master_secret(negotiation: Negotiation, ring: KeyRing, record: bytes, *, by_client: bool) -> Search:
    """The master secret that fits the first protected record of a side."""
    tried, altered = 0, False
    for candidate in candidates(negotiation, ring):
        tried += 1
        fits = _fits(negotiation, candidate, record, by_client=by_client)
        if fits:
            return Search(candidate, tried, altered=False)
        altered = altered or fits is None
    return Search(None, tried, altered)


def opener12(negotiation: Negotiation, master: MasterSecret, *, by_client: bool) -> Opener:
    """The opener of a side under a master secret (TLS 1.2 and before)."""
    client_hello, server_hello, suite = negotiation.client_hello, negotiation.server_hello, negotiation.suite
    if client_hello is None or server_hello is None or suite is None:
        raise ValueError("no session without both hellos")
    client, server = write_keys(server_hello.version, suite, master.secret, client_hello.random, server_hello.random)
    keys = client if by_client else server
    return opener(server_hello.version, suite, keys, encrypt_then_mac=negotiation.encrypt_then_mac)


def finished_verifies(negotiation: Negotiation, master: MasterSecret, message: bytes, *, by_client: bool) -> bool | None:
    """Whether a Finished message of TLS 1.2 or before is right; None where the handshake was not captured whole."""
    server_hello, suite = negotiation.server_hello, negotiation.suite
    handshake = negotiation.finished_transcript(by_client=by_client)
    if handshake is None or server_hello is None or suite is None:
        return None
    expected = verify_data(server_hello.version, suite, master.secret, handshake, by_client=by_client)
    return hmac.compare_digest(expected, message[MESSAGE_HEADER_LENGTH:])


def finished_verifies13(negotiation: Negotiation, secret: bytes, message: bytes, *, by_client: bool) -> bool | None:
    """Whether a Finished message of TLS 1.3 is right under the handshake traffic secret; None where messages are missing."""
    suite = negotiation.suite
    handshake = negotiation.finished_transcript(by_client=by_client)
    if handshake is None or suite is None:
        return None
    return hmac.compare_digest(finished_verify_data(suite, secret, handshake), message[MESSAGE_HEADER_LENGTH:])


def trials(negotiation: Negotiation, ring: KeyRing, epochs: tuple[Epoch, ...], *, by_client: bool) -> list[Trial]:
    """The secrets that the key log has for these epochs of a TLS 1.3 side."""
    client_hello, server_hello, suite = negotiation.client_hello, negotiation.server_hello, negotiation.suite
    if client_hello is None or server_hello is None or suite is None:
        return []
    logged = ring.session_secrets.get(client_hello.random, {})
    found = []
    for epoch in epochs:
        label = EARLY_LABEL if epoch is Epoch.EARLY else f"{'CLIENT' if by_client else 'SERVER'}_{epoch.value}"
        secret = logged.get(label)
        if secret is not None:
            found.append(Trial(epoch, secret, opener13(server_hello.version, suite, secret.secret)))
    return found


def keys_behind_hole(side: Side, negotiation: Negotiation, ring: KeyRing, master: MasterSecret | None, *, by_client: bool) -> list[Guess]:
    """The keys that the next record behind a hole may be under: the present one, and those that may have followed in the hole."""
    hello, suite = negotiation.server_hello, negotiation.suite
    if hello is None or suite is None or side.state not in {State.CLEAR, State.OPEN, State.LOCKED}:
        return []
    guesses = [Guess(side.opener, side.sequence, side.epoch, side.secret)] if side.opener else []
    if side.tls13 and side.epoch is Epoch.APPLICATION:
        secret = side.secret
        for _ in range(MAX_KEY_UPDATES):
            secret = next_traffic_secret(suite, secret)
            guesses.append(Guess(opener13(hello.version, suite, secret), 0, Epoch.APPLICATION, secret))
    elif side.tls13:
        epochs = (Epoch.HANDSHAKE, Epoch.APPLICATION) if not side.opener or side.epoch is Epoch.EARLY else (Epoch.APPLICATION,)
        found = trials(negotiation, ring, epochs, by_client=by_client)
        guesses += [Guess(trial.opener, 0, trial.epoch, trial.secret.secret) for trial in found]
    elif not hello.is_tls13 and survives_loss(hello.version, suite) and not (side.opener and negotiation.changed(by_client=by_client)):
        masters = islice(candidates(negotiation, ring), MAX_MASTERS) if master is None else (master,)
        guesses += [Guess(opener12(negotiation, one, by_client=by_client), 0, master=one) for one in masters]
    return guesses


def _fits(negotiation: Negotiation, master: MasterSecret, record: bytes, *, by_client: bool) -> bool | None:
    """Whether the record authenticates; None where it does, and its Finished does not verify over the messages captured."""
    content = opener12(negotiation, master, by_client=by_client)(0, record, 0, len(record))
    if content is None:
        return False
    if record[0] != ContentType.HANDSHAKE or content[:1] != bytes([HandshakeType.FINISHED]):
        return True
    return None if finished_verifies(negotiation, master, content, by_client=by_client) is False else True
