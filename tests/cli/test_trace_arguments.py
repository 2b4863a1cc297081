"""How a capture reaches `captool analyze`: standard input, a file that tcpdump writes, middleboxes of one's own."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
CAPTOOL = [sys.executable, "-P", "-m", "captool.cli.main"]


def test_standard_input_is_a_capture(fixtures):
    trace = fixtures / "silent-drop/server.pcap"
    with subprocess.Popen(["cat", trace], stdout=subprocess.PIPE) as cat:
        run = subprocess.run([*CAPTOOL, "analyze", "-", "--format", "json"], stdin=cat.stdout, capture_output=True, text=True, check=True)
    report = json.loads(run.stdout)
    assert (117, ["-"]) == (report["capture"]["packets"], report["capture"]["files"])


def test_a_terminal_on_standard_input_is_a_clear_error():
    leader, follower = pty.openpty()
    run = subprocess.run([*CAPTOOL, "analyze", "-"], stdin=follower, capture_output=True, text=True, check=False)
    os.close(leader)
    os.close(follower)
    assert 3 == run.returncode
    assert "standard input is a terminal; pipe a capture into it" in run.stderr


def test_raw_bytes_from_standard_input_need_the_connection(captool):
    run = captool("follow", "-", "--keys", "keys", "--raw", "to_client")
    assert (2, True) == (run.code, "--connection N" in run.err)


@pytest.mark.slow
def test_a_bomb_on_standard_input_is_read_in_bounded_memory(tmp_path):
    script = ("import gzip, sys\nwith gzip.open(sys.stdout.buffer, 'wb') as out:\n"
              " out.write(bytes.fromhex('d4c3b2a1020004000000000000000000ffff000001000000'))\n for _ in range(300): out.write(bytes(1 << 20))")
    # The peak of this program alone; that of getrusage begins with the memory of the process that started it.
    measure = ("import sys; from captool.cli.main import main\ntry: main()\nfinally:\n"
               " print(next(line for line in open('/proc/self/status') if 'VmHWM' in line).split()[1], file=sys.stderr)")
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as bomb:
        run = subprocess.run([sys.executable, "-P", "-c", measure, "analyze", "-"], stdin=bomb.stdout, capture_output=True, text=True, check=False)
    assert 4 == run.returncode
    assert int(run.stderr.split()[-1]) < 150_000


def test_the_own_middleboxes_of_the_documentation(captool, fixtures, tmp_path):
    page = (ROOT / "docs/middleboxes.md").read_text()
    (tmp_path / "timeouts.toml").write_text(re.search(r"```toml\n(.*?)```", page, re.DOTALL).group(1))
    trace = fixtures / "silent-drop/server.pcap"
    run = captool("analyze", trace, "--timeouts", tmp_path / "timeouts.toml", "--network", "office-firewall")
    assert (0, True) == (run.code, "Firewall of the office (300 s" in re.sub(r"\s+", " ", run.out))
    assert 2 == captool("analyze", trace, "--network", "office-firewall").code
    assert (2, True) == ((wrong := captool("analyze", trace, "--timeouts", tmp_path / "none")).code, "none: no such file" in wrong.err)


def test_duration_without_follow_is_a_usage_error(captool, fixtures):
    assert 2 == captool("analyze", fixtures / "silent-drop/server.pcap", "--duration", "1s").code


def recording(path: Path) -> subprocess.Popen:
    tcpdump = subprocess.Popen(["tcpdump", "-U", "-i", "lo", "-Z", "root", "-w", path, "tcp port 29376"], stderr=subprocess.PIPE, text=True)
    assert "listening on" in tcpdump.stderr.readline()
    return tcpdump


def talk() -> None:
    code = ("import socket\ns=socket.create_server(('127.0.0.1',29376))\nc=socket.create_connection(('127.0.0.1',29376))\n"
            "p,_=s.accept()\nc.sendall(b'x'*1000)\np.recv(1000)\nc.close()\np.close()")
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.slow
@pytest.mark.needs("tcpdump", root=True)
@pytest.mark.parametrize("ended_by", ["tcpdump", "ctrl-c", "duration"])
def test_a_file_is_followed_while_tcpdump_writes_it(tmp_path, ended_by):
    path = tmp_path / "trace.pcap"
    tcpdump = recording(path)
    try:
        options = ["--duration", "5s"] if ended_by == "duration" else []
        captool = subprocess.Popen([*CAPTOOL, "analyze", path, "--follow", "--format", "json", *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        time.sleep(2)
        assert captool.poll() is None
        talk()
        written = time.monotonic() + 10
        while path.stat().st_size < 1000 and time.monotonic() < written:  # the kernel keeps packets for up to a second
            time.sleep(0.1)
        time.sleep(1)
        if ended_by == "tcpdump":
            tcpdump.send_signal(signal.SIGINT)
        elif ended_by == "ctrl-c":
            captool.send_signal(signal.SIGINT)
        out, err = captool.communicate(timeout=20)
    finally:
        tcpdump.send_signal(signal.SIGINT)
        tcpdump.communicate(timeout=20)
    assert 0 == captool.returncode, err
    (one,) = json.loads(out)["connections"]
    assert 1000 == one["payload_bytes"]["to_server"]


@pytest.mark.slow
@pytest.mark.parametrize("ended_by", ["ctrl-c", "duration"])
def test_a_pipe_that_nobody_opens_is_waited_for_no_longer_than_wanted(tmp_path, ended_by):
    os.mkfifo(pipe := tmp_path / "pipe")
    options = ["--duration", "1500ms"] if ended_by == "duration" else []
    captool = subprocess.Popen([*CAPTOOL, "analyze", pipe, "--follow", *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    time.sleep(2)
    if ended_by == "ctrl-c":
        captool.send_signal(signal.SIGINT)
    _, err = captool.communicate(timeout=10)
    assert (3, True) == (captool.returncode, "pipe: is empty; nothing was recorded" in err)


@pytest.mark.slow
@pytest.mark.needs("tcpdump", root=True)
def test_a_pipe_from_tcpdump_is_reported_when_ctrl_c_ends_both():
    tcpdump = subprocess.Popen(["tcpdump", "-U", "-i", "lo", "-w", "-", "tcp port 29376"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    captool = subprocess.Popen([*CAPTOOL, "analyze", "-", "--format", "json"], stdin=tcpdump.stdout, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    tcpdump.stdout.close()
    time.sleep(3)
    talk()
    time.sleep(1)
    captool.send_signal(signal.SIGINT)
    tcpdump.send_signal(signal.SIGINT)
    out, err = captool.communicate(timeout=20)
    tcpdump.stderr.read()
    tcpdump.stderr.close()
    tcpdump.wait(timeout=20)
    assert (0, True) == (captool.returncode, "Ctrl-C again interrupts" in err)
    assert 1000 == json.loads(out)["connections"][0]["payload_bytes"]["to_server"]
