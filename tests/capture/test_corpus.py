"""Public captures with their known counts; runs where CAPTOOL_CORPUS names the directory."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from captool.capture import linktype
from captool.errors import CaptureError
from tests.builders import analyze

CORPUS = os.environ.get("CAPTOOL_CORPUS")

# tshark's rule for keepalives misses those of a capture that starts mid-stream and answers to crossing probes; it counts closing
# acknowledgements that cross a FIN, acknowledgements of a connection whose SYN was replayed, and pushed last bytes sent
# again. Here: probes and answers by captool's rule.
OTHER_KEEPALIVES = {
    "tcp/570b09-input.pcap": (0, 0),
    "tcp/e6c58c-lustre-lnet_sample.cap.gz": (105, 105),
    "tcp/61e314-wireshark-retrans.pcap": (0, 0),
    "tcp/bd469b-oneflow.pcap": (212, 212),
    "tcp/819355-sessionhijacking.pcapng": (3, 3),
    "tcp/5f27ef-sample.pcap": (12, 12),
    "tcp/1e940e-nest_log_sink.pcap": (155, 154),
    "tcp/ef0c43-waze.pcap": (0, 0),
    "tcp/ad80ce-ftp_port_non_match_ip.pcap": (0, 0),
    "tcp/a8eea1-cooper-grill-dvwa.pcapng": (3, 3),
    "tcp/a0cfc5-vlan-collisions.pcap": (2, 0),
    "tcp/24808a-smb-direct-man-in-the-middle-02-reassemble-frames9.pcap.gz": (0, 0),
}
# tshark counts system journal records as packets, and a TCP header cut after 14 bytes as TCP.
OTHER_COUNTS = {
    "linktype/65f993-test017.pcapng": (0, 0, 0),
    "linktype/edc08a-test017.pcapng": (0, 0, 0),
    "linktype/3817cd-test018.pcapng": (4, 0, 0),
    "linktype/a52f16-test018.pcapng": (4, 0, 0),
    "linktype/0dffd6-randpkt_all.pcap": (23, 3, 3),
}
FOREIGN_FORMATS = (".erf", "tcpshake.cap", "20102008184715.pcap", "dualhome.iptrace", "ascend.trace.gz")


def entries() -> list[Any]:
    if CORPUS is None:
        return []
    return json.loads((Path(CORPUS) / "manifest.json").read_text())


@pytest.mark.skipif(CORPUS is None, reason="CAPTOOL_CORPUS does not name the corpus")
@pytest.mark.parametrize("entry", entries(), ids=lambda entry: entry["file"])
def test_counts_agree_with_what_is_known(tmp_path: Path, entry: dict[str, Any]) -> None:
    file = entry["file"]
    refusal = ""
    try:
        summary, connections, _ = analyze(tmp_path / "trace", (Path(CORPUS or "") / file).read_bytes())
    except CaptureError as error:
        refusal = str(error)
    if refusal:
        assert "\n" not in refusal
        undecoded = [name for name in linktype.NAMES.values() if f"link type {name}" in refusal]
        known = entry["kind"] == "malformed" or not entry.get("n_tcp_packets") or file.endswith(FOREIGN_FORMATS)
        assert known or undecoded or "LINKTYPE" in refusal
        return
    assert summary.packets == summary.tcp_packets + summary.other_packets + summary.undecodable_packets
    if entry["kind"] == "malformed":
        return
    counts = (entry["n_packets"], entry["n_tcp_packets"], entry["n_tcp_streams"])
    assert OTHER_COUNTS.get(file, counts) == (summary.packets, summary.tcp_packets, len(connections))
    keepalives = (entry["keep_alive"], entry["keep_alive_ack"])
    seen = [side for connection in connections for side in connection.keepalive]
    assert OTHER_KEEPALIVES.get(file, keepalives) == (sum(side.probes for side in seen), sum(side.answered for side in seen))
