"""`captool keys`: what key material is, what it opens, and never a secret."""

import json
import re

import pytest

from captool.key_table import key_table
from captool.report.key_report import render_text


@pytest.fixture
def secrets(fixtures):
    """Every base64 line of the private keys and every secret of the key logs among the fixtures."""
    keys = "".join(path.read_text() for path in fixtures.glob("*/machines/*/*key.pem"))
    logs = "".join(path.read_text() for path in fixtures.glob("*/keys.log"))
    return re.findall(r"^[A-Za-z0-9+/=]{64}$", keys, re.MULTILINE) + re.findall(r" ([0-9a-f]{64,})$", logs, re.MULTILINE)


def test_machine_fingerprints_validity_and_use(captool, fixtures):
    run = captool("keys", fixtures / "silent-drop/machines")
    assert (0, "") == (run.code, run.err)
    client, server = run.out.split("\n\n")
    assert client.startswith("runner-1/key.pem  rsa-private-key  machine runner-1  google  10.77.2.2")
    assert "nothing: it is a client's key" in client
    for fact in ("runner-1/server-key.pem", "704437c06e14755daac1368ff4f7c886c1f5a63e50fd8e0a01a0fc8b9b642fc4", "2026-11-23 to 2029-11-07", "TLS_RSA_"):
        assert fact in server


def test_match_table_names_the_connections_that_a_key_opens(captool, fixtures):
    folder = fixtures / "silent-drop"
    run = captool("keys", folder / "machines", "--trace", folder / "server.pcap")
    assert 0 == run.code
    assert "connections 0, 1  TLS 1.2 TLS_RSA_WITH_AES_256_CBC_SHA; opened" in run.out


def test_match_table_agrees_with_the_analysis(captool, fixtures):
    for capture in sorted(fixtures.glob("*/server.pcap")):
        keys = [path for path in (capture.parent / "machines", capture.parent / "keys.log") if path.exists()]
        options = [word for path in keys for word in ("--keys", path)]
        analysis = json.loads(captool("analyze", capture, *options, "--format", "json").out)
        run = captool("keys", *keys, "--trace", capture, "--format", "json")
        if not any(one["tls"] for one in analysis["connections"]):
            assert 4 == run.code
            continue
        table = json.loads(run.out)
        assert "captool.keys/1" == table["schema"]
        expected = {one["id"]: one["tls"]["status"] != "encrypted" for one in analysis["connections"] if one["tls"]}
        assert expected == {one["connection"]: one["useful"] for one in table["connections"]}


def test_key_that_belongs_to_a_connection_and_cannot_open_it_says_why(captool, fixtures):
    folder = fixtures / "ecdhe-no-secrets"
    run = captool("keys", folder / "machines", "--trace", folder / "server.pcap")
    assert 4 == run.code
    assert "not opened: forward-secrecy: " in run.out
    assert "opens no connection" in run.out.partition("runner-1/server-key.pem")[0]
    assert "none of the keys opens any of the" in run.err


def test_no_secret_is_ever_shown(captool, fixtures, secrets):
    assert len(secrets) > 100
    for form in ("text", "json"):
        run = captool("keys", *sorted(fixtures.glob("*/machines")), *sorted(fixtures.glob("*/keys.log")), "--format", form)
        assert 0 == run.code
        assert [] == [secret for secret in secrets if secret in run.out]


@pytest.mark.parametrize("width", [40, 60])
def test_lines_are_as_wide_as_the_terminal_and_values_stay_whole(fixtures, width):
    folder = fixtures / "ecdhe-no-secrets"
    table = key_table([folder / "machines"], [folder / "server.pcap"])
    text = render_text(table, width)
    assert {1} == {len(line.split()) for line in text.splitlines() if len(line) > width}
    assert render_text(table, 10_000).split() == text.split()


def test_what_cannot_be_used_is_exit_code_3(captool, fixtures, tmp_path):
    assert 3 == captool("keys", tmp_path / "missing").code
    assert 3 == captool("keys", fixtures / "silent-drop/machines", "--trace", tmp_path / "missing.pcap").code
    assert 2 == captool("keys").code
