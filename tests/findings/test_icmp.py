"""ICMP errors about a connection's packets: who refused them is told, instead of a guess."""

import ipaddress
import struct
from pathlib import Path

import pytest

from captool.analysis import analyze
from captool.report.text import render
from tests.builders import ACK, CLIENT, SERVER, SYN, Endpoint, Packet, Talk, ethernet, ip, pcap, tcp
from tests.findings.judged import asked, found, judged

ROUTER = ("10.0.9.1", 0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "trace.pcap"


def icmp(about: bytes, kind: int, code: int, rest: int = 0, *, to: Endpoint = SERVER) -> bytes:
    """A frame of the router's with an ICMP error that quotes the beginning of an IPv4 packet."""
    return ethernet(ip(struct.pack(">BBHI", kind, code, 0, rest) + about[:28], ROUTER, to, 1, protocol=1))


def refused(kind: int = 3, code: int = 13, *, times: int = 4, rest: int = 0, size: int = 4) -> Talk:
    """Data of the server, sent again and again; each time the router answers."""
    talk = asked()
    for again in range(times):
        talk.wait(2).server(b"d" * size, seq=talk.next[1] - (size if again else 0))
        about = talk.packets[-1].frame[14:]
        talk.packets.append(Packet(icmp(about, kind, code, rest), talk.now + 1000))
    return talk


def test_a_router_that_refuses_packets_is_named(path: Path) -> None:
    (finding,) = found(path, refused(), "icmp-error")
    assert ("error", "high", (8, 14)) == (finding.severity, finding.confidence, finding.packets)
    assert "10.0.9.1 answered what the server sent with 4 ICMP errors (packets 8 to 14): communication administratively prohibited." == finding.message
    assert "firewall rules of 10.0.9.1" in finding.remedy
    (drop,) = found(path, refused(), "silent-drop")
    assert drop.message.endswith("10.0.9.1 did not deliver them and said so (ICMP, packet 14): communication administratively prohibited.")
    analysis = judged(path, refused())
    assert analysis.verdict[0].startswith("Connection 0 was refused on its way: 10.0.9.1 answers what the server sends with ICMP communication")
    assert not any("silently" in sentence for sentence in analysis.verdict)
    assert "REFUSED ON ITS WAY (ICMP)" in render(analysis)


@pytest.mark.parametrize(
    ("kind", "code", "said"),
    [(3, 1, "host unreachable"), (3, 0, "network unreachable"), (11, 0, "TTL exceeded in transit"), (3, 15, "type 3 code 15")],
)
def test_what_it_says_is_told_in_its_own_words(path: Path, kind: int, code: int, said: str) -> None:
    (finding,) = found(path, refused(kind, code), "icmp-error")
    assert finding.evidence["icmp"] == said


def test_a_size_that_does_not_pass_is_no_fault_where_data_went_on(path: Path) -> None:
    talk = refused(3, 4, times=1, rest=1300, size=1448)
    talk.server(b"d" * 1260, seq=talk.next[1] - 1448).server(b"d" * 188, seq=talk.next[1] - 188).client()
    (finding,) = found(path, talk, "icmp-error")
    assert ("info", 1300) == (finding.severity, finding.evidence["mtu"])
    assert "fragmentation needed (at most 1300 bytes pass)" in finding.message


def test_a_sender_that_does_not_heed_it_is_no_black_hole_that_says_nothing(path: Path) -> None:
    talk = refused(3, 4, times=6, rest=1300, size=1448)
    lost = talk.next[1] - 1448
    talk.client(b"more", ack=lost)
    (finding,) = found(path, talk, "mtu-black-hole")
    assert "10.0.9.1 did say that they are too big (ICMP, packet 18: at most 1300 bytes): the server does not get that" in finding.message
    assert "without saying so" not in finding.message


def test_a_connection_that_was_refused_before_it_opened(path: Path) -> None:
    talk = Talk().client(flags=SYN, ack=0)
    talk.packets.append(Packet(icmp(talk.packets[-1].frame[14:], 3, 1, to=CLIENT), talk.now + 1000))
    (finding,) = found(path, talk.wait(1).client(flags=SYN, ack=0, seq=1000), "icmp-error")
    assert ("error", "to_server") == (finding.severity, finding.evidence["direction"])


def test_a_connection_whose_syn_ack_was_refused_never_opened_either(path: Path) -> None:
    talk = Talk().client(flags=SYN, ack=0).server(flags=SYN | ACK)
    talk.packets.append(Packet(icmp(talk.packets[-1].frame[14:], 3, 13), talk.now + 1000))
    (finding,) = found(path, talk, "icmp-error")
    assert ("error", "to_client") == (finding.severity, finding.evidence["direction"])
    (finding,) = found(path, talk.client(), "icmp-error")
    assert "warning" == finding.severity


def test_errors_about_other_connections_or_of_another_time_are_not_this_ones(path: Path) -> None:
    talk = asked().wait(60)
    other = ip(tcp(("10.0.0.8", 1), SERVER, 1), ("10.0.0.8", 1), SERVER)
    talk.packets.append(Packet(icmp(other, 3, 1), talk.now))
    assert [] == found(path, talk, "icmp-error")
    talk.packets[-1] = Packet(icmp(asked().packets[-1].frame[14:], 3, 1), talk.now)
    assert [] == found(path, talk, "icmp-error")


def test_copies_of_an_error_are_counted_once(path: Path) -> None:
    talk = refused()
    talk.packets = [copy for packet in talk.packets for copy in (packet, Packet(packet.frame, packet.ts_ns + 10_000))]
    (finding,) = found(path, talk, "icmp-error")
    assert 4 == finding.evidence["times"]


def test_packet_too_big_of_ipv6_is_read(path: Path) -> None:
    ends = (("fd00::1", 40000), ("fd00::2", 2376))
    talk = Talk(client_end=ends[0], server_end=ends[1]).opened().client(b"GET /").server(b"x" * 1440)
    about = talk.packets[-1].frame[14:]
    payload = struct.pack(">BBHI", 2, 0, 0, 1280) + about[:80]
    router = ipaddress.ip_address("fd00::9").packed
    header = struct.pack(">IHBB", 0x60000000, len(payload), 58, 64) + router + ipaddress.ip_address("fd00::2").packed
    talk.packets.append(Packet(ethernet(header + payload), talk.now + 1000))
    (finding,) = found(path, talk.client(), "icmp-error")
    assert ("fd00::9", "packet too big", 1280) == (finding.evidence["reporter"], finding.evidence["icmp"], finding.evidence["mtu"])


def client_side(path: Path, talk: Talk, port: int = 40000, *, upto: int = 6) -> Path:
    """What the client recorded of it, 3 ms later by its clock; from another port, which a NAT gave another number."""
    frames = [packet.frame for packet in talk.packets[:upto]]
    for at, frame in enumerate(frames):
        place = 34 if frame[26:30] == bytes([10, 0, 0, 1]) else 36
        frames[at] = frame[:place] + struct.pack(">H", port) + frame[place + 2 :]
    late = talk.now + 60_000_000_000
    other = Talk(client_end=("10.0.0.9", 5000), now=late).client(b"still recording").packets
    path.write_bytes(pcap([*(Packet(frame, packet.ts_ns + 3_000_000) for frame, packet in zip(frames, talk.packets, strict=False)), *other]))
    return path


@pytest.mark.parametrize("port", [40000, 40007])
def test_an_error_that_the_other_side_recorded_is_told_with_the_name_of_that_capture(path: Path, port: int) -> None:
    talk = refused()
    talk.wait(3)
    path.write_bytes(pcap(talk.packets))
    client = client_side(path.with_name("client.pcap"), talk, port)
    analysis = analyze(client, other_side=path)
    (finding,) = [one for one in analysis.findings if one.code == "icmp-error"]
    assert ("error", (), ["other-side"]) == (finding.severity, finding.packets, finding.evidence["seen_by"])
    assert "4 ICMP errors (packets 8 to 14 of trace.pcap): communication administratively prohibited." in finding.message
    (dead,) = [one for one in analysis.findings if one.code == "path-dead"]
    said = "10.0.9.1 did not deliver them and said so (ICMP, packet 14 of trace.pcap): communication administratively prohibited."
    assert dead.message.endswith(said)
    assert said in " ".join(analysis.verdict)


def test_an_error_of_the_trace_is_told_as_the_traces_and_that_both_have_it_too(path: Path) -> None:
    talk = refused()
    path.write_bytes(pcap(talk.packets))
    client = client_side(path.with_name("client.pcap"), talk)
    (finding,) = [one for one in analyze(path, other_side=client).findings if one.code == "icmp-error"]
    assert ((8, 14), ["trace"]) == (finding.packets, finding.evidence["seen_by"])
    both = path.with_name("both.pcap")
    both.write_bytes(pcap([Packet(packet.frame, packet.ts_ns + 2_000_000) for packet in talk.packets]))
    (finding,) = [one for one in analyze(path, other_side=both).findings if one.code == "icmp-error"]
    assert ["trace", "other-side"] == finding.evidence["seen_by"]
    assert "(packets 8 to 14, seen in both.pcap too): communication" in finding.message


@pytest.mark.parametrize("cut", range(1, 36))
def test_an_error_that_is_cut_is_passed_over(path: Path, cut: int) -> None:
    talk = refused()
    talk.packets = [Packet(packet.frame[:-cut], packet.ts_ns, len(packet.frame)) if packet.frame[23] == 1 else packet for packet in talk.packets]
    path.write_bytes(pcap(talk.packets))
    assert "icmp-error" not in {finding.code for finding in analyze(path).findings}
