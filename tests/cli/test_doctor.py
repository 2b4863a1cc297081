"""`captool doctor`: what it prints, as text and JSON, and how it leaves."""

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from captool.cli.doctor import HostPort
from docker_machine import machine
from json_schema import conforms

SCHEMA = json.loads((Path(__file__).parents[2] / "docs/doctor.schema.json").read_text())
SETPRIV = shutil.which("setpriv") or "setpriv"
ESCAPE = "\x1b[2J\x1b]0;owned\x07\u202e"


@pytest.fixture(autouse=True)
def nothing_installed(monkeypatch):
    monkeypatch.setattr("captool.session_keys.targets.SYSTEM_DIRECTORIES", ())
    monkeypatch.setenv("PATH", "")


@pytest.fixture
def connection():
    """A port with a connection on which nobody asks for keepalive."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()):
        accepted, _ = server.accept()
        with accepted:
            yield server.getsockname()[1]


def test_connection_without_probes_is_told_to_be_cut(captool, connection):
    run = captool("doctor", "--port", connection, "--network", "gcp-vpc")
    assert (0, "") == (run.code, run.err)
    words = " ".join(run.out.split())
    assert f"Sockets with port {connection}: 1 open connection: 1 will be cut when they are idle" in words
    assert "neither end sends keepalive probes: after 600.0 s (10 min) of silence Google Cloud VPC firewall will cut it" in words
    assert f"(pid {os.getpid()})" in words
    assert "a program that does not ask for probes sends none" in words


def test_json_is_what_the_schema_says(captool, connection, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections into its queue and answers none
        silent.listen()
        closed_port = silent.getsockname()[1]
    run = captool(
        "doctor", "--port", connection, "--server", f"127.0.0.1:{closed_port}", "--keys", machine(tmp_path), "--format", "json", "--idle-timeout", "90s"
    )
    assert (5, True) == (run.code, run.out.isascii())
    values = json.loads(run.out)
    conforms(values, SCHEMA)
    assert ([connection], 90.0) == (values["settings"]["ports"], values["settings"]["idle_timeout_s"])
    verdicts = [one["outlook"] and (one["outlook"]["verdict"], one["outlook"]["cut_after_s"]) for one in values["sockets"]]
    assert [("will-be-cut", 90.0), ("will-be-cut", 90.0), None] == verdicts
    assert ("unreachable", "not-known") == (values["server"]["stock_client"]["outcome"], values["server"]["private_key"]["verdict"])


@pytest.mark.parametrize("form", ["text", "json"])
def test_names_of_programs_cannot_act_on_a_terminal(captool, tmp_path, form):
    hostile = tmp_path / f"evil{ESCAPE}"
    shutil.copy(Path(sys.executable).resolve(), hostile)
    script = "import socket, sys; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True); sys.stdin.read()"
    environment = {**os.environ, "PYTHONHOME": sys.base_prefix}
    with subprocess.Popen([hostile, "-S", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as other:
        run = captool("doctor", "--port", other.stdout.readline().strip(), "--format", form)
        other.stdin.close()
    assert "evil" in run.out
    assert set("\x1b\x07\u202e").isdisjoint(run.out)


def test_a_server_that_does_not_answer_is_told_by_the_exit_code_too(captool):
    with socket.create_server(("127.0.0.1", 0)) as other:
        closed_port = other.getsockname()[1]
    run = captool("doctor", "--server", f"127.0.0.1:{closed_port}")
    assert (5, True) == (run.code, "unreachable: connection refused" in run.out)
    assert f"captool: 127.0.0.1:{closed_port}: connection refused; check host and port, and that dockerd listens there" == run.err.strip()


def test_nothing_to_see_is_said(captool):
    run = captool("doctor", "--port", "1")
    assert 0 == run.code
    assert "No TCP socket with port 1 (at either end) is to be seen." in run.out


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--network", "gcp"), 2, "no middlebox 'gcp'"),
        (("--server", "host:0"), 2, "no HOST:PORT"),
        (("--server", ":2376"), 2, "no HOST:PORT"),
        (("--port", "0"), 2, "--port"),
        (("--keys", "/no/such/keys"), 3, "/no/such/keys"),
    ],
)
def test_what_was_named_and_is_wrong_ends_it(captool, arguments, code, said):
    run = captool("doctor", *arguments)
    assert code == run.code
    assert said in run.err


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10.0.0.5:2376", ("10.0.0.5", 2376)),
        ("runner-1", ("runner-1", 2376)),
        ("tcp://10.0.0.5:2375/", ("10.0.0.5", 2375)),
        ("[fd00::5]:99", ("fd00::5", 99)),
        ("[fd00::5]", ("fd00::5", 2376)),
        ("fd00::5", ("fd00::5", 2376)),
    ],
)
def test_server_is_named_like_docker_does(text, expected):
    assert expected == HostPort().convert(text, None, None)


def test_other_platforms_are_sent_to_the_linux_machine(captool, monkeypatch):
    monkeypatch.setattr("captool.doctor.diagnosis.sys.platform", "darwin")
    run = captool("doctor")
    assert 5 == run.code
    assert "run it on the Linux machine itself" in run.err


@pytest.mark.slow
@pytest.mark.needs("setpriv", root=True)
def test_without_privileges_it_shows_what_it_can_and_says_what_is_missing(connection):
    """Root without capabilities may do no more than another user, and may read this interpreter wherever it is installed."""
    command = [SETPRIV, "--bounding-set=-all", "--inh-caps=-all", sys.executable, "-m", "captool.cli.main"]
    run = subprocess.run([*command, "doctor", "--port", str(connection), "--network", "gcp-vpc"], capture_output=True, text=True, check=False)
    words = " ".join(run.stdout.split())
    assert (0, "") == (run.returncode, run.stderr)
    assert "owner not seen" in words
    assert "none: it has no keepalive timer" in words
    assert "1 will be cut when they are idle" in words
    assert "not seen: without root's capabilities" in words
