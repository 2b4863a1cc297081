"""Real captures of `openssl s_client -sess_out`, then `-sess_in`: the resumed connection is read whichever of the two comes first."""

import os
import subprocess

import pytest

from captool.analysis import analyze
from captool.connections import key_ring
from captool.direction import Direction
from captool.transcript import Said, plaintext

pytestmark = [pytest.mark.slow, pytest.mark.needs("openssl", "tcpdump", "unshare", "ip", "bash", "editcap", "tshark", root=True)]

SCRIPT = r"""
set -eu
ip link set lo up
openssl req -x509 -newkey rsa:2048 -nodes -keyout server-key.pem -out server.pem -subj /O=root.runner-1 -days 2 2>log
tcpdump -Z root -i lo --immediate-mode -B 65536 -U -w both.pcap tcp port 2376 2>tcpdump.log & dump=$!
while ! grep -q listening tcpdump.log; do sleep 0.05; done
openssl s_server -accept 2376 -cert server.pem -key server-key.pem -tls1_2 -cipher AES128-SHA:@SECLEVEL=0 $1 -www >server.log 2>&1 & server=$!
while ! openssl s_client -connect 127.0.0.1:2376 -tls1_2 -cipher AES256-SHA </dev/null >probe.log 2>&1 && ! grep -q handshake probe.log; do sleep 0.05; done
say() { printf 'GET /%s HTTP/1.0\r\n\r\n' "$1"; }
client="openssl s_client -connect 127.0.0.1:2376 -tls1_2 -cipher AES128-SHA:@SECLEVEL=0 -quiet -ign_eof"
say original | $client -sess_out session.pem >original.txt 2>>log
say resumed | $client -sess_in session.pem >resumed.txt 2>>log
sleep 0.3
kill $server; kill -INT $dump; wait $dump
"""


@pytest.fixture(scope="module", params=["", "-no_ticket"], ids=["ticket", "session-id"])
def recorded(request, tmp_path_factory):
    """(folder, capture of the original, capture of the resumed connection with its clock an hour behind)."""
    folder = tmp_path_factory.mktemp("resumption")
    subprocess.run(["unshare", "-n", "bash", "-c", SCRIPT, "-", request.param], cwd=folder, check=True, timeout=60, env=os.environ)
    data = [one.id for one in analyze(folder / "both.pcap").connections if one.tls and sum(one.tcp.payload_bytes) > 2000]
    assert 2 == len(data)
    for stream, name in zip(data, ("original", "resumed"), strict=True):
        subprocess.run(["tshark", "-r", "both.pcap", "-Y", f"tcp.stream=={stream}", "-w", f"{name}.pcapng"], cwd=folder, check=True)
    subprocess.run(["editcap", "-t", "-3600", "resumed.pcapng", "early.pcapng"], cwd=folder, check=True)
    return folder


def test_resumed_connection_is_read_before_its_original(recorded):
    files = [recorded / "original.pcapng", recorded / "early.pcapng"]
    first, second = analyze(files, recorded / "server-key.pem").connections
    assert (True, "decrypted", True) == (first.tls.resumed, first.tls.status, first.tls.finished_verified)
    assert (False, "decrypted") == (second.tls.resumed, second.tls.status)
    said = [
        b"".join(one.data for one in plaintext(files, way, 0, recorded / "server-key.pem") if isinstance(one, Said)) for way in Direction
    ]
    assert b"GET /resumed HTTP/1.0\r\n\r\n" == said[0]
    assert (recorded / "resumed.txt").read_bytes() == said[1]
    assert said[1].startswith(b"HTTP/1.0 200 ok")


def test_resumed_connection_alone_says_what_it_lacks(recorded):
    (alone,) = analyze(recorded / "resumed.pcapng", key_ring(recorded / "server-key.pem")).connections
    assert ("encrypted", "resumed-without-original") == (alone.tls.status, alone.tls.reason)
