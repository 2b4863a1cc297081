"""Large packets that vanish while small ones pass, as recorded behind a router whose far link has an MTU of 1300 and whose ICMP is filtered."""

from pathlib import Path

import pytest

from captool.findings.so_far import Judging, Told, remarks
from captool.tcp.connection import TcpConnection
from tests.builders import ACK, FIN, Talk, connection
from tests.findings.judged import asked, found, judged


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "trace.pcap"


def black_hole(*, tail: bool = True, size: int = 1448, times: int = 6) -> Talk:
    """A flight of three large segments and a small one; the small one is sent again first (tail loss probe) and arrives."""
    talk = asked()
    head = talk.next[1]
    for length in (size, size, size, 156):
        talk.server(b"x" * length)
    if tail:
        talk.server(b"x" * 156, seq=head + 3 * size).client(ack=head)
    for again in range(times):
        talk.wait(0.2 * 2**again).server(b"x" * size, seq=head)
    return talk


def test_large_segments_that_vanish_while_a_small_one_arrives(path: Path) -> None:
    (finding,) = found(path, black_hole(), "mtu-black-hole")
    assert ("error", "medium") == (finding.severity, finding.confidence)
    assert "the same 1,448 bytes again 6 times in 12.61 s" in finding.message
    assert "which asked for them again: so does a path that drops large packets without saying so" in finding.message
    told = judged(path, black_hole())
    assert "Connection 0 stands still because the server's large packets (1,448 bytes of data) do not arrive while smaller ones do" in told.verdict[0]
    assert "silent-drop" not in {one.code for one in told.findings}


def test_the_client_gives_up_on_it(path: Path) -> None:
    talk = black_hole()
    assert [] != found(path, talk.wait(2).client(flags=ACK | FIN, ack=talk.next[1] - 3 * 1448 - 156), "mtu-black-hole")


def test_a_client_that_is_still_heard_and_whose_data_arrives_may_say_the_same(path: Path) -> None:
    talk = black_hole(tail=False)
    lost = talk.next[1] - 3 * 1448 - 156
    for _ in range(3):
        talk.wait(1).client(b"more", ack=lost).server()
    (finding,) = found(path, talk, "mtu-black-hole")
    assert ("low", 0) == (finding.confidence, finding.evidence["duplicate_acks"])


@pytest.mark.parametrize(
    "talk",
    [
        black_hole(tail=False),  # nothing came back: the path is dead as far as this capture tells
        black_hole(size=500),  # what is so small passes every tunnel
        black_hole(times=3),  # within three seconds a burst of losses is as likely
    ],
)
def test_without_a_sign_that_the_path_carries_small_ones_it_is_not_called_so(path: Path, talk: Talk) -> None:
    assert [] == found(path, talk, "mtu-black-hole")


def test_what_arrived_in_the_end_was_not_too_large(path: Path) -> None:
    assert [] == found(path, black_hole().client(), "mtu-black-hole")


def test_a_peer_that_sends_its_own_data_again_hears_nothing_either(path: Path) -> None:
    talk = black_hole(tail=False)
    lost = talk.next[1] - 3 * 1448 - 156
    talk.client(b"more", ack=lost)
    for _ in range(3):
        talk.wait(1).client(b"more", seq=talk.next[0] - 4, ack=lost)
    assert [] == found(path, talk, "mtu-black-hole")


def test_it_is_said_while_it_happens(path: Path) -> None:
    seen: TcpConnection = connection(path, black_hole())
    said = [remark.sentence for remark in remarks(seen, Told(), Judging((), (), chosen=False), lambda: (True, None))]
    assert any("large packets vanish so far: the server sent the same 1,448 bytes again 6 times" in sentence for sentence in said)


def at_the_client(seconds: float) -> Talk:
    """As recorded there: of the flight only the small segment came."""
    talk = asked()
    head = talk.next[1]
    talk.server(b"x" * 1448, captured=False).server(b"x" * 1448, captured=False).server(b"x" * 156)
    return talk.client(ack=head).wait(seconds).client(flags=ACK | FIN, ack=head)


def test_the_client_sees_that_large_segments_never_came(path: Path) -> None:
    (finding,) = found(path, at_the_client(12), "mtu-black-hole")
    assert ("warning", "low", 2896) == (finding.severity, finding.confidence, finding.evidence["missing_bytes"])
    assert "perhaps an MTU black hole" in judged(path, at_the_client(12)).verdict[0]
    assert [] == found(path, at_the_client(1), "mtu-black-hole")


def test_what_the_client_has_and_the_capture_lacks_is_no_black_hole(path: Path) -> None:
    talk = asked()
    talk.server(b"x" * 1448, captured=False).server(b"x" * 156).client().wait(12).client(flags=ACK | FIN)
    assert [] == found(path, talk, "mtu-black-hole")


def test_keepalive_probes_of_the_receiver_ask_for_nothing(path: Path) -> None:
    talk = black_hole(tail=False)
    lost = talk.next[1] - 3 * 1448 - 156
    for _ in range(3):
        talk.wait(1).client(seq=talk.next[0] - 1, ack=lost)
    (finding,) = found(path, talk, "mtu-black-hole")
    assert ("low", 0) == (finding.confidence, finding.evidence["duplicate_acks"])
    assert "asked for them again" not in finding.message
