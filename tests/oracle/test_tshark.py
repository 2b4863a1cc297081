"""tshark as second opinion on every fixture: streams, keepalive probes, retransmissions and decrypted bytes.

It agrees on all of them. Where it is wrong on other captures (a probe that comes before anything that it has seen of the connection, a
retransmitted last byte, a window probe) the differences stand with their reasons in tests/capture/test_corpus.py.
"""

import subprocess
from collections import Counter

import pyshark
import pytest
from pyshark.tshark.tshark import get_process_path

from captool.analysis import analyze
from captool.keys.load import load_keys
from captool.tls.conversation import TlsConversation
from fixture_cases import captures, folders

CAPTURES = pytest.mark.parametrize("capture", captures(), ids=lambda path: f"{path.parent.name}-{path.name}")
pytestmark = pytest.mark.needs("tshark")


def tshark_packets(capture, display_filter):
    """(stream, source port) of each packet that the filter picks."""
    with pyshark.FileCapture(str(capture), display_filter=display_filter, keep_packets=False) as packets:
        return [(int(packet.tcp.stream), int(packet.tcp.srcport)) for packet in packets]


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
    assert len({stream for stream, _ in tshark_packets(capture, "tcp")}) == len(analyze(capture).connections)


@CAPTURES
def test_keepalive_probes_agree(capture):
    ours = by_direction(analyze(capture), lambda tcp: (tcp.keepalive.to_server.probes, tcp.keepalive.to_client.probes))
    assert dict(Counter(tshark_packets(capture, "tcp.analysis.keep_alive"))) == ours


@CAPTURES
def test_retransmissions_agree(capture):
    ours = by_direction(analyze(capture), lambda tcp: tuple(tcp.retransmissions))
    assert dict(Counter(tshark_packets(capture, "tcp.analysis.retransmission && tcp.len > 0 && !tcp.analysis.keep_alive"))) == ours


def key_options(folder):
    """tshark's options for the key material of a case."""
    options = [f"-ouat:rsa_keys:\"{path}\",\"\"" for path in sorted(folder.glob("machines/*/server-key.pem"))]
    return options + [f"-otls.keylog_file:{path}" for path in folder.glob("keys.log")]


def tshark_plaintext(capture, stream, options):
    """What `follow,tls` shows of a stream: bytes to the server, bytes to the client."""
    command = [get_process_path(), "-r", str(capture), *options, "-q", "-z", f"follow,tls,raw,{stream}"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    body = [line for line in lines if line.strip() and all(c in "0123456789abcdef" for c in line.strip())]
    plain, indented = (b"".join(bytes.fromhex(line) for line in body if line.startswith("\t") == tab) for tab in (False, True))
    # Node 0 is whoever tshark saw first with TLS data that it could read, in TLS 1.3 often the server.
    node_0_is_server = any(line.startswith("Node 0:") and line.endswith(":2376") for line in lines)
    return (indented, plain) if node_0_is_server else (plain, indented)


@CAPTURES
def test_decrypted_bytes_are_identical(capture, monkeypatch):
    folder = capture.parent
    ours = {}
    feed = TlsConversation.feed

    def recording_feed(self, piece):
        found = feed(self, piece)
        sides = ours.setdefault(piece.connection, (bytearray(), bytearray()))
        for plain in found:
            sides[plain.direction].extend(plain.data)
        return found

    monkeypatch.setattr(TlsConversation, "feed", recording_feed)
    keys = [path for path in (folder / "machines", folder / "keys.log") if path.exists()]
    for connection in analyze(capture, load_keys(keys)).connections:
        to_server, to_client = ours.get(connection.id, (b"", b""))
        assert tshark_plaintext(capture, connection.id, key_options(folder)) == (bytes(to_server), bytes(to_client))
        if connection.tls is not None:
            assert (len(to_server), len(to_client)) == tuple(connection.tls.plaintext_bytes)


def test_there_is_something_to_compare():
    assert len(captures()) >= 8
    assert len(folders()) >= 6
