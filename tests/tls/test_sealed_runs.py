"""Records that the reading thread opens: all that is told, and when a direction stops, against the same read at once."""

import os
import ssl
import threading
from collections.abc import Callable, Iterator
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from captool.capture.frames import Frames, Stage
from captool.capture.read_ahead import AVAILABLE, ReadAhead
from captool.capture.walk import PcapWalk
from captool.tls import libcrypto
from captool.tls.conversation import TlsConversation
from captool.tls.record_reader import RecordReader
from captool.tls.sealed_runs import SealedRuns
from tests.tls.stacks import CLIENT, SERVER, contexts, identity, key_ring, pieces, record
from tests.tls.test_record_reader import SIZES, chacha, direct, gcm, header, masked, tls13
from tests.tls.writer import Writer, ring

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
CIPHERS = pytest.mark.parametrize("suite", [gcm, chacha, tls13])


@pytest.fixture(autouse=True)
def the_thread(without: Callable[[str], None]) -> None:
    if not AVAILABLE or libcrypto.cipher("gcm", bytes(16)) is None:
        without("captool is installed without its compiled modules, or there is no libcrypto, so that no other thread opens records")


def reading_ahead(descriptor: int) -> ReadAhead:
    """A thread that reads from there."""

    def new_frames() -> Frames:
        return Frames(bytearray(4096), 2048, 100)

    first = new_frames()
    first.needed = 16
    ahead = ReadAhead(new_frames, Stage())
    assert ahead.start(descriptor, PcapWalk(False, 1000, 16, 1, 1 << 20), first)
    return ahead


class Threads:
    """Two threads that read ahead: one that is always busy with that, and one that has nothing else to do."""

    def __init__(self) -> None:
        self.reading, self.writing = os.pipe()
        self.busy = reading_ahead(self.reading)
        self.nothing = os.open(os.devnull, os.O_RDONLY)
        self.idle = reading_ahead(self.nothing)
        self.made: list[SealedRuns] = []  # the thread may be looking at any of them

    def sealed(self, which: str, portion: int = 1) -> SealedRuns:
        made = SealedRuns(1, portion)
        getattr(self, which).set_aside(made)
        self.made.append(made)
        return made

    def close(self) -> None:
        os.close(self.writing)
        for ahead in (self.busy, self.idle):
            ahead.stop()
        os.close(self.reading)
        os.close(self.nothing)


@pytest.fixture(scope="module")
def threads() -> Iterator[Threads]:
    made = Threads()
    yield made
    made.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "captool-read-ahead"]


WHICH = pytest.mark.parametrize("which", ["busy", "idle"])


def reader_of(data: bytes, sealed: SealedRuns | None = None) -> RecordReader:
    reader = RecordReader(1, [1000], [7], [7_000], len(data), sealed)
    reader.turn_to(data, 0, 1000)
    return reader


def told(reader: RecordReader, released: list) -> tuple:
    return reader.position, reader.sequence, reader.opened, [run.records() for run in released], [bytes(run.data) for run in released]


@WHICH
@CIPHERS
@pytest.mark.parametrize("portion", [1, 1000, 100_000])
def test_records_of_all_sizes_are_opened_as_by_the_caller(threads, which, suite, portion):
    opener, records = suite([os.urandom(size) for size in SIZES], direct)
    data = b"".join(records) + records[4][:50]
    expected, released = reader_of(data), []
    expected.read(opener, suite is tls13, released)
    for _ in range(20):
        reader, beside = reader_of(data, threads.sealed(which, portion)), []
        assert reader.read_beside(opener, suite is tls13, beside)
        assert not beside
        reader.take_beside(beside)
        assert told(expected, released) == told(reader, beside)


@WHICH
@CIPHERS
@pytest.mark.parametrize("cut", range(1, len(SIZES)))
def test_a_run_that_began_before_goes_on(threads, which, suite, cut):
    opener, records = suite([os.urandom(size) for size in SIZES], direct)
    first, second = b"".join(records[:cut]), b"".join(records[cut:])
    seen = []
    for sealed in (None, threads.sealed(which)):
        reader, released = RecordReader(1, [1000], [7], [7_000], len(first + second), sealed), []
        reader.turn_to(first, 0, 1000)
        reader.read(opener, suite is tls13, released)
        reader.turn_to(second, 0, 1000 + len(first))
        if sealed is None:
            reader.read(opener, suite is tls13, released)
        else:
            assert reader.read_beside(opener, suite is tls13, released)
            reader.take_beside(released)
        seen.append(told(reader, released))
    assert seen[0] == seen[1]


@WHICH
@CIPHERS
@pytest.mark.parametrize("bad", range(len(SIZES)))
def test_nothing_of_a_run_is_taken_in_which_one_record_does_not_authenticate(threads, which, suite, bad):
    contents = [bytes([65 + number]) * size for number, size in enumerate(SIZES)]
    opener, records = suite(contents, direct)
    records[bad] = records[bad][:-1] + bytes([records[bad][-1] ^ 1])
    reader, released = reader_of(b"".join(records), threads.sealed(which)), []
    assert reader.read_beside(opener, suite is tls13, released)
    reader.take_beside(released)
    assert (0, 0, 0, [], []) == told(reader, released)
    reader.read(opener, suite is tls13, released)  # says which record it is
    assert (sum(map(len, records[:bad])), bad) == (reader.position, reader.sequence)
    assert b"".join(contents[:bad]) == b"".join(bytes(run.data) for run in released)
    for run in released:
        behind = bytes(run.data.obj)[len(run.data) : sum(SIZES)]
        assert not behind.strip(b"\0")


@WHICH
@pytest.mark.parametrize("inner", [b"\x16", b"text\x17\0", b"\x15", b"\0", b"text\x16"])
def test_what_is_no_application_data_inside_is_left_to_the_caller(threads, which, inner):
    iv = bytes(range(12))
    opener, records = tls13([b"one", b"two"], direct)
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    head = header(len(inner) + 16)
    records.append(head + AESGCM(bytes(16)).encrypt(masked(iv, 2), inner, head))
    for portion in (1, 1000):
        reader, released = reader_of(b"".join(records), threads.sealed(which, portion)), []
        assert reader.read_beside(opener, True, released)
        reader.take_beside(released)
        assert (0, 0, 0, [], []) == told(reader, released)


@pytest.mark.parametrize(
    "data",
    [header(23) + bytes(23), b"\x16" + header(40)[1:] + bytes(40), b"\x17\x02" + header(40)[2:] + bytes(40), header(18433) + bytes(18433), b""],
    ids=["too short", "a handshake", "another version", "too long", "nothing"],
)
def test_what_cannot_be_application_data_is_not_left_to_the_thread(threads, data):
    opener, records = gcm([b"text"], direct)
    for before in (b"", records[0]):
        if before + data != records[0]:
            assert not reader_of(before + data, threads.sealed("idle")).read_beside(opener, False, [])


@pytest.mark.parametrize(("suite", "beside"), [(gcm, 0), (tls13, 1)])
def test_a_run_for_which_there_is_no_room_is_not_left_to_the_thread(threads, suite, beside):
    opener, records = suite([bytes(1000), b""], direct)
    data = b"".join(records)
    for room in (1000 + beside, 999 + beside):
        reader, released = RecordReader(1, [0], [0], [0], room, threads.sealed("idle")), []
        reader.turn_to(data, 0, 0)
        assert (room == 1000 + beside) == reader.read_beside(opener, suite is tls13, released)
        if room == 1000 + beside:
            reader.take_beside(released)
            assert bytes(1000) == bytes(released[0].data)


def test_nobody_is_waited_for_who_does_not_listen(threads):
    opener, records = gcm([bytes(1000)] * 100, direct)
    data = b"".join(records)
    assert not reader_of(data, SealedRuns(1, 1)).read_beside(opener, False, [])
    assert not reader_of(data, SealedRuns()).read_beside(opener, False, [])
    closed = threads.sealed("idle")
    closed.close()
    assert not reader_of(data, closed).read_beside(opener, False, [])
    full = threads.sealed("busy")
    readers = [reader_of(data, full) for _ in range(3)]
    assert [True, True, False] == [reader.read_beside(opener, False, []) for reader in readers]
    for reader in readers[:2]:
        released = []
        reader.take_beside(released)
        assert bytes(100_000) == bytes(released[0].data)


def test_the_buffer_of_a_run_is_used_again_only_when_nobody_looks_at_it(threads):
    opener, records = gcm([bytes([7]) * 1000], direct)
    sealed = threads.sealed("idle")
    seen = []
    for _ in range(6):
        reader, released = reader_of(records[0], sealed), []
        assert reader.read_beside(opener, False, released)
        reader.take_beside(released)
        seen.append(released[0].data)
        del reader, released
    assert 6 == len({id(data.obj) for data in seen})
    kept = [id(data.obj) for data in seen[:4]]
    seen.clear()
    reader, released = reader_of(records[0], sealed), []
    assert reader.read_beside(opener, False, released)
    reader.take_beside(released)
    assert id(released[0].data.obj) in kept


def read_all(conversation: TlsConversation, feed: list, sealed: SealedRuns | None) -> tuple[list, list, object]:
    """The plaintext, whether more was wanted after each piece, and the summary."""
    plain, wanted = [], []
    for number, piece in enumerate(feed):
        if number % 3 == 2:
            plain += [one for run in conversation.catch_up() for one in run.records()]
        plain += conversation.feed(piece)
        assert sealed is not None or not conversation.behind
        wanted.append(conversation.wants_more)
    plain += [one for run in conversation.catch_up() for one in run.records()]
    return plain, wanted, conversation.summary()


@st.composite
def damaged(draw, wire):
    """A conversation in pieces of any size, some of it damaged or lost."""
    size = draw(st.sampled_from([700, 5000, 30_000, 1 << 20]))
    joined = []
    for direction, data in wire:
        if joined and joined[-1][0] == direction and len(joined[-1][1]) < size:
            joined[-1] = (direction, joined[-1][1] + data)
        else:
            joined.append((direction, data))
    for _ in range(draw(st.integers(0, 2))):
        index = draw(st.integers(0, len(joined) - 1))
        direction, data = joined[index]
        at = draw(st.integers(0, len(data) - 1))
        joined[index] = (direction, data[:at] + bytes([data[at] ^ 1 << draw(st.integers(0, 7))]) + data[at + 1 :])
    feed = list(pieces(joined))
    if draw(st.booleans()):
        draw(st.sampled_from(feed)).missing_before = draw(st.integers(1, 3000))
    return feed[: draw(st.integers(1, len(feed)))]


@cache
def talk12(ciphers):
    dialogue = [(CLIENT, b"go"), (SERVER, b"yes" * 3000), *((SERVER, bytes([number]) * 900 * number) for number in range(1, 20))]
    dialogue += [(CLIENT, bytes(5000)), (SERVER, b"last" * 5000), (CLIENT, b"end" * 2000)]
    recording = record(*contexts(ciphers=ciphers, version=ssl.TLSVersion.TLSv1_2), dialogue)
    return recording.wire, key_ring(identity(), key_log=recording.key_log)


@st.composite
def talks13(draw):
    """A session of TLS 1.3 with everything that may come between application data."""
    session = Writer().start()
    session.client.send(b"hello")
    session.server.send(b"hello")
    for _ in range(draw(st.integers(1, 30))):
        side = draw(st.sampled_from([session.client, session.server, session.server]))
        what = draw(st.sampled_from(["data"] * 12 + ["update", "ticket", "alert", "padded", "empty"]))
        if what == "update":
            side.update_key()
        elif what == "ticket":
            side.send(b"\x04\0\0\1t", 22)
        elif what == "alert":
            side.send(b"\1\0", 21)
        elif what == "empty":
            side.send(b"")
        else:
            side.send(bytes([65]) * draw(st.integers(1, 3000)), padding=5 if what == "padded" else 0)
    return session.wire


@WHICH
@pytest.mark.parametrize("ciphers", ["AES128-GCM-SHA256", "AES256-GCM-SHA384", "ECDHE-RSA-CHACHA20-POLY1305", "AES128-CCM", "AES128-SHA"])
@given(data=st.data())
def test_a_session_of_tls12_tells_the_same(threads, which, ciphers, data):
    wire, secrets = talk12(ciphers)
    feed, sealed = data.draw(damaged(wire)), threads.sealed(which, data.draw(st.sampled_from([1, 3000, 1 << 16])))
    expected = read_all(TlsConversation(secrets, resume_after_loss=True), feed, None)
    assert expected == read_all(TlsConversation(secrets, resume_after_loss=True, sealed=sealed), feed, sealed)


@WHICH
@settings(max_examples=3 * settings.default.max_examples)
@given(data=st.data())
def test_a_session_of_tls13_tells_the_same(threads, which, data):
    feed, sealed = data.draw(damaged(data.draw(talks13()))), threads.sealed(which, data.draw(st.sampled_from([1, 3000, 1 << 16])))
    expected = read_all(TlsConversation(ring(), resume_after_loss=True), feed, None)
    assert expected == read_all(TlsConversation(ring(), resume_after_loss=True, sealed=sealed), feed, sealed)
