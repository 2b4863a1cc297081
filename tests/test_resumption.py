"""Sessions resumed before their original is seen: read a second time once its secret is known. Real sessions of OpenSSL, as capture files."""

import ssl
from functools import cache

import pytest

from captool.analysis import analyze
from captool.capture.reader import CaptureReader
from captool.connections import MAX_READINGS, read_connections
from captool.direction import Direction
from captool.key_table import key_table
from captool.keys.material import KeyRing, SessionSecret
from captool.packets.decode import Decoder
from captool.tcp.tracker import Tracker
from captool.transcript import Printed, Said, plaintext, transcript
from tables import NONE, tls
from tests.tls.captures import talk, write
from tests.tls.stacks import CLIENT, DIALOGUE, SERVER, contexts, identity, key_ring, record, said

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
OUTPUT = b"\x01\0\0\0\0\0\0\x06hello\n"
ATTACH = [
    (CLIENT, b"POST /v1.41/containers/ab12/attach?stream=1&stdout=1 HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"),
    (
        SERVER,
        b"HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.multiplexed-stream\r\n"
        b"Connection: Upgrade\r\nUpgrade: tcp\r\n\r\n" + OUTPUT,
    ),
    (SERVER, OUTPUT),
]


@cache
def sessions(tickets=True, suite="AES128-SHA", chain=1, dialogue=tuple(DIALOGUE)):
    """An original and those that resume it, each the one before it, where the server renews its ticket."""
    both = contexts(ciphers=suite, tickets=tickets)
    found = [record(*both, list(dialogue))]
    for _ in range(chain):
        found.append(record(*both, list(dialogue), session=found[-1].session))
        assert found[-1].client.session_reused
    return found


def backwards(path, recordings, **fields):
    """The later a session was made, the earlier it stands in the capture."""
    return write(path, *(talk(one.wire, 40000 + n, start_s=n, **fields) for n, one in enumerate(reversed(recordings))))


@pytest.mark.parametrize("tickets", [True, False])
@pytest.mark.parametrize("suite", ["AES128-SHA", "AES256-GCM-SHA384"])
def test_original_later_in_the_capture(tmp_path, tickets, suite):
    found = analyze(backwards(tmp_path / "c.pcap", sessions(tickets, suite)), key_ring(identity()))
    resumed, original = (one.tls for one in found.connections)
    assert ("decrypted", "decrypted") == (resumed.status, original.status)
    assert (True, False, True) == (resumed.resumed, original.resumed, resumed.finished_verified)
    assert str(identity().key_file) == resumed.secret_origin
    assert len(said(DIALOGUE, SERVER)) == resumed.plaintext_bytes.to_client


def test_original_on_a_connection_that_ends_later(tmp_path):
    original, resumed = sessions()
    first, second = talk(original.wire, 40000, start_s=5), talk(resumed.wire, 40001, start_s=4)
    first.packets[0:3] = talk(original.wire[:0], 40000, start_s=3).packets  # opened before the other, spoken on after it
    found = analyze(write(tmp_path / "c.pcap", first, second), key_ring(identity()))
    assert [False, True] == [one.tls.resumed for one in found.connections]
    assert ["decrypted"] * 2 == [one.tls.status for one in found.connections]


def test_original_in_another_file(tmp_path):
    original, resumed = sessions()
    early = write(tmp_path / "a.pcap", talk(resumed.wire, 40000))
    late = write(tmp_path / "b.pcap", talk(original.wire, 40001, start_s=60))
    for order in ([early, late], [late, early]):
        assert ["decrypted"] * 2 == [one.tls.status for one in analyze(order, key_ring(identity())).connections]
    (alone,) = analyze(early, key_ring(identity())).connections
    assert ("encrypted", "resumed-without-original") == (alone.tls.status, alone.tls.reason)


def test_chain_in_order_of_time_behind_an_original_that_comes_last(tmp_path):
    original, *resumed = sessions(chain=3)
    order = [*resumed, original]
    capture = write(tmp_path / "c.pcap", *(talk(one.wire, 40000 + n, start_s=n) for n, one in enumerate(order)))
    assert ["decrypted"] * 4 == [one.tls.status for one in analyze(capture, key_ring(identity())).connections]


class Renewed:
    """A link of a chain whose tickets a server renews (OpenSSL keeps a valid one): it opens with `needs`, and gives `brings` then."""

    wants_more = False
    losses = None

    def __init__(self, ring, needs, brings):
        self.ring, self.needs, self.brings = ring, needs, brings

    def feed(self, _piece, _acknowledged):
        raise AssertionError("not wanted")

    def finish(self, _tcp):
        if self.needs is not None and self.needs not in self.ring.resumable:
            return tls(status="encrypted", reason="resumed-without-original", plaintext_bytes=NONE, resumes=(self.needs,)), ()
        self.ring.resumable[self.brings] = SessionSecret("", b"", b"", "")
        return tls(), ()


@pytest.mark.parametrize("links", [1, MAX_READINGS, MAX_READINGS + 1])
def test_chain_backwards_takes_a_reading_for_each_link_up_to_the_bound(tmp_path, links):
    capture = write(tmp_path / "c.pcap", *(talk([(CLIENT, b"\x16\x03\x01")], 40000 + n, start_s=n) for n in range(links + 1)))
    ring, names = KeyRing(), [bytes([n]) for n in range(links + 1)]
    readers = []

    def opened(piece):
        number = piece.connection
        readers.append(number)
        return Renewed(ring, names[number + 1] if number < links else None, names[number])

    with CaptureReader([capture]) as reader:
        ended = [one for chunk in read_connections(reader, Decoder(), Tracker(), ring, open_conversation=opened) for one in chunk]
    states = {one.id: one.tls.status for one in ended}
    assert list(range(links + 1)) == sorted(states)
    assert [number for number in states if states[number] == "encrypted"] == list(range(links - MAX_READINGS))
    assert links + 1 + sum(links - n for n in range(min(links, MAX_READINGS))) == len(readers)


def test_key_log_of_the_original_opens_what_resumes_it(tmp_path):
    original, resumed = sessions(suite="ECDHE-RSA-AES128-GCM-SHA256")
    capture = backwards(tmp_path / "c.pcap", [original, resumed])
    lines = [line for line in original.key_log.splitlines() if line.startswith(b"CLIENT_RANDOM")]
    found = analyze(capture, key_ring(key_log=b"\n".join(lines))).connections
    assert ["decrypted"] * 2 == [one.tls.status for one in found]


def test_numbers_times_and_order_stay_those_of_the_first_reading(tmp_path):
    capture = backwards(tmp_path / "c.pcap", sessions())
    opened, closed = analyze(capture, key_ring(identity())), analyze(capture)
    assert [one.tcp for one in closed.connections] == [one.tcp for one in opened.connections]
    assert closed.capture == opened.capture


def test_follow_prints_what_a_session_said_that_was_resumed_before_its_original(tmp_path):
    capture = backwards(tmp_path / "c.pcap", sessions(dialogue=tuple(ATTACH)))
    printed = [one for one in transcript(capture, key_ring(identity())) if isinstance(one, Printed)]
    assert {0: b"hello\n" * 2, 1: b"hello\n" * 2} == {
        number: b"".join(one.output.data for one in printed if one.connection == number) for number in (0, 1)
    }


def test_raw_bytes_come_once(tmp_path):
    capture = backwards(tmp_path / "c.pcap", sessions())
    heard = [one for one in plaintext(capture, Direction.TO_CLIENT, 0, key_ring(identity())) if isinstance(one, Said)]
    assert said(DIALOGUE, SERVER) == b"".join(one.data for one in heard)


def test_key_table_knows_the_key_of_a_session_resumed_early(tmp_path):
    capture = backwards(tmp_path / "c.pcap", sessions())
    table = key_table(identity().key_file, capture)
    assert [True, True] == [one.useful for one in table.matches]


def test_nothing_is_read_twice_where_nothing_can_be_gained(tmp_path, monkeypatch):
    import captool.connections

    original, resumed = sessions()
    other = sessions(tickets=False)
    capture = write(tmp_path / "c.pcap", talk(resumed.wire, 40000), talk(other[0].wire, 40001, start_s=1))
    monkeypatch.setattr(captool.connections, "_read_again", None)
    found = analyze(capture, key_ring(identity())).connections
    assert ["resumed-without-original", None] == [one.tls.reason for one in found]
    assert original.wire


def test_capture_that_cannot_be_read_twice_stays_what_it_was(tmp_path):
    capture = backwards(tmp_path / "c.pcap", sessions())

    def gone(_done, _total):
        capture.write_bytes(b"")

    found = analyze(capture, key_ring(identity()), progress=gone).connections
    assert ["resumed-without-original", None] == [one.tls.reason for one in found]


def test_tls13_resumption_needs_its_own_secrets_only(tmp_path):
    both = contexts(version=ssl.TLSVersion.TLSv1_3)
    first = record(*both)
    second = record(*both, session=first.session)
    capture = backwards(tmp_path / "c.pcap", [first, second])
    found = analyze(capture, key_ring(key_log=second.key_log)).connections
    assert ["decrypted", "encrypted"] == [one.tls.status for one in found]
    assert (True, "no-matching-session-key") == (found[0].tls.resumed, found[1].tls.reason)


@pytest.mark.parametrize("jobs", [2, 3])
def test_several_processes_tell_what_one_tells(tmp_path, monkeypatch, jobs):
    monkeypatch.setattr("captool.analysis.SHARED_BYTES", 0)
    capture = backwards(tmp_path / "c.pcap", sessions(chain=4))
    shared, alone = (analyze(capture, key_ring(identity()), jobs=number) for number in (jobs, 1))
    assert ["decrypted"] * 5 == [one.tls.status for one in shared.connections]
    assert alone.connections == shared.connections


def test_file_that_became_another_one_is_not_mistaken(tmp_path):
    capture = backwards(tmp_path / "c.pcap", sessions())
    other = write(
        tmp_path / "other.pcap", talk(sessions(suite="AES256-GCM-SHA384")[0].wire, 50000), talk(sessions()[0].wire, 50001, start_s=1)
    )

    def replaced(_done, _total):
        capture.write_bytes(other.read_bytes())

    found = analyze(capture, key_ring(identity()), progress=replaced).connections
    assert [(40000, "resumed-without-original"), (40001, None)] == [(one.tcp.client.port, one.tls.reason) for one in found]
