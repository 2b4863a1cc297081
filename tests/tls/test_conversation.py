"""TLS conversations of a real stack (OpenSSL in memory), read from both sides."""

import contextlib
import random
import ssl
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from captool.tls.conversation import TlsConversation
from captool.tls.records import starts_like_tls
from tests.tls.stacks import (
    CLIENT,
    DIALOGUE,
    SERVER,
    contexts,
    cut,
    identity,
    key_ring,
    pieces,
    read,
    record,
    run,
    said,
    text,
)

V10, V11, V12, V13 = (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

RSA_SUITES = ["AES128-SHA", "AES256-SHA", "AES128-SHA256", "AES256-SHA256", "AES128-GCM-SHA256", "AES256-GCM-SHA384"]
MORE_RSA_SUITES = ["AES128-CCM", "AES256-CCM", "AES128-CCM8", "AES256-CCM8", "CAMELLIA128-SHA", "CAMELLIA256-SHA256", "NULL-SHA256"]
ECDHE_SUITES = ["ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-CHACHA20-POLY1305", "ECDHE-RSA-AES256-SHA384", "ECDHE-RSA-AES128-SHA"]
KINDS = {
    "AES-CBC, TLS 1.0": ("AES128-SHA", V10),
    "AES-CBC, TLS 1.2": ("AES256-SHA", V12),
    "AES-GCM, TLS 1.2": ("AES128-GCM-SHA256", V12),
    "TLS 1.3": ("DEFAULT", V13),
}


@cache
def docker_like(ciphers="DEFAULT", version=V12):
    """A session under mutual TLS, as Docker always has it."""
    return record(*contexts(ciphers=ciphers, version=version, client=identity(organization="root.<bootstrap>")))


def all_secrets(recording):
    return key_ring(identity(), key_log=recording.key_log)


def assert_read_whole(plain, dialogue=DIALOGUE):
    assert said(dialogue, CLIENT) == text(plain, CLIENT)
    assert said(dialogue, SERVER) == text(plain, SERVER)


@pytest.mark.parametrize("suite", RSA_SUITES + MORE_RSA_SUITES)
def test_rsa_key_opens_mutual_tls_12(suite):
    conversation, plain = read(docker_like(suite).wire, key_ring(identity()))
    summary = conversation.summary()
    assert ("decrypted", None, "TLS 1.2", "RSA") == (summary.status, summary.reason, summary.version, summary.key_exchange)
    assert summary.finished_verified
    assert summary.extended_master_secret
    assert str(identity().key_file) == summary.secret_origin
    assert "root.runner-1" == summary.certificate_organization
    assert ["close_notify"] * 2 == [alert.description for alert in summary.alerts]
    assert_read_whole(plain)


@pytest.mark.parametrize("version", [V10, V11])
@pytest.mark.parametrize("suite", ["AES128-SHA", "AES256-SHA", "CAMELLIA256-SHA", "NULL-SHA"])
def test_rsa_key_opens_older_versions(version, suite):
    conversation, plain = read(docker_like(suite, version).wire, key_ring(identity()))
    assert "decrypted" == conversation.summary().status
    assert_read_whole(plain)


@pytest.mark.parametrize("suite", ECDHE_SUITES)
def test_key_log_opens_forward_secret_sessions(suite):
    recording = docker_like(suite)
    conversation, plain = read(recording.wire, key_ring(key_log=recording.key_log))
    summary = conversation.summary()
    assert ("decrypted", "ECDHE", True) == (summary.status, summary.key_exchange, summary.forward_secrecy)
    assert summary.finished_verified
    assert summary.secret_origin.startswith("keys.log:")
    assert_read_whole(plain)


@pytest.mark.parametrize("version", [V10, V11, V12, V13])
def test_key_log_opens_every_version(version):
    recording = docker_like(version=version)
    conversation, plain = read(cut(recording.wire, 1000), key_ring(key_log=recording.key_log))
    assert ("decrypted", True) == (conversation.summary().status, conversation.summary().finished_verified)
    assert_read_whole(plain)


def test_rsa_line_of_a_key_log_opens_the_session():
    recording = docker_like("AES128-SHA")
    lines = [line for line in recording.key_log.splitlines() if line.startswith(b"RSA ")]
    assert lines
    conversation, plain = read(recording.wire, key_ring(key_log=b"\n".join(lines)))
    assert "decrypted" == conversation.summary().status
    assert_read_whole(plain)


def test_tls13_certificate_becomes_visible_with_the_handshake_secrets():
    recording = docker_like(version=V13)
    conversation, _ = read(recording.wire, key_ring(key_log=recording.key_log))
    assert "root.runner-1" == conversation.summary().certificate_organization
    assert "ECDHE (TLS 1.3)" == conversation.summary().key_exchange


def test_hello_retry_request():
    recording = record(*contexts(version=V13, curves="secp384r1"))
    conversation, plain = read(recording.wire, key_ring(key_log=recording.key_log))
    assert [CLIENT, SERVER, CLIENT, SERVER] == [side for side, _ in recording.wire[:4]]
    assert ("decrypted", True) == (conversation.summary().status, conversation.summary().finished_verified)
    assert_read_whole(plain)


def test_server_name():
    conversation, _ = read(record(*contexts(), server_name="runner-1.example").wire, key_ring())
    assert "runner-1.example" == conversation.summary().server_name


def test_plaintext_knows_its_place():
    recording = docker_like("AES128-GCM-SHA256")
    wire = cut(recording.wire, 100)
    _, plain = read(wire, all_secrets(recording))
    segments = list(pieces(wire))
    for one in plain:
        segment = segments[one.packet - 1]
        assert one.direction == segment.direction
        assert segment.offset < one.stream_end <= segment.offset + len(segment.data)
        assert one.packet * 1_000_000_000 == one.ts_ns


# Cutting


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 1448, 65536])
def test_segments_of_any_size(kind, size):
    recording = docker_like(*KINDS[kind])
    _, plain = read(cut(recording.wire, size), all_secrets(recording))
    assert_read_whole(plain)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_every_split_point_of_a_short_session(kind):
    short = [(CLIENT, b"ping"), (SERVER, b"pong")]
    ciphers, version = KINDS[kind]
    recording = record(*contexts(ciphers=ciphers, version=version), short)
    ring = all_secrets(recording)
    for index, (direction, data) in enumerate(recording.wire):
        for at in range(1, len(data)):
            wire = [*recording.wire[:index], (direction, data[:at]), (direction, data[at:]), *recording.wire[index + 1 :]]
            _, plain = read(wire, ring)
            assert_read_whole(plain, short)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=settings.default.max_examples * 2 // 5, deadline=None)
@given(seed=st.integers(0, 2**32), size=st.integers(30, 4000))
def test_directions_out_of_step(kind, seed, size):
    """Each direction in order, but interleaved as no real capture would ever show them."""
    recording = docker_like(*KINDS[kind])
    wire = cut(recording.wire, size)
    queues = {side: [piece for piece in wire if piece[0] == side] for side in (CLIENT, SERVER)}
    order = random.Random(seed).sample([side for side, _ in wire], len(wire))
    mixed = [queues[side].pop(0) for side in order]
    conversation, plain = read(mixed, all_secrets(recording))
    assert ("decrypted", True) == (conversation.summary().status, conversation.summary().finished_verified)
    assert_read_whole(plain)


@pytest.mark.parametrize("kind", KINDS)
def test_one_direction_after_the_other(kind):
    recording = docker_like(*KINDS[kind])
    for first in (CLIENT, SERVER):
        wire = sorted(recording.wire, key=lambda piece: piece[0] != first)
        conversation, plain = read(wire, all_secrets(recording))
        assert "decrypted" == conversation.summary().status
        assert_read_whole(plain)


def test_roles_guessed_the_wrong_way_round():
    recording = docker_like("AES128-SHA")
    conversation, plain = read([(side.opposite, data) for side, data in recording.wire], all_secrets(recording))
    assert said(DIALOGUE, SERVER) == text(plain, CLIENT)
    assert "decrypted" == conversation.summary().status


# Resumption


@pytest.mark.parametrize("tickets", [True, False])
@pytest.mark.parametrize("suite", ["AES128-SHA", "AES256-GCM-SHA384"])
def test_resumed_session_opens_with_the_original(tickets, suite):
    both = contexts(ciphers=suite, tickets=tickets)
    first = record(*both)
    second = record(*both, session=first.session)
    assert second.client.session_reused
    ring = key_ring(identity())
    read(first.wire, ring)
    conversation, plain = read(cut(second.wire, 50), ring)
    summary = conversation.summary()
    assert ("decrypted", True, True) == (summary.status, summary.resumed, summary.finished_verified)
    assert str(identity().key_file) == summary.secret_origin
    assert_read_whole(plain)


@pytest.mark.parametrize("tickets", [True, False])
def test_resumed_session_without_the_original(tickets):
    both = contexts(ciphers="AES128-SHA", tickets=tickets)
    second = record(*both, session=record(*both).session)
    conversation, plain = read(second.wire, key_ring(identity()))
    summary = conversation.summary()
    assert ("encrypted", "resumed-without-original", True) == (summary.status, summary.reason, summary.resumed)
    assert not plain


def test_resumed_tls13_session():
    client, server = contexts(version=V13)
    first = record(client, server, [(CLIENT, b"a"), (SERVER, b"b")])
    second = record(client, server, session=first.session)
    conversation, plain = read(second.wire, key_ring(key_log=second.key_log))
    assert ("decrypted", True) == (conversation.summary().status, conversation.summary().resumed)
    assert_read_whole(plain)


# Reasons


def reason(wire, ring, **fields):
    conversation, plain = read(wire, ring, **fields)
    summary = conversation.summary()
    assert not plain
    assert "encrypted" == summary.status
    assert summary.detail.endswith(".")
    return summary.reason, summary.detail, conversation.wants_more


def test_forward_secrecy_is_said_by_name():
    code, detail, more = reason(docker_like("ECDHE-RSA-AES128-GCM-SHA256").wire, key_ring(identity()))
    assert ("forward-secrecy", False) == (code, more)
    assert "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256" in detail
    assert "ECDHE" in detail
    assert "forward-secrecy" == reason(docker_like(version=V13).wire, key_ring(identity()))[0]
    assert "forward-secrecy" == reason(docker_like(version=V13).wire, key_ring())[0]


def test_no_secret():
    code, detail, more = reason(docker_like("AES128-SHA").wire, key_ring())
    assert ("no-secret", False) == (code, more)
    assert "private key" in detail


def test_key_of_another_server():
    other = identity(organization="root.runner-2")
    code, detail, more = reason(docker_like("AES128-SHA").wire, key_ring(other))
    assert ("no-matching-key", False) == (code, more)
    assert "root.runner-1" in detail
    assert "no-matching-key" == reason(docker_like("AES128-SHA").wire, key_ring(identity("ec")))[0]


def test_wrong_key_under_the_right_fingerprint():
    """What a private key file that does not belong to its certificate amounts to."""
    right, wrong = key_ring(identity()), key_ring(identity(organization="root.runner-2"))
    mixed = wrong.private_keys[0]._replace(spki_sha256=right.private_keys[0].spki_sha256)
    right.private_keys = (mixed,)
    assert "no-matching-key" == reason(docker_like("AES128-GCM-SHA256").wire, right)[0]


@pytest.mark.parametrize("version", [V12, V13])
def test_key_log_of_another_session(version):
    key_log = record(*contexts(version=version)).key_log
    recording = docker_like(version=version)
    code, detail, _ = reason(recording.wire, key_ring(identity(), key_log=key_log))
    assert "no-matching-session-key" == code
    assert "forward secret" in detail


@pytest.mark.parametrize("kind", KINDS)
def test_key_log_with_a_wrong_secret(kind):
    recording = docker_like(*KINDS[kind])
    lines = [line.split() for line in recording.key_log.splitlines() if line[:1] != b"#" and not line.startswith(b"RSA")]
    spoilt = b"".join(b"%s %s %s\n" % (label, rand, bytes(reversed(secret))) for label, rand, secret in lines)
    assert "no-matching-session-key" == reason(recording.wire, key_ring(key_log=spoilt))[0]


def test_unsupported_suite():
    recording = record(*contexts(ciphers="ARIA128-GCM-SHA256"))
    assert "unsupported-suite" == reason(recording.wire, key_ring(identity()))[0]


@pytest.mark.parametrize("kind", KINDS)
def test_capture_that_begins_after_the_handshake(kind):
    recording = docker_like(*KINDS[kind])
    wire = [(side, data) for side, data in recording.wire if data[0] == 23]
    code, _, more = reason(wire, all_secrets(recording), from_start=False)
    assert ("handshake-not-captured", False) == (code, more)
    middle = [(side, data[7:]) for side, data in wire]
    assert "handshake-not-captured" == reason(middle, all_secrets(recording), from_start=False)[0]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("side", [CLIENT, SERVER])
def test_one_sided_capture(kind, side):
    recording = docker_like(*KINDS[kind])
    conversation, plain = read([piece for piece in recording.wire if piece[0] == side], all_secrets(recording))
    assert not plain
    assert "handshake-not-captured" == conversation.summary().reason
    if side == SERVER:
        assert conversation.summary().cipher_suite


def test_handshake_that_was_refused():
    code, detail, _ = reason([docker_like().wire[0], (SERVER, b"\x15\x03\x03\x00\x02\x02\x28")], key_ring(identity()))
    assert "handshake-not-captured" == code
    assert "handshake_failure of the server (packet 2)" in detail


def test_capture_that_ends_in_the_handshake():
    code, detail, more = reason(docker_like("AES128-SHA").wire[:2], key_ring(identity()))
    assert ("handshake-not-captured", True) == (code, more)
    assert "not complete" in detail


def test_not_tls():
    conversation, _ = read([(CLIENT, b"GET / HTTP/1.1\r\n"), (SERVER, b"HTTP/1.1 400\r\n")], key_ring())
    assert "not-tls" == conversation.summary().reason
    assert not conversation.wants_more


@pytest.mark.parametrize("snapped", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_hole_stops_one_direction_only(kind, snapped):
    recording = docker_like(*KINDS[kind])
    conversation = TlsConversation(all_secrets(recording))
    feed = list(pieces(recording.wire))
    at, answer = next((at, piece) for at, piece in enumerate(feed) if piece.direction == SERVER and len(piece.data) > 20_000)
    feed[at] = run(SERVER, answer.offset + 100, answer.data[100:], at + 1, missing_before=100, snapped=snapped)
    plain = [one for piece in feed for one in conversation.feed(piece)]
    summary = conversation.summary()
    assert said(DIALOGUE, CLIENT) == text(plain, CLIENT)
    assert b"" == text(plain, SERVER)
    assert ("partly", "snapped" if snapped else "stream-gap") == (summary.status, summary.reason)
    assert "100 bytes" in summary.detail


def test_hole_in_the_handshake():
    recording = docker_like("AES128-SHA")
    feed = list(pieces(recording.wire))
    flight = next(piece for piece in feed if piece.direction == SERVER)
    feed[feed.index(flight)] = run(SERVER, 300, flight.data[300:], flight.mark_packets[0], missing_before=300)
    conversation = TlsConversation(key_ring(identity()))
    assert not [plain for piece in feed for plain in conversation.feed(piece)]
    assert "stream-gap" == conversation.summary().reason


def test_close_notify_does_not_end_the_other_direction():
    """An attach with input: the client says close_notify early, the server goes on for the whole job (moby's hijacked connections)."""
    client_context, server_context = contexts(ciphers="AES128-GCM-SHA256")
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context.wrap_bio(to_client, to_server)
    server = server_context.wrap_bio(from_client := ssl.MemoryBIO(), from_server := ssl.MemoryBIO(), server_side=True)
    wire = []

    def cross():
        for side, source, target in ((CLIENT, to_server, from_client), (SERVER, from_server, to_client)):
            if data := source.read():
                wire.append((side, data))
                target.write(data)

    for _ in range(4):
        for end in (client, server):
            with contextlib.suppress(ssl.SSLWantReadError):
                end.do_handshake()
            cross()
    client.write(b"script")
    with pytest.raises(ssl.SSLWantReadError):
        client.unwrap()
    cross()
    assert b"script" == server.read()
    for _ in range(3):
        server.write(b"output\n")
        cross()
    conversation, plain = read(wire, key_ring(identity()))
    assert b"output\n" * 3 == text(plain, SERVER)
    assert [CLIENT] == [alert.direction for alert in conversation.summary().alerts]
    assert conversation.wants_more


@pytest.mark.parametrize("data", [b"\x16\x03\x01\x00\x80", b"\x17\x03\x03", b"\x16"])
def test_records_look_like_tls(data):
    assert starts_like_tls(data)


@pytest.mark.parametrize("data", [b"", b"GET / HTTP/1.1", b"\x16\x02\x00\x00\x10", b"\x17\x03\x03\xff\xff"])
def test_other_bytes_do_not_look_like_tls(data):
    assert not starts_like_tls(data)
