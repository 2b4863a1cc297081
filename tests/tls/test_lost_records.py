"""How much the records in a hole held, against what the senders had written: exact where the cipher allows it, else within its bounds."""

import ssl
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from captool.tls.conversation import TlsConversation
from tests.tls.stacks import CLIENT, SERVER, contexts, identity, key_ring, pieces, record, run
from tests.tls.writer import Writer, message, ring

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
V11, V12, V13 = ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
SIZES = (1, 300, 16_384, 20_000, 5, 700, 41_000, 16, 33, 8)  # as the server writes them; OpenSSL makes records of up to 16 KiB
EXACT = {
    "GCM": ("AES128-GCM-SHA256", V12),
    "CCM": ("AES128-CCM", V12),
    "CCM-8": ("AES128-CCM8", V12),
    "ChaCha20": ("ECDHE-RSA-CHACHA20-POLY1305", V12),
    "NULL": ("NULL-SHA256", V12),
    "TLS 1.3": ("DEFAULT", V13),
}
BOUNDED = {"CBC": ("AES256-SHA", V12), "CBC-SHA256": ("AES128-SHA256", V12), "CBC of TLS 1.1": ("AES128-SHA", V11)}


@cache
def said(kind):
    """A session in which the server says all of SIZES: its pieces before that, the bytes of it, where they begin, and the secrets."""
    ciphers, version = {**EXACT, **BOUNDED}[kind]
    dialogue = [(CLIENT, b"go"), (SERVER, b"yes"), *((SERVER, bytes([number]) * size) for number, size in enumerate(SIZES))]
    recording = record(*contexts(ciphers=ciphers, version=version), dialogue)
    until = len(recording.wire) - 2 - len(SIZES)  # close_notify of both sides comes last
    before, after = recording.wire[:until], recording.wire[until:-2]
    begin = sum(len(data) for direction, data in before if direction == SERVER)
    return list(pieces(before)), b"".join(data for _, data in after), begin, key_ring(identity(), key_log=recording.key_log)


def with_hole(kind, hole):
    """The session without these bytes of the server's: how many bytes of plaintext are missing before what comes behind, and what is told."""
    before, stream, begin, secrets = said(kind)
    conversation = TlsConversation(secrets, resume_after_loss=True)
    for piece in before:
        conversation.feed(piece)
    start, end = hole
    plain = conversation.feed(run(SERVER, begin, stream[:start]))
    behind = conversation.feed(run(SERVER, begin + end, stream[end:], missing_before=end - start))
    assert [True] == [one.after_loss for one in behind][:1]
    missing = sum(SIZES) - sum(len(one.data) for one in plain + behind)
    return missing, conversation.take_lost(SERVER), conversation.summary().lost.to_client


@st.composite
def holes(draw):
    """Anywhere, but so that the last record, which shows that reading goes on, is whole."""
    length = 60_000
    start = draw(st.integers(1, length))
    return start, draw(st.integers(start + 1, length + 15_000))


@pytest.mark.slow
@settings(deadline=None, max_examples=settings.default.max_examples // 2)
@given(st.sampled_from(sorted(EXACT)), holes())
def test_content_of_a_hole_is_known_to_the_byte(kind, hole):
    missing, lost, in_all = with_hole(kind, hole)
    assert (missing, missing) == lost
    assert (1, lost) == (in_all.places, in_all.application_bytes)


@pytest.mark.slow
@settings(deadline=None, max_examples=settings.default.max_examples // 2)
@given(st.sampled_from(sorted(BOUNDED)), holes())
def test_content_under_a_block_cipher_is_known_within_its_padding(kind, hole):
    missing, _, lost = with_hole(kind, hole)
    assert lost.least <= missing <= lost.most
    assert lost.most - lost.least <= 255 * lost.records
    assert missing + 15 * lost.records >= lost.most  # OpenSSL pads no more than it must


@pytest.mark.parametrize("kind", [*EXACT, *BOUNDED])
def test_a_hole_inside_of_one_record_costs_that_record(kind):
    missing, _, lost = with_hole(kind, (700, 800))
    assert 16_384 == missing
    assert (1, True) == (lost.records, lost.least <= missing <= lost.most)


def without_the_last(count, session):
    """What is told of a hole of so many pieces before the last one."""
    everything = list(pieces(session.wire))
    lost, last = everything[-1 - count : -1], everything[-1]
    last.missing_before = sum(len(piece.data) for piece in lost)
    conversation = TlsConversation(ring(), resume_after_loss=True)
    plain = [one for piece in [*everything[: -1 - count], last] for one in conversation.feed(piece)]
    assert plain[-1].after_loss
    return conversation.take_lost(SERVER), conversation.summary().lost.to_client


def test_several_holes_before_the_same_plaintext_are_one_amount():
    session = Writer().start()
    session.server.send(b"the first thing said")
    for size in (10, 20, 30, 40):
        session.server.send(b"x" * size)
    everything = list(pieces(session.wire))
    first, second, third, last = everything[-4:]
    conversation = TlsConversation(ring(), resume_after_loss=True)
    for piece in everything[:-4]:
        conversation.feed(piece)
    behind = run(SERVER, second.offset + 9, second.data[9:], 90, missing_before=len(first.data) + 9)
    assert [] == conversation.feed(behind)  # nothing of it can be read
    last.missing_before = len(third.data)
    assert [True] == [one.after_loss for one in conversation.feed(last)]
    assert (60, 60) == conversation.take_lost(SERVER)
    assert conversation.take_lost(SERVER) is None


@pytest.mark.parametrize("unlike", ["ticket", "padding"])
def test_a_side_that_mixes_other_things_in_may_have_done_so_in_the_hole(unlike):
    session = Writer().start()
    session.server.send(b"one")
    if unlike == "ticket":
        session.server.send(message(4, b"ticket" * 9), 22)
    else:
        session.server.send(b"padded", padding=70)
    for _ in range(3):
        session.server.send(b"x" * 10)
    told, lost = without_the_last(2, session)
    assert ((20, 20), (0, 20)) == ((lost.least, lost.most), told)


def test_tickets_before_the_first_data_do_not_count_as_such():
    session = Writer().start()
    session.server.send(message(4, b"ticket" * 9), 22)
    for size in (3, 10, 10, 10):
        session.server.send(b"x" * size)
    assert (20, 20) == without_the_last(2, session)[0]


def test_nobody_knows_what_was_said_where_the_keys_changed_in_the_hole():
    session = Writer().start()
    for _ in range(3):
        session.server.send(b"x" * 10)
    session.server.update_key()
    session.server.send(b"y" * 10)
    assert (None, None) == without_the_last(2, session)


def test_nobody_knows_what_was_said_where_nothing_was_read_before():
    """The hole begins in the handshake, under other keys."""
    session = Writer().start()
    for _ in range(3):
        session.server.send(b"x" * 10)
    everything = list(pieces(session.wire))
    finished = next(index for index, piece in enumerate(everything) if index > 3 and piece.direction == SERVER)
    rest = [piece for piece in everything[finished:] if piece.direction == SERVER][:-1]
    kept = [piece for piece in everything if piece not in rest]
    kept[-1].missing_before = sum(len(piece.data) for piece in rest)
    conversation = TlsConversation(ring(), resume_after_loss=True)
    plain = [one for piece in kept for one in conversation.feed(piece)]
    assert [b"x" * 10] == [one.data for one in plain]
    assert (None, None) == (conversation.take_lost(SERVER), conversation.summary().lost.to_client)
