"""An unmodified `docker run` on an unmodified TLS 1.3 daemon, recorded with session keys, then read."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from captool.analysis import analyze
from captool.export.key_log import key_log_of
from captool.export.pcapng import export_pcapng
from captool.keys.keylog import parse_key_log
from captool.report.json_report import report

pytestmark = [
    pytest.mark.needs("tcpdump", "dockerd", "docker", "busybox", "ip", "nft", "nsenter", "unshare", "setpriv", "sysctl", root=True),
    pytest.mark.slow,
]
ROOT = Path(__file__).parents[2]
LAB = ROOT / "scripts" / "lab" / "run.py"
JOB = "echo start; sleep 1; echo the result is 42; echo oops >&2"


def record(output, session_keys):
    command = [sys.executable, str(LAB), "stock-docker-tls13", "-o", str(output), "--everything", "--session-keys", session_keys]
    done = subprocess.run([*command, "--job", JOB], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads((output / "truth.json").read_text())



@pytest.mark.parametrize("session_keys", ["auto", "docker", "dockerd"])
def test_the_output_of_a_container_is_read_from_tls_1_3(tmp_path, session_keys):
    truth = record(tmp_path, session_keys)
    assert truth["printed"] == {"stdout": "start\nthe result is 42\n", "stderr": "oops\n"}
    values = report(analyze(tmp_path / "server.pcap", [tmp_path / "server.pcap.keys"]))
    assert {"decrypted"} == {one["tls"]["status"] for one in values["connections"]}
    assert {"TLS 1.3"} == {one["tls"]["version"] for one in values["connections"]}
    exchanges = [exchange for one in values["connections"] for exchange in one["exchanges"]]
    (attach,) = [each for each in exchanges if each["endpoint"] == "ContainerAttach"]
    assert attach["container"].startswith(truth["container"][:12])
    assert (attach["stream"]["stdout_bytes"], attach["stream"]["stderr_bytes"]) == (len("start\nthe result is 42\n"), len("oops\n"))

    made = json.loads((tmp_path / "server.pcap.json").read_text())["session_keys"]
    log = tmp_path / "server.pcap.keys" / "session-keys.log"
    secrets, problems = parse_key_log(log.read_bytes(), "log")
    assert ([session_keys], [], 0) == (made["targets"], problems, made["lost_events"])
    assert made["secrets"] == len(secrets) == 4 * made["sessions"] >= 4 * len(values["connections"])
    assert all(re.fullmatch(r"go1\.\d+.*", each["go_version"]) for each in made["programs"])
    assert not any(secret.secret.hex() in json.dumps(made) for secret in secrets)
    assert log.stat().st_mode & 0o077 == 0


@pytest.mark.needs("tshark")
def test_wireshark_reads_it_with_the_same_key_log(tmp_path):
    record(tmp_path, "auto")
    log = tmp_path / "server.pcap.keys" / "session-keys.log"
    command = ["tshark", "-r", str(tmp_path / "server.pcap"), "-o", f"tls.keylog_file:{log}", "-d", "tcp.port==2376,tls", "-Y", "http"]
    shown = subprocess.run([*command, "-T", "fields", "-e", "http.request.uri"], capture_output=True, text=True, check=True).stdout
    assert "/attach" in shown
    values = report(analyze(tmp_path / "server.pcap", [tmp_path / "server.pcap.keys"]))
    targets = {exchange["target"] for one in values["connections"] for exchange in one["exchanges"]}
    assert {line for line in shown.split() if line} == targets
    one = tmp_path / "one.pcapng"  # and with nothing but one file
    export_pcapng([tmp_path / "server.pcap"], key_log_of(tmp_path / "server.pcap", log), one)
    command = ["tshark", "-r", str(one), "-d", "tcp.port==2376,tls", "-Y", "http", "-T", "fields", "-e", "http.request.uri"]
    assert shown == subprocess.run(command, capture_output=True, text=True, check=True).stdout
