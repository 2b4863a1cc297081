"""Key logs of other programs, kept beside the trace."""

import json
import os
import subprocess
import sys
import time

import pytest

from captool.errors import UsageError
from captool.record import given_key_log
from captool.record.given_key_log import GivenKeyLog, taken_along
from recordings import PACKAGES, ended, failed, inside, recording

LINE = b"CLIENT_RANDOM " + b"ab" * 32 + b" " + b"cd" * 48 + b"\n"


@pytest.fixture
def source(tmp_path):
    return tmp_path / "keys.log"


@pytest.fixture
def taken(source, tmp_path):
    return GivenKeyLog(source, tmp_path / "bundle/given-1.log")


def kept(tmp_path):
    return (tmp_path / "bundle/given-1.log").read_bytes()


def test_whole_lines_are_taken_as_they_appear(source, taken, tmp_path):
    taken.look()
    assert ("no such file or directory", 0) == (taken.problem, taken.lines)
    source.write_bytes(LINE + LINE[:20])
    taken.look()
    assert ("", 1, LINE) == (taken.problem, taken.lines, kept(tmp_path))
    source.write_bytes(LINE + LINE)
    taken.look()
    taken.look()
    assert (2, LINE + LINE) == (taken.lines, kept(tmp_path))
    assert 0o600 == (tmp_path / "bundle/given-1.log").stat().st_mode & 0o777
    assert 0o700 == (tmp_path / "bundle").stat().st_mode & 0o777


def test_key_log_that_is_begun_anew(source, taken, tmp_path):
    source.write_bytes(LINE * 3)
    taken.look()
    source.write_bytes(LINE)
    taken.look()
    assert LINE * 4 == kept(tmp_path)


def test_many_lines_at_once(source, taken, tmp_path, monkeypatch):
    monkeypatch.setattr(given_key_log, "MAX_TAKEN", 3 * len(LINE) + 5)
    source.write_bytes(LINE * 20)
    taken.look()
    assert LINE * 20 == kept(tmp_path)


def test_endless_lines_and_files_are_bounded(source, taken, tmp_path, monkeypatch):
    monkeypatch.setattr(given_key_log, "MAX_TAKEN", 100)
    monkeypatch.setattr(given_key_log, "MAX_KEPT", 1000)
    source.write_bytes(b"x" * 5000)
    taken.look()
    assert len(kept(tmp_path)) <= 1000


def test_pipe_is_not_waited_for(source, taken):
    os.mkfifo(source)
    taken.look()
    assert "not a file" == taken.problem


def test_what_is_no_file_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"--keylog .*: is not a file"), taken_along([tmp_path], tmp_path / "bundle", print):
        pass


def test_what_came_of_it_is_said(source, tmp_path):
    said = []
    with taken_along([source, tmp_path / "other"], tmp_path / "bundle", said.append) as start:
        start()
        source.write_bytes(LINE)
    assert f"key log {source}: 1 line kept in {tmp_path / 'bundle'}" == said[0]
    assert said[1].endswith("other: no such file or directory, 0 lines kept; does the program honour SSLKEYLOGFILE?")


CLIENT = """
import socket, ssl
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
with socket.create_connection(("127.0.0.1", 2376)) as plain, context.wrap_socket(plain) as connection:
    connection.sendall(b"GET /_ping HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
    connection.recv(1000)
"""


@pytest.mark.slow
@pytest.mark.needs("tcpdump", "openssl", "ip", "nsenter", root=True)
def test_session_of_an_openssl_program_is_decrypted_with_what_was_kept(namespace, tmp_path):
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "key.pem", "-out", "cert.pem", "-subj", "/CN=x", "-days", "2"],
        cwd=tmp_path, check=True, capture_output=True,
    )  # fmt: skip
    server = inside(namespace, "openssl", "s_server", "-accept", "2376", "-key", "key.pem", "-cert", "cert.pem", "-tls1_3", "-www")
    with (
        subprocess.Popen(server, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as openssl,
        recording(namespace, tmp_path, "-i", "lo", "-w", "t.pcap", "--keylog", "client.log", "tcp port 2376") as process,
    ):
        for _ in range(50):  # until the server listens
            client = inside(namespace, sys.executable, "-c", CLIENT)
            done = subprocess.run(client, cwd=tmp_path, env={**os.environ, "SSLKEYLOGFILE": "client.log"}, capture_output=True, check=False)
            if done.returncode == 0:
                break
            time.sleep(0.1)
        process.send_signal(2)
        assert "captool analyze t.pcap --keys t.pcap.keys\n" == ended(process, 0)
        openssl.kill()
    assert "lines kept in t.pcap.keys" in (tmp_path / "said").read_text()
    environment = {**os.environ, "PYTHONPATH": PACKAGES}
    words = ["analyze", "t.pcap", "--keys", "t.pcap.keys", "--format", "json"]
    report = subprocess.run([sys.executable, "-P", "-m", "captool.cli.main", *words], cwd=tmp_path, env=environment, capture_output=True, check=True)
    assert "decrypted" in [one["tls"]["status"] for one in json.loads(report.stdout)["connections"] if one["tls"]]


@pytest.mark.slow
@pytest.mark.needs("tcpdump", "ip", "nsenter", root=True)
def test_directory_for_a_key_log_is_told_before_anything_is_recorded(namespace, tmp_path):
    assert "--keylog .: is not a file" in failed(namespace, tmp_path, "-i", "lo", "-w", "t.pcap", "--keylog", ".", code=2)
    assert not (tmp_path / "t.pcap").exists()
