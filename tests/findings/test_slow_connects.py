"""Connections that came to be after SYNs or SYN-ACKs had to be sent again."""

from pathlib import Path

import pytest

from captool.analysis import analyze
from captool.findings import Finding
from tests.builders import ACK, SYN, Packet, Talk, pcap
from tests.findings.judged import found, judged

CODE = "slow-connect"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "trace.pcap"


def tried(talk: Talk, *waits: float) -> Talk:
    """The client's SYN, and again after each of these seconds."""
    talk.client(flags=SYN, ack=0, seq=1000)
    for seconds in waits:
        talk.wait(seconds).client(flags=SYN, ack=0, seq=1000)
    return talk


def answered(talk: Talk) -> Talk:
    return talk.server(flags=SYN | ACK, seq=5000)


def on(talk: Talk) -> Talk:
    return talk.client().client(b"GET /").server(b"200").client()


def one(path: Path, talk: Talk) -> Finding:
    (finding,) = found(path, talk, CODE)
    return finding


def test_syns_that_nothing_answered_at_first(path: Path) -> None:
    talk = on(answered(tried(Talk(), 1, 2, 4)))
    finding = one(path, talk)
    assert ("warning", "high", (1, 4, 5)) == (finding.severity, finding.confidence, finding.packets)
    assert "10.0.0.2:2376 answered the client's SYN (packet 1) after 7.00 s only: it was sent again 3 times before a SYN-ACK came (packet 5)." in finding.message
    assert "TcpExtListenOverflows" in finding.remedy
    assert ("syn-unanswered", 3, "server") == tuple(finding.evidence[name] for name in ("what", "sent_again", "proof_needs"))
    assert "Connection 0 took 7.00 s to open: 3 SYNs had to be sent again." in judged(path, talk).verdict


def test_one_syn_that_was_lost_is_worth_knowing_and_a_shorter_wait_is_not(path: Path) -> None:
    assert "info" == one(path, on(answered(tried(Talk(), 1)))).severity
    assert [] == found(path, on(answered(tried(Talk(), 0.9))), CODE)
    assert [] == found(path, on(answered(tried(Talk()).wait(5))), CODE)  # nothing was sent again


def test_syn_acks_that_nothing_answered_at_first(path: Path) -> None:
    """At the server, the way back is broken: each SYN that is sent again is answered again."""
    talk = answered(tried(Talk()))
    for seconds in (1, 2, 4):
        talk.wait(seconds).client(flags=SYN, ack=0, seq=1000)
        answered(talk)
    finding = one(path, on(talk))
    assert ("syn-ack-unanswered", "to_client", 3) == tuple(finding.evidence[name] for name in ("what", "direction", "sent_again"))
    assert "10.0.0.1:40000 answered the server's SYN-ACK (packet 2) after 7.0" in finding.message
    assert "before the client went on (packet 9)" in finding.message


def test_an_ack_that_the_server_does_not_hear(path: Path) -> None:
    """A full accept queue, or a lost ACK, as the client sees it."""
    talk = answered(tried(Talk())).client()
    for seconds in (1, 2, 4):
        answered(talk.wait(seconds)).client()
    finding = one(path, on(talk))
    assert ("ack-unheard", 3) == (finding.evidence["what"], finding.evidence["sent_again"])
    assert "sent its SYN-ACK again 3 times (the last in packet 8, 7.0" in finding.message
    assert "accept queue" in finding.message


def test_connections_to_one_server_are_told_once_by_the_slowest(path: Path) -> None:
    talk = on(answered(tried(Talk(), 1)))
    for number, waits in enumerate(((1, 2), (1, 2, 4), (1,))):
        other = on(answered(tried(Talk(client_end=("10.0.0.1", 41000 + number)), *waits)))
        talk.packets += other.packets
    talk.packets.sort(key=lambda packet: packet.ts_ns)
    finding = one(path, talk)
    assert (4, 7) == (finding.evidence["connections"], round(float(str(finding.evidence["took_s"]))))
    assert finding.message.endswith("So it was with 3 other connections.")


def test_copies_of_a_syn_are_not_sent_again(path: Path) -> None:
    talk = on(answered(tried(Talk(), 1, 2)))
    talk.packets = [copy for packet in talk.packets for copy in (packet, Packet(packet.frame, packet.ts_ns + 10_000))]
    assert 2 == one(path, talk).evidence["sent_again"]


def test_a_syn_ack_that_nothing_follows_is_a_connection_that_never_opened(path: Path) -> None:
    talk = answered(tried(Talk()))
    answered(answered(talk.wait(1)).wait(2))
    assert [] == found(path, talk, CODE)
    (finding,) = found(path, talk, "connection-unanswered")
    assert (2, "syn-ack", "client") == tuple(finding.evidence[name] for name in ("syn_acks_sent_again", "what", "proof_needs"))
    assert "answered 1 connection with a SYN-ACK, and nothing came after it (first in packet 2; 2 SYN-ACKs sent again, the longest try for 3.0" in finding.message
    assert "the only try to connect to 10.0.0.2:2376 got no answer to the SYN-ACK." in judged(path, talk).verdict[0]
    assert [] == found(path, answered(tried(Talk())).wait(9), "connection-unanswered")  # nothing of its own was sent again


def sides(path: Path, client: Talk, missing: set[int]) -> tuple[Path, Path]:
    """The client's capture without those of the server's packets, and the server's with all but the `missing` SYNs; before both another one."""
    before = on(answered(tried(Talk(client_end=("10.0.0.8", 500), now=client.packets[0].ts_ns - 10_000_000)))).packets
    path.write_bytes(pcap([*before, *client.packets]))
    there = [Packet(packet.frame, packet.ts_ns + (1000 if packet.frame[26:30] == bytes([10, 0, 0, 1]) else -1000)) for packet in client.packets]
    server = path.with_name("server.pcap")
    server.write_bytes(pcap([*before, *(packet for number, packet in enumerate(there, 1) if number not in missing)]))
    return path, server


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        (set(), "They did reach the server's side, and that host did not answer them."),
        ({1, 2, 3}, "Packets 7 to 9 of trace.pcap did not reach the server's side."),
    ],
)
def test_the_other_side_says_where_the_syns_were_dropped(path: Path, missing: set[int], said: str) -> None:
    trace, server = sides(path, on(answered(tried(Talk(), 1, 2, 4))), missing)
    (finding,) = [one for one in analyze(trace, other_side=server).findings if one.code == CODE]
    assert finding.message.endswith(said)
    assert finding.evidence["proven_by_other_side"]
