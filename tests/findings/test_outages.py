"""Outages after which the connection went on: told where the sender was recorded, and not called healthy."""

import pytest

from tests.builders import SECOND
from tests.findings.judged import asked, found, judged


@pytest.fixture
def path(tmp_path):
    return tmp_path / "trace.pcap"


def held_up(seconds, times=5):
    """Data of the server that is sent again `times` times in `seconds`, and acknowledged then."""
    talk = asked().server(b"line").client().wait(1).server(b"more")
    for _ in range(times):
        talk.wait(seconds / times).server(b"more", seq=talk.next[1] - 4)
    return talk.client().wait(1).server(b"last").client()


def probed(unanswered, every=2.0, idle=5.0, before=2):
    """Probes of the client that are answered at first, then not, then again; then the server goes on."""
    talk = asked()
    for number in range(before + unanswered + 1):
        talk.wait(every if before < number <= before + unanswered else idle).client(seq=talk.next[0] - 1)
        if not before <= number < before + unanswered:
            talk.server()
    return talk.wait(1).server(b"more").client()


def test_data_that_is_acknowledged_after_having_been_sent_again_for_long_was_held_up(path):
    (out,) = found(path, held_up(26), "outage")
    assert ("warning", "high", (9, 15)) == (out.severity, out.confidence, out.packets)
    assert "For 26.01 s (packets 9 to 15) the client acknowledged nothing of what the server sent, and sent again (5 retransmissions)" in out.message
    analysis = judged(path, held_up(26))
    assert "was cut off for 26.01 s and then went on" in analysis.verdict[0]
    assert "quiet-but-healthy" not in {finding.code for finding in analysis.findings}


@pytest.mark.parametrize("seconds", [0.9, 2.5])
def test_data_that_was_held_up_for_a_moment_is_no_outage(path, seconds):
    assert [] == found(path, held_up(seconds), "outage")


def test_a_reader_that_stopped_is_no_outage_of_the_path(path):
    talk = asked().server(b"line").client(window=0).wait(1).server(b"m")
    for _ in range(5):
        talk.wait(2).server(b"m", seq=talk.next[1] - 1).client(window=0, ack=talk.next[1] - 1)
    assert [] == found(path, talk.client().server(b"last").client(), "outage")


def test_probes_that_went_unanswered_for_a_while_were_an_outage(path):
    (out,) = found(path, probed(4), "outage")
    assert ("warning", "high", 4) == (out.severity, out.confidence, out.evidence["times"])
    assert "4 keepalive probes of the client in a row (packets 11 to 14, 6.00 s) went unanswered before the server was heard again" in out.message
    analysis = judged(path, probed(4))
    assert {"quiet-but-healthy", "keepalive-unanswered"}.isdisjoint(finding.code for finding in analysis.findings)
    assert "was cut off for 6.00 s" in analysis.verdict[0]


def test_the_last_probes_of_an_outage_may_be_answered_by_data(path):
    talk = asked()
    for _ in range(4):
        talk.wait(2).client(seq=talk.next[0] - 1)
    (out,) = found(path, talk.server(b"more").client(), "outage")
    assert 4 == out.evidence["times"]


@pytest.mark.parametrize("talk", [probed(0), probed(1), probed(4, every=0.3)], ids=["answered", "one", "close"])
def test_a_lost_probe_or_probes_that_are_close_are_no_outage(path, talk):
    assert [] == found(path, talk, "outage")


def test_how_often_probes_come_is_told_by_those_that_were_answered(path):
    (one,) = judged(path, probed(6, before=4)).connections
    side = one.tcp.keepalive.to_server
    assert 5 == pytest.approx(side.interval_ns / SECOND, abs=0.1)
    assert (11, 5) == (side.probes, side.answered)


def test_where_none_was_answered_how_often_they_were_tried(path):
    talk = asked().wait(60)
    for _ in range(4):
        talk.client(seq=talk.next[0] - 1).wait(7)
    (one,) = judged(path, talk).connections
    assert 7 == pytest.approx(one.tcp.keepalive.to_server.interval_ns / SECOND, abs=0.1)


def test_probes_that_did_not_come_for_a_while_were_cut_off_on_their_way(path):
    talk = asked()
    for wait in (5, 5, 5, 17, 5, 5):
        talk.wait(wait).client(seq=talk.next[0] - 1).server()
    talk.server(b"more").client()
    (out,) = found(path, talk, "outage")
    assert ("low", "client") == (out.confidence, out.evidence["proof_needs"])
    assert "no packet came for 17.00 s, although the client's keepalive probes come every 5.00 s" in out.message
    assert "none of the client's regular keepalive probes came" in judged(path, talk).verdict[0]
    assert [] == found(path, talk, "quiet-but-healthy")


@pytest.mark.parametrize(("lost", "told"), [(12, 1), (9, 0)])
def test_a_path_that_loses_a_tenth_is_told(path, lost, told):
    talk = asked()
    for number in range(90):
        talk.server(b"x" * 100)
        if number < lost:
            talk.wait(0.2).server(b"x" * 100, seq=talk.next[1] - 100)
        talk.client()
    slow = found(path, talk, "many-retransmissions")
    assert told == len(slow)
    if told:
        assert "12 of 104 packets of the server (12%) carried data that it had sent before, and 0 (0%) came late" in slow[0].message
        assert "info" == slow[0].severity
        assert "loses or reorders packets: of 104 packets of the server 12 were sent again and 0 overtaken by others" in judged(path, talk).verdict[1]


def test_a_path_that_changes_the_order_of_a_tenth_is_told(path):
    talk = asked()
    for number in range(40):
        talk.server(b"x" * 100)
        if number % 6 == 5:  # two of them come in the other order
            talk.packets[-1].ts_ns, talk.packets[-2].ts_ns = talk.packets[-2].ts_ns, talk.packets[-1].ts_ns
            talk.packets[-2:] = talk.packets[:-3:-1]
    assert [] == found(path, talk, "many-retransmissions")  # six of them are few
    for _ in range(8):
        talk.server(b"x" * 100).server(b"x" * 100)
        talk.packets[-1].ts_ns, talk.packets[-2].ts_ns = talk.packets[-2].ts_ns, talk.packets[-1].ts_ns
        talk.packets[-2:] = talk.packets[:-3:-1]
    (slow,) = found(path, talk, "many-retransmissions")
    assert (0, 14) == (slow.evidence["retransmissions"], slow.evidence["reordered"])
    assert "(24%) came late, overtaken by others: the path changes the order of packets" in slow.message


def test_what_was_sent_again_in_an_outage_or_in_vain_is_told_once(path):
    assert [] == found(path, held_up(26, times=12), "many-retransmissions")
    talk = asked().server(b"more")
    for _ in range(12):
        talk.wait(2).server(b"more", seq=talk.next[1] - 4)
    assert [] == found(path, talk, "many-retransmissions")
