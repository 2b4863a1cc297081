import fcntl
import json
import os

import pytest

from captool.record.manifest_file import LATE_NS, Manifests, cut_short, recorded_until_ns

UNDER_WAY = {"schema": "captool.recording/1", "recording_to": "t.pcap", "ended": {"how": "recording"}}


def put(path, document):
    path.write_text(document if isinstance(document, str) else json.dumps(document))


def test_a_recording_that_never_ended_is_told_from_one_that_goes_on(tmp_path):
    trace = tmp_path / "t.pcap"
    trace.touch()
    put(tmp_path / "t.pcap.json", UNDER_WAY)
    assert "t.pcap.json: the recording was cut off" in cut_short([trace])[0]
    descriptor = os.open(trace, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    assert "the recording goes on" in cut_short([trace])[0]
    os.close(descriptor)
    assert "cut off" in cut_short([trace])[0]
    put(tmp_path / "t.pcap.json", UNDER_WAY | {"ended": {"how": "count"}})
    assert () == cut_short([trace])


def test_files_of_a_set_have_one_manifest(tmp_path):
    names = ["t-20261124T170000Z-000001.pcap", "t-20261124T170000Z-000002.pcap"]
    put(tmp_path / "t.pcap.json", UNDER_WAY | {"recording_to": names[1], "files": [{"name": names[0]}, 7]})
    of = Manifests().of
    assert [of(tmp_path / name)[0] for name in names] == [tmp_path / "t.pcap.json"] * 2
    assert len(cut_short([tmp_path / name for name in names])) == 1
    assert of(tmp_path / "t-20261124T170000Z-000003.pcap") is None
    assert of(tmp_path / "other-20261124T170000Z-000001.pcap") is None


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[",
        "[]",
        "7",
        '{"schema": "other/1"}',
        "[" * 100_000,
        json.dumps(UNDER_WAY | {"ended": 5}),
        json.dumps(UNDER_WAY | {"ended": None}),
    ],
)
def test_a_manifest_that_cannot_be_read_says_nothing(tmp_path, content):
    put(tmp_path / "t.pcap.json", content)
    assert () == cut_short([tmp_path / "t.pcap"])


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "..", "a\x00b", 7, None, ["x"]])
def test_hostile_names_stay_names(tmp_path, name):
    put(tmp_path / "t.pcap.json", UNDER_WAY | {"recording_to": name, "files": [{"name": name}]})
    assert "cut off" in cut_short([tmp_path / "t.pcap"])[0]
    assert () == cut_short([tmp_path / "t-1-2.pcap"])


ENDED = {
    "schema": "captool.recording/1",
    "end": "2026-11-24T19:53:21.000000005Z",
    "ended": {"how": "terminated"},
    "files": [{"name": "t.pcap", "bytes": 100, "packets": 3}],
}
END_NS = 1795550001_000000005


@pytest.mark.parametrize(
    ("changes", "packets", "known"),
    [
        ({}, 3, True),
        ({}, 2, False),
        ({"remote": {"host": "10.0.0.2"}}, 3, False),  # another clock
        ({"ended": {"how": "recording"}}, 3, False),
        ({"ended": {"how": "tcpdump-ended"}}, 3, False),
        ({"files": [{"name": "t.pcap", "bytes": 101, "packets": 3}]}, 3, False),
        ({"files": [{"name": "t.pcap", "bytes": 100, "packets": "3"}]}, 3, False),
        ({"files": [{"name": "t.pcap", "bytes": 100, "packets": 3}, {"name": "u.pcap"}]}, 3, False),  # not the last one
        ({"files": []}, 0, False),
        ({"files": [7]}, 0, False),
        ({"end": "now"}, 3, False),
        ({"end": None}, 3, False),
        ({"end": "9" * 100}, 3, False),
    ],
)
def test_the_manifest_of_a_whole_recording_tells_until_when_it_listened(tmp_path, changes, packets, known):
    (tmp_path / "t.pcap").write_bytes(bytes(100))
    put(tmp_path / "t.pcap.json", ENDED | changes)
    assert recorded_until_ns([tmp_path / "t.pcap"], packets) == (END_NS - LATE_NS if known else None)


def test_without_a_manifest_nothing_is_known_of_the_end(tmp_path):
    (tmp_path / "t.pcap").write_bytes(bytes(100))
    assert recorded_until_ns([tmp_path / "t.pcap"], 3) is None
    assert recorded_until_ns([], 0) is None
