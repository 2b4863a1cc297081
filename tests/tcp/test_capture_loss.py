"""Packets that the recorder lost: what the sequence numbers of the others prove, and what nothing says any more."""

from pathlib import Path

import pytest

from captool.direction import PerDirection
from captool.tcp.connection import TcpConnection
from tests.builders import ACK, FIN, ISN_NEAR_WRAP, RST, SECOND, Talk, connection


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "trace.pcap"


def probe(talk: Talk, after: float = 15) -> Talk:
    return talk.wait(after - 0.002).client(seq=talk.next[0] - 1).server()


@pytest.mark.parametrize("isn", [1000, ISN_NEAR_WRAP])
def test_a_probe_shows_that_all_was_acknowledged_in_packets_that_were_not_recorded(path: Path, isn: int) -> None:
    """SYN, SYN-ACK, ACK, GET; its acknowledgement, the answer and the acknowledgement of that are lost; then three probes."""
    talk = Talk(client_isn=isn, server_isn=isn).opened().client(b"GET /")
    talk.server(captured=False).server(b"200", captured=False).client(captured=False)
    for _ in range(3):
        probe(talk)
    seen = connection(path, talk)
    assert (3, 3, 15 * SECOND, None) == (*seen.keepalive.to_server[1:4], seen.keepalive.to_server.first_probe_ns)
    assert (0, 3) == tuple(seen.stream_holes)
    (gap,) = seen.gaps
    assert ((3, 0), 5) == (tuple(gap.probes), gap.after_packet)  # idle since the first probe, as far as is known


def test_the_last_acknowledgement_alone_may_be_missing(path: Path) -> None:
    talk = Talk().opened().client(b"GET /").server(b"200").client().client(b"GET /2").server(captured=False)
    for _ in range(2):
        probe(talk, after=5)
    assert (2, 2) == connection(path, talk).keepalive.to_server[1:3]


@pytest.mark.parametrize(
    "talk",
    [
        Talk().opened().client(b"x").client(seq=1001),  # an acknowledgement that the byte after it has overtaken
        Talk().opened().server(b"1", window=0).client(b"GET /").wait(5).client(seq=1005),  # of a window that is shut
        Talk().opened().client(b"GET /").wait(5).client(seq=1003),  # older still
        Talk().opened().client(b"GET /").client(flags=FIN | ACK).wait(5).client(seq=1006),  # before its FIN
    ],
    ids=["overtaken", "window", "old", "fin"],
)
def test_what_else_stands_there_is_no_probe(path: Path, talk: Talk) -> None:
    assert 0 == connection(path, talk).keepalive.to_server.probes


def quiet(talk: Talk) -> TcpConnection:
    return talk.server(b"line").client().wait(100)


def test_a_time_in_which_bytes_crossed_unseen_is_no_idle_time(path: Path) -> None:
    talk = quiet(Talk().opened()).server(b"more", captured=False).client(captured=False).wait(100).server(b"last").client()
    seen = connection(path, talk)
    assert ((), 0, 0, 4) == (seen.gaps, seen.gap_count, seen.longest_gap_ns, seen.stream_holes.to_client)
    assert ["not-observable"] * 2 == [side.status for side in seen.keepalive]


def test_nor_is_one_at_the_end_of_which_they_were_acknowledged(path: Path) -> None:
    seen = connection(path, quiet(Talk().opened()).server(b"more", captured=False).client())
    assert ((), 4) == (seen.gaps, seen.stream_holes.to_client)


def test_nor_one_that_an_unseen_fin_ended(path: Path) -> None:
    talk = quiet(Talk().opened()).client(flags=FIN | ACK, captured=False).server().wait(30).server(flags=FIN | ACK).client()
    seen = connection(path, talk)
    assert [30] == [round(gap.duration_ns / SECOND) for gap in seen.gaps]
    assert (1, None, None) == (seen.stream_holes.to_server, seen.closed_by, seen.closing)


def test_who_closed_is_known_where_only_the_second_fin_is_missing(path: Path) -> None:
    talk = Talk().opened().client(b"GET /").server(b"200").client().server(flags=FIN | ACK).client().client(flags=FIN | ACK, captured=False)
    assert ("server", 1) == ((seen := connection(path, talk.server())).closed_by, seen.stream_holes.to_server)


def test_other_idle_times_of_it_are_judged(path: Path) -> None:
    talk = quiet(Talk().opened()).server(b"more", captured=False).client().wait(70).server(b"last").client()
    seen = connection(path, talk)
    assert [70] == [round(gap.duration_ns / SECOND) for gap in seen.gaps]
    assert (1, 70) == (seen.gap_count, round(seen.longest_gap_ns / SECOND))
    assert ["missing"] * 2 == [side.status for side in seen.keepalive]


def test_what_is_sent_again_was_lost_on_its_way_and_the_idle_time_was_one(path: Path) -> None:
    talk = quiet(Talk().opened()).server(b"more", captured=False).server(b"last").client(ack=5005)
    talk.server(b"more", seq=5005).client()
    seen = connection(path, talk)
    assert [100] == [round(gap.duration_ns / SECOND) for gap in seen.gaps]
    assert (0, 0) == tuple(seen.stream_holes)


def test_a_sender_that_does_not_try_again_was_answered(path: Path) -> None:
    talk = Talk().opened().server(b"line").client().server(b"more").wait(0.2).server(b"more", seq=5005).client(captured=False)
    seen = connection(path, talk.wait(20).client())
    assert (1, None) == (seen.retransmissions.to_client, seen.outages.to_client)


def test_where_bytes_crossed_unseen_their_acknowledgements_may_have_been_lost_with_them(path: Path) -> None:
    talk = Talk().opened().server(b"line").client().server(b"more").client(captured=False).server(b"unseen", captured=False)
    talk.wait(20).server(b"last").wait(1).server(b"last", seq=talk.next[1] - 4).client()
    seen = connection(path, talk)
    assert (6, None) == (seen.stream_holes.to_client, seen.outages.to_client)


@pytest.mark.parametrize(("flags", "beyond"), [(RST, 1), (RST | ACK, 0)])
def test_a_reset_without_acknowledgement_stands_where_its_provoker_acknowledges(path: Path, flags: int, beyond: int) -> None:
    talk = Talk().opened().client(b"GET /").server(b"200").client().client(flags=FIN | ACK, captured=False)
    seen = connection(path, talk.wait(10).client(seq=talk.next[0], flags=flags))
    assert PerDirection(beyond, 0) == seen.lacking


def test_a_reset_may_acknowledge_what_was_not_recorded(path: Path) -> None:
    talk = Talk().opened().client(b"GET /").server(captured=False).server(b"200", captured=False).client(flags=RST | ACK)
    seen = connection(path, talk)
    assert seen.reset is not None
    assert (3, 0) == (seen.reset.acknowledged_unseen, seen.stream_holes.to_client)


def test_an_unseen_fin_behind_acknowledgements_alone_makes_them_no_probes(path: Path) -> None:
    talk = Talk(server_isn=5000)
    talk.server().server(b"line").client().wait(10).client(flags=FIN | ACK, captured=False).server(b"bye")
    assert 0 == connection(path, talk).keepalive.to_server.probes


def test_a_capture_of_one_direction_lacks_nothing_of_the_other(path: Path) -> None:
    talk = Talk().opened().client(b"GET /").server(b"200").client()
    talk.packets = [packet for packet in talk.packets if packet.frame[26:30] == bytes([10, 0, 0, 1])]
    assert PerDirection(0, 0) == connection(path, talk).lacking
