"""How much was said in a hole of a stream: sequence numbers tell how many records it held, and what each takes beside its content.

Records are numbered and the number is authenticated, so the count is certain where the keys are the same before and behind the hole. AEAD
ciphers take as many bytes of each (RFC 5246 section 6.2.3.3, RFC 8446 section 5.2); of block ciphers the padding varies.
"""

from typing import Final, NamedTuple

from captool.tls.cipher_suites import AEAD_MODES, CipherSuite
from captool.tls.hello import TLS_1_1, is_tls13
from captool.tls.protection import TAG_LENGTHS, Opener
from captool.tls.records import HEADER_LENGTH
from captool.tls.recovery import Recovered

MAC_LENGTHS: Final = {"md5": 16, "sha1": 20, "sha256": 32, "sha384": 48}
EXPLICIT_NONCE_LENGTH: Final = 8
CONTENT_TYPE_LENGTH: Final = 1
LEAST_PADDING, MOST_PADDING = 1, 256  # of block ciphers, the byte that tells its length included
MOST_CONTENT: Final = 1 << 14


class LostRecords(NamedTuple):
    """Records of one direction that the capture lacks, whole or in part, in so many `places`; their content has `least` to `most` bytes.

    Content is application data, as a rule; where `mixed`, what the same side had said before makes it likely that some is none (tickets,
    padding).
    """

    places: int
    records: int
    least: int
    most: int
    mixed: bool = False

    @property
    def application_bytes(self) -> tuple[int, int]:
        """How much application data that is, at least and at most."""
        return (0 if self.mixed else self.least), self.most

    def and_more(self, other: "LostRecords") -> "LostRecords":
        """Both together."""
        return LostRecords(
            self.places + other.places, self.records + other.records, self.least + other.least, self.most + other.most,
            self.mixed or other.mixed,
        )  # fmt: skip


class Stand(NamedTuple):
    """Where reading stood when bytes were lost: the place of the first record that was not read, its number, and its key.

    `beside` is how many bytes a record takes at least and at most beside its content. `mixed`: other records than application data are
    likely there.
    """

    offset: int
    sequence: int
    opener: Opener
    beside: tuple[int, int]
    mixed: bool = False

    def __repr__(self) -> str:
        return f"Stand(offset={self.offset}, sequence={self.sequence})"

    def lost_before(self, recovered: Recovered, offset: int, *, mixed: bool) -> LostRecords | None:
        """What lies between here and the record at this offset; None where that is under another key, so that nobody knows."""
        records, length = recovered.sequence - self.sequence, offset - self.offset
        most = min(length - records * self.beside[0], records * MOST_CONTENT)
        if recovered.guess.opener is not self.opener or records <= 0 or most < 0:
            return None
        return LostRecords(1, records, max(0, length - records * self.beside[1]), most, mixed or self.mixed)


def beside_content(version: int, suite: CipherSuite) -> tuple[int, int]:
    """How many bytes a record takes at least and at most beside its content, its header included."""
    bulk, mac = suite.bulk, MAC_LENGTHS.get(suite.mac or "", 0)
    if bulk is None:
        raise ValueError(f"{suite.name} has no cipher known here")
    if bulk.mode not in AEAD_MODES:
        iv = bulk.block_length if version >= TLS_1_1 else 0
        fixed = HEADER_LENGTH + iv + mac
        return (fixed + LEAST_PADDING, fixed + MOST_PADDING) if bulk.block_length else (fixed, fixed)
    before = CONTENT_TYPE_LENGTH if is_tls13(version) else 0 if bulk.mode == "chacha20" else EXPLICIT_NONCE_LENGTH
    beside = HEADER_LENGTH + before + TAG_LENGTHS[bulk.mode]
    return beside, beside
