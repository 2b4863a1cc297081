"""Connections that never came to be, from packets to sentence."""

import pytest

import captool
from builders import ACK, CLIENT, RST, SECOND, SERVER, START, SYN, Packet, ethernet, ip, pcap, tcp
from captool import analysis
from captool.report.text import render


def sent(seconds, source, destination, flags, seq=1, ack=0):
    return Packet(ethernet(ip(tcp(source, destination, seq=seq, ack=ack, flags=flags), source, destination)), START + int(seconds * SECOND))


def syns(*seconds, client=CLIENT):
    return [sent(at, client, SERVER, SYN) for at in seconds]


def analyzed(tmp_path, packets):
    path = tmp_path / "t.pcap"
    path.write_bytes(pcap(sorted(packets, key=lambda packet: packet.ts_ns)))
    return captool.analyze(path)


def found(tmp_path, packets):
    return [one for one in analyzed(tmp_path, packets).findings if one.code.startswith("connection-")]


def test_syns_that_nothing_answers(tmp_path):
    (finding,) = found(tmp_path, syns(0, 1, 3))
    assert ("connection-unanswered", "warning", "high", 0, (1,)) == finding[:5]
    assert "1 connection to it got neither a SYN-ACK nor a RST (first tried in packet 1; 2 SYNs sent again, the longest try for 3.00 s)" in finding.message


def test_tries_to_one_server_are_told_once(tmp_path):
    others = [packet for number in range(5) for packet in syns(number, number + 1, client=("10.0.0.9", 5000 + number))]
    result = analyzed(tmp_path, others)
    assert 5 == result.findings[0].evidence["connections"]
    assert "Connection 0 was never opened: 5 tries to connect to 10.0.0.2:2376 got no answer to the SYN." == result.verdict[0]


def test_one_syn_is_no_claim_while_its_answer_may_be_on_the_way(tmp_path):
    later = [sent(0.5, ("10.0.0.9", 1), ("10.0.0.8", 2), ACK)]
    assert [] == found(tmp_path, [*syns(0), *later])
    much_later = [sent(4, ("10.0.0.9", 1), ("10.0.0.8", 2), ACK)]
    (finding,) = found(tmp_path, [*syns(0), *much_later])
    assert "medium" == finding.confidence


def test_answer_that_only_the_client_saw_is_none_missing(tmp_path):
    """Recorded one-sidedly: the client goes on, so it had its SYN-ACK."""
    assert [] == found(tmp_path, [*syns(0), sent(0.1, CLIENT, SERVER, ACK, seq=2, ack=10), sent(9, CLIENT, SERVER, ACK, seq=2, ack=20)])


def test_refused(tmp_path):
    packets = [*syns(0), sent(0.01, SERVER, CLIENT, RST | ACK, seq=0, ack=2)]
    (finding,) = found(tmp_path, packets)
    assert ("connection-refused", "warning", "high", 0, (1, 2)) == finding[:5]
    text = render(analyzed(tmp_path, packets))
    assert "refused by the server" in text
    assert "was refused with a RST: the only try to connect to 10.0.0.2:2376 came to nothing." in text


@pytest.mark.slow
def test_flood_alone_is_told_and_not_called_another_protocol(tmp_path, monkeypatch):
    monkeypatch.setattr(analysis, "MAX_UNEVENTFUL", 10)
    count = 33_000  # more than are kept at a time
    result = analyzed(tmp_path, [sent(number / 1000, (f"10.1.{number >> 8}.{number & 255}", 4000), SERVER, SYN) for number in range(count)])
    assert analysis.EXAMPLES == len(result.connections)
    assert count - analysis.EXAMPLES == result.capture.unlisted_connections
    assert "got no answer to the SYN" in result.verdict[0]


@pytest.mark.slow
def test_flood_of_a_moment_is_counted_and_not_called_sound(tmp_path, monkeypatch):
    monkeypatch.setattr(analysis, "MAX_UNEVENTFUL", 10)
    result = analyzed(tmp_path, [sent(number / 1e6, (f"10.1.{number >> 8}.{number & 255}", 4000), SERVER, SYN) for number in range(33_000)])
    assert "No fault found on the 20 connections listed; 32,980 more are only counted, see the notes." == result.verdict[0]
