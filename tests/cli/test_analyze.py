"""`captool analyze` as its users meet it: reports, exit codes, and one clear line for what does not work."""

import json
import os
import re
import struct
import tempfile
from pathlib import Path

import pytest

EMPTY_PCAP = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1)
NOT_TCP = EMPTY_PCAP + struct.pack("<IIII", 1, 0, 14, 14) + b"\xff" * 12 + b"\x08\x06"


@pytest.fixture
def dropped(fixtures):
    return fixtures / "silent-drop/server.pcap", "--keys", fixtures / "silent-drop/machines"


def test_silent_drop_is_explained_in_words(captool, dropped):
    run = captool("analyze", *dropped)
    assert 0 == run.code
    said = re.sub(r"\s+", " ", run.out)
    for fact in ("was dropped silently after 601.", "/attach", "Google Cloud VPC firewall (600 s", "│ ok 1 - parser"):
        assert fact in said
    assert "" == run.err


def test_json_goes_to_standard_output_alone(captool, dropped):
    run = captool("analyze", *dropped, "--format", "json")
    assert "captool.analysis/1" == json.loads(run.out)["schema"]


def test_report_can_be_written_to_a_file(captool, dropped, tmp_path):
    run = captool("analyze", *dropped, "-o", tmp_path / "report.txt")
    assert "" == run.out
    assert "dropped silently" in (tmp_path / "report.txt").read_text()


@pytest.mark.parametrize(
    ("fail_on", "code"), [("silent-drop", 1), ("error", 1), ("warning", 1), ("tls-alert", 0), ("tls-alert,output-lost", 1)]
)
def test_fail_on_makes_findings_an_exit_code(captool, dropped, fail_on, code):
    assert code == captool("analyze", *dropped, "--fail-on", fail_on).code


def test_fail_on_error_lets_warnings_pass(captool, fixtures):
    trace = fixtures / "keepalive-saves/server.pcap"
    assert (
        0
        == captool("analyze", trace, "--keys", fixtures / "keepalive-saves/machines", "--idle-timeout", "10s", "--fail-on", "warning").code
    )


def test_one_connection_in_full(captool, dropped):
    run = captool("analyze", *dropped, "--connection", "0", "--format", "json")
    assert [0] == [connection["id"] for connection in json.loads(run.out)["connections"]]
    assert 4 == captool("analyze", *dropped, "--connection", "999").code


def write(path, content):
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("name", "content", "code", "reason"),
    [
        ("empty.pcap", b"", 3, "empty"),
        ("notes.txt", b"These are my notes.\n" * 10, 3, "text file"),
        ("cut.pcap", EMPTY_PCAP[:20], 3, "header"),
        ("nothing.pcap", EMPTY_PCAP, 4, "no packets"),
        ("arp.pcap", NOT_TCP, 4, "TCP"),
    ],
)
def test_unusable_capture_is_one_line_and_an_exit_code(captool, tmp_path, name, content, code, reason):
    run = captool("analyze", write(tmp_path / name, content))
    assert (code, "") == (run.code, run.out)
    assert 1 == run.err.count("\n")
    assert name in run.err
    assert reason in run.err


def test_missing_file_and_directory(captool, tmp_path):
    for path in (tmp_path / "missing.pcap", tmp_path):
        run = captool("analyze", path)
        assert 3 == run.code
        assert 1 == run.err.count("\n")
        assert path.name in run.err


def test_unreadable_file(captool):
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        trace = write(Path(directory) / "secret.pcap", EMPTY_PCAP)
        trace.chmod(0)
        myself = os.geteuid()
        os.seteuid(65534 if myself == 0 else myself)  # root reads everything
        try:
            run = captool("analyze", trace)
        finally:
            os.seteuid(myself)
    assert (3, "") == (run.code, run.out)
    assert "permission denied" in run.err


@pytest.mark.parametrize("arguments", [("analyze", "TRACE"), ("keys", "TRACE"), ("harvest", "TRACE", "-o", "bundle")])
def test_file_in_a_directory_that_may_not_be_entered(captool, arguments):
    with tempfile.TemporaryDirectory() as directory:
        inside = Path(directory) / "private"
        inside.mkdir()
        trace = write(inside / "secret.pcap", EMPTY_PCAP)
        Path(directory).chmod(0o755)
        inside.chmod(0)
        captool(arguments[0], directory, *arguments[2:])  # what it imports may be where only root may read
        myself = os.geteuid()
        os.seteuid(65534 if myself == 0 else myself)  # root enters everywhere
        try:
            run = captool(*(trace if word == "TRACE" else word for word in arguments))
        finally:
            os.seteuid(myself)
            inside.chmod(0o700)
    assert (3, 1) == (run.code, run.err.count("\n"))
    assert "permission denied" in run.err


@pytest.mark.parametrize("keys", ["missing", "empty-directory", "wrong.pem", "broken.log"])
def test_named_keys_that_cannot_be_used_are_an_error(captool, fixtures, tmp_path, keys):
    (tmp_path / "empty-directory").mkdir()
    write(tmp_path / "wrong.pem", b"-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n")
    write(tmp_path / "broken.log", b"CLIENT_RANDOM zz zz\n")
    run = captool("analyze", fixtures / "silent-drop/server.pcap", "--keys", tmp_path / keys)
    assert (3, "") == (run.code, run.out)
    assert 1 == run.err.count("\n")
    assert keys in run.err


def test_file_name_cannot_act_on_the_terminal(captool, tmp_path):
    run = captool("analyze", tmp_path / "\x1b]0;owned\x07.pcap")
    assert "\x1b" not in run.err


def test_wrong_options_are_usage_errors(captool, dropped):
    assert 2 == captool("analyze", *dropped, "--fail-on", "bad-weather").code
    assert 2 == captool("analyze", *dropped, "--network", "gcp-vpn").code
    assert "gcp-vpc" in captool("analyze", *dropped, "--network", "gcp-vpn").err
    assert 2 == captool("analyze", *dropped, "--idle-timeout", "soon").code
    assert 2 == captool("analyze", *dropped, "-o", "/nonexistent/report").code
    assert 2 == captool("analyze").code


def test_port_that_nobody_used(captool, dropped):
    run = captool("analyze", *dropped, "--port", "443")
    assert 4 == run.code
    assert "port 443" in run.err


def test_the_trace_itself_is_not_its_other_side(captool, dropped):
    run = captool("analyze", *dropped, "--other-side", dropped[0])
    assert (2, True) == (run.code, "is the trace itself; --other-side takes what was recorded at the other end" in run.err)


@pytest.mark.parametrize("option", ["--network", "--fail-on"])
def test_an_option_whose_value_is_empty_is_not_ignored(captool, dropped, option):
    assert 2 == captool("analyze", *dropped, option, "").code


def test_harvest_says_what_to_name_instead(captool, tmp_path):
    (tmp_path / "empty").mkdir()
    assert (
        "; name the directory with them: captool harvest DIR -o KEYS" in captool("harvest", tmp_path / "empty", "-o", tmp_path / "keys").err
    )
    run = captool("harvest", tmp_path / "none", "-o", tmp_path / "keys")
    assert (3, True) == (
        run.code,
        run.err.endswith("none: no such file or directory; name docker-machine's storage, or another directory with keys\n"),
    )


def test_a_key_that_belongs_to_a_connection_and_opens_nothing_is_not_said_to_open_it(captool, fixtures):
    run = captool("analyze", fixtures / "ecdhe-no-secrets/server.pcap", "--keys", fixtures / "ecdhe-no-secrets/machines")
    assert "key runner-1/server-key.pem (rsa-private-key): connections 0, 1, not decrypted with it\n" in run.out
    client = fixtures / "silent-drop/machines/runner-1/key.pem"
    assert "\n1 key given, which opens no" in captool("analyze", fixtures / "silent-drop/server.pcap", "--keys", client).out


@pytest.mark.parametrize("file", ["/dev/zero", "/"])
def test_a_catalogue_that_is_no_file_is_refused_and_not_read_for_ever(captool, dropped, file):
    run = captool("analyze", *dropped, "--timeouts", file)
    assert (2, 1) == (run.code, run.err.count("\n"))
