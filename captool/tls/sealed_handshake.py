"""A TLS 1.3 handshake that nobody can decrypt, seen from outside: of its first records behind the hellos only the lengths are known.

They tell whether one side broke it off. The client's first record, a Certificate or its Finished, is never as short as an alert. What a
server says first after that is a ticket or an answer, unless it refuses what the client said, or the client was about to close the
session (RFC 8446 sections 2 and 6).
"""

from typing import TYPE_CHECKING, Final

from captool.tls.alerts import ALERT_LENGTH
from captool.tls.protection import TAG_LENGTHS
from captool.tls.records import HEADER_LENGTH
from captool.tls.summary import SealedAlert

if TYPE_CHECKING:
    from captool.tls.cipher_suites import CipherSuite
    from captool.tls.reasons import Failure
    from captool.tls.side import Place, Side

CONTENT_TYPE_LENGTH: Final = 1
MAX_RECORDS: Final = 64  # where one side is not heard, or says much


class SealedHandshake:
    """Looks at the records of a session that stays encrypted for the reason `failure`, until it is known whether it was refused."""

    def __init__(self, failure: "Failure", suite: "CipherSuite | None") -> None:
        self.failure = failure
        self.alert: SealedAlert | None = None
        tag = TAG_LENGTHS.get(suite.bulk.mode, 0) if suite is not None and suite.bulk is not None else 0
        self._alert_length = HEADER_LENGTH + ALERT_LENGTH + CONTENT_TYPE_LENGTH + tag
        self._client_spoke = self._client_closes = False
        self._records = 0

    def take(self, side: "Side", length: int, place: "Place", *, by_client: bool) -> bool:
        """Look at a protected record of so many bytes; True where nothing more is of interest."""
        self._records += 1
        like_alert = length == self._alert_length
        first = by_client and not self._client_spoke
        answer = not by_client and self._client_spoke
        if like_alert and (first or (answer and not self._client_closes)):
            self.alert = SealedAlert(side.direction, place.packet, place.ts_ns, place.stream_end)
        self._client_spoke = self._client_spoke or by_client
        self._client_closes = self._client_closes or (by_client and like_alert)
        return self.alert is not None or answer or self._records > MAX_RECORDS
