"""A path of which one direction is dead, as captures at both of its ends show it."""

from pathlib import Path

import pytest

from tests.builders import ACK, FIN, Talk
from tests.findings.judged import asked, found, judged


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "trace.pcap"


def in_vain(*, heard: bool = True, window: int = 500, seconds: float = 2, size: int = 4) -> Talk:
    """Data of the server again and again, and between them probes of the client, which acknowledge what was before."""
    talk = asked()
    acked = talk.next[1]
    talk.server(b"m" * size)
    for _ in range(5):
        talk.wait(seconds).server(b"m" * size, seq=acked)
        if heard:
            talk.client(seq=talk.next[0] - 1, ack=acked, window=window)
    return talk


def again(*, new: bool = False, seconds: float = 2) -> Talk:
    """The client's end of a path that loses its acknowledgements: the same data comes again, each time it is acknowledged."""
    talk = asked().server(b"more").client()
    for _ in range(5):
        talk.wait(seconds).server(b"more", seq=talk.next[1] - 4).client()
    return talk.server(b"new").client() if new else talk


def test_data_that_a_peer_who_is_heard_does_not_acknowledge_is_lost_one_way(path: Path) -> None:
    (finding,) = found(path, in_vain(), "one-way-loss")
    assert ("error", "high", "to_client") == (finding.severity, finding.confidence, finding.evidence["direction"])
    assert "sent 4 bytes of data again and again (5 retransmissions in 10.0" in finding.message
    assert "the client, which was heard until 10.0" in finding.message
    verdict = judged(path, in_vain()).verdict
    assert "has one dead direction: what the server sends does not reach the client, while the client is still heard" in verdict[0]


@pytest.mark.parametrize("talk", [in_vain(heard=False), in_vain(window=0), in_vain(seconds=0.1)], ids=["silent", "shut", "soon"])
def test_a_peer_that_is_silent_or_full_or_may_still_answer_tells_of_no_dead_direction(path: Path, talk: Talk) -> None:
    assert [] == found(path, talk, "one-way-loss")


def test_large_segments_alone_are_an_mtu_black_hole(path: Path) -> None:
    assert [] == found(path, in_vain(size=1448), "one-way-loss")


def test_a_peer_that_closed_need_not_acknowledge(path: Path) -> None:
    assert [] == found(path, in_vain().client(flags=ACK | FIN, ack=in_vain().next[1] - 4), "one-way-loss")


def test_data_that_comes_again_although_it_was_acknowledged_tells_of_lost_acknowledgements(path: Path) -> None:
    (finding,) = found(path, again(), "one-way-loss")
    assert ("error", "medium", "to_server") == (finding.severity, finding.confidence, finding.evidence["direction"])
    assert "The server sent the same data 5 times more in 8.0" in finding.message
    assert "the client's packets do not reach the server" in finding.message
    assert [] == found(path, again(), "quiet-but-healthy")
    late = again().wait(70)
    (idle,) = found(path, late.server(b"more", seq=late.next[1] - 4).client(), "idle-gap")
    assert ("warning", False) == (idle.severity, "nothing on this path cut it" in idle.message)


def test_acknowledgements_that_were_lost_for_a_while_were_an_outage(path: Path) -> None:
    assert [] == found(path, again(new=True), "one-way-loss")
    (finding,) = found(path, again(new=True), "outage")
    assert ("answers", "medium") == (finding.evidence["what"], finding.confidence)
    assert "in that time the server did not get the client's acknowledgements" in judged(path, again(new=True)).verdict[0]


@pytest.mark.parametrize("new", [True, False])
def test_data_that_comes_again_at_once_tells_nothing(path: Path, new: bool) -> None:
    assert {"one-way-loss", "outage"}.isdisjoint(finding.code for finding in judged(path, again(new=new, seconds=0.2)).findings)
