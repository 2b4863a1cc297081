"""The whole way on the real thing: the lab's dockerd behind a firewall that forgets, both sides recorded by captool, then analyzed."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from captool.analysis import analyze
from captool.report.json_report import report
from captool.units import parse_duration

pytestmark = [
    pytest.mark.needs(
        "tcpdump", "dockerd", "docker", "busybox", "ip", "nft", "socat", "ss", "nsenter", "unshare", "setpriv", "sysctl", root=True
    ),
    pytest.mark.slow,
]
LAB = Path(__file__).parents[2] / "scripts" / "lab" / "run.py"
JOB = "echo start; sleep {}; echo result one; echo result two; echo oops >&2"


def lab(case, output, *options):
    command = [sys.executable, str(LAB), case, "-o", str(output), "--everything", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads((output / "truth.json").read_text())


@pytest.fixture(scope="module")
def dropped(tmp_path_factory):
    """A job that is silent for longer than the firewall remembers."""
    output = tmp_path_factory.mktemp("dropped")
    truth = lab("silent-drop", output, "--live", "--established-timeout", "10", "--poll", "4", "--settle", "9", "--job", JOB.format(13))
    return output, truth


def leftovers(pid, directory):
    """Whatever a lab could leave behind on the machine, by kind. Labs of other people may be running."""
    namespaces = [path.name for path in Path("/run/netns").glob(f"captool-{pid}-*")]
    groups = [str(path) for path in Path("/sys/fs/cgroup").glob(f"**/captool-lab-{pid}")]
    mounts = [line for line in Path("/proc/self/mounts").read_text().splitlines() if str(directory) in line]
    programs = [path.parent.name for path in Path("/proc").glob("[0-9]*/cmdline") if str(directory).encode() in command_line(path)]
    return {"namespaces": namespaces, "groups": groups, "mounts": mounts, "programs": programs}


def command_line(path):
    try:
        return path.read_bytes()
    except OSError:
        return b""


def test_output_after_the_silence_is_lost_without_an_error(dropped):
    _, truth = dropped
    assert truth["printed"] == {"stdout": "start\nresult one\nresult two\n", "stderr": "oops\n"}
    assert (truth["client"]["stdout"], truth["client"]["ended"]) == ("start\n", False)
    assert truth["exit_code"] == 0


def test_the_server_side_shows_the_drop(dropped):
    output, truth = dropped
    values = report(analyze(output / "server.pcap", [output / "server.pcap.keys"], idle_timeout_ns=parse_duration("10s")))
    (connection,) = [one for one in values["connections"] if one["tcp"]["close"] == "silent-drop"]
    assert connection["machine"] == "runner-1"
    assert connection["tcp"]["keepalive"]["to_server"]["status"] == connection["tcp"]["keepalive"]["to_client"]["status"] == "missing"
    assert 12.9 < connection["tcp"]["longest_gap_s"] < 14
    assert connection["tcp"]["retransmissions"]["to_client"] >= 4
    assert connection["tls"]["status"] == "decrypted"
    (exchange,) = connection["exchanges"]
    assert (exchange["endpoint"], exchange["status"], exchange["complete"]) == ("ContainerAttach", 101, False)
    assert exchange["container"].startswith(truth["container"][:12])
    codes = {finding["code"] for finding in values["findings"] if finding["connection"] == connection["id"]}
    assert {"silent-drop", "missing-keepalive", "idle-gap", "output-lost"} <= codes


def verdicts(path):
    """The lines that were printed while recording, without their times."""
    return [line[29:] for line in path.read_text().split("\n\n")[0].splitlines()]


def test_the_drop_was_told_while_it_happened(dropped):
    output, truth = dropped
    said = [line for line in verdicts(output / "server.verdicts") if f"(POST /containers/{truth['container'][:12]}/attach)" in line]
    opened, idle, *errors = said
    drop, lost = sorted(errors, key=lambda line: "output lost" in line)
    assert opened.startswith("info ")
    assert opened.endswith("its stream is open (101)")
    assert idle.startswith("warning ")
    assert idle.endswith("idle for 10.00 s, no keepalive probe from either side seen so far: reaches the idle timeout given")
    assert drop.startswith("error ")
    assert "silent drop so far: the server sends " in drop
    assert drop.endswith("nothing comes from the client, as when a middlebox forgot the connection")
    assert lost.startswith("error ")
    assert "output lost so far: at least 27 bytes of container output (stdout 22, stderr 5) were sent " in lost
    assert "was dropped silently after 13" in (output / "server.verdicts").read_text()  # the report, at the end
    assert [opened, idle] == [line for line in verdicts(output / "client.verdicts") if "/attach)" in line]


def test_the_client_side_sees_nothing_but_silence(dropped):
    output, _ = dropped
    values = report(analyze(output / "client.pcap", [output / "client.pcap.keys"], idle_timeout_ns=parse_duration("10s")))
    (connection,) = [one for one in values["connections"] if any("/attach" in exchange["target"] for exchange in one["exchanges"])]
    assert connection["tcp"]["close"] == "open"
    assert connection["tcp"]["unacknowledged_bytes"] == {"to_server": 0, "to_client": 0}
    assert connection["tcp"]["retransmissions"] == {"to_server": 0, "to_client": 0}


def test_the_manifests_count_every_packet(dropped):
    output, _ = dropped
    for side in ("client", "server"):
        made = json.loads((output / f"{side}.pcap.json").read_text())
        assert made["ended"] == {"how": "terminated"}
        assert made["packets"]["dropped_by_kernel"] == 0
        assert made["packets"]["written"] == made["packets"]["captured"] == analyze(output / f"{side}.pcap").capture.packets > 30


def test_keepalive_saves_the_same_job(tmp_path):
    truth = lab("keepalive-saves", tmp_path, "--live", "--established-timeout", "5", "--keepalive", "2", "2", "--job", JOB.format(7))
    assert truth["client"]["ended"]
    assert truth["client"]["stdout"] == truth["printed"]["stdout"] == "start\nresult one\nresult two\n"
    values = report(analyze(tmp_path / "server.pcap", [tmp_path / "machines"], idle_timeout_ns=parse_duration("5s")))
    assert [] == [finding for finding in values["findings"] if finding["severity"] == "error"]
    assert any(one["tcp"]["keepalive"]["to_server"]["status"] == "present" for one in values["connections"])
    said = verdicts(tmp_path / "server.verdicts")
    assert all(line.startswith("info ") for line in said), said
    assert any("a keepalive probe of the client was seen" in line for line in said)


def attach_connection(trace):
    """The connection that carried the output: the one with the longest gap."""
    return max(report(analyze(trace))["connections"], key=lambda connection: connection["tcp"]["longest_gap_s"] or 0)


def test_a_firewall_that_resets_tells_only_one_side(tmp_path):
    truth = lab("reset-on-reuse", tmp_path, "--live")
    assert (truth["client"]["stdout"], truth["client"]["ended"]) == ("start\n", False)
    server = attach_connection(tmp_path / "server.pcap")
    assert (server["tcp"]["close"], server["tcp"]["retransmissions"]["to_client"]) == ("rst", 0)
    assert server["tcp"]["unacknowledged_bytes"]["to_client"] > 0
    assert {"open"} == {connection["tcp"]["close"] for connection in report(analyze(tmp_path / "client.pcap"))["connections"]}
    ends = [[line for line in verdicts(tmp_path / f"{side}.verdicts") if line.startswith("error ")] for side in ("server", "client")]
    assert "reset after idle: the first packet after 8.0" in ends[0][0]
    assert ends[0][0].endswith("s of silence was answered by a reset in the client's name")
    assert [] == ends[1]


def test_the_window_of_a_stopped_reader_is_probed_until_it_opens(tmp_path):
    truth = lab("stopped-reader", tmp_path)
    assert truth["client"]["ended"]
    assert truth["client"]["stdout"] == truth["printed"]["stdout"]
    (connection,) = [one for one in report(analyze(tmp_path / "server.pcap"))["connections"] if one["payload_bytes"]["to_client"] > 50_000]
    assert "W" in connection["tcp"]["history"].upper()
    assert connection["tcp"]["keepalive"]["to_client"]["probes"] == 0


def test_a_path_that_drops_large_packets_is_named_from_both_sides_and_while_it_does(tmp_path):
    truth = lab("mtu-black-hole", tmp_path, "--live")
    assert truth["printed"]["stdout"].startswith("start\n1\n2\n")
    assert truth["client"]["stdout"] == "start\n"
    large, lost = sorted(line.partition("/attach): ")[2] for line in verdicts(tmp_path / "server.verdicts") if line.startswith("error "))
    assert large.startswith("large packets vanish so far: the server sent the same 1,448 bytes again")
    assert lost.startswith("output lost so far: at least 6.4 kB of container output (stdout 6,393) were sent ")
    for trace, other in (("server.pcap", "client.pcap"), ("client.pcap", "server.pcap")):
        both = analyze(tmp_path / trace, other_side=tmp_path / other)
        (hole,) = [finding for finding in both.findings if finding.code == "mtu-black-hole"]
        assert hole.evidence["proven_by_other_side"]
        assert 1248 < hole.evidence["segment_bytes"]
        assert 1248 >= hole.evidence["largest_arrived_bytes"]
        assert "path-dead" not in {finding.code for finding in both.findings}


@pytest.fixture
def short_directory():
    """The name of a unix socket must be short, which pytest's own directories are not."""
    with tempfile.TemporaryDirectory(prefix="ct-") as directory:
        yield Path(directory)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_lab_that_is_interrupted_leaves_nothing_behind(short_directory, number):
    command = [sys.executable, str(LAB), "silent-drop", "-o", str(short_directory / "out"), "--job", JOB.format(60)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, "TMPDIR": str(short_directory)})
    deadline = time.monotonic() + 30
    while not recorded(short_directory) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.1)
    assert recorded(short_directory)
    assert len(leftovers(process.pid, short_directory)["programs"]) > 5
    process.send_signal(number)
    said = process.communicate(timeout=60)[1]
    if number == signal.SIGKILL:
        # its programs end with it; namespaces and control groups stay until the next lab begins
        deadline = time.monotonic() + 15
        while leftovers(process.pid, short_directory)["programs"] and time.monotonic() < deadline:
            time.sleep(0.1)
        remove_leftovers()
    else:
        assert (process.returncode, "cleaning up" in said) == (128 + number, True)
        assert [] == list(short_directory.glob("captool-lab-*"))
    assert not any(leftovers(process.pid, short_directory).values())
    assert not (short_directory / "out" / "truth.json").exists()


def remove_leftovers():
    """What the next lab does first."""
    program = "import docker_daemon, network; network.remove_leftovers(); docker_daemon.remove_leftovers()"
    subprocess.run([sys.executable, "-c", program], cwd=LAB.parent, check=True)


def recorded(folder):
    return any(path.stat().st_size > 2000 for path in folder.glob("captool-lab-*/server.pcap"))
