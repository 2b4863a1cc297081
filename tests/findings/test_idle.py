"""Idle times: when missing probes are a fault, and which middleboxes a gap trips."""

from captool.direction import Moment, PerDirection
from captool.findings.idle import idle_gap, missing_keepalive
from captool.tcp.connection import ShutWindow
from tables import START, S, connection, dropped_tcp, gap, keepalive, tables, tcp

MISSING = keepalive("missing", longest_idle_ns=601 * S)


def test_no_probe_from_either_side_is_missing_keepalive():
    (finding,) = missing_keepalive(tables(connection(tcp(gaps=(gap(601),), keepalive=PerDirection(MISSING, MISSING)))))
    assert ("missing-keepalive", "warning", (4, 5)) == (finding.code, finding.severity, finding.packets)
    assert "601.0 s (10 min 1 s)" in finding.message


def test_missing_keepalive_is_an_error_where_the_connection_died():
    (finding,) = missing_keepalive(tables(connection(dropped_tcp())))
    assert "error" == finding.severity


def test_probes_from_one_side_keep_the_connection_known():
    present = keepalive("present", probes=40, answered=40, interval_ns=15 * S)
    assert [] == list(missing_keepalive(tables(connection(tcp(gaps=(gap(601, silence_s=15),), keepalive=PerDirection(MISSING, present))))))


def test_a_side_that_could_not_be_observed_is_not_accused():
    assert [] == list(missing_keepalive(tables(connection(tcp(gaps=(gap(601),), keepalive=PerDirection(MISSING, keepalive()))))))


def test_gap_is_judged_by_the_timeout_given_alone():
    (finding,) = idle_gap(tables(connection(tcp(gaps=(gap(12),))), idle_timeout_ns=10 * S))
    assert ["given"] == [entry["id"] for entry in finding.evidence["candidates"]]
    assert [] == list(idle_gap(tables(connection(tcp(gaps=(gap(12),))), idle_timeout_ns=13 * S)))


def test_without_a_choice_the_nearest_middlebox_comes_first():
    (finding,) = idle_gap(tables(connection(tcp(gaps=(gap(601),)))))
    seconds = [entry["seconds"] for entry in finding.evidence["candidates"]]
    assert seconds == sorted(seconds, reverse=True)
    assert 600 == seconds[0]
    assert "exceeded by 1.00 s" in finding.message


def test_probes_count_for_trackers_and_not_for_proxies():
    probed = connection(tcp(gaps=(gap(601, silence_s=15, probes=PerDirection(40, 0)),)))
    (finding,) = idle_gap(tables(probed))
    assert {False} == {entry["probe_resets"] for entry in finding.evidence["candidates"]}
    assert "info" == finding.severity


def test_gap_that_ends_with_the_capture_is_not_called_a_drop():
    (finding,) = idle_gap(tables(connection(tcp(close="open", closed_by=None, gaps=(gap(700, ended_by="end-of-capture", packet=None),)))))
    assert "warning" == finding.severity
    assert "cannot tell" in finding.message


def test_gap_before_unanswered_data_is_an_error():
    (finding,) = idle_gap(tables(connection(dropped_tcp())))
    assert "error" == finding.severity


def test_a_shut_window_is_no_idle_time_without_probes():
    shut = ShutWindow(Moment(4, START), 70 * S, 6, 4, 1)
    missing = keepalive("missing", longest_idle_ns=70 * S)
    stalled = tcp(gaps=(gap(70), gap(3, start_ns=START + 80 * S)), keepalive=PerDirection(missing, missing))
    assert ["missing-keepalive"] == [finding.code for finding in missing_keepalive(tables(connection(stalled)))]
    stalled = stalled._replace(shut_windows=PerDirection(None, shut))
    assert [] == list(missing_keepalive(tables(connection(stalled))))


def test_probes_are_no_remedy_for_proxies_alone():
    one = connection(tcp(gaps=(gap(40, silence_s=5),)))
    (finding,) = idle_gap(tables(one))
    assert {False} == {one["probe_resets"] for one in finding.evidence["candidates"]}
    assert "keepalive" not in finding.remedy
    assert finding.remedy.startswith("Load balancers and proxies")
