"""Tunnels and wireless frames: the TCP connection inside is reported, as tshark reports it."""

import random
import subprocess
from pathlib import Path

import pytest
from scapy.contrib.geneve import GENEVE, GeneveOptions
from scapy.layers.dot11 import Dot11, Dot11QoS, RadioTap
from scapy.layers.inet import GRE, IP, TCP, UDP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt
from scapy.layers.l2 import LLC, SNAP, Dot1Q, Ether
from scapy.layers.vxlan import VXLAN

from builders import Packet, analyze, pcap, stream

TEXT = b"hello from inside"
INNER = IP(src="10.0.0.1", dst="10.0.0.2") / TCP(sport=40000, dport=2376, flags="PA", seq=1, ack=1) / TEXT
INNER6 = IPv6(src="2001:db8::1", dst="2001:db8::2") / TCP(sport=40000, dport=2376, flags="PA", seq=1, ack=1) / TEXT
MAC = {"src": "02:00:00:00:00:01", "dst": "02:00:00:00:00:02"}
OUTER = Ether(**MAC) / IP(src="192.0.2.1", dst="192.0.2.2")
OUTER6 = Ether(**MAC) / IPv6(src="2001:db8:f::1", dst="2001:db8:f::2")
RADIO = {"addr1": "02:00:00:00:00:01", "addr2": "02:00:00:00:00:02", "addr3": "02:00:00:00:00:03"}
LLC_SNAP = LLC() / SNAP()

TUNNELS = {
    "ip-in-ip": OUTER / INNER,
    "ip-in-ip with options": Ether(**MAC) / IP(src="192.0.2.1", dst="192.0.2.2", options=[b"\x01\x01\x01\x00"]) / INNER,
    "ipv6-in-ip": OUTER / INNER6,
    "ip-in-ipv6": OUTER6 / INNER,
    "ipv6-in-ipv6 with encapsulation limit": OUTER6 / IPv6ExtHdrDestOpt(options=[]) / INNER6,
    "gre": OUTER / GRE() / INNER,
    "gre with checksum, key and sequence": OUTER / GRE(chksum_present=1, key_present=1, seqnum_present=1, key=7) / INNER6,
    "gre over ipv6": OUTER6 / GRE() / INNER,
    "gre of ethernet": OUTER / GRE(proto=0x6558) / Ether(**MAC) / Dot1Q(vlan=5) / INNER,
    "vxlan": OUTER / UDP(sport=50000, dport=4789) / VXLAN(vni=42, flags=8) / Ether(**MAC) / INNER,
    "vxlan with a group policy": OUTER / UDP(sport=50000, dport=4789) / VXLAN(vni=42, flags=0x88, gpid=3) / Ether(**MAC) / INNER,
    "vxlan over ipv6": OUTER6 / UDP(sport=50000, dport=4789) / VXLAN(vni=42, flags=8) / Ether(**MAC) / INNER6,
    "geneve of ethernet": OUTER / UDP(sport=50000, dport=6081) / GENEVE(vni=42, proto=0x6558) / Ether(**MAC) / INNER,
    "geneve with options": OUTER / UDP(sport=50000, dport=6081)
    / GENEVE(vni=42, proto=0x6558, options=[GeneveOptions(classid=1, type=2, data=b"12345678")]) / Ether(**MAC) / INNER6,
    "wireless to the access point": Dot11(type=2, subtype=0, FCfield=1, **RADIO) / LLC_SNAP / INNER,
    "wireless with quality of service": Dot11(type=2, subtype=8, FCfield=2, **RADIO) / Dot11QoS() / LLC_SNAP / INNER6,
    "wireless bridge": Dot11(type=2, subtype=0, FCfield=3, addr4="02:00:00:00:00:04", **RADIO) / LLC_SNAP / INNER,
    "radiotap": RadioTap(present="TSFT+Flags", mac_timestamp=5, Flags=0) / Dot11(type=2, subtype=0, FCfield=1, **RADIO)
    / LLC_SNAP / INNER,
}  # fmt: skip


def link_type(frame: object) -> int:
    return 105 if isinstance(frame, Dot11) else 127 if isinstance(frame, RadioTap) else 1


def named(name: str) -> tuple[int, bytes]:
    return link_type(TUNNELS[name]), bytes(TUNNELS[name])


@pytest.mark.parametrize("name", TUNNELS)
def test_the_connection_inside_is_reported(tmp_path: Path, name: str) -> None:
    link, frame = named(name)
    summary, (inner,), pieces = analyze(tmp_path / "trace", pcap([Packet(frame)], link))
    assert (1, 0, 0) == (summary.tcp_packets, summary.other_packets, summary.undecodable_packets)
    assert TEXT == stream(pieces, 0)
    assert (40000, 2376) == (inner.client.port, inner.server.port)
    assert inner.client.ip in {"10.0.0.1", "2001:db8::1"}


@pytest.mark.slow
@pytest.mark.needs("tshark")
@pytest.mark.parametrize("name", TUNNELS)
def test_tshark_sees_the_same_inside(tmp_path: Path, name: str) -> None:
    link, frame = named(name)
    trace = tmp_path / "trace"
    trace.write_bytes(pcap([Packet(frame)], link))
    fields = [part for field in ("tcp.stream", "tcp.srcport", "tcp.len") for part in ("-e", field)]
    said = subprocess.run(["tshark", "-r", trace, "-T", "fields", *fields], capture_output=True, text=True, check=True).stdout.split()
    assert ["0", "40000", str(len(TEXT))] == said


def test_linux_sends_vxlan_to_its_first_port_as_well(tmp_path: Path) -> None:
    frame = OUTER / UDP(sport=50000, dport=8472) / VXLAN(vni=42, flags=8) / Ether(**MAC) / INNER
    _, _, pieces = analyze(tmp_path / "trace", [Packet(bytes(frame))])
    assert TEXT == stream(pieces, 0)


@pytest.mark.parametrize(
    "frame",
    [
        OUTER / UDP(sport=50000, dport=4789) / b"\0not VXLAN at all, no flag is set" / INNER,
        OUTER / UDP(sport=4789, dport=50000) / VXLAN(vni=42, flags=8) / Ether(**MAC) / INNER,
        OUTER / GRE(version=1) / INNER,
        OUTER / GRE(proto=0x0003) / INNER,
        OUTER / IP(src="192.0.2.3", dst="192.0.2.4") / INNER,
        Ether(**MAC) / IP(src="192.0.2.1", dst="192.0.2.2", flags="MF", proto=47) / GRE() / INNER,
        OUTER / UDP(sport=50000, dport=4789) / VXLAN(vni=42, flags=8) / Ether(type=0x0806, **MAC) / bytes(28),
    ],
)
def test_what_is_no_tunnel_of_one_level_counts_as_other(tmp_path: Path, frame: object) -> None:
    summary, connections, _ = analyze(tmp_path / "trace", [Packet(bytes(frame))])
    assert ((0, 1, 0), []) == ((summary.tcp_packets, summary.other_packets, summary.undecodable_packets), connections)


def test_encrypted_wireless_frames_count_as_other(tmp_path: Path) -> None:
    frame = Dot11(type=2, subtype=0, FCfield=0x41, **RADIO) / bytes(60)
    summary, _, _ = analyze(tmp_path / "trace", pcap([Packet(bytes(frame))], 105))
    assert (0, 1) == (summary.tcp_packets, summary.other_packets)


@pytest.mark.parametrize("name", TUNNELS)
def test_a_tunnel_cut_anywhere_or_with_wrong_bytes_breaks_nothing(tmp_path: Path, name: str) -> None:
    link, whole = named(name)
    rng = random.Random(7)
    frames = [whole[:length] for length in range(len(whole))]
    for _ in range(200):
        wrong = bytearray(whole)
        for _ in range(rng.randrange(1, 5)):
            wrong[rng.randrange(len(wrong))] = rng.randrange(256)
        frames.append(bytes(wrong))
    summary, _, _ = analyze(tmp_path / "trace", pcap([Packet(frame, original=len(whole)) for frame in frames], link))
    assert len(frames) == summary.tcp_packets + summary.other_packets + summary.undecodable_packets
