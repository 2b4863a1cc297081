"""Packets that `-i any` captured more than once, of IPv6: nothing in them but the place tells the copies."""

import os
import signal
import struct
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from captool.analysis import analyze as explain
from captool.capture.summary import CaptureSummary
from captool.tcp.connection import TcpConnection
from tests.builders import ACK, PSH, SECOND, START, SYN, Endpoint, Packet, analyze, ethernet, ip, pcap, tcp, tsval

CLIENT: Endpoint = ("2001:db8::1", 40000)
SERVER: Endpoint = ("2001:db8::2", 2376)
TO_US, TO_ANOTHER, FROM_US = 0, 3, 4
MICRO = 1000
Place = tuple[int, int]  # interface, which way
IN, OUT, BRIDGE = (2, TO_US), (3, FROM_US), (4, FROM_US)


def sll(packet: bytes, place: Place) -> bytes:
    return struct.pack(">HHH8sH", place[1], 1, 6, bytes(8), 0x86DD) + packet


def sll2(packet: bytes, place: Place) -> bytes:
    return struct.pack(">HHIHBB8s", 0x86DD, 0, place[0], 1, place[1], 6, bytes(8)) + packet


class Recording:
    """What `-i any` records; `said` puts a segment down at each of these places, a few microseconds apart."""

    def __init__(self, link: int = 276, options: bytes = b"") -> None:
        self.link, self.now, self.options = link, START, options
        self.packets: list[Packet] = []

    def said(self, *places: Place, seq: int = 1, ack: int = 1, flags: int = ACK, data: bytes = b"", window: int = 500, back: bool = False) -> "Recording":
        ends = (SERVER, CLIENT) if back else (CLIENT, SERVER)
        packet = ip(tcp(*ends, seq, ack, flags, data, window, self.options), *ends)
        for place in places:
            self.now += 5 * MICRO
            self.packets.append(Packet((sll if self.link == 113 else sll2 if self.link == 276 else lambda one, _: ethernet(one))(packet, place), self.now))
        return self

    def wait(self, seconds: float) -> "Recording":
        self.now += round(seconds * SECOND)
        return self

    def opened(self, *places: Place) -> "Recording":
        self.said(*places, seq=0, ack=0, flags=SYN).said(*places, seq=0, ack=1, flags=SYN | ACK, back=True).said(*places)
        return self.said(*places, flags=ACK | PSH, data=b"GET /").said(*places, ack=6, flags=ACK | PSH, data=b"200", back=True).said(*places, seq=6, ack=4)

    def seen(self, path: Path) -> tuple[CaptureSummary, TcpConnection]:
        summary, (connection,), _ = analyze(path, pcap(self.packets, self.link))
        return summary, connection


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "trace.pcap"


@pytest.mark.parametrize("link", [113, 276])
@pytest.mark.parametrize("places", [(IN, OUT), (IN, OUT, (3, TO_ANOTHER)), ((5, TO_ANOTHER), IN, OUT)])
def test_a_packet_at_several_places_is_one(path: Path, link: int, places: tuple[Place, ...]) -> None:
    recording = Recording(link).opened(*places)
    for _ in range(3):
        recording.wait(15).said(*places, seq=5, ack=4).said(*places, seq=4, ack=6, back=True)
    summary, seen = recording.seen(path)
    assert (12, 12 * (len(places) - 1)) == (sum(seen.packets), summary.duplicate_packets)
    assert (3, 3, 0) == (seen.keepalive.to_server.probes, seen.keepalive.to_server.answered, sum(seen.retransmissions))
    assert 15 * SECOND <= (seen.keepalive.to_server.interval_ns or 0) < 16 * SECOND


def test_both_ways_out_of_a_docker_host_are_told_by_their_interfaces(path: Path) -> None:
    recording = Recording().opened(OUT, BRIDGE).wait(1).said(OUT, BRIDGE, seq=6, ack=4, flags=ACK | PSH, data=b"x" * 100)
    assert (0, 7) == (sum(recording.seen(path)[1].retransmissions), recording.seen(path)[0].duplicate_packets)


MID_STREAM_CASES = [(113, (OUT, BRIDGE), 1), (1, (OUT, BRIDGE), 1), (113, (IN, OUT), 0), (276, (OUT, BRIDGE), 0)]


@pytest.mark.parametrize(("link", "places", "again"), MID_STREAM_CASES)
def test_in_the_middle_of_a_connection_places_that_look_the_same_leave_a_doubt(path: Path, link: int, places: tuple[Place, ...], again: int) -> None:
    """SLL knows two ways out of a host as one, Ethernet knows none: without the SYN, which comes once, such copies are as if sent again."""
    recording = Recording(link).said(*places[:1], seq=1, ack=1, flags=ACK | PSH, data=b"GET /").said(*places[:1], ack=6, back=True).wait(1)
    recording.said(*places, seq=6, ack=1, flags=ACK | PSH, data=b"x" * 100).said(*places, ack=106, back=True)
    for _ in range(3):
        recording.wait(15).said(*places, seq=105, ack=1).said(*places, seq=1, ack=106, back=True)
    _, seen = recording.seen(path)
    assert again == seen.retransmissions.to_server
    assert (3, 3) == (seen.keepalive.to_server.probes, seen.keepalive.to_server.answered)  # of these no copy counts
    (finding,) = [one for one in explain(path).findings if one.code == "mid-stream"]
    assert bool(again) == ("The packet sent again may be a copy, if packets were recorded twice" in finding.message)
    whole = Recording(link).opened(*places).wait(1).said(*places, seq=6, ack=4, flags=ACK | PSH, data=b"x" * 100)
    assert 0 == sum(whole.seen(path)[1].retransmissions)


@pytest.mark.parametrize("link", [1, 276])
@pytest.mark.parametrize("options", [b"", tsval(7)])
@pytest.mark.parametrize("places", [(IN,), (IN, OUT)])
def test_what_is_sent_again_within_a_millisecond_passes_the_same_places_again(path: Path, link: int, options: bytes, places: tuple[Place, ...]) -> None:
    if link == 1:
        places = places[:1]
    recording = Recording(link, options).opened(*places).wait(1)
    for _ in range(3):  # after a round trip of microseconds, as between containers
        recording.said(*places, seq=6, ack=4, flags=ACK | PSH, data=b"x" * 100)
    assert 2 == recording.seen(path)[1].retransmissions.to_server


def test_a_burst_at_one_place_and_then_at_the_other_is_one_burst(path: Path) -> None:
    recording = Recording().opened(IN, OUT).wait(1)
    for place in (IN, OUT):
        for number in range(8):
            recording.said(place, seq=6 + 100 * number, ack=4, flags=ACK | PSH, data=b"x" * 100)
    summary, seen = recording.seen(path)
    assert (0, 14) == (seen.retransmissions.to_server, summary.duplicate_packets)


def test_duplicate_acknowledgements_are_counted_once_for_each_that_was_sent(path: Path) -> None:
    recording = Recording().opened(IN, OUT)
    for place in (IN, OUT):
        for _ in range(3):
            recording.said(place, seq=4, ack=6, back=True)
    summary, seen = recording.seen(path)
    assert (5, 9) == (seen.packets.to_client, summary.duplicate_packets)


def test_a_packet_that_the_host_dropped_and_that_was_sent_again_is_two(path: Path) -> None:
    recording = Recording().opened(IN, OUT).said(IN, seq=6, ack=4, flags=ACK | PSH, data=b"x" * 100)
    recording.said(IN, OUT, seq=6, ack=4, flags=ACK | PSH, data=b"x" * 100)
    assert 1 == recording.seen(path)[1].retransmissions.to_server


@pytest.mark.parametrize("seconds", [0.2, 0.0011])
def test_after_a_millisecond_nothing_is_a_copy(path: Path, seconds: float) -> None:
    recording = Recording().opened(IN, OUT).said(IN, seq=6, ack=4, flags=ACK | PSH, data=b"x")
    recording.wait(seconds).said(OUT, seq=6, ack=4, flags=ACK | PSH, data=b"x")
    assert 1 == recording.seen(path)[1].retransmissions.to_server


@pytest.mark.parametrize("link", [1, 276])
def test_window_probes_are_never_copies_of_each_other(path: Path, link: int) -> None:
    recording = Recording(link).opened(IN).said(IN, ack=6, seq=4, window=0, back=True)
    for _ in range(3):
        recording.wait(0.2).said(IN, seq=5, ack=4).said(IN, seq=4, ack=6, window=0, back=True)
    shut = recording.seen(path)[1].shut_windows.to_server
    assert shut is not None
    assert (3, 0) == (shut.probes, recording.seen(path)[0].duplicate_packets)


@pytest.mark.parametrize("link", [1, 113])
def test_a_probe_is_not_counted_twice_even_where_nothing_tells_the_place(path: Path, link: int) -> None:
    recording = Recording(link).opened(OUT)
    for _ in range(3):
        recording.wait(15).said(OUT, BRIDGE, seq=5, ack=4).said(OUT, BRIDGE, seq=4, ack=6, back=True)
    assert 3 == recording.seen(path)[1].keepalive.to_server.probes


@pytest.mark.parametrize("options", [b"", tsval(7)])
def test_two_answers_to_two_syns_at_the_same_moment_are_two(path: Path, options: bytes) -> None:
    """Seen of Linux: the SYN and its answer are both sent again after a second, and the SYN is answered once more."""
    recording = Recording(1, options).said(IN, seq=0, ack=0, flags=SYN).wait(1).said(IN, seq=0, ack=1, flags=SYN | ACK, back=True)
    recording.said(IN, seq=0, ack=0, flags=SYN).said(IN, seq=0, ack=1, flags=SYN | ACK, back=True).said(IN)
    for _ in range(3):
        recording.said(IN, flags=ACK | PSH, data=b"x")
    summary, seen = recording.seen(path)
    assert (0, 2) == (summary.duplicate_packets, seen.retransmissions.to_server)


TALK = """
    import socket, sys, time
    if sys.argv[1] == "server":
        listening = socket.create_server(("::", 2376), family=socket.AF_INET6)
        print("listening", flush=True)
        connection, _ = listening.accept()
        connection.recv(100)
        connection.sendall(b"UPGRADED")
        connection.recv(100)
    else:
        connection = socket.create_connection((sys.argv[1], 2376))
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 1)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 1)
        connection.sendall(b"GET /attach")
        connection.recv(100)
        time.sleep(3.5)
"""


@pytest.fixture
def hosts() -> Iterator[tuple[str, str, str]]:
    """Client, router and server: network namespaces in a row, IPv6 and no timestamps."""
    names = [f"captool-copies-{os.getpid()}-{role}" for role in ("client", "router", "server")]
    with ExitStack() as stack:
        for name in names:
            command("ip", "netns", "add", name)
            stack.callback(command, "ip", "netns", "delete", name)
            settings = ("net.ipv4.tcp_timestamps=0", "net.ipv6.conf.all.forwarding=1", "net.ipv6.conf.default.accept_dad=0")
            command("ip", "netns", "exec", name, "sysctl", "-qw", *settings)
        for host, net in ((names[0], "fd01::"), (names[2], "fd02::")):
            end = f"eth{net[3]}"
            command("ip", "-n", names[1], "link", "add", end, "type", "veth", "peer", "name", "eth0", "netns", host)
            for name, link, address in ((names[1], end, f"{net}1/64"), (host, "eth0", f"{net}2/64")):
                command("ip", "-n", name, "address", "add", address, "dev", link, "nodad")
                command("ip", "-n", name, "link", "set", link, "up")
            command("ip", "-n", host, "route", "add", "default", "via", f"{net}1")
        yield names[0], names[1], names[2]


def command(*words: str) -> None:
    subprocess.run(words, check=True, timeout=20)


@pytest.mark.slow
@pytest.mark.needs("ip", "tcpdump", "sysctl", root=True)
@pytest.mark.parametrize("link", ["LINUX_SLL", "LINUX_SLL2"])
def test_the_probes_that_a_router_records_with_any_are_counted_once(tmp_path: Path, hosts: tuple[str, str, str], link: str) -> None:
    trace = tmp_path / "recorded.pcap"
    client, router, server = (("ip", "netns", "exec", name) for name in hosts)
    python = (sys.executable, "-c", textwrap.dedent(TALK))
    recording = (*router, "tcpdump", "-i", "any", "-y", link, "-U", "--immediate-mode", "-s", "200", "-w", str(trace), "tcp")
    with subprocess.Popen(recording, stderr=subprocess.PIPE) as recorder, subprocess.Popen([*server, *python, "server"], stdout=subprocess.PIPE) as served:
        try:
            assert recorder.stderr is not None
            assert served.stdout is not None
            while b"listening" not in recorder.stderr.readline():
                pass
            served.stdout.readline()
            command(*client, *python, "fd02::2")
            served.wait(10)
        finally:
            recorder.send_signal(signal.SIGINT)
            served.kill()
    summary, (seen,), _ = analyze(tmp_path / "copy.pcap", trace.read_bytes())
    assert 3 == seen.keepalive.to_server.probes == seen.keepalive.to_server.answered
    assert (0, summary.packets // 2) == (sum(seen.retransmissions), summary.duplicate_packets)
