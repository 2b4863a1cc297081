"""Resets on the first use after an idle time."""

from pathlib import Path

import pytest

from tests.builders import ACK, FIN, RST, Talk
from tests.findings.judged import asked, found, with_hops


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "trace.pcap"


def reset_on_reuse(hops: int) -> Talk:
    talk = asked().wait(351).client(b"GET /")
    talk.server(flags=RST, window=0)
    talk.packets[-1] = with_hops(talk.packets[-1], hops)
    return talk


def test_a_reset_on_the_first_use_with_another_ttl_comes_from_another_machine(path: Path) -> None:
    (finding,) = found(path, reset_on_reuse(250), "reset-after-idle")
    assert ("error", "high", "server") == (finding.severity, finding.confidence, finding.evidence["proof_needs"])
    assert "its TTL is 250, that of the server's others 64" in finding.message


@pytest.mark.parametrize("hops", [62, 63, 65, 66])
def test_a_ttl_that_differs_by_a_router_or_two_may_be_another_path(path: Path, hops: int) -> None:
    (finding,) = found(path, reset_on_reuse(hops), "reset-after-idle")
    assert ([], "medium") == (finding.evidence["sender_differs"], finding.confidence)  # window 0 and no acknowledgement as well
    assert "another machine on the path may have sent it, or it took another path" in finding.message
    told = asked().wait(351).client(b"GET /").server(flags=RST | ACK)
    told.packets[-1] = with_hops(told.packets[-1], hops)
    (finding,) = found(path, told, "reset-after-idle")
    assert ("low", 1) == (finding.confidence, len(finding.evidence["sender_may_differ"]))


def test_a_reset_with_the_ttl_of_the_peer_proves_no_middlebox(path: Path) -> None:
    (finding,) = found(path, reset_on_reuse(64), "reset-after-idle")
    assert ("low", []) == (finding.confidence, finding.evidence["sender_differs"])


def test_a_reset_long_after_the_last_word_of_the_peer_answers_nothing(path: Path) -> None:
    talk = asked().wait(40).server(flags=RST, window=0)
    assert [] == found(path, talk, "reset-after-idle")


@pytest.mark.parametrize(("idle", "probes_help"), [(9, False), (601, True)])
def test_probes_are_the_remedy_where_a_timeout_is_known_to_be_as_short(path: Path, idle: int, probes_help: bool) -> None:
    talk = asked().wait(idle).server(b"output").client(flags=RST, window=0, ack=0)
    (finding,) = found(path, talk, "reset-after-idle")
    assert probes_help == finding.remedy.startswith("Send keepalive probes more often than the timeout that cut it.")


def test_a_reset_that_answers_only_a_fin_lost_nothing(path: Path) -> None:
    talk = asked().wait(351).client(flags=ACK | FIN).server(flags=RST, window=0)
    (finding,) = found(path, talk, "reset-after-idle")
    assert "warning" == finding.severity


def test_what_was_reset_did_not_cross(path: Path) -> None:
    (finding,) = found(path, reset_on_reuse(250), "idle-gap")
    assert ("warning", True) == (finding.severity, finding.message.endswith("What was sent after it was answered by a reset."))
