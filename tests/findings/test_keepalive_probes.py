"""Probes as captured: too late, or not answered."""

from pathlib import Path

import pytest

from tests.findings.judged import asked, found


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "trace.pcap"


def test_probes_without_an_answer_at_the_end_are_told(path: Path) -> None:
    talk = asked()
    for _ in range(4):
        talk.wait(15).client(seq=talk.next[0] - 1)
    (finding,) = found(path, talk, "keepalive-unanswered")
    assert (4, "server", "high") == (finding.evidence["unanswered"], finding.evidence["proof_needs"], finding.confidence)
    assert [] == found(path, talk.server(), "keepalive-unanswered")


def test_probes_closer_than_the_kernel_answers_them_accuse_nobody(path: Path) -> None:
    talk = asked()
    for _ in range(3):
        talk.wait(0.2).client(seq=talk.next[0] - 1)
    assert [] == found(path, talk, "keepalive-unanswered")


def test_probes_slower_than_every_timeout_on_the_path_come_too_late(path: Path) -> None:
    talk = asked()
    for _ in range(2):
        talk.wait(900).client(seq=talk.next[0] - 1).server()
    (finding,) = found(path, talk, "keepalive-too-slow")
    assert "the client sends one every 900" in finding.message


def test_slow_probes_that_did_no_harm_are_not_called_late(path: Path) -> None:
    talk = asked()
    for _ in range(2):
        talk.wait(900).client(seq=talk.next[0] - 1).server()
    (finding,) = found(path, talk.client(b"GET /").server(b"200").client(), "keepalive-too-slow")
    assert ("info", True) == (finding.severity, finding.message.startswith("Keepalive probes are slower than an idle timeout"))
    (finding,) = found(path, talk.wait(900).client(seq=talk.next[0] - 1), "keepalive-too-slow")
    assert finding.message.startswith("Keepalive probes came too late")
