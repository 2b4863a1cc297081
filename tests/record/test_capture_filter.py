"""The filter of a recording, as libpcap understands it: which ICMP errors it lets through."""

import json
import struct
import subprocess
import sys

import pytest

from captool.record.capture_filter import capture_filter
from captool.record.tcpdump import one_interface
from recordings import PACKAGES, ended, inside, recording, wait_for_packets
from tests.builders import Packet, ethernet, ip, pcap, tcp

CLIENT, SERVER, ROUTER = ("10.0.0.1", 40000), ("10.0.0.2", 2376), ("10.0.9.1", 0)
CLIENT6, SERVER6, ROUTER6 = ("fd00::1", 40000), ("fd00::2", 2376), ("fd00::9", 0)
CONNECT = "import socket; socket.socket().connect_ex(('127.0.0.1', 2376))"


@pytest.mark.parametrize(
    ("ports", "hosts", "expression", "expected"),
    [
        ((2376,), (), "", "tcp port 2376"),
        ((2375, 2376), (), "", "(tcp port 2375 or tcp port 2376)"),
        ((2376,), ("10.0.0.1",), "", "tcp port 2376 and host 10.0.0.1"),
        ((2376,), ("10.0.0.1", "10.0.0.2"), "tcp or icmp", "tcp port 2376 and (host 10.0.0.1 or host 10.0.0.2) and (tcp or icmp)"),
        ((), (), "tcp or icmp", "tcp or icmp"),
        ((), (), "", ""),
    ],
)
def test_ports_hosts_and_an_expression_are_joined(ports, hosts, expression, expected):
    made = capture_filter(ports, hosts, expression)
    assert expected == made.asked
    if expression or not ports:
        assert (expected, expected) == (made.expression, made.shown)
    else:
        assert f"{expected}, ICMP errors about it" == made.shown


def error(about, kind, code=0, sender=ROUTER):
    """A frame with an ICMP error that quotes the beginning of a packet."""
    if about[0] >> 4 == 6:
        return ethernet(ip(struct.pack(">BBHI", kind, code, 0, 0) + about[:1200], sender, CLIENT6, protocol=58))
    return ethernet(ip(struct.pack(">BBHI", kind, code, 0, 0) + about[:28], sender, CLIENT, 1, protocol=1))


def segment(source=CLIENT, destination=SERVER):
    return ip(tcp(source, destination, 1), source, destination)


def changed(packet, at, value):
    return packet[:at] + bytes([value]) + packet[at + 1 :]


def passes(made, *frames, tmp_path):
    """For each frame, whether libpcap lets it through."""
    found = []
    for frame in frames:
        path = tmp_path / "one.pcap"
        path.write_bytes(pcap([Packet(frame)]))
        done = subprocess.run(["tcpdump", "-n", "-r", path, "--", made.expression], capture_output=True, text=True, check=True)
        found.append(bool(done.stdout))
    return found


ABOUT, ABOUT6 = segment(), segment(CLIENT6, SERVER6)
LET_THROUGH = {
    "the segment itself": ethernet(ABOUT),
    "its answer": ethernet(segment(SERVER, CLIENT)),
    "host unreachable": error(ABOUT, 3, 1),
    "prohibited, about the answer": error(segment(SERVER, CLIENT), 3, 13),
    "fragmentation needed": error(ABOUT, 3, 4),
    "time exceeded": error(ABOUT, 11),
    "IPv6: the segment itself": ethernet(ABOUT6),
    "IPv6: no route": error(ABOUT6, 1, 0, ROUTER6),
    "IPv6: prohibited, about the answer": error(segment(SERVER6, CLIENT6), 1, 1, ROUTER6),
    "IPv6: packet too big": error(ABOUT6, 2, 0, ROUTER6),
    "IPv6: time exceeded": error(ABOUT6, 3, 0, ROUTER6),
}
KEPT_OUT = {
    "another port": ethernet(segment(CLIENT, ("10.0.0.2", 443))),
    "echo request": error(ABOUT, 8),
    "redirect": error(ABOUT, 5, 1),
    "about another port": error(segment(CLIENT, ("10.0.0.2", 443)), 3, 1),
    "about UDP": error(changed(ABOUT, 9, 17), 3, 3),
    "about a later fragment": error(changed(ABOUT, 7, 5), 11, 1),
    "about a header with options, whose words are no ports": error(changed(ABOUT, 0, 0x46), 3, 1),
    "UDP with the words of an error": ethernet(changed(error(ABOUT, 3, 1)[14:], 9, 17)),
    "IPv6: echo request": error(ABOUT6, 128, 0, ROUTER6),
    "IPv6: parameter problem": error(ABOUT6, 4, 0, ROUTER6),
    "IPv6: about another port": error(segment(CLIENT6, ("fd00::2", 443)), 1, 0, ROUTER6),
    "IPv6: about UDP": error(changed(ABOUT6, 6, 17), 1, 0, ROUTER6),
}


@pytest.mark.needs("tcpdump")
def test_errors_about_the_recorded_port_pass_and_no_other_icmp(tmp_path):
    made = capture_filter((2376,), (), "")
    through = passes(made, *LET_THROUGH.values(), tmp_path=tmp_path)
    assert dict.fromkeys(LET_THROUGH, True) == dict(zip(LET_THROUGH, through, strict=True))
    kept = passes(made, *KEPT_OUT.values(), tmp_path=tmp_path)
    assert dict.fromkeys(KEPT_OUT, False) == dict(zip(KEPT_OUT, kept, strict=True))


@pytest.mark.needs("tcpdump")
@pytest.mark.parametrize("ports", [(2376,), (2375, 2376), (1, 2376, 9)])
def test_a_filter_on_interfaces_or_against_ssh_in_front_holds_for_the_errors_too(ports, tmp_path):
    made = capture_filter(ports, (), "")
    assert [True] == passes(made, error(ABOUT, 3, 1), tmp_path=tmp_path)
    interface, expression = one_interface(("a", "b"), made.expression, lambda: {"a": 7, "b": 8})
    assert ("any", f"(ifindex 7 or ifindex 8) and ({made.expression})") == (interface, expression)
    narrowed = made._replace(expression=f"not (ip host {ROUTER[0]}) and ({made.expression})")
    assert [False, True] == passes(narrowed, error(ABOUT, 3, 1), ethernet(ABOUT), tmp_path=tmp_path)


@pytest.mark.needs("tcpdump")
@pytest.mark.parametrize(
    ("hosts", "expected"),
    [
        (("10.0.0.2",), [True, True, False]),  # quoted as destination, as source
        (("10.0.0.1", "fd00::2"), [True, True, True]),
        (("10.0.0.3",), [False, False, False]),
        (("fd00::2",), [False, False, True]),
        (("fd00::3",), [False, False, False]),
        (("10.0.9.1",), [False, False, False]),  # the router is no end of these connections
        (("localhost",), [True, True, True]),  # a name: tcpdump alone knows whose
    ],
)
def test_of_a_host_the_errors_about_its_connections_pass(hosts, expected, tmp_path):
    made = capture_filter((2376,), hosts, "")
    frames = error(ABOUT, 3, 1), error(segment(SERVER, CLIENT), 3, 1), error(ABOUT6, 1, 0, ROUTER6)
    assert expected == passes(made, *frames, tmp_path=tmp_path)


@pytest.mark.slow
@pytest.mark.needs("tcpdump", "ip", "nsenter", "nft", root=True)
def test_a_recording_has_the_errors_that_refuse_its_connections(namespace, tmp_path):
    rules = "table inet t { chain c { type filter hook input priority 0; tcp dport 2376 reject with icmpx type admin-prohibited; }; }"
    subprocess.run(inside(namespace, "nft", "-f", "-"), input=rules, text=True, check=True)
    with recording(namespace, tmp_path, "-i", "lo", "-w", "t.pcap", "--duration", "4s") as process:
        assert "(tcp port 2376, ICMP errors about it) to t.pcap" in (tmp_path / "said").read_text()
        subprocess.run(inside(namespace, sys.executable, "-c", CONNECT), check=True, timeout=30)
        wait_for_packets(tmp_path / "t.pcap")
        ended(process, 0)
    made = json.loads((tmp_path / "t.pcap.json").read_text())
    assert made["filter"] == made["command"][-1] == capture_filter((2376,), (), "").expression
    words = [sys.executable, "-P", "-m", "captool.cli.main", "analyze", tmp_path / "t.pcap", "--format", "json"]
    done = subprocess.run(words, capture_output=True, text=True, check=True, env={"PYTHONPATH": PACKAGES})
    (finding,) = [one for one in json.loads(done.stdout)["findings"] if one["code"] == "icmp-error"]
    assert "communication administratively prohibited" == finding["evidence"]["icmp"]
