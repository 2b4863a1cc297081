"""Silent drops and lost output: what is claimed, and with which confidence."""

import pytest

from captool.direction import Moment, PerDirection
from captool.findings.silence import output_lost, silent_drop, unanswered_request
from captool.findings.verdict import verdict
from captool.tcp.connection import Reset
from tables import START, attach, connection, dropped_tcp, gap, lost_output, tables, tcp


def test_drop_after_a_gap_that_trips_a_timeout_is_certain():
    (finding,) = silent_drop(tables(connection(dropped_tcp())))
    assert ("silent-drop", "error", "high") == (finding.code, finding.severity, finding.confidence)
    assert "the server sent 162 bytes" in finding.message
    assert "7 retransmissions in 60.00 s" in finding.message
    assert "601.0 s (10 min 1 s) without a packet" in finding.message


def test_drop_without_an_idle_time_may_be_a_dead_peer():
    (finding,) = silent_drop(tables(connection(dropped_tcp(gaps=()))))
    assert "medium" == finding.confidence
    assert "The path or the client went away" in finding.message


def test_peer_alive_on_another_connection_makes_the_drop_certain():
    other = connection(tcp(id=1))
    (finding,) = silent_drop(tables(connection(dropped_tcp(gaps=())), other))
    assert "high" == finding.confidence


def test_one_sided_capture_gives_low_confidence():
    dead = dropped_tcp()
    unheard = dead.unanswered.to_client._replace(peer_last_heard=None)
    (finding,) = silent_drop(tables(connection(dead._replace(unanswered=PerDirection(None, unheard)))))
    assert "low" == finding.confidence


def test_lost_output_is_counted_by_stream_and_quoted():
    (finding,) = output_lost(tables(connection(dropped_tcp(), exchanges=(attach(lost=lost_output(b"result\noops\n", stderr=5)),))))
    assert "At least 12 bytes of container output (stdout 7, stderr 5) of POST /containers/ab12/attach were sent 8 times" in finding.message
    assert "result\noops\n" == finding.evidence["text"]


def test_output_in_flight_when_the_capture_ended_is_not_lost():
    open_connection = tcp(close="open", closed_by=None)
    assert [] == list(output_lost(tables(connection(open_connection, exchanges=(attach(lost=lost_output()),)))))


def test_request_without_response_on_an_ended_connection():
    waiting = attach(status=None, response=None)
    (finding,) = unanswered_request(tables(connection(dropped_tcp(gaps=(gap(601),)), exchanges=(waiting,))))
    assert "unanswered-request" == finding.code
    assert [] == list(unanswered_request(tables(connection(tcp(close="open"), exchanges=(waiting,)))))


def test_output_that_only_a_doubtful_reset_acknowledges_may_have_arrived():
    reset = Reset(Moment(9, 0), "client", 63, 64, 0, 7, True, 0, 0, None, None, newly_acknowledged=7)
    ended = tcp(close="rst", reset=reset, unacknowledged_bytes=PerDirection(0, 7))
    (finding,) = output_lost(tables(connection(ended, exchanges=(attach(lost=lost_output()),))))
    assert ("warning", "low") == (finding.severity, finding.confidence)
    assert "a reset in the client's name (packet 9) that does not look like the client's packets" in finding.message


def left(first_packet, own_last):
    """Output in packet 5 that was answered by a RST, after a FIN of the client's in packet `first_packet`."""
    reset = Reset(Moment(9, START), "client", 64, 64, 0, 7, False, 0, 0, Moment(own_last, START), Moment(5, START))
    ended = tcp(
        close="rst", closed_by="client", closing=Moment(first_packet, START), reset=reset, unacknowledged_bytes=PerDirection(0, 7)
    )
    return tables(connection(ended, exchanges=(attach(lost=lost_output()),)))


def test_output_for_a_client_that_had_closed_is_no_fault_of_the_path():
    judged = left(4, 4)
    (finding,) = output_lost(judged)
    assert ("warning", "high", True) == (finding.severity, finding.confidence, finding.evidence["client_had_closed"])
    assert "the client had closed before they were sent (FIN, packet 4), and its host refused them (RST, packet 9)" in finding.message
    assert "other findings" not in finding.remedy
    assert "was closed by the client while container output was still to come." in verdict(judged, (finding,))[0]


@pytest.mark.parametrize(("closed", "own_last"), [(6, 6), (4, 5)], ids=["afterwards", "half-closed"])
def test_output_for_a_client_that_still_read_is_lost(closed, own_last):
    (finding,) = output_lost(left(closed, own_last))
    assert "error" == finding.severity
