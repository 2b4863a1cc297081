"""A followed capture goes on in the files that begin after it: rotated sets, rings, and what is removed meanwhile."""

import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from builders import SECOND, Talk, pcap, pcapng
from captool.capture.growing import GRACE_S, POLL_S, Following
from captool.capture.merge import NEVER
from captool.capture.reader import CaptureReader
from captool.capture.succession import Succession
from captool.packets.decode import Decoder
from captool.tcp.tracker import Tracker
from recordings import ended, inside, network_namespace, recording


@pytest.fixture
def talk():
    talk = Talk().opened()
    for number in range(8):
        talk.wait(10).client(b"question %d" % number).server(b"answer")
    return talk


def written(path, packets):
    path.write_bytes(pcap(packets))
    return path


class Recorder:
    """Begins the next file of a set each time that it is slept at the end of the one before."""

    def __init__(self, *steps):
        self.steps = list(steps)
        self.slept = 0.0

    def __call__(self, seconds):
        self.slept += seconds
        if self.steps:
            self.steps.pop(0)()


def follow(named, recorder, stopped=lambda: False):
    decoder, tracker = Decoder(), Tracker(gap_ns=SECOND)
    following = Following(stopped, recorder, [named])
    with CaptureReader([named], wait=following, next_file=following.next_file) as reader:
        for frames in reader.chunks():
            tracker.add(frames, decoder.decode(frames))
        tracker.finish()
        return reader.summary(decoder, tracker), tracker.take_closed()


@pytest.mark.parametrize("by", ["directory", "first file"])
def test_the_connection_goes_on_through_the_files_that_begin(tmp_path, talk, by):
    packets = talk.packets
    first = written(tmp_path / "t-000001.pcap", packets[:5])
    recorder = Recorder(
        lambda: written(tmp_path / "t-000002.pcap", packets[5:9]),
        lambda: written(tmp_path / "t-000003.pcap", packets[9:]),
    )
    summary, (one,) = follow(tmp_path if by == "directory" else first, recorder)
    assert [f"t-00000{number}.pcap" for number in (1, 2, 3)] == [Path(file).name for file in summary.files]
    assert (len(packets), ()) == (summary.packets, summary.notes)
    assert len(packets) == sum(one.packets)
    assert pytest.approx(GRACE_S, abs=2 * POLL_S) == recorder.slept - 2 * POLL_S


def test_files_that_began_while_one_was_read_come_in_order_of_time(tmp_path, talk):
    packets = talk.packets
    first = written(tmp_path / "trace.pcap", packets[:5])

    def three_more():
        written(tmp_path / "trace.pcap1", packets[5:7])
        written(tmp_path / "trace.pcap10", packets[7:9])
        written(tmp_path / "trace.pcap2", packets[9:])

    summary, (one,) = follow(first, Recorder(three_more))
    assert ["trace.pcap", "trace.pcap1", "trace.pcap10", "trace.pcap2"] == [Path(file).name for file in summary.files]
    assert len(packets) == sum(one.packets)


def test_a_ring_that_writes_its_first_file_anew_is_followed(tmp_path, talk):
    packets = talk.packets
    ring = written(tmp_path / "trace.pcap0", packets[:5])
    recorder = Recorder(lambda: written(tmp_path / "trace.pcap1", packets[5:9]), lambda: written(ring, packets[9:]))
    summary, (one,) = follow(tmp_path, recorder)
    assert ["trace.pcap0", "trace.pcap1", "trace.pcap0"] == [Path(file).name for file in summary.files]
    assert len(packets) == sum(one.packets)


def test_a_file_that_is_removed_before_it_could_be_read_is_noted(tmp_path, talk, monkeypatch):
    packets = talk.packets
    written(tmp_path / "t-1.pcap", packets[:5])
    gone = written(tmp_path / "t-2.pcap", packets[5:9])
    written(tmp_path / "t-3.pcap", packets[9:])
    begin = CaptureReader._begin

    def removed_meanwhile(self, path):
        if path == gone:
            gone.unlink()
        begin(self, path)

    monkeypatch.setattr(CaptureReader, "_begin", removed_meanwhile)
    summary, (one,) = follow(tmp_path, Recorder())
    assert (f"{gone}: was removed before it could be read; packets are missing there",) == summary.notes
    assert len(packets) - 4 == sum(one.packets)


def test_other_files_and_sets_are_not_gone_on_with(tmp_path, talk):
    packets = talk.packets
    first = written(tmp_path / "t-1.pcap", packets[:5])
    written(tmp_path / "t-0.pcap", packets[5:9])  # was there before, and was not named

    def others():
        written(tmp_path / "other.pcap", packets[9:])
        (tmp_path / "t-2.txt").write_text("a name like others")
        (tmp_path / "t-2.pcap").write_text("the name of a next one, and no capture")
        (tmp_path / "t-3.pcap").mkdir()

    summary, _ = follow(first, Recorder(others))
    assert (1, 5) == (len(summary.files), summary.packets)


def test_without_a_wish_to_follow_nothing_is_gone_on_with(tmp_path, talk):
    written(tmp_path / "t-1.pcap", talk.packets[:5])
    with CaptureReader([tmp_path], wait=Following(lambda: False, Recorder(lambda: written(tmp_path / "t-2.pcap", talk.packets[5:])))) as reader:
        assert 5 == sum(frames.count for frames in reader.chunks())


def test_when_told_to_stop_what_was_recorded_by_then_is_read(tmp_path, talk):
    packets = talk.packets
    first = written(tmp_path / "t-1.pcap", packets[:5])
    recorder = Recorder(lambda: written(tmp_path / "t-2.pcap", packets[5:]))
    with first.open("ab"):
        summary, _ = follow(tmp_path, recorder, stopped=lambda: recorder.slept > 0)
    assert len(packets) == summary.packets


def test_the_file_that_begins_first_is_next_and_empty_ones_wait(tmp_path, talk):
    read = written(tmp_path / "a.pcap", talk.packets[:5])
    succession = Succession([tmp_path])
    latest = talk.packets[4].ts_ns
    assert None is succession.next_file({read}, latest)
    (tmp_path / "b.pcap").write_bytes(b"")
    assert None is succession.next_file({read}, latest)
    (tmp_path / "c.pcapng").write_bytes(pcapng(talk.packets[9:]))
    assert tmp_path / "c.pcapng" == succession.next_file({read}, latest)
    written(tmp_path / "b.pcap", talk.packets[5:9])
    assert tmp_path / "b.pcap" == succession.next_file({read}, latest)
    assert None is succession.next_file({read, tmp_path / "b.pcap", tmp_path / "c.pcapng"}, NEVER - 1)


def test_where_the_kernel_does_not_tell_a_later_file_of_the_set_ends_one(tmp_path, talk):
    first = written(tmp_path / "t-1.pcap", talk.packets[:5])
    succession = Succession([tmp_path])
    assert not succession.went_on(first)
    os.utime(first, ns=(1, 1))
    written(tmp_path / "other.pcap", talk.packets[5:9])
    assert not succession.went_on(first)
    written(tmp_path / "t-2.pcap", talk.packets[5:9])
    assert succession.went_on(first)


SPEAK = """
import socket, sys, time
server = socket.create_server(("127.0.0.1", 2376))
client = socket.create_connection(("127.0.0.1", 2376))
peer, _ = server.accept()
for number in range(int(sys.argv[1])):
    client.sendall(b"x" * int(sys.argv[2]))
    left = int(sys.argv[2])
    while left:
        left -= len(peer.recv(left))
    time.sleep(float(sys.argv[3]))
"""


@contextlib.contextmanager
def captool_follows(folder, *options):
    command = [sys.executable, "-P", "-m", "captool.cli.main", "analyze", "--follow", folder, *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def wait_for_packets(folder):
    deadline = time.monotonic() + 20
    while not any(path.stat().st_size > 100 for path in folder.glob("t*")) and time.monotonic() < deadline:
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.needs("tcpdump", "ip", "nsenter", root=True)
@pytest.mark.parametrize(
    ("rotation", "spoken"),
    [
        (("-G", "1", "-w", "t-%s.pcap"), (20, 100, 0.3)),
        (("-C", "1", "-w", "t.pcap"), (20, 300_000, 0.3)),
        (("-C", "1", "-W", "3", "-w", "t.pcap"), (20, 300_000, 0.3)),
    ],
)
def test_a_connection_is_followed_through_the_files_of_tcpdump(tmp_path, rotation, spoken):
    with network_namespace() as namespace:
        words = ["tcpdump", "-U", "-i", "lo", "-Z", "root", *rotation, "tcp", "port", "2376"]
        tcpdump = subprocess.Popen(inside(namespace, *words), cwd=tmp_path, stderr=subprocess.PIPE)
        try:
            while b"listening on" not in tcpdump.stderr.readline():
                pass
            speaker = subprocess.Popen(inside(namespace, sys.executable, "-c", SPEAK, *map(str, spoken)))
            wait_for_packets(tmp_path)
            with captool_follows(tmp_path, "--format", "json") as captool:
                speaker.wait(60)
                time.sleep(2)
                tcpdump.terminate()
                tcpdump.wait(10)
                out, err = captool.communicate(timeout=30)
        finally:
            tcpdump.kill()
            tcpdump.communicate()
    assert 0 == captool.returncode, err
    (one,), capture = connections(out)
    assert len(capture["files"]) > 3
    assert spoken[0] * spoken[1] == one["payload_bytes"]["to_server"]
    assert [] == [note for note in capture["notes"] if "missing" in note or "ends in" in note]


def connections(out):
    report = json.loads(out)
    return report["connections"], report["capture"]


@pytest.mark.slow
@pytest.mark.needs("tcpdump", "ip", "nsenter", root=True)
def test_a_connection_is_followed_through_the_ring_of_captool_record(tmp_path):
    words = ("-i", "lo", "-w", "t.pcap", "-G", "500ms", "-W", "3", "--duration", "9s", "--machines", ".")
    with network_namespace() as namespace, recording(namespace, tmp_path, *words) as process:
        speaker = subprocess.Popen(inside(namespace, sys.executable, "-c", SPEAK, "20", "100", "0.3"))
        wait_for_packets(tmp_path)
        with captool_follows(tmp_path, "--format", "json") as captool:
            speaker.wait(60)
            ended(process, 0)
            out, err = captool.communicate(timeout=30)
    assert 0 == captool.returncode, err
    (one,), capture = connections(out)
    assert len(capture["files"]) > 5
    assert 2000 == one["payload_bytes"]["to_server"]
    assert len(list(tmp_path.glob("t-*.pcap"))) <= 3
