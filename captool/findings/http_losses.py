"""What was said over HTTP and cannot be read, because the capture lacks bytes of it or because it is no HTTP."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from captool.findings.finding import Finding
from captool.findings.silence import request
from captool.findings.tables import Connection, Tables
from captool.units import counted, size

if TYPE_CHECKING:
    from captool.http.losses import HttpLosses, Loss

SHOWN: Final = 4
# Why TLS is not read where the capture lacks its bytes.
LACKING: Final = ("stream-gap", "snapped")
FOUND: Final = {
    "length": "the length of the body that the hole lies in tells where it ends",
    "chunks": "with the next whole chunk of the same body",
    "turn": "by what begins like a message when it was that side's turn",
}


def http_incomplete(tables: Tables) -> Iterator[Finding]:
    """One finding for each connection on which HTTP had to be found again, or could not be."""
    for connection in tables.eventful:
        losses = connection.losses
        if losses is None:
            continue
        unread = [loss for loss in losses.losses if loss.resumed is None]
        worse = bool(unread or losses.unpaired_count or any(loss.refusal for loss in losses.losses))
        yield Finding(
            code="http-incomplete",
            severity="warning" if worse else "info",
            confidence="high",
            connection=connection.id,
            packets=tuple(loss.behind.packet for loss in losses.losses[:SHOWN] if loss.behind),
            message=" ".join([*_places(connection, losses), *_consequences(connection, losses)]),
            remedy=_remedy(connection, losses),
            evidence={
                "places": losses.loss_count,
                "missing_bytes": sum(loss.missing or 0 for loss in losses.losses),
                "not_found_again": len(unread),
                "unpaired_responses": losses.unpaired_count,
                "uncertain_exchanges": sum(exchange.http.uncertain for exchange in connection.exchanges),
            },
        )


def _remedy(connection: Connection, losses: "HttpLosses") -> str:
    holes = [loss for loss in losses.losses if loss.refusal is None]
    if any(not _locked(connection, loss) for loss in holes):
        return "Record again without loss (a larger buffer, see the recorder's drop counter), or at the other side."
    if holes:
        return "Give the secrets of both directions: see what is said of its decryption."
    return f"Look at the bytes: captool follow --connection {connection.id} --raw to_server (or to_client)."


def _locked(connection: Connection, loss: "Loss") -> bool:
    """Whether the bytes are in the capture, to its end, and could not be decrypted."""
    tls = connection.tls
    return loss.behind is None and loss.refusal is None and tls is not None and tls.reason not in (None, *LACKING)


def _places(connection: Connection, losses: "HttpLosses") -> Iterator[str]:
    for loss in losses.losses[:SHOWN]:
        if _locked(connection, loss) and connection.tls:
            yield f"What the {loss.direction.sender} said could not be decrypted to its end ({connection.tls.reason})."
        else:
            yield f"{_what(loss)}{_resumed(loss)}."
    if losses.loss_count > SHOWN:
        yield f"So it is in {counted(losses.loss_count - SHOWN, 'more place')}."


def _what(loss: "Loss") -> str:
    side, at = loss.direction.sender, f"packet {loss.behind.packet}" if loss.behind else "the end"
    if loss.refusal is not None:
        return f"From {at} on the {side}'s bytes are no HTTP that can be read ({loss.refusal})"
    missing = "bytes" if loss.missing is None else size(loss.missing)
    return f"The capture lacks {missing} of what the {side} said, before {at}"


def _resumed(loss: "Loss") -> str:
    if loss.resumed is None:
        return "; no message was found behind that"
    return f"; reading went on in packet {loss.resumed.packet}, {FOUND[loss.found]}"


def _consequences(connection: Connection, losses: "HttpLosses") -> Iterator[str]:
    hit = [exchange for exchange in connection.exchanges if exchange.http.request_hole or exchange.http.response_hole]
    if hit:
        names = ", ".join(dict.fromkeys(request(exchange) for exchange in hit[:SHOWN])) + (", ..." if len(hit) > SHOWN else "")
        yield f"Not complete: {counted(len(hit), 'exchange')} ({names})."
    if losses.unpaired_count:
        first = losses.unpaired[0]
        yield (
            f"{counted(losses.unpaired_count, 'response')} (the first a {first.status} in packet {first.response.packet}) cannot be said "
            "to answer any one request: how many messages are missing is not known."
        )
    uncertain = sum(exchange.http.uncertain for exchange in connection.exchanges)
    if uncertain:
        yield f"{counted(uncertain, 'exchange')} found by what it looks like is not certain." if uncertain == 1 else (
            f"{uncertain} exchanges found by what they look like are not certain."
        )
