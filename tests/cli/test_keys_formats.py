"""`captool keys --format wireshark|mitmproxy`: what is printed works as it is printed."""

import re
import shlex
import shutil
import subprocess

import pytest


def run_tshark(text):
    (command,) = [line for line in text.splitlines() if line.startswith("tshark ")]
    return subprocess.run(shlex.split(command), capture_output=True, text=True, check=True).stdout


@pytest.mark.needs("tshark")
@pytest.mark.parametrize(("folder", "keys"), [("silent-drop", "machines"), ("ecdhe-key-log", "keys.log")])
def test_the_printed_tshark_command_decrypts(captool, fixtures, folder, keys):
    trace = fixtures / folder / "server.pcap"
    run = captool("keys", fixtures / folder / keys, "--format", "wireshark", "--trace", trace)
    assert 0 == run.code
    assert "POST /v1.41/containers/create" in run_tshark(run.out)
    assert b"POST" not in trace.read_bytes()


@pytest.mark.needs("tshark")
def test_the_rows_of_the_rsa_keys_table_are_whole_lines(captool, fixtures, tmp_path):
    spaced = shutil.copytree(fixtures / "silent-drop/machines", tmp_path / "my keys, and 'more'")
    run = captool("keys", spaced, "--format", "wireshark", "--trace", fixtures / "silent-drop/server.pcap")
    assert [f'"{spaced}/runner-1/server-key.pem",""'] == re.findall(r'^".*$', run.out, re.MULTILINE)
    assert "POST /v1.41/containers/create" in run_tshark(run.out)


def test_no_key_that_decrypts_is_said(captool, fixtures):
    run = captool("keys", fixtures / "silent-drop/machines/runner-1/key.pem", "--format", "wireshark")
    assert run.out.startswith("# no key here decrypts anything in Wireshark")


def test_a_name_that_does_not_fit_the_table_is_said_and_left_out(captool, fixtures, tmp_path):
    odd = shutil.copytree(fixtures / "silent-drop/machines", tmp_path / 'a"b\x1b')
    run = captool("keys", odd, "--format", "wireshark")
    assert "does not fit into Wireshark's table" in run.out
    assert "\x1b" not in run.out


@pytest.mark.parametrize("form", ["wireshark", "mitmproxy"])
def test_a_name_with_a_line_break_begins_no_line_of_its_own(captool, fixtures, tmp_path, form):
    odd = tmp_path / "machines"
    shutil.copytree(fixtures / "silent-drop/machines/runner-1", odd / "a\nreboot #")
    run = captool("keys", odd, "--format", form)
    outside_quotes = re.sub(r"'[^']*'", "", re.sub("^#.*$", "", run.out, flags=re.MULTILINE))
    assert (0, []) == (run.code, [line for line in outside_quotes.splitlines() if line.startswith("reboot")])


def test_mitmproxy_gets_the_clients_certificate_and_the_daemons_address(captool, fixtures):
    home = fixtures / "silent-drop/machines/runner-1"
    run = captool("keys", fixtures / "silent-drop/machines", "--format", "mitmproxy")
    commands = [shlex.split(line) for line in run.out.splitlines() if line.startswith("mitmdump ")]
    assert 1 == len(commands)
    assert {"reverse:https://10.77.2.2:2376", "client_certs=runner-1-client.pem", f"ssl_verify_upstream_trusted_ca={home}/ca.pem"} <= set(
        commands[0]
    )
    assert f"cat {home}/cert.pem {home}/key.pem > runner-1-client.pem" in run.out
    assert "the Docker client dials the daemon itself" in run.out
    assert "PRIVATE KEY" not in run.out
