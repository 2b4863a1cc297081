"""Sequences of packets of which a finding would say too much: what the capture does not show is not said."""

import pytest

from builders import ACK, FIN, RST, SECOND, SYN, Talk
from captool.direction import Moment, PerDirection
from captool.findings import find
from captool.findings.coverage import doubted
from captool.findings.probes import keepalive_too_slow
from captool.findings.silence import silent_drop, unanswered_request
from captool.findings.verdict import verdict
from tables import START, attach, capture, connection, dropped_tcp, gap, keepalive, lost_output, tables, tcp
from tests.findings.judged import asked, found, judged, later


@pytest.fixture
def path(tmp_path):
    return tmp_path / "trace.pcap"


def codes(path, talk):
    return {finding.code for finding in judged(path, talk).findings}


def burst_again(talk):
    """Three segments, all of them sent again 200 ms later; then the capture ends."""
    begin = talk.next[1]
    talk.server(b"a" * 100).server(b"b" * 100).server(b"c" * 100).wait(0.2)
    for number, byte in enumerate(b"abc"):
        talk.server(bytes([byte]) * 100, seq=begin + 100 * number)
    return talk


def test_a_burst_sent_again_once_at_the_end_of_the_capture_is_no_silent_drop(path):
    assert "silent-drop" not in codes(path, burst_again(asked()))
    (idle,) = found(path, burst_again(asked().wait(601)), "idle-gap")
    assert ("warning", True) == (idle.severity, "No packet answers what was sent after it" in idle.message)


def test_output_sent_again_once_at_the_end_of_the_capture_is_not_lost():
    soon = dropped_tcp().unanswered.to_client
    soon = soon._replace(last=soon.first._replace(ts_ns=soon.first.ts_ns + SECOND // 5), retransmissions=3)
    one = dropped_tcp(close="open", unanswered=PerDirection(None, soon))
    assert "output-lost" not in {finding.code for finding in find(tables(connection(one, exchanges=(attach(lost=lost_output()),))))}


@pytest.mark.parametrize("again", [0, 1])
def test_data_after_an_idle_time_that_nothing_answers_did_not_cross(path, again):
    talk = asked().wait(601).server(b"output")
    for _ in range(again):
        talk.wait(0.2).server(b"output", seq=talk.next[1] - 6)
    (idle,) = found(path, talk, "idle-gap")
    assert ("warning", False) == (idle.severity, "crossed again" in idle.message)
    assert "quiet-but-healthy" not in codes(path, talk)
    (idle,) = found(path, talk.client(), "idle-gap")
    assert ("info", True) == (idle.severity, "Data crossed again" in idle.message)


def test_data_that_is_acknowledged_and_was_not_recorded_ends_an_idle_time(path):
    talk = asked()
    for _ in range(60):
        talk.wait(10).server(b"output", captured=False).client()
    assert {"missing-keepalive", "idle-gap"}.isdisjoint(codes(path, talk))
    (one,) = judged(path, talk).connections
    assert 10.1 * SECOND > one.tcp.longest_gap_ns


def test_in_a_one_sided_capture_acknowledgements_show_that_data_crossed(path):
    talk = Talk().opened().client(b"GET /")
    for _ in range(60):
        talk.wait(10).server(b"output").client()
    talk.packets = [packet for packet in talk.packets if packet.frame[26:30] == bytes([10, 0, 0, 1])]
    assert "idle-gap" not in codes(path, talk)


def test_a_capture_of_the_servers_direction_alone_did_not_begin_in_the_middle(path):
    talk = asked()
    talk.packets = [packet for packet in talk.packets if packet.frame[26:30] == bytes([10, 0, 0, 2])]
    assert "mid-stream" not in codes(path, talk)
    talk.packets = talk.packets[1:]
    assert "mid-stream" in codes(path, talk)


def test_a_reset_after_the_answer_to_its_senders_own_probe_answers_nothing(path):
    talk = asked()
    for _ in range(3):
        talk.wait(15).client(seq=talk.next[0] - 1).server()
    assert "reset-after-idle" not in codes(path, talk.wait(1).client(flags=RST | ACK))


def test_a_reset_that_answers_a_probe_is_told_with_the_silence_before_that_probe(path):
    talk = asked().wait(7200).client(seq=1000).server()
    talk.next[0] = 1006
    for pause in (75, 75):
        talk.wait(pause).client(seq=1005)
    (reset,) = found(path, talk.server(flags=RST, ack=0), "reset-after-idle")
    assert 76 > reset.evidence["idle_s"] >= 75


def test_a_probe_answered_since_makes_the_silence_before_a_reset_shorter(path):
    talk = asked().wait(700).client(seq=asked().next[0] - 1).server().wait(10).client(b"x").server(flags=RST, ack=0)
    (reset,) = found(path, talk, "reset-after-idle")
    assert 11 > reset.evidence["idle_s"] >= 10


def test_probes_that_are_not_due_yet_did_not_stop(path):
    """Linux: 7200 s, then 75 s while they are not answered, then 7200 s again."""
    talk = asked()
    probe = talk.next[0] - 1
    talk.wait(7200).client(seq=probe).wait(75).client(seq=probe).server().wait(400)
    assert "possible-drop" not in codes(path, later(talk, 1))
    assert "possible-drop" in codes(path, later(talk, 22000))


def test_a_peer_that_other_connections_only_call_is_not_alive(path):
    talk = asked()
    for pause in (0, 1, 2, 4):
        talk.wait(pause).client(b"data", seq=1006)
    (drop,) = found(path, talk, "silent-drop")
    assert "medium" == drop.confidence
    talk.packets += Talk(client_end=("10.0.0.1", 5000), client_isn=7, now=talk.now).client(flags=SYN, ack=0).packets
    (drop,) = found(path, talk, "silent-drop")
    assert "medium" == drop.confidence
    talk.packets += Talk(client_end=("10.0.0.1", 5001), client_isn=9, now=talk.now).opened().packets
    (drop,) = found(path, talk, "silent-drop")
    assert "high" == drop.confidence


def test_what_is_missing_may_be_missing_in_the_capture_only():
    missing = keepalive("missing", longest_idle_ns=601 * SECOND)
    idle = tcp(gaps=(gap(601),), keepalive=PerDirection(missing, missing))
    for one, summary in ((idle, capture(dropped_packets=3)), (idle._replace(stream_holes=PerDirection(0, 10)), capture())):
        (finding,) = [each for each in find(tables(connection(one), capture_summary=summary)) if each.code == "missing-keepalive"]
        assert "medium" == finding.confidence
    (finding,) = [each for each in find(tables(connection(idle))) if each.code == "missing-keepalive"]
    assert "high" == finding.confidence


def test_what_the_other_side_proves_does_not_become_less_sure_by_a_hole():
    holed = tables(connection(dropped_tcp(stream_holes=PerDirection(10, 0))))
    (drop,) = [each for each in find(holed) if each.code == "silent-drop"]
    sure = drop._replace(confidence="high", evidence={**drop.evidence, "proven_by_other_side": True})
    assert ("medium", [sure]) == (drop.confidence, list(doubted(holed, [sure])))


def test_a_probe_answered_since_makes_the_silence_before_a_drop_shorter():
    dead = dropped_tcp(gaps=(gap(710, silence_s=700),))
    (drop,) = silent_drop(tables(connection(dead)))
    heard = dead.unanswered.to_client._replace(peer_last_heard=Moment(4, START + 592 * SECOND))
    (answered,) = silent_drop(tables(connection(dead._replace(unanswered=PerDirection(None, heard)))))
    assert ["high", "medium"] == [drop.confidence, answered.confidence]
    assert "without a packet" not in answered.message


def test_slow_probes_did_not_cut_what_died_at_another_time():
    present = keepalive("present", probes=1, answered=1)
    slow = dropped_tcp(gaps=(gap(700, packet=5),), keepalive=PerDirection(present, present))
    (finding,) = keepalive_too_slow(tables(connection(slow)))
    assert ("error", True) == (finding.severity, finding.message.startswith("Keepalive probes came too late"))
    (finding,) = keepalive_too_slow(tables(connection(slow._replace(gaps=(gap(700, packet=3),)))))
    assert ("info", False) == (finding.severity, finding.message.startswith("Keepalive probes came too late"))


def test_a_drop_in_the_midst_of_data_is_not_told_with_the_missing_probes_of_an_earlier_idle_time():
    early = tables(connection(dropped_tcp(gaps=(gap(601, packet=3),))))
    assert "keepalive" not in verdict(early, find(early))[0]


def test_a_server_may_still_answer_a_client_that_closed_its_side():
    waiting = attach(status=None, response=None, hijack=None)
    half = tcp(conn_state="S2", close="fin")
    assert [] == list(unanswered_request(tables(connection(half, exchanges=(waiting,)))))
    assert "capture-ended" in {finding.code for finding in find(tables(connection(half, exchanges=(waiting,))))}
    assert 1 == len(list(unanswered_request(tables(connection(tcp(), exchanges=(waiting,))))))


def test_data_sent_again_before_the_reset_came_was_reset_and_did_not_cross(path):
    talk = asked().wait(601).client(b"again").wait(0.3)
    talk.client(b"again", seq=talk.next[0] - 5).server(flags=RST, ack=0)
    (reset,) = found(path, talk, "reset-after-idle")
    assert ((6, 7, 9), 602 > reset.evidence["idle_s"] > 600) == (reset.packets, True)
    (idle,) = found(path, talk, "idle-gap")
    assert ("warning", True) == (idle.severity, "answered by a reset" in idle.message)


def test_a_reset_of_a_side_that_had_closed_is_its_own(path):
    talk = asked().client(flags=FIN | ACK).server().wait(70).server(b"late").client(flags=RST, ack=0)
    assert "reset-after-idle" not in codes(path, talk)


@pytest.mark.parametrize("seen", ["both", "client", "neither answer"])
def test_a_response_that_the_capture_lacks_may_have_been_given(path, seen):
    talk = Talk(server_end=("10.0.0.2", 2375)).opened().client(b"GET /v1.41/info HTTP/1.1\r\nHost: x\r\n\r\n")
    if seen != "neither answer":
        talk.server(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", captured=False)
    talk.client().server(flags=FIN | ACK).client().client(flags=FIN | ACK).server()
    if seen == "client":
        talk.packets = [packet for packet in talk.packets if packet.frame[26:30] == bytes([10, 0, 0, 1])]
    said = {"unanswered-request", "server-closed", "capture-ended"} & codes(path, talk)
    assert said == ({"unanswered-request", "server-closed"} if seen == "neither answer" else set())


def test_a_capture_of_one_direction_does_not_tell_who_closed_first(path):
    talk = asked().server(flags=FIN | ACK).client().wait(90).client(flags=FIN | ACK).server()
    talk.packets = [packet for packet in talk.packets if packet.frame[26:30] == bytes([10, 0, 0, 1])]
    assert {"half-close-idle", "quiet-but-healthy", "client-timeout"}.isdisjoint(codes(path, talk))
