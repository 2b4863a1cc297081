"""A capture read by several processes gives the report of one; floods of connections are bounded and said."""

import multiprocessing
from pathlib import Path
from types import SimpleNamespace

import pytest

import captool
from captool import analysis
from captool.errors import CaptureError
from captool.shards import read_in_shards
from tests.builders import ACK, FIN, SECOND, SERVER, START, SYN, Endpoint, Packet, Talk, analyze, ethernet, ip, pcap, tcp
from tests.fixture_cases import FIXTURES


@pytest.fixture(autouse=True)
def _share_small_captures_as_well(monkeypatch):
    monkeypatch.setattr(analysis, "SHARED_BYTES", 0)


def report(*arguments, **options):
    from captool.report.json_report import render

    return render(captool.analyze(*arguments, **options), None)


# Of seven, some find nothing to do.
JOBS = pytest.mark.parametrize("jobs", [2, pytest.param(3, marks=pytest.mark.slow), 7])


@JOBS
@pytest.mark.parametrize("case", ["silent-drop", "ecdhe-no-secrets", "rotated", "lossy-path", "any-interface", "keepalive-both"])
def test_the_report_of_several_processes_is_that_of_one_byte_for_byte(case, jobs):
    trace = min((FIXTURES / case).glob("*.pcap*"))
    keys = [path for path in (FIXTURES / case / "machines", FIXTURES / case / "keys.log") if path.exists()]
    assert report(trace, keys=keys) == report(trace, keys=keys, jobs=jobs)


def test_connections_are_numbered_by_their_first_packets(tmp_path: Path):
    path = tmp_path / "many.pcap"
    packets = []
    for number in range(60):
        packets += Talk(client_end=("10.0.0.1", 40000 + number), now=START + number).opened().client(b"x" * number).packets
    path.write_bytes(pcap(sorted(packets, key=lambda packet: packet.ts_ns)))
    assert report(path) == report(path, jobs=4)


def test_a_process_that_fails_leaves_it_to_one():
    def read(shard, jobs, progress):
        if shard:
            raise MemoryError
        return SimpleNamespace(alone=False)

    assert read_in_shards(read, 2, None) is None


def test_what_fails_in_this_process_fails():
    def read(shard, jobs, progress):
        raise CaptureError("no")

    with pytest.raises(CaptureError):
        read_in_shards(read, 2, None)
    assert not multiprocessing.active_children()


def test_progress_comes_from_the_processes_too():
    seen = []
    captool.analyze(FIXTURES / "silent-drop" / "server.pcap", jobs=2, progress=lambda done, total: seen.append((done, total)))
    assert seen
    assert seen[-1][0] == seen[-1][1]


def attempts(count: int, *, answered: bool = False) -> list[Packet]:
    packets = []
    for number in range(count):
        client = (f"10.{1 + (number >> 16)}.{number >> 8 & 255}.{number & 255}", 40000)
        packets.append(Packet(ethernet(ip(tcp(client, SERVER, seq=1, ack=0, flags=SYN), client, SERVER)), START + number))
        if answered:
            packets.append(Packet(ethernet(ip(tcp(SERVER, client, seq=9, ack=2, flags=SYN | ACK), SERVER, client)), START + number))
    return packets


@pytest.mark.slow
@pytest.mark.parametrize("answered", [False, True])
def test_connections_that_never_open_are_kept_in_bounds_and_counted(tmp_path: Path, answered):
    count = 40_000
    summary, connections, _ = analyze(tmp_path / "flood.pcap", attempts(count, answered=answered))
    assert 32_768 == len(connections)
    (note,) = summary.notes
    assert note.startswith(f"{count - 32_768} connections were tried with a SYN and never opened")


@pytest.mark.slow
def test_a_connection_that_opened_outlives_a_flood(tmp_path: Path):
    talk = Talk().opened().client(b"first")
    early = len(talk.packets)
    talk.wait(5).server(b"answer")
    _, connections, _ = analyze(tmp_path / "flood.pcap", [*talk.packets[:early], *attempts(40_000), *talk.packets[early:]])
    assert (5, 6) == tuple(next(one for one in connections if one.id == 0).payload_bytes)


@pytest.mark.slow
def test_uneventful_connections_beyond_a_bound_are_counted(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(analysis, "MAX_UNEVENTFUL", 100)
    packets = []
    for number in range(300):
        client: Endpoint = ("10.0.0.1", 30000 + number)
        for sender, receiver, seq, ack, flags in (
            (client, SERVER, 1, 0, SYN), (SERVER, client, 9, 2, SYN | ACK), (client, SERVER, 2, 10, ACK | FIN), (SERVER, client, 10, 3, ACK | FIN),
            (client, SERVER, 3, 11, ACK),
        ):  # fmt: skip
            packets.append(Packet(ethernet(ip(tcp(sender, receiver, seq=seq, ack=ack, flags=flags), sender, receiver)), START + number * SECOND))
    path = tmp_path / "many.pcap"
    path.write_bytes(pcap(packets))
    result = captool.analyze(path)
    assert 100 == len(result.connections)
    assert 200 == result.capture.unlisted_connections
    assert any("200 connections" in note for note in result.capture.notes)
    assert report(path) == report(path, jobs=2)
