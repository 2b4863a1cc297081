"""mergecap as second opinion: files of one capture give the report of the one file that it makes of them."""

import json
import subprocess

import pytest

from builders import Packet, Talk, pcap, pcapng, rows
from captool.analysis import analyze
from captool.report.json_report import report
from fixture_cases import FIXTURES

pytestmark = pytest.mark.needs("mergecap")


def merged_by_mergecap(folder, paths):
    """Of packets of the same time mergecap writes that of the file named last first (wiretap/merge.c, is_earlier)."""
    whole = folder / "whole.pcapng"
    subprocess.run(["mergecap", "-w", whole, *reversed(paths)], check=True, capture_output=True)
    return whole


def comparable(paths, keys=()):
    values = report(analyze(paths, keys))
    for name in ("files", "format", "notes"):
        values["capture"].pop(name, None)
    return values


@pytest.mark.parametrize(
    "names",
    [
        ("any-interface/towards-client.pcap", "any-interface/towards-server.pcap"),
        ("any-interface/towards-server.pcap", "any-interface/any.pcap", "any-interface/towards-client.pcap"),
        ("lossy-path/server.pcap", "lossy-path/client.pcap"),
        ("dead-peer/client.pcap", "dead-peer/server.pcap"),
        ("rotated/rotated-1795540220.pcap", "rotated/rotated-1795540230.pcap", "rotated/server.pcap"),
    ],
    ids=lambda names: "+".join(name.rpartition("/")[2] for name in names),
)
def test_files_recorded_at_once_give_the_report_of_what_mergecap_makes_of_them(tmp_path, names):
    paths = [FIXTURES / name for name in names]
    keys = [paths[0].parent / "machines"]
    assert comparable([merged_by_mergecap(tmp_path, paths)], keys) == comparable(paths, keys)


def test_the_interfaces_of_a_router_give_the_verdict_that_each_of_them_gives_alone():
    """What a capture holds twice is counted, and nothing else may change but the packets' numbers."""
    folder = FIXTURES / "any-interface"
    ends = [folder / "towards-client.pcap", folder / "towards-server.pcap"]
    both, first, second = (analyze(paths, folder / "machines") for paths in (ends, ends[0], ends[1]))
    assert both.verdict == first.verdict == second.verdict
    assert [finding.code for finding in first.findings] == [finding.code for finding in both.findings]
    assert first.capture.packets == both.capture.duplicate_packets == both.capture.packets // 2
    for one, alone in zip(both.connections, first.connections, strict=True):
        for fact in ("client", "server", "start_ns", "packets", "payload_bytes", "close", "closed_by", "history", "retransmissions"):
            assert getattr(alone.tcp, fact) == getattr(one.tcp, fact), fact
        for fact in ("version", "cipher_suite", "status", "reason", "secret_origin", "finished_verified", "plaintext_bytes"):
            assert getattr(alone.tls, fact) == getattr(one.tls, fact), fact
        assert [alert.description for alert in alone.tls.alerts] == [alert.description for alert in one.tls.alerts]
        assert [exchange.endpoint for exchange in alone.exchanges] == [exchange.endpoint for exchange in one.exchanges]


def test_packets_stand_in_the_order_in_which_mergecap_writes_them(tmp_path):
    talk = Talk().opened()
    for _ in range(20):
        talk.client(b"question").server(b"answer").client()
    ties = [Packet(packet.frame + bytes([number]), packet.ts_ns // 4_000_000 * 4_000_000) for number, packet in enumerate(talk.packets)]
    stepping = [Packet(packet.frame, packet.ts_ns + (-1) ** (number // 7) * 9_000_000) for number, packet in enumerate(talk.packets)]
    paths = [tmp_path / name for name in ("z", "b", "m", "a")]
    for path, data in zip(paths, (pcap(ties[::2]), pcapng(ties[1::2]), pcap(ties), pcapng(stepping)), strict=True):
        path.write_bytes(data)
    assert rows(merged_by_mergecap(tmp_path, paths)) == rows(*paths, chunk_size=500)
    assert json.dumps(comparable([tmp_path / "whole.pcapng"])) == json.dumps(comparable(paths))
