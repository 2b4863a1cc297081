"""The answer in sentences."""

import pytest

from captool.analysis import analyze
from captool.direction import PerDirection
from captool.findings import Finding, find
from captool.findings.verdict import verdict
from tables import S, attach, connection, dropped_tcp, gap, keepalive, lost_output, tables, tcp, tls
from tests.builders import ACK, FIN, RST, Talk, pcap
from tests.findings.judged import asked, judged, later


def verdict_of(*connections):
    judged = tables(*connections)
    return verdict(judged, find(judged))


def test_dropped_connection_names_request_gap_and_loss():
    dropped = connection(dropped_tcp(), exchanges=(attach(lost=lost_output()),))
    assert (
        "Connection 0 (POST /containers/ab12/attach) was dropped silently after 601.0 s (10 min 1 s) without data and "
        "without a keepalive probe from either side: "
        "at least 7 bytes of container output never reached the client.",
    ) == verdict_of(dropped)


def test_healthy_connections_have_no_fault():
    assert ("No fault found on 2 connections.",) == verdict_of(connection(), connection(tcp(id=1)))


def test_idle_without_probes_is_a_risk_although_nothing_was_lost():
    missing = keepalive("missing", longest_idle_ns=65 * S)
    (sentence,) = verdict_of(connection(tcp(gaps=(gap(65),), keepalive=PerDirection(missing, missing))))
    assert (
        "No connection was seen to be dropped, but connection 0 was idle for 65.00 s without a keepalive probe from either side."
        == sentence
    )


def test_what_could_not_be_read_is_part_of_the_answer():
    closed = connection(tls=tls(status="encrypted", reason="forward-secrecy", detail="ECDHE"))
    assert "1 connection could not be decrypted; what was said on it is not judged." == verdict_of(closed)[-1]


def test_a_stream_at_risk_is_named_before_a_pooled_connection():
    missing = keepalive("missing", longest_idle_ns=65 * S)
    idle = {"gaps": (gap(65),), "keepalive": PerDirection(missing, missing)}
    pooled, attached = connection(tcp(**idle)), connection(tcp(id=1, **idle), exchanges=(attach(),))
    assert "connection 1 (POST /containers/ab12/attach) (and 1 other likewise) was idle" in verdict_of(pooled, attached)[0]


def causes(path, talk):
    return judged(path, talk).verdict


@pytest.fixture
def path(tmp_path):
    return tmp_path / "trace.pcap"


def test_each_cause_is_a_sentence_with_its_numbers(path):
    reset = asked().wait(351).client(b"GET /").server(flags=RST, window=0)
    assert ("Connection 0 was reset in the server's name when it was used again after 351.0 s (5 min 51 s) of silence.",) == causes(path, reset)
    timeout = Talk().opened().client(b"\x17wait").server().wait(60).client(flags=ACK | FIN)
    assert ("Connection 0 was closed by the client after 60.00 s of waiting, as with a read timeout of 60 s.",) == causes(path, timeout)
    short = Talk().opened().client(b"\x17wait").server().wait(5).client(flags=ACK | FIN)
    assert "perhaps by a read timeout of 5 s" in causes(path, short)[0]
    stalled = Talk().opened().server(b"x" * 100).client(window=0).wait(25).server(seq=5100).client(window=0)
    still = "stood still for 25.00 s because the client's program did not read, "
    assert f"{still}and had not read on when the capture ended" in causes(path, stalled)[0]
    assert f"{still}and did not read again before it was closed" in causes(path, stalled.client(flags=RST | ACK, window=0))[0]
    half = asked().client(flags=ACK | FIN).server().wait(70).server(b"result")
    for _ in range(4):
        half.wait(2).server(b"result", seq=half.next[1] - 6)
    assert "was half-closed by the client and then silent for 70.00 s" in causes(path, half)[0]
    probed = asked()
    for _ in range(4):
        probed.wait(15).client(seq=probed.next[0] - 1)
    assert ("Connection 0 lost its server: the last 4 keepalive probes of the client went unanswered.",) == causes(path, probed)
    dropped = later(Talk().opened().client(b"\x17secret").server(b"\x17secret").client(), 700)
    assert "Connection 0 may have been dropped: nothing came on it in the last 700.0 s (11 min 40 s)." == causes(path, dropped)[0]
    closed = Talk().opened().client(b"GET /v1.41/info HTTP/1.1\r\nHost: d\r\n\r\n").server().server(flags=ACK | FIN)
    assert ("Connection 0 (GET /info) was closed by the server before it answered.",) == causes(path, closed)


def test_a_connection_is_told_once_with_its_gravest_cause():
    lost = connection(dropped_tcp(), exchanges=(attach(lost=lost_output()),))
    assert 1 == len(verdict_of(lost))


def test_the_same_cause_of_many_is_one_sentence(path):
    talks = [Talk(client_end=("10.0.0.1", 40000 + number)).opened().client(b"\x17x").server().wait(60) for number in range(3)]
    path.write_bytes(pcap([packet for talk in talks for packet in talk.client(flags=ACK | FIN).packets]))
    (sentence,) = analyze(path).verdict
    assert "Connection 0 (and 2 others likewise) was closed by the client" in sentence


def test_quiet_but_healthy_is_said_only_where_nothing_is_wrong(path):
    quiet = asked().wait(12).client(b"GET /").server(b"200")
    assert "was quiet but healthy: idle for 12.00 s, shorter than every timeout judged by" in causes(path, quiet)[1]
    other = Talk(client_end=("10.0.0.9", 5000)).opened().client(b"\x17x").server().wait(60).client(flags=ACK | FIN)
    path.write_bytes(pcap(quiet.packets + other.packets))
    assert not any("healthy" in sentence for sentence in analyze(path).verdict)


def test_a_capture_that_ended_first_proves_nothing(path):
    talk = Talk().opened().client(b"GET /v1.41/info HTTP/1.1\r\nHost: d\r\n\r\n").server()
    assert "was still in use when the capture ended, so nothing is proven about its end." in causes(path, talk)[1]


def test_what_is_sent_again_in_a_capture_of_one_direction_may_have_been_dropped(path):
    talk = Talk()
    for _ in range(5):
        talk.wait(1).client(b"late", seq=1000)
    assert "Connection 0 may have been dropped silently: 4 bytes of data were never acknowledged." == judged(path, talk).verdict[0]


def test_what_is_said_of_several_connections_is_true_of_each():
    def closed(number, unfinished):
        return Finding("server-closed", "warning", "high", number, (1,), "", "", {"unfinished": unfinished})

    found = closed(0, "before it answered"), closed(1, "in the middle of an answer"), closed(2, "before it answered")
    said = verdict(tables(*(connection(tcp(id=number)) for number in range(3))), found)
    assert said[:2] == (
        "Connection 0 (and 1 other likewise) was closed by the server before it answered.",
        "Connection 1 was closed by the server in the middle of an answer.",
    )
