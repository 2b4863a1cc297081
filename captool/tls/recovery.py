"""Decryption taken up again behind a hole in the stream.

Behind a hole neither the next record's place nor its sequence number is known. Its header is looked for in the bytes, its number
counted up from the last one known, within what the hole can have held; what authenticates is the next record, and nothing else is.
That works for protection that needs nothing of the record before: AEAD, and block ciphers with an explicit IV.
"""

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from captool.tls.cipher_suites import AEAD_MODES, CipherSuite
from captool.tls.hello import TLS_1_1, TLS_1_2, is_tls13
from captool.tls.protection import Opener
from captool.tls.records import HEADER_LENGTH, record_length
from captool.tls.traffic_secrets import Epoch

if TYPE_CHECKING:
    from captool.tls.master_secrets import MasterSecret

MIN_RECORD_LENGTH: Final = HEADER_LENGTH + 9  # a tag of 8 bytes and one byte of content
MAX_SEQUENCE_NUMBERS: Final = 1 << 14
MAX_TRIES: Final = 1 << 17
LONGEST_FRAGMENT: Final = rb"[\x00-\x48]."


class Guess(NamedTuple):
    """A key that the records behind a hole may be under, and the lowest sequence number that they may have.

    `master` is what it was made from, where that is not proven yet.
    """

    opener: Opener
    sequence: int
    epoch: Epoch = Epoch.APPLICATION
    secret: bytes = b""
    master: "MasterSecret | None" = None

    def __repr__(self) -> str:
        return f"Guess(sequence={self.sequence}, epoch={self.epoch})"


class Recovered(NamedTuple):
    """The bytes from the first record on that authenticated, with its key and number."""

    data: bytes
    guess: Guess
    sequence: int


class Recovery:
    """The search for the first record behind a hole of `missing` bytes; it keeps less than one record and tries so often only."""

    def __init__(self, version: int, guesses: list[Guess], missing: int) -> None:
        wire_version = (TLS_1_2 if is_tls13(version) else version).to_bytes(2)
        content_types = rb"\x17" if is_tls13(version) else rb"[\x14-\x18]"
        self._header = re.compile(content_types + re.escape(wire_version) + LONGEST_FRAGMENT, re.DOTALL)
        self._guesses = guesses
        self._missing = missing
        self._tries = 0
        self._kept = b""

    @property
    def exhausted(self) -> bool:
        """Whether so many tries failed that none will do."""
        return self._tries > MAX_TRIES

    def lose_more(self, missing: int) -> None:
        """Another hole before anything was found."""
        self._missing += missing
        self._kept = b""

    def find(self, data: bytes) -> Recovered | None:
        """Look on in the bytes that follow; None while nothing authenticates."""
        data = self._kept + data
        position = 0
        while match := self._header.search(data, position):
            position = match.start()
            end = position + record_length(data, position)
            if end > len(data):
                self._kept = data[position:]
                return None
            found = self._open(data, position, end)
            if found is not None:
                return found
            position += 1
        self._kept = data[max(position, len(data) - HEADER_LENGTH + 1) :]
        return None

    def _open(self, data: bytes, start: int, end: int) -> Recovered | None:
        most = min(self._missing // MIN_RECORD_LENGTH + 2, MAX_SEQUENCE_NUMBERS)
        for guess in self._guesses:
            for sequence in range(guess.sequence, guess.sequence + most):
                self._tries += 1
                if self.exhausted:
                    return None
                if guess.opener(sequence, data, start, end) is not None:
                    return Recovered(data[start:], guess, sequence)
        return None


def survives_loss(version: int, suite: CipherSuite) -> bool:
    """Whether records can be decrypted without the ones before them."""
    bulk = suite.bulk
    return bulk is not None and (bulk.mode in AEAD_MODES or bulk.mode == "null" or (bulk.mode == "cbc" and version >= TLS_1_1))
