"""Certificates as a handshake shows them (RFC 5280): whose, by whom, for which names, from when to when.

Nothing is verified here, and every text in them is a stranger's: what shows it makes it printable, and its length is bounded.
"""

import hashlib
from functools import lru_cache
from typing import Final, Literal, NamedTuple

from captool.direction import Moment
from captool.errors import DecodeError
from captool.keys.certificate import parse_certificate

Validity = Literal["valid", "expired", "not-yet-valid"]
MAX_TEXT: Final = 256
MAX_NAMES: Final = 64
REMEMBERED: Final = 64  # a server shows the same one to every client


class Certificate(NamedTuple):
    """One X.509 certificate. `spki_sha256` and `sha256` are of the public key and of the whole, lower-case hex.

    `subject` and `issuer` are RFC 4514 strings, `names` the alternative names (DNS names and addresses; `more_names` were left
    out). Validity is nanoseconds since 1970, None where it cannot be read.
    """

    spki_sha256: str
    sha256: str
    organization: str | None
    subject: str
    issuer: str
    names: tuple[str, ...]
    more_names: int
    not_before_ns: int | None
    not_after_ns: int | None


class PresentedCertificate(NamedTuple):
    """A certificate and the moment at which one side presented it."""

    certificate: Certificate
    moment: Moment

    @property
    def validity(self) -> Validity | None:
        """Whether it was valid when it was presented, by the capture's clock; None where the certificate does not tell."""
        if self.certificate.not_before_ns is None or self.certificate.not_after_ns is None:
            return None
        return "expired" if self.expired_for_ns else "not-yet-valid" if self.valid_in_ns else "valid"

    @property
    def expired_for_ns(self) -> int:
        """How long ago it had expired when it was presented, by the capture's clock; 0 if it had not."""
        end = self.certificate.not_after_ns
        return 0 if end is None else max(0, self.moment.ts_ns - end)

    @property
    def valid_in_ns(self) -> int:
        """How long it was until it became valid when it was presented, by the capture's clock; 0 if it was valid already."""
        begin = self.certificate.not_before_ns
        return 0 if begin is None else max(0, begin - self.moment.ts_ns)


@lru_cache(maxsize=REMEMBERED)
def read_certificate(der: bytes) -> Certificate | None:
    """What a DER certificate says; None for one that cannot be read."""
    try:
        said = parse_certificate(der)
    except DecodeError:
        return None
    return Certificate(
        spki_sha256=said.spki_sha256,
        sha256=hashlib.sha256(der).hexdigest(),
        organization=said.organization,
        subject=_bounded(said.subject),
        issuer=_bounded(said.issuer),
        names=tuple(_bounded(name) for name in said.names[:MAX_NAMES]),
        more_names=max(0, len(said.names) - MAX_NAMES),
        not_before_ns=said.not_before_ns,
        not_after_ns=said.not_after_ns,
    )


def _bounded(text: str) -> str:
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…"
