"""Packets that the recorder lost: told once, not told as lost by the network, and no claim made from their absence."""

import pytest

from captool.report.text import render
from tests.builders import ACK, FIN, RST, Talk
from tests.findings.judged import asked, found, judged, later


@pytest.fixture
def path(tmp_path):
    return tmp_path / "trace.pcap"


def lost(talk):
    """More data of the server, and its acknowledgement, that the recorder lost, a minute and more after the last, and what followed."""
    return talk.wait(700).server(b"more", captured=False).client(captured=False).wait(700).server(b"last").client()


def codes(analysis):
    return {finding.code for finding in analysis.findings}


def test_what_was_acknowledged_and_not_seen_is_told_once(path):
    analysis = judged(path, lost(asked()))
    (told,) = [finding for finding in analysis.findings if finding.code == "capture-loss"]
    assert ("warning", "high", 0) == (told.severity, told.confidence, told.connection)
    assert {"to_server": 0, "to_client": 4, "proof_needs": None} == told.evidence
    assert "the client acknowledged 4 bytes of the server that it does not have. They did arrive, so the network did not lose them" in told.message
    assert "The capture lacks packets of 1 connection that did arrive" in analysis.verdict[-1]


def test_of_both_directions_and_of_a_fin(path):
    talk = asked().server(b"line", captured=False).client(b"x", captured=False).server().client()
    assert "the server acknowledged 1 byte, or the FIN, of the client and the client acknowledged 4 bytes of the server" in found(path, talk, "capture-loss")[0].message


def test_a_time_in_which_bytes_crossed_unseen_is_not_called_idle(path):
    assert codes(judged(path, lost(asked()))).isdisjoint({"missing-keepalive", "idle-gap"})
    assert {"missing-keepalive", "idle-gap"} <= codes(judged(path, asked().wait(1400).server(b"last").client()))


def test_probes_that_were_not_recorded_are_no_proof_of_an_outage(path):
    talk = asked()
    for wait in (5, 5, 5, 17, 5, 5):
        talk.wait(wait).client(seq=talk.next[0] - 1).server()
    talk.server(b"more").client()
    (out,) = found(path, talk, "outage")
    assert ("low", "silence") == (out.confidence, out.evidence["what"])
    assert out.message.endswith("the path, or the client's host, was out for that time, or the recorder was; then it went on.")
    assert "was cut off for 17.00 s, or not recorded, and then went on" in judged(path, talk).verdict[0]


@pytest.mark.parametrize("captured", [True, False])
def test_a_reset_of_a_client_that_had_closed_unseen_is_none_after_an_idle_time(path, captured):
    """Its FIN is lost; what comes then is answered by the host, and stands where that acknowledges the FIN."""
    talk = asked().wait(700).client(flags=FIN | ACK, captured=captured).server(b"bye", ack=1007 if captured else None)
    talk.client(flags=RST, seq=talk.next[0])
    assert "reset-after-idle" not in codes(judged(path, talk))


def test_who_closed_first_is_not_known_where_a_fin_may_be_missing(path):
    talk = Talk().opened().client(b"GET /").server(b"200").client().client(flags=FIN | ACK, captured=False)
    analysis = judged(path, talk.wait(40).server(flags=FIN | ACK).client())
    assert None is analysis.connections[0].tcp.closed_by
    assert codes(analysis).isdisjoint({"server-closed", "client-timeout", "half-close-idle"})


def test_how_long_the_client_waited_is_not_known_where_packets_are_missing(path):
    talk = Talk().opened().client(b"GET /").server(b"1", captured=False).client(captured=False).wait(12).client(b"GET /2").server()
    talk.wait(30).client(flags=FIN | ACK)
    assert [] == found(path, talk, "client-timeout")


def http(answered):
    """A request that the server answers, in the capture or not, and the client's reset, which acknowledges the answer."""
    talk = Talk().opened().client(b"GET /c HTTP/1.1\r\nHost: x\r\n\r\n").server(captured=False)
    talk.server(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" if answered else b"", captured=False)
    return talk.client(flags=RST | ACK)


def test_a_response_that_only_a_reset_acknowledges_may_have_come(path):
    assert [] == found(path, http(answered=True), "unanswered-request")
    (found_,) = found(path, http(answered=False), "unanswered-request")
    assert "high" == found_.confidence


def test_what_is_drawn_from_absence_is_worded_with_the_loss(path):
    """On another connection of the same capture a SYN had no answer."""
    talk = asked().server(b"line", captured=False).client()
    talk.packets.append(Talk(client_end=("10.0.0.7", 1), now=talk.now).client(flags=2, ack=0).packets[0])
    (unanswered,) = found(path, later(talk, 60), "connection-unanswered")
    assert unanswered.message.endswith("The capture lacks packets (capture-loss), so what is missing may be missing only in it.")
    said = "got no answer to the SYN, as far as a capture shows that lacks packets."
    assert any(sentence.endswith(said) for sentence in judged(path, talk).verdict)
    whole = asked()
    whole.packets.append(Talk(client_end=("10.0.0.7", 1), now=whole.now).client(flags=2, ack=0).packets[0])
    assert "capture-loss" not in found(path, later(whole, 60), "connection-unanswered")[0].message


def test_how_often_probes_come_is_not_said_where_some_may_be_missing(path):
    """Of four probes in twenty seconds two were recorded, while another connection shows that the capture lacks packets."""
    talk = asked()
    for number in range(4):
        talk.wait(5).client(seq=talk.next[0] - 1, captured=number in (0, 3)).server(captured=number in (0, 3))
    alone = judged(path, talk.wait(1).server(b"more").client())
    talk.packets += Talk(client_end=("10.0.0.9", 5000), now=talk.now).opened().server(b"x", captured=False).client().packets
    beside = judged(path, talk)
    (told,) = [finding.message for finding in alone.findings if finding.code == "quiet-but-healthy"]
    assert "bridged by 2 keepalive probes of the client every 15.0" in told
    (told,) = [finding.message for finding in beside.findings if finding.code == "quiet-but-healthy"]
    assert "bridged by keepalive probes of the client, of which the capture has 2 (it lacks packets); data crossed again after it." in told


def test_the_report_counts_probes_and_responses_only_as_far_as_the_capture_has_them(path):
    talk = http(answered=True)
    text = " ".join(render(judged(path, talk), connection=0).split())
    assert "response not in the capture, or not found in it" in text
    talk = asked().server(b"line", captured=False).client().wait(5)
    talk.client(seq=talk.next[0] - 1).server()
    assert "client sent at least 1 probe" in " ".join(render(judged(path, talk), connection=0).split())


def test_answers_to_probes_may_have_been_lost_with_the_rest(path):
    talk = asked().server(b"line", captured=False).client()
    for answered in (True, False, False, False):
        talk.wait(5).client(seq=talk.next[0] - 1).server(captured=answered)
    (told,) = found(path, talk, "keepalive-unanswered")
    assert ("info", "low") == (told.severity, told.confidence)
    assert "lost its server" not in " ".join(judged(path, talk).verdict)
    whole = asked()
    for _ in range(3):
        whole.wait(5).client(seq=whole.next[0] - 1)
    assert "error" == found(path, whole, "keepalive-unanswered")[0].severity
