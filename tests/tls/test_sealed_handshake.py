"""TLS 1.3 handshakes that nobody can decrypt: whether they were refused is told from the lengths of records."""

import ssl

import pytest

from captool.keys.material import KeyRing
from captool.tls.conversation import TlsConversation
from tests.tls.stacks import CLIENT, DIALOGUE, SERVER, contexts, identity, pieces, read, record, record_refusal
from tests.tls.writer import Sender, clear, client_hello, server_hello


def handshake(*records, early_data=False):
    """Both hellos and the server's flight, and then records of a side with so much in them."""
    wire = [(CLIENT, clear(22, client_hello(early_data=early_data))), (SERVER, clear(22, server_hello())), (SERVER, clear(20, b"\x01"))]
    server, client = Sender(SERVER, wire, b"s" * 32), Sender(CLIENT, wire, b"c" * 32)
    for size in (40, 900, 290, 36):
        server.send(bytes(size), 22)
    wire.append((CLIENT, clear(20, b"\x01")))
    for side, size in records:
        (server if side == SERVER else client).send(bytes(size), 21)
    return wire


def told(wire):
    conversation, plain = read(wire, KeyRing())
    summary = conversation.summary()
    assert ([], "encrypted", "forward-secrecy") == (plain, summary.status, summary.reason)
    return summary.sealed_alert, conversation.wants_more


def test_a_client_that_refuses_the_server():
    wire = handshake((CLIENT, 2))
    assert ((CLIENT, len(wire), False)) == (told(wire)[0].direction, told(wire)[0].packet, told(wire)[1])


@pytest.mark.parametrize("more", [[], [(CLIENT, 700)]])
def test_a_server_that_refuses_the_client(more):
    wire = handshake((CLIENT, 1000), (CLIENT, 264), (CLIENT, 36), *more, (SERVER, 2))
    alert, wants_more = told(wire)
    assert (SERVER, len(wire), False) == (alert.direction, alert.packet, wants_more)
    assert sum(len(data) for side, data in wire if side == SERVER) == alert.stream_end


@pytest.mark.parametrize("rest", [
    [(CLIENT, 36)],
    [(CLIENT, 36), (SERVER, 200), (SERVER, 2)],  # a ticket
    [(CLIENT, 36), (CLIENT, 2), (SERVER, 2)],  # the client closes, and the server answers that
    [(CLIENT, 36), (CLIENT, 500), (SERVER, 3)],
    [(CLIENT, 1), (SERVER, 500)],
])  # fmt: skip
def test_what_was_not_refused(rest):
    assert told(handshake(*rest))[0] is None


def test_early_data_may_be_as_short_as_an_alert():
    assert told(handshake((CLIENT, 2), early_data=True))[0] is None


def test_little_is_looked_at():
    assert told(handshake(*[(SERVER, 2)] * 70, (CLIENT, 2))) == (None, False)
    assert told(handshake((CLIENT, 36), *[(CLIENT, 900)] * 70, (SERVER, 2))) == (None, False)


@pytest.mark.parametrize("direction", [CLIENT, SERVER])
def test_behind_a_hole_nothing_is_concluded(direction):
    feed = list(pieces(handshake((CLIENT, 36), (SERVER, 2)) if direction == SERVER else handshake((CLIENT, 2))))
    feed[-1].missing_before, feed[-1].offset = 60, feed[-1].offset + 60
    for resume in (False, True):
        conversation = TlsConversation(KeyRing(), resume_after_loss=resume)
        for piece in feed:
            conversation.feed(piece)
        summary = conversation.summary()
        assert (None, "encrypted", "forward-secrecy") == (summary.sealed_alert, summary.status, summary.reason)


@pytest.mark.parametrize("tickets", [False, True])
def test_openssl(tickets):
    """Sessions that were spoken on are no refusals; OpenSSL's own client refuses in clear, as it has not changed its keys yet."""
    client, server = contexts(version=ssl.TLSVersion.TLSv1_3, tickets=tickets)
    assert told(record(client, server).wire)[0] is None
    assert told(record(client, server, DIALOGUE[:0]).wire)[0] is None
    client.verify_mode = ssl.CERT_REQUIRED
    conversation, _ = read(record_refusal(client, server), KeyRing())
    summary = conversation.summary()
    assert ([("fatal", "unknown_ca")], None) == ([(alert.level, alert.description) for alert in summary.alerts], summary.sealed_alert)


def test_openssl_server_that_wants_a_certificate():
    client, server = contexts(version=ssl.TLSVersion.TLSv1_3, client=identity("rsa", "client"))
    client, _ = contexts(version=ssl.TLSVersion.TLSv1_3)
    wire = record_refusal(client, server)
    assert (SERVER, len(wire)) == ((alert := told(wire)[0]).direction, alert.packet)


