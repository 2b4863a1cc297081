"""tshark as second opinion on every fixture: streams, keepalive probes, retransmissions and decrypted bytes.

Where tshark is wrong the difference stands in SLIPS with its reason; everything else agrees. Those of the public captures are in
tests/capture/test_corpus.py.
"""

import subprocess
from collections import Counter
from functools import cache
from typing import NamedTuple

import pyshark
import pytest

from captool.analysis import analyze
from captool.keys.load import load_keys
from captool.tls.conversation import TlsConversation
from fixture_cases import FIXTURES, captures, folders

# tshark takes a third of a second to start: the fast suite asks it about one capture of each kind.
FAST = {
    "any-interface/any.pcap": "Linux cooked, every packet twice",
    "dead-peer/server.pcap": "probes of both sides that cross",
    "ecdhe-key-log/server.pcap": "TLS 1.2 opened by a key log",
    "ecdhe-no-secrets/server.pcap": "nothing opens it",
    "half-close/server.pcap": "without TLS",
    "keepalive-saves/server.pcap": "probes of one side, TLS 1.2 opened by a private key",
    "lossy-path/server.pcap": "retransmissions",
    "many-requests-tls13/server.pcap": "TLS 1.3",
    "reset-on-reuse/server.pcap": "a reset",
    "rotated/rotated-1795540230.pcap": "begins within its connections",
    "stopped-reader/server.pcap": "a window that closes",
}
CAPTURES = pytest.mark.parametrize(
    "capture",
    [pytest.param(path, marks=[] if f"{path.parent.name}/{path.name}" in FAST else pytest.mark.slow) for path in captures()],
    ids=lambda path: f"{path.parent.name}-{path.name}",
)
pytestmark = pytest.mark.needs("tshark")
LABELS = ("analysis.keep_alive", "analysis.keep_alive_ack", "analysis.retransmission")

# What tshark counts otherwise, by case, trace and figure: {(stream, port of the sender): tshark's count less captool's}.
TWICE = "each packet is seen coming and going; tshark takes the second for a retransmission, a probe or an answer of its own"
CROSSING = "probes of both sides cross; tshark calls an answer that follows the other side's probe a duplicate acknowledgement"
WINDOW_PROBE = "an empty segment before the acknowledged byte while the window is closed is a window probe; tshark calls it keepalive"
FILLS_A_HOLE = "a segment sent again within a round trip of its duplicate acknowledgement; tshark calls it out of order"
OVERTAKEN = (
    "nine first transmissions that came after the second, as their IP identifications tell, are not sent again: to tshark they are; and it calls "
    "six out of order that were"
)
MID_STREAM = "the file begins with a probe, before which tshark has seen nothing of the connection"
SLIPS = {
    ("any-interface", "any.pcap", "probes"): ({(0, 42296): 2, (1, 42310): 2}, TWICE),
    ("any-interface", "any.pcap", "answers"): ({(0, 2376): 2, (1, 2376): 2}, TWICE),
    ("any-interface", "any.pcap", "retransmissions"): ({(0, 42296): 4, (0, 2376): 5, (1, 42310): 3, (1, 2376): 7}, TWICE),
    ("dead-peer", "client.pcap", "answers"): ({(1, 2376): -2}, CROSSING),
    ("dead-peer", "server.pcap", "answers"): ({(1, 44224): -2}, CROSSING),
    ("keepalive-both", "server.pcap", "answers"): ({(0, 45838): -1, (1, 45852): -2, (2, 45862): -2}, CROSSING),
    ("half-close", "client.pcap", "answers"): ({(2, 2375): -1}, CROSSING),
    ("half-close", "server.pcap", "answers"): ({(2, 57216): -1}, CROSSING),
    ("mtu-black-hole", "client.pcap", "answers"): ({(2, 2375): -1}, CROSSING),
    ("mtu-black-hole", "server.pcap", "answers"): ({(2, 54810): -1}, CROSSING),
    ("stopped-reader", "client.pcap", "probes"): ({(1, 2376): 4}, WINDOW_PROBE),
    ("stopped-reader", "server.pcap", "probes"): ({(1, 2376): 4}, WINDOW_PROBE),
    ("lossy-path", "client.pcap", "retransmissions"): ({(1, 2376): 3}, OVERTAKEN),
    ("lossy-path", "server.pcap", "retransmissions"): ({(1, 2376): -11}, FILLS_A_HOLE),
    ("rotated", "rotated-1795540230.pcap", "probes"): ({(0, 46108): -2, (1, 46122): -2}, MID_STREAM),
    ("rotated", "rotated-1795540230.pcap", "answers"): ({(0, 2376): -2, (1, 2376): -2}, MID_STREAM),
    ("rotated", "rotated-1795540238.pcap", "probes"): ({(0, 46108): -2, (1, 46122): -2}, MID_STREAM),
    ("rotated", "rotated-1795540238.pcap", "answers"): ({(0, 2376): -2, (1, 2376): -2}, MID_STREAM),
    ("rotated", "rotated-1795540246.pcap", "probes"): ({(0, 46108): -1, (1, 46122): -1}, MID_STREAM),
    ("rotated", "rotated-1795540246.pcap", "answers"): ({(0, 2376): -1, (1, 2376): -1}, MID_STREAM),
}


class Row(NamedTuple):
    """What tshark says of a TCP packet; a label is a name of LABELS, a fingerprint is empty where there is none."""

    stream: int
    port: int  # of the sender
    length: int
    labels: frozenset[str]
    ja3: str
    ja3s: str


class Opinion(NamedTuple):
    packets: list[Row]
    plaintext: dict[int, tuple[bytes, bytes]]  # by stream: bytes to the server, bytes to the client


@cache
def seen(capture):
    """captool's analysis of a capture, without keys."""
    return analyze(capture)


@cache
def tshark(capture, streams, keys=()):
    """All that tshark is asked about a capture, in one run; the decrypted bytes of streams 0 to `streams` - 1."""
    fields = ["tcp.stream", "tcp.srcport", "tcp.len", *(f"tcp.{label}" for label in LABELS), "tls.handshake.ja3", "tls.handshake.ja3s"]
    command = ["tshark", "-r", str(capture), *keys, "-otcp.reassemble_out_of_order:TRUE", "-Y", "tcp", "-T", "fields", "-E", "separator=;", "-E", "occurrence=f"]
    command += [word for field in fields for word in ("-e", field)] + [f"-zfollow,tls,raw,{stream}" for stream in range(streams)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rows, *follows = said.split("Follow: tls,raw\n")
    packets = []
    for line in rows.splitlines():
        if ";" in line:
            stream, port, length, *labels, ja3, ja3s = line.split(";")
            packets.append(Row(int(stream), int(port), int(length), frozenset(name for name, set_ in zip(LABELS, labels, strict=True) if set_), ja3, ja3s))
    assert len(follows) == streams
    return Opinion(packets, dict(map(plaintext, follows)))


def plaintext(follow):
    """A stream's number and what `follow,tls` shows of it: bytes to the server, bytes to the client."""
    lines = follow.splitlines()
    (stream,) = [int(line.rpartition(" ")[2]) for line in lines if line.startswith("Filter: tcp.stream eq")]
    body = [line for line in lines if line.strip() and all(c in "0123456789abcdef" for c in line.strip())]
    plain, indented = (b"".join(bytes.fromhex(line) for line in body if line.startswith("\t") == tab) for tab in (False, True))
    # Node 0 is whoever tshark saw first with TLS data that it could read, in TLS 1.3 often the server.
    node_0_is_server = any(line.startswith("Node 0:") and line.endswith(":2376") for line in lines)
    return stream, (indented, plain) if node_0_is_server else (plain, indented)


def opinion(capture):
    """tshark's of a fixture, with the keys of its folder."""
    return tshark(capture, len(seen(capture).connections), key_options(capture.parent))


def tshark_packets(capture, label="", *, data=False):
    """(stream, source port) of each packet that has the label; only those with payload, and no probe, when it is about data."""
    rows = opinion(capture).packets
    chosen = [row for row in rows if not data or (row.length and "analysis.keep_alive" not in row.labels)]
    return [(row.stream, row.port) for row in chosen if not label or label in row.labels]


def by_direction(analysis, figure):
    """(stream, source port) -> figure, without zeros, for comparison with a Counter of tshark's."""
    found = {}
    for connection in analysis.connections:
        to_server, to_client = figure(connection.tcp)
        found[connection.id, connection.tcp.client.port] = to_server
        found[connection.id, connection.tcp.server.port] = to_client
    return {key: value for key, value in found.items() if value}


@CAPTURES
def test_streams_agree(capture):
    assert len({stream for stream, _ in tshark_packets(capture)}) == len(seen(capture).connections)


def slips(capture, figure, label, ours, *, data=False):
    """tshark's count less captool's where they differ: as known, as found."""
    theirs = Counter(tshark_packets(capture, label, data=data))
    differences = {key: theirs[key] - ours.get(key, 0) for key in {*theirs, *ours}}
    known = SLIPS.get((capture.parent.name, capture.name, figure), ({}, ""))[0]
    return known, {key: count for key, count in differences.items() if count}


@CAPTURES
def test_packets_of_each_connection_agree(capture):
    theirs = Counter(tshark_packets(capture))
    times = 2 if capture.name == "any.pcap" else 1  # coming and going; captool counts each once
    assert dict(theirs) == {key: times * count for key, count in by_direction(seen(capture), lambda tcp: tuple(tcp.packets)).items()}


@CAPTURES
def test_keepalive_probes_agree(capture):
    ours = by_direction(seen(capture), lambda tcp: (tcp.keepalive.to_server.probes, tcp.keepalive.to_client.probes))
    known, found = slips(capture, "probes", "analysis.keep_alive", ours)
    assert known == found


@CAPTURES
def test_answers_to_probes_agree(capture):
    ours = by_direction(seen(capture), lambda tcp: (tcp.keepalive.to_client.answered, tcp.keepalive.to_server.answered))
    known, found = slips(capture, "answers", "analysis.keep_alive_ack", ours)
    assert known == found


@CAPTURES
def test_retransmissions_agree(capture):
    ours = by_direction(seen(capture), lambda tcp: tuple(tcp.retransmissions))
    known, found = slips(capture, "retransmissions", "analysis.retransmission", ours, data=True)
    assert known == found


@pytest.mark.slow
@pytest.mark.needs("editcap")
@pytest.mark.parametrize(("case", "trace", "probes"), [("keepalive-saves", "server.pcap", 6), ("keepalive-server", "server.pcap", 6)])
def test_probes_of_a_capture_that_begins_in_the_silence_are_found(case, trace, probes, tmp_path):
    """Cut out of a whole capture: from the first probe of the silence to the last answer. tshark finds none of them."""
    whole = FIXTURES / case / trace
    with pyshark.FileCapture(str(whole), display_filter="tcp.analysis.keep_alive || tcp.analysis.keep_alive_ack") as packets:
        numbers = [int(packet.number) for packet in packets]
    part = tmp_path / "part.pcap"
    subprocess.run(["editcap", "-r", str(whole), str(part), f"{numbers[0]}-{numbers[-1]}"], check=True)
    found = [tuple(sorted((tcp.keepalive.to_server.probes, tcp.keepalive.to_client.probes))) for tcp in
             (connection.tcp for connection in analyze(part).connections)]  # fmt: skip
    assert [(0, probes)] * 2 == found
    assert [] == tshark_packets(part, "analysis.keep_alive")


def key_options(folder):
    """tshark's options for the key material of a case."""
    options = [f"-ouat:rsa_keys:\"{path}\",\"\"" for path in sorted(folder.glob("machines/*/server-key.pem"))]
    return (*options, *(f"-otls.keylog_file:{path}" for path in folder.glob("keys.log")))


@CAPTURES
def test_decrypted_bytes_are_identical(capture, monkeypatch):
    folder = capture.parent
    ours = {}
    read = TlsConversation.read

    def recording_read(self, piece):
        found = read(self, piece)
        sides = ours.setdefault(piece.connection, (bytearray(), bytearray()))
        for plain in found:
            sides[plain.direction].extend(plain.data)
        return found

    monkeypatch.setattr(TlsConversation, "read", recording_read)
    keys = [path for path in (folder / "machines", folder / "keys.log") if path.exists()]
    for connection in analyze(capture, load_keys(keys)).connections:
        to_server, to_client = ours.get(connection.id, (b"", b""))
        assert opinion(capture).plaintext[connection.id] == (bytes(to_server), bytes(to_client))
        if connection.tls is not None:
            assert (len(to_server), len(to_client)) == tuple(connection.tls.plaintext_bytes)


def test_there_is_something_to_compare():
    assert len(captures()) >= 38
    assert len(folders()) >= 25
    assert set(FAST) <= {f"{path.parent.name}/{path.name}" for path in captures()}


def ja3_by_connection(capture):
    """Connection -> tshark's JA3 of its first ClientHello and JA3S of its last ServerHello (the one before may be a HelloRetryRequest)."""
    found = {}
    for row in opinion(capture).packets:
        if row.ja3:
            found.setdefault(row.stream, {}).setdefault("ja3", row.ja3)
        if row.ja3s:
            found.setdefault(row.stream, {})["ja3s"] = row.ja3s
    return found


@CAPTURES
def test_fingerprints_of_hellos_agree(capture):
    hellos = {one.id: {"ja3": one.tls.ja3, "ja3s": one.tls.ja3s} for one in seen(capture).connections if one.tls}
    ours = {number: {name: value for name, value in one.items() if value} for number, one in hellos.items()}
    assert ja3_by_connection(capture) == {number: one for number, one in ours.items() if one}
