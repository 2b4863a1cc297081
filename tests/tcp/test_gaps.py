"""Idle times: where they begin and end, what is kept of them, and when silence is no gap."""

from pathlib import Path

import pytest

from captool.direction import PerDirection
from tests.builders import ACK, FIN, PSH, RST, SECOND, START, SYN, Packet, Talk, analyze, connection, ethernet, ip, tcp


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "trace.pcap"


def test_a_gap_lasts_from_the_last_acknowledgement_to_the_next_data(path: Path) -> None:
    talk = Talk().opened().client(b"GET").server(b"200").client()
    begin = talk.now
    talk.wait(25).server(b"more").client()
    (gap,) = connection(path, talk).gaps
    assert (begin, 25 * SECOND + 1_000_000, 6, "data", 7) == (
        gap.start_ns, gap.duration_ns, gap.after_packet, gap.ended_by, gap.ended_by_packet)  # fmt: skip


def test_probes_do_not_end_a_gap_but_its_silence(path: Path) -> None:
    talk = Talk().opened().client(b"GET").server(b"200").client()
    for pause in (10, 12, 9):
        talk.wait(pause)
        talk.client(seq=talk.next[0] - 1).server()
    (gap,) = connection(path, talk.wait(5).server(b"more").client()).gaps
    assert PerDirection(3, 0) == gap.probes
    assert 36 * SECOND < gap.duration_ns < 37 * SECOND
    assert 12 * SECOND + 1_000_000 == gap.longest_silence_ns
    assert 6 == gap.after_packet


@pytest.mark.parametrize(("flags", "ended_by"), [(ACK | FIN, "fin"), (RST, "rst")])
def test_fin_and_rst_end_a_gap(path: Path, flags: int, ended_by: str) -> None:
    talk = Talk().opened().client(b"GET").server(b"200").client().wait(700).client(flags=flags)
    (gap,) = connection(path, talk).gaps
    assert ended_by == gap.ended_by


def test_the_end_of_the_capture_ends_the_last_gap_even_if_other_packets_tell_it(path: Path) -> None:
    talk = Talk().opened().client(b"GET").server(b"200").client().wait(700)
    other = Packet(ethernet(ip(b"ping", protocol=1)), talk.now)
    _, (seen,), _ = analyze(path, [*talk.packets, other])
    assert [("end-of-capture", 700 * SECOND, None)] == [(gap.ended_by, gap.duration_ns, gap.ended_by_packet) for gap in seen.gaps]


def test_silence_while_data_is_unacknowledged_is_no_gap(path: Path) -> None:
    talk = Talk().opened().client(b"GET").wait(100)
    talk.client(b"GET", seq=talk.next[0] - 3).server()
    assert () == connection(path, talk).gaps


def test_a_half_closed_connection_has_gaps(path: Path) -> None:
    talk = Talk().opened().client(b"GET").server().client(flags=ACK | FIN).server().wait(70).server(b"200").client()
    (gap,) = connection(path, talk).gaps
    assert 70 * SECOND + 1_000_000 == gap.duration_ns


def test_only_the_longest_gaps_are_kept_in_order_of_time(path: Path) -> None:
    talk = Talk().opened()
    for number in range(100):
        talk.wait(3 + (number * 7919) % 101).client(b"x").server()
    seen = connection(path, talk)
    assert (64, 100) == (len(seen.gaps), seen.gap_count)
    assert sorted(seen.gaps, key=lambda gap: gap.start_ns) == list(seen.gaps)
    assert seen.longest_gap_ns == max(gap.duration_ns for gap in seen.gaps)
    assert 39 * SECOND <= min(gap.duration_ns for gap in seen.gaps)


def test_a_handshake_alone_begins_a_gap(path: Path) -> None:
    (gap,) = connection(path, Talk().opened().wait(30).client(b"late")).gaps
    assert (3, 30 * SECOND + 1_000_000) == (gap.after_packet, gap.duration_ns)


def test_an_idle_connection_is_never_aged_out(path: Path) -> None:
    talk = Talk().opened().client(b"a").server().wait(10 * 86400).client(b"b").server()
    assert 10 * 86400 * SECOND < connection(path, talk).longest_gap_ns


def test_a_clock_that_steps_back_gives_no_negative_duration(path: Path) -> None:
    talk = Talk().opened().client(b"a").server().wait(-3600).client(b"b").server().wait(5).client(b"c")
    seen = connection(path, talk)
    assert all(gap.duration_ns >= 0 for gap in seen.gaps)
    assert seen.end_ns >= seen.start_ns


def silent_drop(times: int, last_word: int | None = None) -> Talk:
    talk = Talk().opened().client(b"attach").server(b"101").client().wait(605).server(b"line\n")
    for number in range(times):
        talk.wait(0.2 * 2**number).server(b"line\n", seq=talk.next[1] - 5)
    return talk if last_word is None else talk.server(flags=last_word)


@pytest.mark.parametrize("last_word", [None, RST, ACK | FIN])
def test_data_sent_again_and_again_into_silence_is_a_silent_drop(path: Path, last_word: int | None) -> None:
    seen = connection(path, silent_drop(7, last_word))
    lost = seen.unanswered.to_client
    assert "silent-drop" == seen.close
    assert lost is not None
    assert (7, 14, 5, 7, 6) == (lost.first.packet, lost.last.packet, lost.bytes, lost.retransmissions, lost.peer_last_heard.packet)
    assert (0, 5) == tuple(seen.unacknowledged_bytes)
    assert [605] == [gap.duration_ns // SECOND for gap in seen.gaps]


def test_one_retransmission_is_not_yet_a_silent_drop(path: Path) -> None:
    seen = connection(path, silent_drop(1))
    assert "open" == seen.close
    assert 1 == seen.unanswered.to_client.retransmissions


def test_a_receiver_that_answered_anything_later_did_not_vanish(path: Path) -> None:
    talk = silent_drop(7).client(ack=silent_drop(0).next[1] - 5)
    assert "open" == connection(path, talk).close


def test_a_silent_drop_in_a_capture_that_starts_after_it_is_seen(path: Path) -> None:
    talk = silent_drop(7)
    talk.packets = talk.packets[6:]
    seen = connection(path, talk)
    assert ("silent-drop", 5, ()) == (seen.close, seen.unacknowledged_bytes.to_client, seen.gaps)


def test_a_one_sided_capture_is_no_silent_drop_because_of_a_retransmission(path: Path) -> None:
    talk = Talk().opened().client(b"a" * 100)
    for _ in range(4):
        talk.wait(1).client(b"a" * 100, seq=talk.next[0] - 100)
    for _ in range(50):
        talk.client(b"b" * 1000)
    talk.packets = [packet for packet in talk.packets if packet.frame[26:30] == bytes([10, 0, 0, 1])]
    assert "open" == connection(path, talk).close


def test_a_syn_that_nobody_answers_is_no_gap(path: Path) -> None:
    talk = Talk()
    for _ in range(4):
        talk.client(flags=SYN, ack=0, seq=1000).wait(9)
    seen = connection(path, talk)
    assert ((), "S0", "open") == (seen.gaps, seen.conn_state, seen.close)


def test_times_far_outside_any_clock_do_no_harm(path: Path) -> None:
    frames = [Packet(ethernet(ip(tcp(flags=ACK | PSH, payload=b"x", seq=number))), ts) for number, ts in enumerate((0, 2**32 * SECOND - 1, START))]
    assert 1 == len(analyze(path, frames)[1])


@pytest.mark.parametrize("chunk", [300, 1 << 20])
def test_a_new_connection_on_the_same_ports_ends_the_idle_time_of_the_old_one(path: Path, chunk: int) -> None:
    talk = Talk().opened().client(b"GET").server(b"200").client().wait(700)
    again = Talk(client_isn=99000, server_isn=77000, now=talk.now).opened()
    _, (old, _), _ = analyze(path, talk.packets + again.packets, chunk_size=chunk)
    ((gap),) = old.gaps
    assert ("syn", 7, 700) == (gap.ended_by, gap.ended_by_packet, gap.duration_ns // SECOND)
