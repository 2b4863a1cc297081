"""A trace whose recorder was killed: `captool analyze` says so, beside the report."""

import fcntl
import json

import pytest


@pytest.fixture
def trace(fixtures, tmp_path):
    path = tmp_path / "t.pcap"
    path.write_bytes((fixtures / "idle-but-healthy/server.pcap").read_bytes())
    (tmp_path / "t.pcap.json").write_text(json.dumps({"schema": "captool.recording/1", "recording_to": "t.pcap", "ended": {"how": "recording"}}))
    return path


def test_a_recording_that_was_cut_off_is_told_on_stderr(captool, trace):
    run = captool("analyze", trace)
    assert 0 == run.code
    assert "the recording was cut off (captool was killed, or the machine stopped); its last second may be missing in t.pcap\n" in run.err
    assert "cut off" not in run.out
    assert "cut off" in captool("analyze", trace.parent).err


def test_a_recording_that_goes_on_is_told_apart(captool, trace):
    with trace.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert "the recording goes on" in captool("analyze", trace).err


def test_an_ended_recording_needs_no_word(captool, trace):
    (trace.parent / "t.pcap.json").write_text(json.dumps({"schema": "captool.recording/1", "ended": {"how": "count"}}))
    assert "" == captool("analyze", trace).err
