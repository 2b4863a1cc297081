"""What is a keepalive probe, what is its answer, and what only looks like one."""

from pathlib import Path

import pytest

from captool.tcp.connection import Keepalive
from tests.builders import ACK, FIN, ISN_NEAR_WRAP, PSH, SECOND, Talk, connection


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "trace.pcap"


def probed(talk: Talk, times: int, every: float, answered: bool = True) -> Talk:
    for _ in range(times):
        talk.wait(every - 0.002).client(seq=talk.next[0] - 1)
        if answered:
            talk.server()
        else:
            talk.wait(0.001)
    return talk


@pytest.mark.parametrize("isn", [1000, ISN_NEAR_WRAP, 2**32 - 1, 2**32 - 2])
def test_probes_of_an_idle_connection_are_counted_with_their_interval(path: Path, isn: int) -> None:
    talk = probed(Talk(client_isn=isn, server_isn=isn).opened().client(b"GET /").server(b"200"), 5, every=15)
    seen = connection(path, talk.server()).keepalive.to_server
    assert Keepalive("present", 5, 5, 15 * SECOND, 15 * SECOND, 15 * SECOND, last_probe=seen.last_probe) == seen


def test_the_side_that_does_not_probe_is_missing_only_after_a_long_enough_idle_time(path: Path) -> None:
    talk = probed(Talk().opened().client(b"GET /").server(b"200").client(), 5, every=15)
    assert "missing" == connection(path, talk).keepalive.to_client.status
    assert "not-observable" == connection(path, talk, keepalive_window_ns=90 * SECOND).keepalive.to_client.status


def test_a_capture_that_starts_in_the_middle_of_the_idle_time_shows_all_probes(path: Path) -> None:
    talk = probed(Talk(), 38, every=15)
    seen = connection(path, talk)
    assert (38, 38) == (seen.keepalive.to_server.probes, seen.keepalive.to_server.answered)
    assert seen.client_guessed
    assert 15 * SECOND == seen.keepalive.to_server.interval_ns


def test_unanswered_probes_are_probes(path: Path) -> None:
    seen = connection(path, probed(Talk().opened().client(b"x" * 9).server(), 4, every=75, answered=False))
    assert (4, 0) == (seen.keepalive.to_server.probes, seen.keepalive.to_server.answered)
    assert "open" == seen.close


def test_crossing_probes_are_both_answered(path: Path) -> None:
    talk = Talk().opened().client(b"a").server(b"b").client()
    for _ in range(3):
        talk.wait(15)
        talk.client(seq=talk.next[0] - 1)
        talk.server(seq=talk.next[1] - 1)
        talk.server()
        talk.client()
    seen = connection(path, talk)
    assert [(3, 3), (3, 3)] == [(side.probes, side.answered) for side in seen.keepalive]


def test_a_probe_with_one_byte_of_rubbish_is_a_probe_and_not_part_of_the_stream(path: Path) -> None:
    talk = Talk().opened().client(b"abc").server()
    talk.wait(30).client(b"\0", seq=talk.next[0] - 1, flags=ACK).server()
    seen = connection(path, talk)
    assert (1, 1, 0) == (seen.keepalive.to_server.probes, seen.keepalive.to_server.answered, seen.retransmissions.to_server)
    assert 3 == seen.payload_bytes.to_server


def test_a_retransmitted_last_byte_is_no_probe(path: Path) -> None:
    talk = Talk().opened().client(b"a")
    talk.wait(1).client(b"a", seq=talk.next[0] - 1)
    seen = connection(path, talk)
    assert (0, 1) == (seen.keepalive.to_server.probes, seen.retransmissions.to_server)


def test_a_retransmitted_last_byte_whose_acknowledgement_was_lost_behind_the_capture_is_no_probe(path: Path) -> None:
    talk = Talk().opened().client(b"a").server()
    talk.wait(1).client(b"a", seq=talk.next[0] - 1, flags=ACK | PSH)
    seen = connection(path, talk)
    assert (0, 1) == (seen.keepalive.to_server.probes, seen.retransmissions.to_server)


@pytest.mark.parametrize("length", [0, 1])
def test_a_zero_window_probe_is_no_keepalive(path: Path, length: int) -> None:
    talk = Talk().opened().client(b"x" * 500).server(window=0)
    for _ in range(4):
        talk.wait(5).client(b"y" * length, seq=talk.next[0] - 1, flags=ACK).server(window=0)
    assert 0 == connection(path, talk).keepalive.to_server.probes


def test_duplicate_acknowledgements_are_no_probes(path: Path) -> None:
    talk = Talk().opened().client(b"x" * 500).server()
    for _ in range(4):
        talk.wait(1).server().client()
    assert [0, 0] == [side.probes for side in connection(path, talk).keepalive]


def test_the_last_acknowledgement_after_crossing_fins_is_no_probe(path: Path) -> None:
    talk = Talk().opened().client(b"x").server(b"y").client()
    end = talk.next[1]
    talk.client(flags=ACK | FIN).server(flags=ACK | FIN, ack=talk.next[0] - 1)
    talk.client(ack=end, seq=talk.next[0]).server()
    assert [0, 0] == [side.probes for side in connection(path, talk).keepalive]


def test_probes_while_half_closed_are_counted(path: Path) -> None:
    talk = Talk().opened().client(b"x").server().client(flags=ACK | FIN).server()
    probed(talk, 3, every=30)
    assert 3 == connection(path, talk).keepalive.to_server.probes


def test_a_direction_of_which_no_packet_was_captured_is_not_observable(path: Path) -> None:
    talk = Talk().opened()
    talk.packets = [talk.packets[0], talk.packets[2]]
    talk.client(b"x").wait(300).client(b"y")
    assert "not-observable" == connection(path, talk).keepalive.to_client.status


def test_frames_seen_twice_do_not_halve_the_interval(path: Path) -> None:
    talk = probed(Talk().opened().client(b"GET /").server(b"200").client(), 5, every=15)
    talk.packets = [copy for packet in talk.packets for copy in (packet, packet)]
    seen = connection(path, talk)
    assert (5, 15 * SECOND) == (seen.keepalive.to_server.probes, seen.keepalive.to_server.interval_ns)


def test_of_a_capture_of_one_direction_it_is_not_said_that_it_has_no_probes(path: Path) -> None:
    talk = probed(Talk().opened().client(b"GET /").server(b"200").client(), 5, every=75)
    talk.packets = [packet for packet in talk.packets if packet.frame[26:30] == bytes([10, 0, 0, 1])]
    assert ["not-observable", "not-observable"] == [side.status for side in connection(path, talk).keepalive]
