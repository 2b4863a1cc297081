"""Connections that stand still, and those that are merely quiet."""

from pathlib import Path

import pytest

from tests.builders import ACK, RST, Talk
from tests.findings.judged import asked, found, later


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "trace.pcap"


def stalled(seconds: float) -> Talk:
    talk = Talk().opened().server(b"x" * 100).client(window=0)
    for _ in range(3):
        talk.wait(seconds / 3).server(seq=talk.next[1] - 1).client(window=0)
    return talk


def test_a_reader_that_stopped_is_named(path: Path) -> None:
    (finding,) = found(path, stalled(63), "zero-window-stall")
    assert ("error", 3) == (finding.severity, finding.evidence["window_probes"])
    assert "The client did not read" in finding.message
    (finding,) = found(path, stalled(63).client(), "zero-window-stall")
    assert ("warning", "window-opened") == (finding.severity, finding.evidence["ended_by"])


@pytest.mark.parametrize(("lasted", "severity"), [(3, "info"), (15, "warning"), (63, "error")])
def test_a_stall_that_the_capture_cuts_off_weighs_what_was_seen_of_it(path: Path, lasted: float, severity: str) -> None:
    (finding,) = found(path, stalled(lasted), "zero-window-stall")
    assert (severity, "capture-ended") == (finding.severity, finding.evidence["ended_by"])
    assert finding.message.endswith("The capture ended first: whether it read on, is not known.")


def test_a_stall_that_lasted_until_the_connection_was_reset_is_an_error(path: Path) -> None:
    (finding,) = found(path, stalled(3).client(flags=RST | ACK, window=0), "zero-window-stall")
    assert ("error", "close") == (finding.severity, finding.evidence["ended_by"])
    assert f"until a RST ended the connection (packet {finding.packets[0] + 7})" in finding.message


def test_silence_to_the_end_with_an_answer_due_is_a_possible_drop_and_no_more(path: Path) -> None:
    talk = Talk().opened().client(b"GET /wait").server().wait(700)
    talk.packets.append(Talk(client_end=("10.0.0.9", 5000), now=talk.now).client(b"x").packets[0])
    (finding,) = found(path, talk, "possible-drop")
    assert ("low", "server") == (finding.confidence, finding.evidence["proof_needs"])


def test_a_capture_that_begins_in_the_middle_says_so(path: Path) -> None:
    (finding,) = found(path, Talk().client(b"x").server(b"y"), "mid-stream")
    assert "info" == finding.severity


def test_an_unread_stream_on_which_the_server_spoke_last_is_a_possible_drop_too(path: Path) -> None:
    talk = later(Talk().opened().client(b"\x17secret").server(b"\x17secret").client(), 700)
    (finding,) = found(path, talk, "possible-drop")
    assert ("warning", "low", "server") == (finding.severity, finding.confidence, finding.evidence["proof_needs"])
    assert "the server having spoken last" in finding.message
    assert "data sent again and again, or none; if this one was recorded there" in finding.message


def test_a_capture_that_ends_with_the_silence_is_no_possible_drop(path: Path) -> None:
    assert [] == found(path, Talk().opened().client(b"\x17secret").server(b"\x17secret").client(), "possible-drop")


def test_a_last_probe_without_an_answer_makes_a_drop_likelier(path: Path) -> None:
    talk = Talk().opened().client(b"\x17secret").server(b"\x17secret").client().wait(20)
    (finding,) = found(path, later(talk.client(seq=talk.next[0] - 1), 6), "possible-drop")
    assert ("medium", 7) == (finding.confidence, finding.evidence["unanswered_probe"])


def test_answered_probes_that_bridge_an_idle_time_are_healthy(path: Path) -> None:
    talk = asked()
    for _ in range(40):
        talk.wait(15.1).client(seq=talk.next[0] - 1).server()
    (finding,) = found(path, talk.client(b"GET /").server(b"200"), "quiet-but-healthy")
    assert ("info", {"to_server": 40, "to_client": 0}) == (finding.severity, finding.evidence["probes"])
    assert "bridged by 40 keepalive probes of the client every 15.1" in finding.message
    assert "Go's default" in finding.message
    assert finding.message.endswith("answered; data crossed again after it.")


def test_a_short_idle_time_is_healthy_because_no_timeout_is_shorter(path: Path) -> None:
    (finding,) = found(path, asked().wait(12).client(b"GET /").server(b"200"), "quiet-but-healthy")
    assert "Idle for 12.00 s, shorter than every timeout judged by (the shortest: " in finding.message


@pytest.mark.parametrize("seconds", [12, 700])
def test_a_silence_that_goes_on_is_not_called_healthy(path: Path, seconds: int) -> None:
    assert [] == found(path, later(asked(), seconds), "quiet-but-healthy")


def test_a_connection_with_a_fault_is_not_called_healthy(path: Path) -> None:
    assert [] == found(path, asked().wait(65).client(b"GET /").server(b"200"), "quiet-but-healthy")


def test_probes_answered_up_to_the_end_of_the_capture_are_healthy(path: Path) -> None:
    talk = asked()
    for _ in range(4):
        talk.wait(15).client(seq=talk.next[0] - 1).server()
    (finding,) = found(path, talk, "quiet-but-healthy")
    assert finding.message.endswith("answered; the capture ends in it.")


def test_data_that_is_not_acknowledged_yet_has_not_crossed(path: Path) -> None:
    assert [] == found(path, asked().wait(12).server(b"more"), "quiet-but-healthy")
