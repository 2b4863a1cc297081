"""`captool record --analyze` with the real tcpdump: lines while it happens, and a recording that nothing of it can disturb."""

import contextlib
import json
import os
import pty
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from captool.analysis import analyze
from captool.cli.main import main
from recordings import ended, inside, manifest, packets, recording, send

pytestmark = [pytest.mark.needs("tcpdump", "ip", "nsenter", root=True), pytest.mark.slow]

# A server that answers what it gets after the seconds named in it, and a client that asks with or without keepalive probes.
TALK = """
import socket, sys, threading, time
server = socket.create_server(("127.0.0.1", 2376))
def serve():
    while True:
        peer, _ = server.accept()
        threading.Thread(target=answer, args=(peer,), daemon=True).start()
def answer(peer):
    time.sleep(float(peer.recv(100)))
    peer.sendall(b"result")
    peer.recv(100)
    peer.close()
threading.Thread(target=serve, daemon=True).start()
def ask(port, wait):
    client = socket.socket()
    client.bind(("127.0.0.1", port))
    client.connect(("127.0.0.1", 2376))
    if port == 40001:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 1)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 1)
    client.sendall(wait.encode())
    client.recv(100)
    client.close()
clients = [threading.Thread(target=ask, args=(40000 + number, wait)) for number, wait in enumerate(sys.argv[1:])]
for client in clients:
    client.start()
for client in clients:
    client.join()
time.sleep(0.5)
"""
BASIC = ("--analyze", "-i", "lo", "-w", "t.pcap", "--machines", ".")


@contextlib.contextmanager
def talk(namespace, *waits):
    """Clients that wait so long for their answers, from port 40000 on; the second one sends keepalive probes every second."""
    process = subprocess.Popen(inside(namespace, sys.executable, "-c", TALK, *map(str, waits)))
    try:
        yield process
    finally:
        process.kill()
        process.wait()


class Lines:
    """The lines that a recording prints, as they come."""

    def __init__(self, process):
        self.lines = []
        self._thread = threading.Thread(target=lambda: self.lines.extend((time.monotonic(), line.decode()) for line in process.stdout))
        self._thread.start()

    def wait_for(self, what, seconds=40):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if found := [(at, line) for at, line in self.lines if what in line]:
                return found[0]
            time.sleep(0.05)
        raise AssertionError(f"no {what!r} in {self.lines}")

    def all(self):
        self._thread.join(40)
        return "".join(line for _, line in self.lines)


def analysis_of(process):
    """The process that analyzes beside a recording."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        for path in Path(f"/proc/{process.pid}/task").glob("*/children"):
            for child in path.read_text().split():
                if b"captool.cli.live_verdicts" in Path(f"/proc/{child}/cmdline").read_bytes():
                    return int(child)
        time.sleep(0.05)
    raise AssertionError("no analysis runs")


def stopped(process):
    process.send_signal(signal.SIGTERM)
    assert process.wait(45) == 0, process.said.read_text()


def test_silence_is_told_while_it_lasts_and_probes_give_no_alarm(namespace, tmp_path):
    with recording(namespace, tmp_path, *BASIC, "--idle-timeout", "3s") as process:
        lines = Lines(process)
        began = time.monotonic()
        with talk(namespace, 14.5, 14.5) as talking:
            at, line = lines.wait_for("reaches the idle timeout given")
            assert at - began > 3
            assert talking.poll() is None  # it is told while it lasts
            assert "127.0.0.1:40000 -> 127.0.0.1:2376: idle for 3.00 s, no keepalive probe from either side seen so far" in line
            lines.wait_for("127.0.0.1:40001 -> 127.0.0.1:2376: a keepalive probe of the client was seen")
            lines.wait_for("127.0.0.1:40000 -> 127.0.0.1:2376: closed by the client (FIN)")
        stopped(process)
        said = lines.all()
    assert 1 == said.count("reaches the idle")
    assert "No keepalive probe from either side was seen in 14.5" in " ".join(said.split())  # the report, at the end
    assert "captool: captool analyze t.pcap" in (tmp_path / "said").read_text()


def test_what_was_told_of_a_silence_to_the_end_is_in_the_report_too(namespace, tmp_path):
    with recording(namespace, tmp_path, *BASIC, "--idle-timeout", "2s") as process:
        lines = Lines(process)
        with talk(namespace, 60):
            lines.wait_for("127.0.0.1:40000 -> 127.0.0.1:2376: idle for 2.00 s")
            time.sleep(3)
            stopped(process)
            said = " ".join(lines.all().split())
    assert ", recorded until " in said
    assert "may have been dropped: nothing came on it in the last" in said
    assert "No keepalive probe from either side was seen in" in said
    end = json.loads((tmp_path / "t.pcap.json").read_text())["end"]
    command = [sys.executable, "-P", "-m", "captool.cli.main", "analyze", tmp_path / "t.pcap", "--format", "json"]
    report = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    assert report["capture"]["end"] < report["capture"]["recorded_until"] < end
    (tmp_path / "t.pcap.json").unlink()
    assert analyze(tmp_path / "t.pcap").connections[0].tcp.gaps == ()


def test_silence_goes_on_through_the_files_of_a_ring(namespace, tmp_path):
    words = (*BASIC, "--idle-timeout", "4s", "-G", "500ms", "-C", "2KB", "-W", "2", "tcp port 2376 or udp port 9999")
    with recording(namespace, tmp_path, *words) as process:
        lines = Lines(process)
        with talk(namespace, 9):
            for _ in range(12):
                send(namespace, 5, 400)
                time.sleep(0.4)
            lines.wait_for("127.0.0.1:40000 -> 127.0.0.1:2376: idle for 4.00 s")
            lines.wait_for("closed by the client (FIN)")
        stopped(process)
        said = lines.all()
    made = manifest(tmp_path)
    assert made["files_removed"] > 3
    assert "begins anew" not in said
    assert said.splitlines()[-1].startswith("captool analyze t-")  # of a part of the recording there is no summary


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_an_analysis_that_dies_or_stands_still_costs_no_packet(namespace, tmp_path, number):
    words = ("--analyze", "-i", "lo", "-w", "t.pcap", "-C", "20KB", "--machines", ".", "udp port 9999")
    with recording(namespace, tmp_path, *words) as process:
        send(namespace, 10)
        os.kill(analysis := analysis_of(process), number)
        for _ in range(20):
            send(namespace, 1000, 100)
        time.sleep(1.5)
        process.send_signal(signal.SIGTERM)
        time.sleep(1)
        if number == signal.SIGSTOP:
            assert process.poll() is None  # it is waited for, but not for ever
            os.kill(analysis, signal.SIGCONT)
        ended(process, 0)
    assert 20_010 == sum(packets(path) for path in tmp_path.glob("t-*.pcap"))
    assert 0 == manifest(tmp_path)["packets"]["dropped_by_kernel"]
    told = "the live analysis has ended; the recording is not affected by that" in (tmp_path / "said").read_text()
    assert told == (number == signal.SIGKILL)


def test_lines_are_not_garbled_by_the_live_line_of_a_terminal(namespace, tmp_path):
    leader, follower = pty.openpty()
    command = inside(namespace, sys.executable, "-P", "-m", "captool.cli.main", "record", *BASIC, "--idle-timeout", "2s")
    process = subprocess.Popen(command, cwd=tmp_path, stdin=follower, stdout=follower, stderr=follower, env={**os.environ, "TERM": "xterm"})
    os.close(follower)
    shown, talking, stopping = b"", False, False
    with contextlib.ExitStack() as stack, contextlib.suppress(OSError):  # a terminal that nobody has open any more cannot be read
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            shown += os.read(leader, 65536)
            if b"recording on" in shown and not talking:
                talking = True
                stack.enter_context(talk(namespace, 8))
            if b"closed by the client (FIN)" in shown and not stopping:
                stopping = True
                process.send_signal(signal.SIGINT)
    assert 0 == process.wait(40)
    os.close(leader)
    line = next(line for line in shown.split(b"\n") if b"reaches the idle timeout given" in line)
    text = line.rpartition(b"\x1b[2K")[2].strip()
    assert text.startswith(b"20"), line
    assert b"packets  " not in text


def test_nobody_reads_the_lines(namespace, tmp_path):
    with recording(namespace, tmp_path, *BASIC, "--idle-timeout", "1s") as process:
        process.stdout.close()
        with talk(namespace, 2):
            deadline = time.monotonic() + 40
            while b"shown no more" not in process.said.read_bytes() and time.monotonic() < deadline:
                time.sleep(0.1)
        assert "verdicts are shown no more: standard output: Broken pipe" in process.said.read_text()
        process.send_signal(signal.SIGTERM)
        process.wait(40)
        process.stdout = open(os.devnull)  # noqa: SIM115, PTH123 - for the end of the recording
    assert "terminated" == manifest(tmp_path)["ended"]["how"]
    assert packets(tmp_path / "t.pcap") >= 10


@pytest.mark.parametrize("words", [("--network", "gcp-vpc"), ("--idle-timeout", "5s"), ("--timeouts", "own.toml")])
def test_what_idle_times_are_judged_by_goes_with_analyze(tmp_path, capsys, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="2"):
        main(["record", "-w", "t.pcap", *words])
    assert f"{words[0]} goes with --analyze" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_network_that_is_not_known_is_told_before_anything_is_recorded(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="2"):
        main(["record", "--analyze", "--network", "gcp-vcp", "-w", "t.pcap"])
    assert "did you mean gcp-vpc" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
