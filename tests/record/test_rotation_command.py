"""Sets of files with the real tcpdump: numbered packets over a veth pair, counted afterwards."""

import hashlib
import json
import signal
import struct
import subprocess
import sys
import time

import pytest

from captool.cli.record import FileSize
from recordings import ended, inside, manifest, recording, send

pytestmark = [pytest.mark.needs("tcpdump", "ip", "nsenter", root=True), pytest.mark.slow]

SEND_NUMBERED = """
import socket, struct, sys, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.connect(("10.99.0.2", 9999))
count, rate = int(sys.argv[1]), float(sys.argv[2])
begin = time.monotonic()
for n in range(count):
    s.send(struct.pack(">I", n) + bytes(200))
    if n % 64 == 0:
        time.sleep(max(0, begin + n / rate - time.monotonic()))
"""


@pytest.fixture
def veth(namespace):
    """A veth pair within the namespace; what is sent to 10.99.0.2 leaves through veth-a."""

    def ip(*words):
        subprocess.run(["ip", "-n", namespace, *words], check=True)

    ip("link", "add", "veth-a", "type", "veth", "peer", "name", "veth-b")
    ip("addr", "add", "10.99.0.1/24", "dev", "veth-a")
    for end in ("veth-a", "veth-b"):
        ip("link", "set", end, "up")
    address = json.loads(subprocess.run(["ip", "-n", namespace, "-j", "link", "show", "veth-b"], check=True, capture_output=True).stdout)
    ip("neigh", "add", "10.99.0.2", "lladdr", address[0]["address"], "dev", "veth-a")
    return namespace


def numbers(path):
    """The numbers in the packets of a file that ends after a whole one."""
    data = path.read_bytes()
    position, found = 24, []
    while position < len(data):
        found.append(struct.unpack_from(">I", data, position + 16 + 42)[0])
        position += 16 + struct.unpack_from("<I", data, position + 8)[0]
    assert position == len(data)
    return found


def test_every_packet_is_in_exactly_one_file_of_a_set(veth, tmp_path):
    words = ("-i", "veth-a", "-w", "t.pcap", "-C", "500KB", "-G", "200ms", "-W", "1000", "udp port 9999")
    with recording(veth, tmp_path, *words) as process:
        subprocess.run(inside(veth, sys.executable, "-c", SEND_NUMBERED, "60000", "40000"), check=True)
        process.send_signal(signal.SIGTERM)
        said = ended(process, 0)
    files = sorted(tmp_path.glob("t-*.pcap"))
    assert list(range(60_000)) == [number for path in files for number in numbers(path)]
    assert len(files) > 30
    made = manifest(tmp_path)
    assert [path.name for path in files] == [one["name"] for one in made["files"]]
    assert ["captool", "analyze", *(path.name for path in files)] == said.split()
    for path, one in zip(files, made["files"], strict=True):
        assert (path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest()) == (one["bytes"], one["sha256"])
        assert one["bytes"] <= 500_000
        assert one["first"] <= one["last"]
    assert (60_000, 0) == (made["packets"]["written"], made["packets"]["dropped_by_kernel"])
    assert made["rotation"] == {"size": 500_000, "period_s": 0.2, "keep": 1000}
    assert (None, 0) == (made["file"], made["files_removed"])


def test_the_ring_keeps_the_newest_packets_and_never_more_files(veth, tmp_path):
    words = ("-i", "veth-a", "-w", "t.pcap", "-C", "100KB", "-G", "10m", "-W", "3", "-c", "5000", "udp port 9999")
    with recording(veth, tmp_path, *words) as process:
        subprocess.run(inside(veth, sys.executable, "-c", SEND_NUMBERED, "5000", "20000"), check=True)
        ended(process, 0)
    files = sorted(tmp_path.glob("t-*.pcap"))
    kept = [number for path in files for number in numbers(path)]
    assert len(files) == 3
    assert list(range(kept[0], 5000)) == kept
    made = manifest(tmp_path)
    assert ({"how": "count"}, 5000) == (made["ended"], made["packets"]["written"])
    assert made["files_removed"] == 5000 // (99_976 // 262) + 1 - 3
    assert f"{made['files_removed']} older files of them removed" in (tmp_path / "said").read_text()


def test_time_closes_a_file_without_traffic_and_a_killed_recording_has_listed_it(veth, tmp_path):
    with recording(veth, tmp_path, "-i", "veth-a", "-w", "t.pcap", "-G", "1500ms", "udp port 9999") as process:
        subprocess.run(inside(veth, sys.executable, "-c", SEND_NUMBERED, "50", "20000"), check=True)
        deadline = time.monotonic() + 10
        while len(list(tmp_path.glob("t-*.pcap"))) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.1)
        process.kill()
        process.wait()
    first, second = sorted(tmp_path.glob("t-*.pcap"))
    made = manifest(tmp_path)
    assert {"how": "recording"} == made["ended"]
    assert ([first.name], second.name) == ([one["name"] for one in made["files"]], made["recording_to"])
    assert made["files"][0]["sha256"] == hashlib.sha256(first.read_bytes()).hexdigest()
    assert (list(range(50)), []) == (numbers(first), numbers(second))


def test_a_directory_that_disappears_ends_the_recording_with_what_was_written(veth, tmp_path):
    folder = tmp_path / "gone"
    folder.mkdir()
    words = ("-i", "veth-a", "-w", "gone/t.pcap", "-C", "100KB", "udp port 9999")
    with recording(veth, tmp_path, *words) as process:
        folder.rename(tmp_path / "moved")
        subprocess.run(inside(veth, sys.executable, "-c", SEND_NUMBERED, "2000", "20000"), check=True)
        ended(process, 2)
    said = (tmp_path / "said").read_text()
    assert "cannot write the trace there: no such file or directory" in said
    (file,) = (tmp_path / "moved").glob("t-*.pcap")
    assert list(range(len(numbers(file)))) == numbers(file)
    assert f"{len(numbers(file))} packets kept" in said


@pytest.mark.parametrize(("word", "size"), [("2", 2_000_000), ("500KB", 500_000), ("1.5MiB", 1_572_864)])
def test_a_bare_size_counts_millions_as_tcpdump_does(word, size):
    assert size == FileSize().convert(word, None, None)


def test_a_count_of_files_without_a_cut_is_refused(namespace, tmp_path):
    with recording(namespace, tmp_path, "-i", "lo", "-w", "t.pcap", "-W", "3") as process:
        ended(process, 2)
    assert "with -C or -G" in (tmp_path / "said").read_text()


@pytest.mark.needs("mount", "umount")
def test_the_recording_ends_before_the_disk_is_full(namespace, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "captool-test", disk], check=True)
    try:
        with recording(namespace, tmp_path, "-i", "lo", "-w", "disk/t.pcap", "--min-free", "3MB", "udp port 9999") as process:
            send(namespace, 2000, 1000)
            ended(process, 0)
        made = manifest(disk)
        assert {"how": "min-free"} == made["ended"]
        assert 2000 == made["packets"]["written"]
        assert "fewer than 3.0 MB were free on the disk of disk/t.pcap" in (tmp_path / "said").read_text()
        with recording(namespace, tmp_path, "-i", "lo", "-w", "disk/u.pcap", "--min-free", "4MB") as process:
            ended(process, 2)
        assert "fewer than --min-free" in (tmp_path / "said").read_text()
        assert not (disk / "u.pcap").exists()
    finally:
        subprocess.run(["umount", disk], check=True)
