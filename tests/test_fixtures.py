"""Captures of the real thing give the report that is known to be true of them."""

import hashlib
import re
import stat

import pytest

from captool.analysis import analyze
from captool.report.json_report import report
from captool.units import parse_duration
from fixture_cases import FIXTURES, captures, folders, mismatches, runs


@pytest.mark.parametrize("run", list(runs()), ids=str)
def test_report_holds_what_is_expected(run):
    options = dict(run.options)
    if "idle_timeout" in options:
        options["idle_timeout_ns"] = parse_duration(options.pop("idle_timeout"))
    values = report(analyze(run.capture, run.keys, **options))
    assert [] == mismatches(run.report, values)
    found = {finding["code"] for finding in values["findings"]} | {finding["severity"] for finding in values["findings"]}
    assert set() == found & set(run.absent)


def test_a_rotated_recording_gives_the_report_of_the_whole_one(tmp_path):
    """Its files change while the stream is idle, before a probe; put together they are one trace."""
    files = sorted((FIXTURES / "rotated").glob("rotated-*.pcap"))
    assert 4 <= len(files)
    whole = tmp_path / "whole.pcap"
    header_length = 24
    whole.write_bytes(files[0].read_bytes() + b"".join(path.read_bytes()[header_length:] for path in files[1:]))
    one, many = (report(analyze(paths, FIXTURES / "rotated" / "machines")) for paths in (whole, files))
    for values in (one, many):
        del values["capture"]["files"], values["capture"]["bytes"]
    assert one == many


@pytest.mark.parametrize("capture", captures(), ids=lambda path: f"{path.parent.name}-{path.name}")
def test_every_packet_is_accounted_for(capture):
    summary = analyze(capture).capture
    assert summary.packets == summary.tcp_packets + summary.other_packets + summary.undecodable_packets


def test_every_case_is_listed_with_its_checksums():
    readme = (FIXTURES / "README.md").read_text()
    for capture in captures():
        assert capture.parent.name in readme
        assert hashlib.sha256(capture.read_bytes()).hexdigest() in readme


def test_every_case_has_recipe_and_expectation():
    assert len(folders()) >= 20
    for folder in folders():
        assert (folder / "recipe").read_text().strip()
        assert (folder / "expected.json").exists()


def test_fixtures_stay_small():
    assert sum(path.stat().st_size for path in FIXTURES.rglob("*") if path.is_file()) < 5_000_000


def test_no_private_key_lies_outside_the_fixtures():
    pattern = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----\n[A-Za-z0-9+/=]{40}")
    root = FIXTURES.parent
    for top in ("captool", "tests", "scripts", "docs", "benchmarks"):
        for path in (root / top).rglob("*"):
            if path.is_file() and not stat.S_ISLNK(path.lstat().st_mode):
                assert not pattern.search(path.read_bytes()), path
