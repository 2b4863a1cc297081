"""The secrets of one session: those of the key ring that open it, and what was proven with them."""

from collections.abc import Iterator
from typing import Final, NamedTuple

from captool.errors import DecodeError
from captool.keys.material import KeyRing
from captool.tls.master_secrets import MasterSecret, remember
from captool.tls.negotiation import Negotiation
from captool.tls.proof import Search, Trial, find_master_secret, finished_verifies, finished_verifies13, keys_behind_hole, trials
from captool.tls.recovery import Guess
from captool.tls.side import Side
from captool.tls.traffic_secrets import Epoch

MAX_HANDSHAKES_KEPT: Final = 32  # of one connection that renegotiates


class Search13(NamedTuple):
    """What came of trying traffic secrets: the one that fits, how many there were, and whether the handshake's was among them."""

    trial: Trial | None
    tried: int
    handshake_known: bool


class SessionSecrets:
    """What of `ring` opens a session. `master` is that of the present handshake of TLS 1.2 or before, None while it is not found.

    `origin` names the secret that first opened a record; `finished_seen` and `finished_right` count Finished messages and those that
    verified.
    """

    def __init__(self, ring: KeyRing) -> None:
        self.ring = ring
        self.master: MasterSecret | None = None
        self.origin: str | None = None
        self.finished_seen = 0
        self.finished_right = 0
        self._masters: dict[bytes, bytes] = {}  # of all handshakes that were opened, by client random

    def search(self, negotiation: Negotiation, record: bytes, *, by_client: bool) -> Search:
        """The master secret that fits the first protected record of a side; the one that was found for the other side is it."""
        if self.master is not None:
            return Search(self.master, 0, altered=False)
        search = find_master_secret(negotiation, self.ring, record, by_client=by_client)
        if search.master is not None:
            self.adopt(negotiation, search.master)
        return search

    def adopt(self, negotiation: Negotiation, master: MasterSecret) -> None:
        """A record was opened with this master secret."""
        self.master = master
        self.origin = self.origin or master.origin
        if negotiation.client_hello is not None and len(self._masters) < MAX_HANDSHAKES_KEPT:
            self._masters[negotiation.client_hello.random] = master.secret

    def search13(self, negotiation: Negotiation, record: bytes, epochs: tuple[Epoch, ...], *, by_client: bool) -> Search13:
        """The traffic secret that fits the first record of one of these epochs of TLS 1.3.

        Without the handshake's the records of the handshake are passed by, until the first one under the application keys.
        """
        found = self.trials(negotiation, epochs, by_client=by_client)
        handshake_known = any(trial.epoch is Epoch.HANDSHAKE for trial in found)
        if not handshake_known:
            found += self.trials(negotiation, (Epoch.APPLICATION,), by_client=by_client)
        fitting = next((trial for trial in found if trial.opener(0, record, 0, len(record)) is not None), None)
        if fitting is not None:
            self.origin = self.origin or fitting.secret.origin
        return Search13(fitting, len(found), handshake_known)

    def trials(self, negotiation: Negotiation, epochs: tuple[Epoch, ...], *, by_client: bool) -> list[Trial]:
        """The secrets that a key log has for these epochs of a TLS 1.3 side."""
        return trials(negotiation, self.ring, epochs, by_client=by_client)

    def guesses(self, side: Side, negotiation: Negotiation, *, by_client: bool) -> list[Guess]:
        """The keys that the next record behind a hole may be under."""
        return keys_behind_hole(side, negotiation, self.ring, self.master, by_client=by_client)

    def finished(self, negotiation: Negotiation, side: Side, message: bytes, *, by_client: bool) -> bool | None:
        """Whether a Finished message verifies, None where its handshake was not captured whole. Raises DecodeError where none can be."""
        verified: bool | None
        if negotiation.is_tls13:
            verified = finished_verifies13(negotiation, side.secret, message, by_client=by_client)
        elif self.master is None:
            raise DecodeError("Finished before ChangeCipherSpec")
        else:
            verified = finished_verifies(negotiation, self.master, message, by_client=by_client)
        self.finished_seen += 1
        self.finished_right += verified is True
        return verified

    def remember(self, negotiation: Negotiation) -> None:
        """A handshake is over: keep its master secret, if that was found, for the sessions that resume it."""
        if self.master is not None:
            remember(negotiation, self.ring, self.master)

    def key_log(self, negotiation: Negotiation) -> Iterator[tuple[str, bytes, bytes]]:
        """What is known of this session as (label, client random, secret) of a key log (RFC 9850).

        Master secrets are those that opened it, wherever they came from; of TLS 1.3 it is what the ring has.
        """
        for random, secret in self._masters.items():
            yield "CLIENT_RANDOM", random, secret
        hello = negotiation.client_hello
        if hello is not None and hello.random not in self._masters:
            for line in self.ring.session_secrets.get(hello.random, {}).values():
                yield line.label, hello.random, line.secret
