"""TLS 1.3 beyond what the stacks at hand do, written by the naive sender."""

import ssl
import zlib

import pytest
import zstandard

from captool.errors import DecodeError
from captool.tls.certificate_compression import decompressed
from captool.tls.conversation import TlsConversation
from tests.tls.stacks import CLIENT, SERVER, identity, pieces, read, run, text
from tests.tls.writer import Writer, message, ring


def test_padding_is_taken_off_and_keys_are_updated():
    session = Writer().start()
    session.client.send(b"one", padding=300)
    session.client.update_key()
    session.client.send(b" two")
    session.server.send(b"three")
    session.client.update_key()
    session.server.update_key()
    session.client.send(b" four")
    session.server.send(b" five", padding=1)
    conversation, plain = read(session.wire, ring())
    assert (b"one two four", b"three five") == (text(plain, CLIENT), text(plain, SERVER))
    assert conversation.summary().finished_verified


def test_accepted_early_data_is_read():
    session = Writer(early_data=True).start([b"GET /early ", b"HTTP/1.1\r\n"])
    session.client.send(b"late")
    conversation, plain = read(session.wire, ring())
    summary = conversation.summary()
    assert b"GET /early HTTP/1.1\r\nlate" == text(plain, CLIENT)
    assert ("decrypted", True) == (summary.status, summary.finished_verified)


def test_refused_early_data_is_passed_by():
    session = Writer(early_data=True).start([b"refused"] * 3, accept_early=False)
    session.client.send(b"late")
    conversation, plain = read(session.wire, ring("CLIENT_EARLY_TRAFFIC_SECRET"))
    assert b"late" == text(plain, CLIENT)
    assert "decrypted" == conversation.summary().status


def test_refused_early_data_is_not_said_though_its_secret_is_known():
    """A client's key log has it; the server ignored the data, and the client said it again (seen with OpenSSL)."""
    session = Writer(early_data=True).start([b"refused"] * 3, accept_early=False)
    session.client.send(b"late")
    conversation, plain = read(session.wire, ring())
    summary = conversation.summary()
    assert b"late" == text(plain, CLIENT)
    assert ("decrypted", True) == (summary.status, summary.finished_verified)


def test_early_data_is_read_where_nobody_can_tell_whether_it_was_refused():
    session = Writer(early_data=True).start([b"early"])
    session.client.send(b"late")
    _, plain = read(session.wire, ring("SERVER_HANDSHAKE_TRAFFIC_SECRET"))
    assert b"earlylate" == text(plain, CLIENT)


def test_early_data_without_its_secret_leaves_the_session_partly_decrypted():
    session = Writer(early_data=True).start([b"early"])
    session.client.send(b"late")
    conversation, plain = read(session.wire, ring("CLIENT_EARLY_TRAFFIC_SECRET"))
    summary = conversation.summary()
    assert b"late" == text(plain, CLIENT)
    assert ("partly", "no-matching-session-key") == (summary.status, summary.reason)
    assert "CLIENT_EARLY_TRAFFIC_SECRET" in summary.detail


def test_traffic_secrets_alone_open_the_application_data():
    session = Writer().start()
    session.client.send(b"ping")
    session.server.send(b"pong")
    conversation, plain = read(session.wire, ring("CLIENT_HANDSHAKE_TRAFFIC_SECRET", "SERVER_HANDSHAKE_TRAFFIC_SECRET"))
    assert (b"ping", b"pong") == (text(plain, CLIENT), text(plain, SERVER))
    assert not conversation.summary().finished_verified


def test_a_missing_traffic_secret_is_named():
    session = Writer().start()
    session.server.send(b"pong")
    conversation, plain = read(session.wire, ring("SERVER_TRAFFIC_SECRET_0"))
    summary = conversation.summary()
    assert not plain
    assert "no-matching-session-key" == summary.reason
    assert "SERVER_TRAFFIC_SECRET_0" in summary.detail


def test_alerts_and_tickets_after_the_handshake():
    session = Writer().start()
    session.server.send(message(4, b"ticket" * 9), 22)
    session.server.send(b"data")
    session.server.send(b"\x02\x28", 21)
    conversation, plain = read(session.wire, ring())
    assert b"data" == text(plain, SERVER)
    assert [("fatal", "handshake_failure")] == [(alert.level, alert.description) for alert in conversation.summary().alerts]


def certificate_message(*, compressed: str | None = None):
    der = ssl.PEM_cert_to_DER_cert(identity(days=(-30, -10)).certificate_file.read_text())
    body = b"\0" + (len(der) + 5).to_bytes(3) + len(der).to_bytes(3) + der + b"\0\0"
    if compressed is None:
        return message(11, body)
    number, packed = {"zlib": (1, zlib.compress(body)), "brotli": (2, body), "zstd": (3, zstandard.compress(body))}[compressed]
    return message(25, number.to_bytes(2) + len(body).to_bytes(3) + len(packed).to_bytes(3) + packed)


@pytest.mark.parametrize("form", [None, "zlib", "zstd"])
def test_a_certificate_asked_for_after_the_handshake_is_the_clients(form):
    session = Writer().start()
    session.client.send(b"before")
    session.server.send(message(13, b"\0\0\0"), 22)
    session.client.send(certificate_message(compressed=form), 22)
    session.client.send(message(11, b"\0\0"), 22)  # one that is cut takes nothing from what is said
    session.client.send(b"after")
    conversation, plain = read(session.wire, ring())
    presented = conversation.summary().client_certificate
    assert b"beforeafter" == text(plain, CLIENT)
    assert ("O=root.runner-1", len(session.wire) - 2) == (presented.certificate.subject, presented.moment.packet)


@pytest.mark.parametrize("form", [None, "zlib", "zstd", "brotli"])
def test_compressed_certificates_are_read_and_do_not_disturb_finished(form):
    session = Writer().start(certificate=certificate_message(compressed=form))
    session.server.send(b"data")
    conversation, plain = read(session.wire, ring())
    summary = conversation.summary()
    assert b"data" == text(plain, SERVER)
    assert ("decrypted", True) == (summary.status, summary.finished_verified)
    assert (None if form == "brotli" else "root.runner-1") == summary.certificate_organization


@pytest.mark.parametrize("packed", [zlib.compress(bytes(1 << 24)), b"", b"\xff" * 9, zlib.compress(bytes(10))[:-6]])
def test_hostile_compressed_certificates_are_none(packed):
    body = (1).to_bytes(2) + (1000).to_bytes(3) + len(packed).to_bytes(3) + packed
    assert decompressed(body) is None
    assert decompressed(b"\0\3" + body[2:]) is None
    assert decompressed(b"\0\3" + body[2:5] + b"\0\0\x0d" + zstandard.compress(bytes(1 << 24))[:13]) is None
    with pytest.raises(DecodeError):
        decompressed(body[:7])


@pytest.mark.parametrize("updates", range(1, 5))
def test_reading_goes_on_behind_a_hole_in_which_keys_were_updated(updates):
    session = Writer().start()
    session.client.send(b"before")
    first = len(session.wire)
    for _ in range(updates):
        session.client.update_key()
        session.client.send(b"lost")
    everything = [*pieces(session.wire)]
    session.client.send(b"after")
    behind = [*pieces(session.wire)][-1]
    behind.missing_before = sum(len(piece.data) for piece in everything[first:])
    conversation = TlsConversation(ring(), resume_after_loss=True)
    plain = [one for piece in [*everything[:first], behind] for one in conversation.feed(piece)]
    assert b"beforeafter" == text(plain, CLIENT)
    assert conversation.take_lost(CLIENT) is None  # nobody knows how much it was


def test_what_a_server_says_first_may_be_tickets():
    """Seen with OpenSSL: two tickets of 233 bytes in the hole were called 466 bytes of application data."""
    session = Writer().start()
    session.server.send(message(4, b"ticket" * 9), 22)
    everything = [*pieces(session.wire)]
    session.server.send(b"data")
    behind = [*pieces(session.wire)][-1]
    behind.missing_before = len(everything[-1].data)
    conversation = TlsConversation(ring(), resume_after_loss=True)
    assert [b"data"] == [one.data for piece in [*everything[:-1], behind] for one in conversation.feed(piece)]
    assert (0, len(message(4, b"ticket" * 9))) == conversation.take_lost(SERVER)


@pytest.mark.parametrize("lost", [1, 2, 30])
def test_reading_goes_on_behind_lost_records(lost):
    session = Writer().start()
    for number in range(60):
        session.server.send(b"%02d " % number * 40)
    everything = list(pieces(session.wire))
    first = len(everything) - 50
    kept = everything[:first] + everything[first + lost :]
    kept[first].missing_before = sum(len(piece.data) for piece in everything[first : first + lost])
    conversation = TlsConversation(ring(), resume_after_loss=True)
    plain = [one for piece in kept for one in conversation.feed(piece)]
    assert 60 - lost == len(plain)
    assert [False] * 10 + [True] + [False] * (49 - lost) == [one.after_loss for one in plain]
    summary = conversation.summary()
    assert ("partly", "stream-gap") == (summary.status, summary.reason)
    stopping = TlsConversation(ring())
    assert 10 == sum(len(stopping.feed(piece)) for piece in kept)
    assert stopping.wants_more  # the other direction


def test_reading_goes_on_behind_a_hole_in_the_middle_of_records():
    session = Writer().start()
    handshake = len(session.wire)
    texts = [bytes([number]) * 3000 for number in range(20)]
    for one in texts:
        session.server.send(one)
    stream = b"".join(data for _, data in session.wire[handshake:])
    conversation = TlsConversation(ring(), resume_after_loss=True)
    for piece in pieces(session.wire[:handshake]):
        conversation.feed(piece)
    start = sum(len(data) for direction, data in session.wire[:handshake] if direction == SERVER)
    before = run(SERVER, start, stream[:5000])
    behind = run(SERVER, start + 20_001, stream[20_001:], missing_before=15_001)
    plain = conversation.feed(before) + conversation.feed(behind)
    assert texts[:1] + texts[7:] == [one.data for one in plain]
    assert start + len(stream) == plain[-1].stream_end
