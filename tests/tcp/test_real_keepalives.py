"""Keepalives of the real kernel, recorded by the real tcpdump on the loopback of a network namespace of their own."""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.builders import SECOND, analyze

TALK = """
    import signal, socket, subprocess, sys, time

    trace, begin_late = sys.argv[1], sys.argv[2] == "late"
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)

    def record():
        tcpdump = subprocess.Popen(["tcpdump", "-i", "lo", "-U", "--immediate-mode", "-s", "200", "-w", trace], stderr=subprocess.PIPE)
        while b"listening" not in tcpdump.stderr.readline():
            pass
        return tcpdump

    tcpdump = None if begin_late else record()
    server = socket.create_server(("127.0.0.1", 2376))
    client = socket.create_connection(("127.0.0.1", 2376))
    client.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 1)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 1)
    other, _ = server.accept()
    client.sendall(b"GET /containers/x/attach")
    other.sendall(b"UPGRADED")
    client.recv(100)
    tcpdump = tcpdump or record()
    time.sleep(5.5)
    tcpdump.send_signal(signal.SIGINT)
    tcpdump.wait()
"""


@pytest.mark.slow
@pytest.mark.needs("unshare", "tcpdump", "ip", root=True)
@pytest.mark.parametrize("begin", ["early", "late"])
def test_the_kernels_keepalives_are_seen_from_the_start_and_mid_idle(tmp_path: Path, begin: str) -> None:
    trace = tmp_path / "recorded.pcap"
    command = ["unshare", "-n", sys.executable, "-c", textwrap.dedent(TALK), str(trace), begin]
    subprocess.run(command, check=True, timeout=60)
    _, (seen,), _ = analyze(tmp_path / "copy.pcap", trace.read_bytes(), keepalive_window_ns=3 * SECOND)
    probes = seen.keepalive.to_server
    assert "present" == probes.status
    assert 4 <= probes.probes <= 6
    assert probes.answered == probes.probes
    assert 0.95 * SECOND < (probes.interval_ns or 0) < 1.3 * SECOND
    assert ("missing", 0) == (seen.keepalive.to_client.status, seen.keepalive.to_client.probes)
    assert (begin == "late") == seen.client_guessed
    assert 2376 == seen.server.port
