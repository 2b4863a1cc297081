"""`captool record` with the real tcpdump, in a network namespace of the test's own."""

import contextlib
import hashlib
import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from docker_machine import machine
from recordings import PACKAGES, ended, failed, inside, manifest, packets, recording, send, wait_for_packets

pytestmark = [pytest.mark.needs("tcpdump", "ip", "nsenter", "setpriv", root=True), pytest.mark.slow]


@pytest.mark.parametrize(("number", "how"), [(signal.SIGINT, "interrupted"), (signal.SIGTERM, "terminated")])
def test_a_signal_ends_the_recording_and_nothing_is_lost(namespace, tmp_path, number, how):
    machine(tmp_path / "store")
    with recording(namespace, tmp_path, "-i", "lo", "-w", "t.pcap", "--machines", "store", "udp port 9999") as process:
        send(namespace, 20_000)
        process.send_signal(number)
        assert ended(process, 0) == "captool analyze t.pcap --keys t.pcap.keys\n"
    assert packets(tmp_path / "t.pcap") == 20_000
    made = manifest(tmp_path)
    assert made["ended"] == {"how": how}
    counted = made["packets"]
    assert (20_000, 20_000, 0) == (counted["written"], counted["captured"], counted["dropped_by_kernel"])
    content = (tmp_path / "t.pcap").read_bytes()
    kept = {name: made["file"][name] for name in ("name", "bytes", "packets", "sha256")}
    assert {"name": "t.pcap", "bytes": len(content), "packets": 20_000, "sha256": hashlib.sha256(content).hexdigest()} == kept
    assert made["start"] <= made["file"]["first"] <= made["file"]["last"] <= made["end"]
    assert made["files"] == [made["file"]]
    assert (made["interface"], made["filter"], made["link_type"]) == ("lo", "udp port 9999", "EN10MB")
    assert re.fullmatch(r"\d+\.\d+.*", made["tcpdump_version"])
    assert (tmp_path / "t.pcap.keys/machines/runner-1/1/server-key.pem").exists()
    assert {"t.pcap", "t.pcap.json", "t.pcap.keys", "store", "said"} == {path.name for path in tmp_path.iterdir()}
    assert all(path.stat().st_mode & 0o077 == 0 for path in tmp_path.glob("t.pcap*"))


def test_a_count_ends_the_recording(namespace, tmp_path):
    with recording(namespace, tmp_path, "-i", "lo", "-w", "t.pcap", "-c", "10", "udp port 9999") as process:
        send(namespace, 100)
        assert ended(process, 0) == "captool analyze t.pcap\n"
    assert (10, {"how": "count"}) == (packets(tmp_path / "t.pcap"), manifest(tmp_path)["ended"])


def test_keys_that_machine_tls_options_put_elsewhere_are_kept(namespace, tmp_path, monkeypatch):
    """Without --machines, everything that `captool harvest` takes without DIR; with it, only what it names."""
    monkeypatch.setenv("MACHINE_TLS_CLIENT_KEY", str(machine(tmp_path / "store") / "key.pem"))
    for name, options, expected in (("all.pcap", (), True), ("one.pcap", ("--machines", "store"), False)):
        with recording(namespace, tmp_path, "-i", "lo", "-w", name, "--duration", "2s", *options) as process:
            ended(process, 0)
        assert expected == (tmp_path / f"{name}.keys/machines/machine_tls_options/1/key.pem").exists()


def test_a_duration_ends_the_recording_without_any_traffic(namespace, tmp_path):
    begin = time.monotonic()
    with recording(namespace, tmp_path, "-i", "lo", "-w", "t.pcap", "--duration", "1s") as process:
        assert "" == ended(process, 0)
    assert 1 <= time.monotonic() - begin < 8
    assert (0, {"how": "duration"}) == (packets(tmp_path / "t.pcap"), manifest(tmp_path)["ended"])
    said = (tmp_path / "said").read_text()
    assert "nothing was captured: no packet matched 'tcp port 2376' on lo; check the interface (-i any records on all), the port" in said


def test_where_nothing_was_captured_no_analysis_is_recommended_or_made(namespace, tmp_path):
    """Not of a set of files, not of what was to be one file with its secrets, and not by --analyze."""
    for options in (("-w", "t.pcap", "-C", "1MB"), ("-w", "t.pcapng"), ("-w", "live.pcap", "--analyze")):
        with recording(namespace, tmp_path, *options, "--duration", "1ms") as process:
            assert "" == ended(process, 0)
        said = (tmp_path / "said").read_text()
        assert "nothing was captured: no packet matched 'tcp port 2376' on any; check the port (--port) and the filter" in said
        assert "captool analyze" not in said
        assert "secret" not in said


def test_the_default_name_is_sortable_and_in_the_current_directory(namespace, tmp_path):
    with recording(namespace, tmp_path, "--duration", "1ms") as process:
        ended(process, 0)
    (trace,) = tmp_path.glob("*.pcap")
    assert re.fullmatch(r"captool-\d{8}T\d{6}Z\.pcap", trace.name)


def test_an_unknown_interface_is_answered_with_those_that_exist(namespace, tmp_path):
    line = failed(namespace, tmp_path, "-i", "eth77", "-w", "t.pcap", code=2)
    assert "there is no interface eth77; existing ones: lo, any" in line
    assert ["said"] == [path.name for path in tmp_path.iterdir()]


def test_a_wrong_filter_is_answered_with_its_mistake(namespace, tmp_path):
    assert "'tcp prt 5'" in failed(namespace, tmp_path, "-i", "lo", "-w", "t.pcap", "tcp prt 5", code=2)
    assert ["said"] == [path.name for path in tmp_path.iterdir()]


def test_a_missing_privilege_is_said_with_what_to_do(namespace, tmp_path):
    wrapper = ("setpriv", "--bounding-set=-net_raw,-net_admin")
    assert "run captool as root" in failed(namespace, tmp_path, "-i", "lo", "-w", "t.pcap", code=5, wrapper=wrapper)
    assert ["said"] == [path.name for path in tmp_path.iterdir()]


def test_an_existing_trace_or_manifest_is_kept_unless_forced(namespace, tmp_path):
    for name in ("t.pcap", "t.pcap.json"):
        (tmp_path / name).write_text("precious")
        assert f"{name} exists" in failed(namespace, tmp_path, "-i", "lo", "-w", "t.pcap", code=2)
        assert (tmp_path / name).read_text() == "precious"
    with recording(namespace, tmp_path, "-i", "lo", "-w", "t.pcap", "--duration", "1ms", "--force") as process:
        ended(process, 0)
    assert packets(tmp_path / "t.pcap") == 0


def test_a_recording_that_cannot_begin_keeps_what_it_was_to_replace(namespace, tmp_path):
    (tmp_path / "t.pcap").write_text("precious")
    failed(namespace, tmp_path, "-i", "eth77", "-w", "t.pcap", "--force", code=2)
    assert (tmp_path / "t.pcap").read_text() == "precious"
    assert {"said", "t.pcap"} == {path.name for path in tmp_path.iterdir()}


def test_a_path_that_cannot_be_written_is_said_and_nothing_is_left(namespace, tmp_path):
    assert "choose another place with -w" in failed(namespace, tmp_path, "-i", "lo", "-w", "nowhere/t.pcap", code=2)
    assert ["said"] == [path.name for path in tmp_path.iterdir()]


def test_a_machines_directory_that_is_missing_is_said_before_anything_is_recorded(namespace, tmp_path):
    line = failed(namespace, tmp_path, "-i", "lo", "-w", "t.pcap", "--machines", "nowhere", code=3)
    assert line.endswith("nowhere: no such file or directory; name docker-machine's storage, or another directory with keys, with --machines")
    assert ["said"] == [path.name for path in tmp_path.iterdir()]


@pytest.fixture
def tiny_disk(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128k", "captool-test", disk], check=True)
    try:
        yield disk
    finally:
        subprocess.run(["umount", disk], check=True)


@pytest.mark.needs("mount", "umount")
def test_a_full_disk_ends_the_recording_and_keeps_what_was_captured(namespace, tmp_path, tiny_disk):
    with recording(namespace, tmp_path, "-i", "lo", "-w", "disk/t.pcap", "udp port 9999") as process:
        send(namespace, 200, 1400)
        assert ended(process, 2) == ""
    kept = packets(tiny_disk / "t.pcap")
    assert 10 < kept < 200
    assert f"the disk is full; make room, or write elsewhere with -w; {kept} packets kept in disk/t.pcap" in (tmp_path / "said").read_text()
    made = manifest(tiny_disk)
    assert (made["ended"]["how"], made["packets"]["written"]) == ("disk-full", kept)
    assert made["file"]["sha256"] == hashlib.sha256((tiny_disk / "t.pcap").read_bytes()).hexdigest()
    assert {"t.pcap", "t.pcap.json"} == {path.name for path in tiny_disk.iterdir()}


@pytest.mark.needs("mount", "umount")
def test_a_disk_that_is_full_from_the_start_leaves_nothing(namespace, tmp_path, tiny_disk):
    (tiny_disk / "filler").write_bytes(bytes(128 * 1024))
    assert "the disk is full; make room" in failed(namespace, tmp_path, "-i", "lo", "-w", "disk/t.pcap", code=2)
    assert ["filler"] == [path.name for path in tiny_disk.iterdir()]


def child(process):
    """The tcpdump of a recording."""
    return int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[0])


def test_tcpdump_that_dies_is_noticed_and_its_packets_are_kept(namespace, tmp_path):
    with recording(namespace, tmp_path, "-i", "lo", "-w", "t.pcap", "udp port 9999") as process:
        send(namespace, 50)
        wait_for_packets(tmp_path / "t.pcap")
        os.kill(child(process), signal.SIGKILL)
        ended(process, 5)
    assert packets(tmp_path / "t.pcap") == 50
    assert "50 packets kept in t.pcap" in (tmp_path / "said").read_text()
    assert manifest(tmp_path)["ended"]["how"] == "tcpdump-ended"
    assert manifest(tmp_path)["packets"]["captured"] is None


def test_an_interface_that_disappears_ends_the_recording(namespace, tmp_path):
    subprocess.run(["ip", "-n", namespace, "link", "add", "veth-a", "type", "veth", "peer", "name", "veth-b"], check=True)
    for end in ("veth-a", "veth-b"):
        subprocess.run(["ip", "-n", namespace, "link", "set", end, "up"], check=True)
    with recording(namespace, tmp_path, "-i", "veth-a", "-w", "t.pcap", "-c", "1000", "ip6") as process:
        for number in range(1, 5):  # each new address is asked for on the link
            subprocess.run(["ip", "-n", namespace, "address", "add", f"fd00::{number}/64", "dev", "veth-a"], check=True)
        wait_for_packets(tmp_path / "t.pcap")
        subprocess.run(["ip", "-n", namespace, "link", "delete", "veth-a"], check=True)
        ended(process, 5)
    assert packets(tmp_path / "t.pcap") > 0
    assert "tcpdump ended" in (tmp_path / "said").read_text()


def test_a_recording_that_is_killed_leaves_a_readable_trace_and_no_tcpdump(namespace, tmp_path):
    with recording(namespace, tmp_path, "-i", "lo", "-w", "t.pcap", "udp port 9999") as process:
        send(namespace, 50)
        wait_for_packets(tmp_path / "t.pcap")
        tcpdump = child(process)
        process.kill()
        deadline = time.monotonic() + 5
        while Path(f"/proc/{tcpdump}/cmdline").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not Path(f"/proc/{tcpdump}/cmdline").exists()
    assert packets(tmp_path / "t.pcap") == 50
    assert manifest(tmp_path)["ended"] == {"how": "recording"}


def test_a_terminal_shows_a_live_line(namespace, tmp_path):
    ours, theirs = pty.openpty()
    command = inside(namespace, sys.executable, "-m", "captool.cli.main", "record", "-i", "lo", "-w", "t.pcap", "--duration", "2s", "udp")
    environment = {**os.environ, "HOME": str(tmp_path), "TERM": "xterm", "PYTHONPATH": PACKAGES}
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=theirs, env=environment)
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # the terminal's other end is closed
        while data := os.read(ours, 4096):
            if b"recording on" not in shown and b"recording on" in shown + data:
                send(namespace, 3)
            shown += data
    os.close(ours)
    assert process.wait() == 0
    text = shown.decode()
    assert "stop with Ctrl-C" in text
    assert re.search(r"00:00:01  3 packets", text), text
    assert "  0 dropped" in text


def test_what_is_said_meanwhile_stands_above_the_live_line_and_not_behind_it(namespace, tmp_path):
    ours, theirs = pty.openpty()
    command = inside(namespace, sys.executable, "-m", "captool.cli.main", "record", "-i", "lo", "-w", "t.pcap", "--duration", "1s", "udp")
    environment = {**os.environ, "HOME": str(tmp_path), "TERM": "xterm", "PYTHONPATH": PACKAGES}
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=theirs, env=environment)
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):
        while data := os.read(ours, 4096):
            shown += data
    os.close(ours)
    assert process.wait() == 0
    before = shown.decode().partition("captool: nothing was captured")[0]
    assert re.search(r"bytes[^\r]*\r(\x1b\[2K)?$", before), before
