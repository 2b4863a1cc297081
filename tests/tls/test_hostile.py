"""Damaged and hostile bytes: no exception, and nothing comes out that did not authenticate."""

import random
import ssl
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from captool.direction import Moment
from captool.errors import DecodeError
from captool.tls.conversation import TlsConversation
from captool.tls.handshake import MAX_MESSAGE_LENGTH, HandshakeType, MessageBuffer
from captool.tls.hello import parse_client_hello, parse_server_hello, parse_sslv2_client_hello
from captool.tls.negotiation import READERS, Negotiation
from captool.tls.records import HEADER_LENGTH, record_length
from tests.tls.stacks import CLIENT, SERVER, contexts, cut, identity, key_ring, pieces, read, record, run, said, text
from tests.tls.writer import Writer, ring

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
V10, V12, V13 = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
DIALOGUE = [(CLIENT, b"request " * 9), (SERVER, b"answer one "), (SERVER, b"answer two "), (CLIENT, b"more"), (SERVER, b"answer three")]
KINDS = {
    "CBC, TLS 1.0": ("AES128-SHA", V10),
    "CBC, TLS 1.2": ("AES256-SHA", V12),
    "CBC, ECDHE": ("ECDHE-RSA-AES256-SHA384", V12),
    "GCM, TLS 1.2": ("AES128-GCM-SHA256", V12),
    "CCM, TLS 1.2": ("AES128-CCM8", V12),
    "ChaCha20, TLS 1.2": ("ECDHE-RSA-CHACHA20-POLY1305", V12),
    "NULL, TLS 1.2": ("NULL-SHA256", V12),
    "TLS 1.3": ("DEFAULT", V13),
}


@cache
def session(kind):
    ciphers, version = KINDS[kind]
    recording = record(*contexts(ciphers=ciphers, version=version), DIALOGUE)
    return recording.wire, key_ring(identity(), key_log=recording.key_log)


def flipped(wire, index, at, bit=0):
    direction, data = wire[index]
    damaged = data[:at] + bytes([data[at] ^ (1 << bit)]) + data[at + 1 :]
    return [*wire[:index], (direction, damaged), *wire[index + 1 :]]


@pytest.mark.parametrize("kind", KINDS)
def test_flipped_bit_anywhere_in_a_record(kind):
    wire, secrets = session(kind)
    _, whole = read(wire, secrets)
    third = whole[2]  # the server's second answer
    index = third.packet - 1
    data = wire[index][1]
    assert len(data) >= record_length(data)  # two records where TLS 1.0 sends an empty one first
    for at in [0, 1, 3, 4, *range(HEADER_LENGTH, record_length(data))]:
        conversation, plain = read(flipped(wire, index, at, at % 8), secrets)
        assert b"answer one " == text(plain, SERVER), at
        assert said(DIALOGUE, CLIENT) == text(plain, CLIENT)
        summary = conversation.summary()
        if at >= HEADER_LENGTH:
            assert ("partly", "bad-record-mac") == (summary.status, summary.reason)
            assert f"packet {third.packet}" in summary.detail


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "TLS 1.3"])
def test_flipped_bit_in_finished(kind):
    """The other direction proves the secret, so the record is at fault and not the key."""
    wire, secrets = session(kind)
    index = max(at for at, (side, _) in enumerate(wire[:4]) if side == CLIENT)
    conversation, plain = read(flipped(wire, index, len(wire[index][1]) - 1), secrets)
    assert b"" == text(plain, CLIENT)
    assert said(DIALOGUE, SERVER) == text(plain, SERVER)
    assert "bad-record-mac" == conversation.summary().reason


def test_wrong_finished_under_the_right_key():
    """A handshake that was altered on the way: with the key log every record authenticates, and still nothing is shown."""
    ciphers, version = KINDS["GCM, TLS 1.2"]
    recording = record(*contexts(ciphers=ciphers, version=version), DIALOGUE)
    only_master = key_ring(key_log=b"\n".join(line for line in recording.key_log.splitlines() if line.startswith(b"CLIENT_RANDOM")))
    flight = next(at for at, (side, _) in enumerate(recording.wire) if side == SERVER)
    certificate = recording.wire[flight][1].index(b"root.runner-1")
    conversation, plain = read(flipped(recording.wire, flight, certificate), only_master)
    assert not plain
    assert "no-matching-session-key" == conversation.summary().reason
    assert "Finished" in conversation.summary().detail


def is_prefix(plain, wire_dialogue=DIALOGUE):
    return all(said(wire_dialogue, side).startswith(text(plain, side)) for side in (CLIENT, SERVER))


@pytest.mark.parametrize("kind", KINDS)
def test_random_damage(kind):
    """A thousand damaged sessions (seeded; fewer in the fast suite): flips, cuts, lost, repeated and exchanged segments."""
    wire, secrets = session(kind)
    true_records = {plain.data for plain in read(wire, secrets)[1]}
    for seed in range(10 * settings.default.max_examples // len(KINDS)):
        chance = random.Random(f"{kind} {seed}")
        damaged = cut(wire, chance.choice([3, 50, 500, 100_000]))
        for _ in range(chance.randint(1, 4)):
            index = chance.randrange(len(damaged))
            side, data = damaged[index]
            match chance.randrange(6):
                case 0 | 1:
                    damaged = flipped(damaged, index, chance.randrange(len(data)), chance.randrange(8))
                case 2:
                    damaged[index] = (side, data[: chance.randrange(len(data))] or b"\0")
                case 3:
                    damaged[index] = (side, chance.randbytes(chance.randrange(1, 100)))
                case 4:
                    damaged.insert(chance.randrange(len(damaged)), (side, data))
                case 5:
                    damaged = damaged[: index + 1]
        conversation, plain = read(damaged, secrets, from_start=chance.random() < 0.5)
        assert is_prefix(plain), seed
        summary = conversation.summary()
        assert tuple(summary.plaintext_bytes) == tuple(len(text(plain, side)) for side in (CLIENT, SERVER))
        assert (summary.status == "decrypted") == (summary.reason is None)
        resuming = TlsConversation(secrets, resume_after_loss=True)
        feed = list(pieces(damaged))
        for piece in chance.sample(feed, len(feed) // 5):
            piece.missing_before = chance.randrange(1, 3000)
        assert {one.data for piece in feed for one in resuming.feed(piece)} <= true_records, seed
        resuming.summary()


@pytest.mark.parametrize("kind", KINDS)
def test_every_truncation(kind):
    """Byte by byte: what came is never more than what was said, and a capture may end at any place (each 37th is tried)."""
    wire, secrets = session(kind)
    conversation, plain = TlsConversation(secrets), []
    for length, piece in enumerate(pieces(cut(wire, 1))):
        if length % 37 == 0:
            ended, whole = read(ending_with_single_bytes(wire, length), secrets)
            assert [(one.direction, one.data) for one in plain] == [(one.direction, one.data) for one in whole]
            assert is_prefix(plain)
            ended.summary()
        plain += conversation.feed(piece)
    assert (said(DIALOGUE, CLIENT), said(DIALOGUE, SERVER)) == (text(plain, CLIENT), text(plain, SERVER))


def ending_with_single_bytes(wire, length):
    """The first `length` bytes: what was sent at once in one segment, but the last of it byte by byte."""
    before = []
    for side, data in wire:
        if length <= len(data):
            return [*before, *cut([(side, data[:length])], 1)]
        before.append((side, data))
        length -= len(data)
    return before


@settings(max_examples=3 * settings.default.max_examples, deadline=None)
@given(data=st.binary(max_size=200), start=st.booleans())
def test_garbage_is_no_session(data, start):
    conversation, plain = read([(CLIENT, data), (SERVER, data)], key_ring(), from_start=start)
    assert not plain
    conversation.summary()


@settings(max_examples=3 * settings.default.max_examples, deadline=None)
@given(data=st.binary(max_size=300))
def test_handshake_readers_raise_nothing_else(data):
    negotiation = Negotiation()
    for by_client, kind in (*READERS, (True, HandshakeType.CERTIFICATE), (False, HandshakeType.CERTIFICATE)):
        for body in (data, b"\x03\x03" + bytes(32) + data):
            try:
                negotiation.add(kind, bytes([kind]) + len(body).to_bytes(3) + body, Moment(1, 0), by_client=by_client)
            except DecodeError:
                continue
    for parse in (parse_client_hello, parse_server_hello, parse_sslv2_client_hello):
        try:
            parse(data)
        except DecodeError:
            continue


def test_handshake_messages_are_bounded():
    buffer = MessageBuffer()
    with pytest.raises(DecodeError):
        buffer.messages(b"\x01" + (MAX_MESSAGE_LENGTH + 1).to_bytes(3))


def test_endless_handshake_is_given_up():
    """Messages of a handshake without end: a bounded amount is kept."""
    conversation = TlsConversation(key_ring())
    message = b"\x16\x03\x03\x40\x00" + b"\x0b\x00\x3f\xfc" + bytes(0x3FFC)
    hello = Writer().start().wire[0][1]
    conversation.feed(run(CLIENT, 0, hello))
    offset = 0
    for _ in range(100):
        conversation.feed(run(CLIENT, len(hello) + offset, message))
        offset += len(message)
    assert "handshake-not-captured" == conversation.summary().reason


@settings(deadline=None)
@given(
    sizes=st.lists(st.integers(0, 600), min_size=1, max_size=20),
    padding=st.integers(0, 40),
    cuts=st.lists(st.integers(1, 700), min_size=1, max_size=30),
)
def test_records_of_any_size_in_segments_of_any_size(sizes, padding, cuts):
    """Against the naive twin: each record in a segment of its own."""
    writer = Writer().start()
    handshake = len(writer.wire)
    for number, size in enumerate(sizes):
        writer.server.send(bytes([number]) * size, padding=padding)
    naive = [(one.data, one.stream_end) for one in read(writer.wire, ring())[1]]
    stream = b"".join(data for _, data in writer.wire[handshake:])
    pieces_of_any_size, at = [], 0
    while at < len(stream):
        step = cuts[len(pieces_of_any_size) % len(cuts)]
        pieces_of_any_size.append((SERVER, stream[at : at + step]))
        at += step
    streamed = read(writer.wire[:handshake] + pieces_of_any_size, ring())[1]
    assert naive == [(one.data, one.stream_end) for one in streamed]
    assert [size for size in sizes if size] == [len(data) for data, _ in naive]
