"""Root causes of quiet connections, from built segments to findings."""

from dataclasses import replace
from pathlib import Path

import pytest

from captool.analysis import Analysis, analyze
from captool.findings import Finding
from tests.builders import ACK, FIN, RST, Packet, Talk, pcap

SECOND = 1_000_000_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "trace.pcap"


def asked() -> Talk:
    return Talk().opened().client(b"GET /").server(b"200").client()


def judged(path: Path, talk: Talk) -> Analysis:
    path.write_bytes(pcap(talk.packets))
    return analyze(path)


def found(path: Path, talk: Talk, code: str) -> list[Finding]:
    return [finding for finding in judged(path, talk).findings if finding.code == code]


def with_hops(packet: Packet, hops: int) -> Packet:
    return replace(packet, frame=packet.frame[:22] + bytes([hops]) + packet.frame[23:])


def reset_on_reuse(hops: int) -> Talk:
    talk = asked().wait(351).client(b"GET /")
    talk.server(flags=RST, window=0)
    talk.packets[-1] = with_hops(talk.packets[-1], hops)
    return talk


def test_a_reset_on_the_first_use_with_another_ttl_comes_from_another_machine(path: Path) -> None:
    (finding,) = found(path, reset_on_reuse(250), "reset-after-idle")
    assert ("error", "high", "server") == (finding.severity, finding.confidence, finding.evidence["proof_needs"])
    assert "its TTL is 250, that of the server's others 64" in finding.message


def test_a_reset_with_the_ttl_of_the_peer_proves_no_middlebox(path: Path) -> None:
    (finding,) = found(path, reset_on_reuse(64), "reset-after-idle")
    assert ("low", []) == (finding.confidence, finding.evidence["sender_differs"])


def test_a_reset_long_after_the_last_word_of_the_peer_answers_nothing(path: Path) -> None:
    talk = asked().wait(40).server(flags=RST, window=0)
    assert [] == found(path, talk, "reset-after-idle")


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


def test_a_client_that_gave_up_after_a_round_time_had_a_timeout(path: Path) -> None:
    waiting = Talk().opened().client(b"GET /wait").server()
    (finding,) = found(path, waiting.wait(60).client(flags=ACK | FIN), "client-timeout")
    assert 60 == finding.evidence["timeout_s"]


@pytest.mark.parametrize("waited", [57, 63])
def test_a_client_that_closed_after_another_time_or_with_its_answer_had_none(path: Path, waited: int) -> None:
    waiting = Talk().opened().client(b"GET /wait").server()
    assert [] == found(path, waiting.wait(waited).client(flags=ACK | FIN), "client-timeout")
    assert [] == found(path, asked().wait(60).client(flags=ACK | FIN), "client-timeout")


def test_a_half_closed_connection_that_was_idle_too_long(path: Path) -> None:
    talk = asked().client(flags=ACK | FIN).server().wait(70).server(b"result", captured=True)
    for _ in range(4):
        talk.wait(2).server(b"result", seq=talk.next[1] - 6)
    (finding,) = found(path, talk, "half-close-idle")
    assert ("error", ["linux-conntrack-half-closed"]) == (finding.severity, finding.evidence["candidates"])


def test_a_reader_that_stopped_is_named(path: Path) -> None:
    talk = Talk().opened().server(b"x" * 100).client(window=0)
    for _ in range(3):
        talk.wait(5).server(seq=talk.next[1] - 1).client(window=0)
    (finding,) = found(path, talk, "zero-window-stall")
    assert ("error", 3) == (finding.severity, finding.evidence["window_probes"])
    assert "The client did not read" in finding.message
    (finding,) = found(path, talk.client(), "zero-window-stall")
    assert "warning" == finding.severity


def test_probes_slower_than_every_timeout_on_the_path_come_too_late(path: Path) -> None:
    talk = asked()
    for _ in range(2):
        talk.wait(900).client(seq=talk.next[0] - 1).server()
    (finding,) = found(path, talk, "keepalive-too-slow")
    assert "the client sends one every 900" in finding.message


def test_silence_to_the_end_with_an_answer_due_is_a_possible_drop_and_no_more(path: Path) -> None:
    talk = Talk().opened().client(b"GET /wait").server().wait(700)
    talk.packets.append(Talk(client_end=("10.0.0.9", 5000), now=talk.now).client(b"x").packets[0])
    (finding,) = found(path, talk, "possible-drop")
    assert ("low", "server") == (finding.confidence, finding.evidence["proof_needs"])


def test_a_capture_that_begins_in_the_middle_says_so(path: Path) -> None:
    (finding,) = found(path, Talk().client(b"x").server(b"y"), "mid-stream")
    assert "info" == finding.severity
