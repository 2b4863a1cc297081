"""Which side closed, and what was still under way."""

from pathlib import Path

import pytest

from captool.analysis import analyze
from captool.direction import Moment, PerDirection
from captool.findings.closes import server_closed
from captool.tcp.connection import Reset
from tables import START, connection, tables, tcp, tls
from tests.builders import ACK, FIN, RST, Talk, pcap
from tests.findings.judged import asked, found, later


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "trace.pcap"


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


@pytest.mark.parametrize(("waited", "confidence"), [(5.01, "low"), (20.2, "low"), (30.1, "medium"), (600.5, "medium")])
def test_a_short_round_time_says_less_than_a_long_one(path: Path, waited: float, confidence: str) -> None:
    waiting = Talk().opened().client(b"GET /wait").server().wait(waited).client(flags=ACK | FIN)
    (finding,) = found(path, waiting, "client-timeout")
    assert (confidence, round(waited)) == (finding.confidence, finding.evidence["timeout_s"])


def test_a_client_that_closes_an_idle_connection_did_not_time_out(path: Path) -> None:
    """As Go's pools do after 90 s, and others after 30 s."""
    assert [] == found(path, asked().wait(30).client(flags=ACK | FIN), "client-timeout")


def test_a_reset_before_the_fin_is_no_half_close(path: Path) -> None:
    talk = asked().client(flags=RST | ACK).wait(70).server(b"result").client(flags=ACK | FIN).wait(70).server(b"more")
    assert [] == found(path, talk, "half-close-idle")


def test_data_lost_after_a_half_close_is_told_without_a_timeout_that_fits(path: Path) -> None:
    talk = asked().client(flags=ACK | FIN).server().wait(10).server(b"result")
    for _ in range(4):
        talk.wait(2).server(b"result", seq=talk.next[1] - 6)
    (finding,) = found(path, talk, "half-close-idle")
    assert ("error", "medium", []) == (finding.severity, finding.confidence, finding.evidence["candidates"])
    (gap,) = found(path, talk.client(flags=0, seq=1), "half-close-idle")
    assert "passed without a packet;" in gap.message


def test_timeouts_of_the_users_own_count_for_half_closed_connections(path: Path, tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text('[office]\nname = "Office firewall"\nseconds = 20\nstate = "half-closed"\n')
    talk = later(asked().client(flags=ACK | FIN).server(), 25)
    assert [] == found(path, talk, "half-close-idle")
    (finding,) = [one for one in analyze(path, timeouts=own).findings if one.code == "half-close-idle"]
    assert ("warning", ["office"]) == (finding.severity, finding.evidence["candidates"])
    assert "Office firewall keeps half-closed connections for 20 s" in finding.message


REQUEST = b"GET /v1.41/containers/json HTTP/1.1\r\nHost: d\r\n\r\n"


def test_a_server_that_closes_before_it_answers_is_named(path: Path) -> None:
    talk = Talk().opened().client(REQUEST).server().wait(3).server(flags=ACK | FIN).client(flags=ACK | FIN)
    (finding,) = found(path, talk, "server-closed")
    assert ("warning", "high", "before it answered") == (finding.severity, finding.confidence, finding.evidence["unfinished"])
    assert "before it answered GET /containers/json" in finding.message


def test_a_server_that_closes_in_the_middle_of_its_answer_is_named(path: Path) -> None:
    talk = Talk().opened().client(REQUEST).server(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n[").client()
    (finding,) = found(path, talk.server(flags=ACK | FIN).client(), "server-closed")
    assert "in the middle of an answer" == finding.evidence["unfinished"]


def test_a_server_that_closes_after_its_answer_is_in_order(path: Path) -> None:
    talk = Talk().opened().client(REQUEST).server(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]").client()
    assert [] == found(path, talk.wait(60).server(flags=ACK | FIN).client(flags=ACK | FIN), "server-closed")


def test_connections_closed_at_the_same_moment_are_counted(path: Path) -> None:
    talks = [Talk(client_end=("10.0.0.1", 40000 + number)).opened().client(REQUEST).server().wait(1) for number in range(3)]
    packets = [packet for talk in talks for packet in talk.server(flags=ACK | FIN).packets]
    path.write_bytes(pcap(sorted(packets, key=lambda packet: packet.ts_ns)))
    findings = [one for one in analyze(path).findings if one.code == "server-closed"]
    assert [2, 2, 2] == [one.evidence["closed_together"] for one in findings]


def test_a_proxy_that_closes_while_the_client_waits_is_a_candidate(path: Path) -> None:
    talk = Talk().opened().client(b"\x16 not http").server().wait(60.1).server(flags=ACK | FIN).client(flags=ACK | FIN)
    (finding,) = found(path, talk, "server-closed")
    assert "while the client waited for an answer" == finding.evidence["unfinished"]
    assert "aws-alb" in finding.evidence["candidates"]


def test_a_reset_for_want_of_answers_is_not_the_servers_will(path: Path) -> None:
    talk = Talk().opened().client(REQUEST).server()
    for _ in range(4):
        talk.wait(15).server(seq=talk.next[1] - 1)
    assert [] == found(path, talk.server(flags=RST | ACK), "server-closed")


def test_a_server_that_half_closes_a_finished_connection_is_no_fault(path: Path) -> None:
    talk = Talk().opened().client(REQUEST).server(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]").client()
    (finding,) = found(path, later(talk.server(flags=ACK | FIN).client(), 700), "half-close-idle")
    assert "info" == finding.severity


def test_a_proxy_whose_timeout_is_far_from_the_idle_time_is_no_candidate(path: Path) -> None:
    talk = Talk().opened().client(b"\x16 not http").server().wait(80).server(flags=ACK | FIN).client(flags=ACK | FIN)
    (finding,) = found(path, talk, "server-closed")
    assert [] == finding.evidence["candidates"]


PING = b"GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n"
PONG = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK"


def test_a_request_on_a_connection_that_the_server_had_closed_was_too_late(path: Path) -> None:
    talk = Talk().opened().client(PING).server(PONG).client().wait(17).server(flags=ACK | FIN).client()
    (finding,) = found(path, talk.wait(1).client(PING).server(flags=RST, window=0), "server-closed")
    assert "1.00 s before GET /_ping was sent (packet 9), which it did not answer: the client used a connection that was over" in finding.message
    assert "before it answered" not in finding.message
    assert finding.remedy.startswith("Let the client drop its idle connections sooner")


def test_bytes_that_the_host_of_a_closed_server_refused_are_counted(path: Path) -> None:
    talk = asked().wait(17).server(flags=ACK | FIN).client().wait(1).client(b"more").server(flags=RST, window=0)
    (finding,) = found(path, talk, "server-closed")
    assert ("warning", "medium") == (finding.severity, finding.confidence)
    assert "its host refused 4 bytes that the client sent after that, with a reset" in finding.message
    assert [] == found(path, asked().wait(17).server(flags=ACK | FIN).client().client(flags=ACK | FIN).server(flags=RST, window=0), "server-closed")


def test_the_farewell_of_tls_after_a_servers_fin_is_no_loss() -> None:
    reset = Reset(Moment(9, START), "server", 64, 64, 0, 7, False, 0, 0, Moment(7, START), Moment(8, START))
    ended = tcp(close="rst", closed_by="server", closing=Moment(7, START), reset=reset, unacknowledged_bytes=PerDirection(31, 0))
    assert [] == list(server_closed(tables(connection(ended, tls=tls(status="encrypted")))))
    longer = ended._replace(unacknowledged_bytes=PerDirection(310, 0))
    assert 1 == len(list(server_closed(tables(connection(longer, tls=tls(status="encrypted"))))))
