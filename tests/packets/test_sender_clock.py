"""The recording machine's clock, set forward: told by the clocks of those who send, and from a pause."""

from collections.abc import Callable
from pathlib import Path

import pytest

from captool import analysis
from captool.analysis import analyze
from captool.capture.reader import CaptureReader
from captool.capture.summary import ClockJump
from captool.packets.decode import Decoder
from captool.packets.sender_clock import SenderClocks
from captool.report.json_report import render
from tests.builders import SECOND, pcap
from tests.hosts import Hosts

AHEAD = 400 * SECOND
MS = 1_000_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "trace.pcap"


def set_forward(hosts: Hosts) -> Hosts:
    hosts.talk()
    hosts.wrong = AHEAD
    return hosts.talk()


@pytest.mark.parametrize("tick_ns", [MS, 10 * MS])
def test_a_clock_that_was_set_forward_is_no_idle_time(path: Path, tick_ns: int) -> None:
    seen = set_forward(Hosts(tick_ns=tick_ns)).judged(path)
    (step,) = (finding for finding in seen.findings if finding.code == "clock-step")
    first = 3 * 3 + 3 * 4 * 3 + 1
    assert ("warning", "high", (first,)) == (step.severity, step.confidence, step.packets)
    (jump,) = seen.capture.clock_jumps
    assert 0.8 * AHEAD < jump.ahead_ns <= AHEAD
    assert {"clock-step"} == {finding.code for finding in seen.findings if finding.severity != "info"}
    assert not {"idle-gap", "missing-keepalive", "quiet-but-healthy"} & {finding.code for finding in seen.findings}
    assert "missing" not in {side.status for one in seen.connections for side in one.tcp.keepalive}


def test_a_pause_that_the_senders_clocks_confirm_is_one(path: Path) -> None:
    hosts = Hosts().talk()
    hosts.now += AHEAD
    seen = hosts.talk().judged(path)
    assert () == seen.capture.clock_jumps
    assert {"missing-keepalive", "idle-gap"} <= {finding.code for finding in seen.findings}


def test_a_host_that_was_suspended_does_not_deny_what_its_peer_confirms(path: Path) -> None:
    hosts = Hosts(1).talk()
    hosts.now += AHEAD
    hosts.say(0, 0, b"ask")
    hosts.stopped_ns = AHEAD  # the server's clock stood still
    assert () == hosts.say(0, 1, b"answer").judged(path).capture.clock_jumps


def test_without_timestamps_it_cannot_be_told_and_that_is_said(path: Path) -> None:
    seen = set_forward(Hosts(tick_ns=None)).judged(path)
    (step,) = (finding for finding in seen.findings if finding.code == "clock-step")
    assert ("info", "low", 0) == (step.severity, step.confidence, step.evidence["senders"])
    assert "Without TCP timestamps that cannot be told from a pause" in step.message
    assert "idle-gap" in {finding.code for finding in seen.findings}


@pytest.mark.parametrize("tick_ns", [MS, None])
def test_one_connection_that_was_quiet_accuses_nobody(path: Path, tick_ns: int | None) -> None:
    hosts = Hosts(1, tick_ns=tick_ns).talk()
    hosts.now += AHEAD
    assert () == hosts.talk().judged(path).capture.clock_jumps


def test_what_was_in_flight_when_the_clock_was_set_was_not_sent_again_for_so_long(path: Path) -> None:
    hosts = Hosts().talk().say(0, 1, b"output")
    hosts.numbers[hosts.ends[0], 1] -= 6
    hosts.wrong = AHEAD
    hosts.say(0, 1, b"output").say(1, 0, b"ask").say(1, 1, b"answer").say(2, 0, b"ask").say(2, 1, b"answer")
    seen = hosts.judged(path)
    assert 1 == len(seen.capture.clock_jumps)
    assert "silent-drop" not in {finding.code for finding in seen.findings}


@pytest.mark.parametrize("size", [100, 300, 1000, 1 << 19])
def test_the_answer_does_not_depend_on_where_chunks_end(path: Path, size: int) -> None:
    path.write_bytes(pcap(set_forward(Hosts()).packets))
    clocks, decoder = SenderClocks(), Decoder()
    with CaptureReader([path], chunk_size=size) as capture:
        for frames in capture.chunks():
            clocks.add(frames, decoder.decode(frames))
    (jump,) = clocks.jumps()
    assert ClockJump(46, jump.ahead_ns, 6) == jump
    assert 0.8 * AHEAD < jump.ahead_ns <= AHEAD


def paused(hosts: Hosts) -> Hosts:
    hosts.talk()
    hosts.now += AHEAD
    return hosts.talk()


@pytest.mark.parametrize("jobs", [2, pytest.param(3, marks=pytest.mark.slow), 7])
@pytest.mark.parametrize("tick_ns", [MS, None])
@pytest.mark.parametrize("hosts", [set_forward, paused])
def test_processes_that_see_a_part_of_the_senders_judge_as_one_that_sees_all(
    path: Path, monkeypatch: pytest.MonkeyPatch, hosts: Callable[[Hosts], Hosts], tick_ns: int | None, jobs: int
) -> None:
    monkeypatch.setattr(analysis, "SHARED_BYTES", 0)
    path.write_bytes(pcap(hosts(Hosts(8, tick_ns=tick_ns)).packets))
    assert render(analyze(path), None) == render(analyze(path, jobs=jobs), None)
