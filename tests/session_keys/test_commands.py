"""`captool record --session-keys` and `captool harvest --session-keys`, as they are called."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

import go_programs
from recordings import network_namespace

pytestmark = [pytest.mark.needs("go", "gcc", "tcpdump", "ip", "nsenter", "setpriv", root=True), pytest.mark.slow]
ROOT = Path(__file__).parents[2]
PORT = 23763


@pytest.fixture
def namespace():
    with network_namespace() as name:
        yield name


@pytest.fixture
def program(go_directory):
    return go_programs.build(go_directory, go_programs.TLS_PAIR, "pie", "external", "stripped")


def inside(namespace, *words):
    return ["nsenter", f"--net=/run/netns/{namespace}", *map(str, words)]


@contextmanager
def captool(namespace, folder, *words, until, wrapper=()):
    """The command, once it has said so much; on leaving it is interrupted. Its exit code and words are in `process`."""
    said = folder / "said"
    environment = {**os.environ, "HOME": str(folder), "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    command = inside(namespace, *wrapper, sys.executable, "-m", "captool.cli.main", *words)
    with said.open("wb") as sink, subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=sink, env=environment) as process:
        try:
            deadline = time.monotonic() + 30
            while until not in said.read_text() and process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.02)
            yield process
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
            process.output = process.stdout.read().decode()
            process.wait(30)
        finally:
            process.kill()


def connections(namespace, folder, program, version="1.3"):
    """The program talks to itself, on the recorded port."""
    command = inside(namespace, program, version, 2, folder / "own.log", f"127.0.0.1:{PORT}")
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        for _ in range(2):
            process.stdin.write("\n")
            process.stdin.flush()
            process.stdout.readline()
        process.stdout.readline()
        process.wait()


def secrets(path):
    return {line for line in path.read_text().splitlines() if not line.startswith("#")}


def test_record_keeps_session_keys_beside_the_trace_and_prints_what_reads_it(namespace, tmp_path, program):
    words = ("record", "-i", "lo", "-w", "t.pcap", "--port", PORT, "--session-keys", program)
    with captool(namespace, tmp_path, *words, until="recording on") as process:
        connections(namespace, tmp_path, program)
    assert (process.returncode, process.output) == (0, "captool analyze t.pcap --keys t.pcap.keys\n")
    assert secrets(tmp_path / "own.log") == secrets(tmp_path / "t.pcap.keys/session-keys.log")
    assert "session keys: 8 secrets of 2 TLS sessions" in (tmp_path / "said").read_text()
    made = json.loads((tmp_path / "t.pcap.json").read_text())
    assert (made["keys"], made["session_keys"]["secrets"], made["session_keys"]["sessions"]) == ("t.pcap.keys", 8, 2)
    command = [sys.executable, "-m", "captool.cli.main", "analyze", "t.pcap", "--keys", "t.pcap.keys", "--port", str(PORT), "--format", "json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert ["decrypted"] * 2 == [one["tls"]["status"] for one in json.loads(done.stdout)["connections"]]


# Without CAP_SYS_ADMIN, and with tracefs as many systems have it not: where it is mounted, root needs no such privilege for it.
UNPRIVILEGED = (
    "unshare", "--mount", "sh", "-c",
    'umount /sys/kernel/tracing /sys/kernel/debug/tracing 2>/dev/null; exec setpriv --bounding-set=-sys_admin --inh-caps=-sys_admin "$@"', "-",
)  # fmt: skip


def test_record_goes_on_without_the_privilege_and_the_manifest_says_so(namespace, tmp_path, program):
    words = ("record", "-i", "lo", "-w", "t.pcap", "--port", PORT, "--session-keys", "auto")
    with captool(namespace, tmp_path, *words, until="recording on", wrapper=UNPRIVILEGED) as process:
        connections(namespace, tmp_path, program)
    assert (process.returncode, process.output) == (0, "captool analyze t.pcap\n")
    made = json.loads((tmp_path / "t.pcap.json").read_text())
    (remark,) = made["session_keys"]["remarks"]
    assert "does not let root set events" in remark
    assert (0, [], None) == (made["session_keys"]["secrets"], made["session_keys"]["programs"], made["keys"])
    assert made["packets"]["written"] > 10
    assert 1 == (tmp_path / "said").read_text().count("session keys: this kernel")
    assert not (tmp_path / "t.pcap.keys").exists()


def test_a_program_that_is_nowhere_is_said_before_anything_is_recorded(namespace, tmp_path):
    with captool(namespace, tmp_path, "record", "-i", "lo", "-w", "t.pcap", "--session-keys", "dokcer", until="x") as process:
        process.wait(20)
    assert process.returncode == 2
    (line,) = (tmp_path / "said").read_text().splitlines()
    assert line.startswith("captool: --session-keys dokcer: there is no such program")
    assert ["said"] == [path.name for path in tmp_path.iterdir()]


def test_a_recording_that_cannot_begin_leaves_nothing(namespace, tmp_path, program):
    with captool(namespace, tmp_path, "record", "-i", "eth77", "-w", "t.pcap", "--session-keys", program, until="x") as process:
        process.wait(20)
    assert process.returncode == 2
    assert ["said"] == [path.name for path in tmp_path.iterdir()]


def test_harvest_writes_session_keys_until_it_is_stopped(namespace, tmp_path, program):
    with captool(namespace, tmp_path, "harvest", "--session-keys", program, "-o", "keys.log", until="are taken from now on") as process:
        connections(namespace, tmp_path, program, "1.2")
    assert process.returncode == 0
    assert secrets(tmp_path / "own.log") == secrets(tmp_path / "keys.log")
    assert "session keys: 2 secrets of 2 TLS sessions in keys.log" in (tmp_path / "said").read_text()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--session-keys", "auto", "-o", "keys.log", "."), 2, "--session-keys takes no directory"),
        (("--session-keys", "auto", "-o", "nowhere/keys.log"), 2, "cannot write session keys there"),
    ],
)
def test_harvest_that_cannot_begin_is_one_line(namespace, tmp_path, words, code, said):
    with captool(namespace, tmp_path, "harvest", *words, until="x") as process:
        process.wait(20)
    assert process.returncode == code
    (line,) = (tmp_path / "said").read_text().splitlines()
    assert said in line
    assert ["said"] == [path.name for path in tmp_path.iterdir()]


def test_harvest_without_the_privilege_is_one_line(namespace, tmp_path):
    with captool(namespace, tmp_path, "harvest", "--session-keys", "auto", "-o", "keys.log", until="x", wrapper=UNPRIVILEGED) as process:
        process.wait(20)
    assert process.returncode == 5
    assert 1 == len((tmp_path / "said").read_text().splitlines())


def test_harvest_that_saw_no_connection_says_so(namespace, tmp_path, program):
    with captool(namespace, tmp_path, "harvest", "--session-keys", program, "-o", "keys.log", until="are taken from now on") as process:
        pass
    assert process.returncode == 4
    assert not (tmp_path / "keys.log").exists()
