"""Damaged captures: an answer or one clear error, and never plaintext that did not authenticate."""

import random

import pytest

from captool import analysis
from captool.errors import CaptoolError
from captool.keys.load import load_keys
from captool.report.json_report import render as render_json
from captool.report.text import render as render_text
from captool.tls.conversation import TlsConversation
from fixture_cases import captures, folders

FLIPS = 1000
CUTS = 50  # of each capture


@pytest.fixture(scope="module")
def rings():
    """The key material of each case, by its folder."""
    sources = {folder: [path for path in (folder / "machines", folder / "keys.log") if path.exists()] for folder in folders()}
    return {folder: load_keys(paths) for folder, paths in sources.items()}


@pytest.fixture
def released(monkeypatch):
    """Every plaintext that TLS lets through, as it does."""
    plaintexts = []
    read = TlsConversation.read

    def recording_read(self, piece):
        found = read(self, piece)
        plaintexts.extend((plain.direction, bytes(plain.data)) for run in found for plain in run.records())
        return found

    monkeypatch.setattr(TlsConversation, "read", recording_read)
    return plaintexts


def analyze_and_render(trace, ring):
    try:
        result = analysis.analyze(trace, ring)
    except CaptoolError as error:
        assert_one_line(str(error))
        return
    assert render_text(result)
    assert render_json(result)


def assert_one_line(message):
    assert message
    assert "\n" not in message


@pytest.mark.slow
@pytest.mark.parametrize("capture", captures(), ids=lambda path: f"{path.parent.name}-{path.name}")
def test_cut_anywhere_the_capture_still_gives_an_answer(capture, rings, released, tmp_path):
    ring, whole, trace = rings[capture.parent], capture.read_bytes(), tmp_path / "cut.pcap"
    analyze_and_render(capture, ring)
    genuine = set(released)
    for end in range(0, len(whole), len(whole) // CUTS | 1):  # odd, so that it falls everywhere in records
        released.clear()
        trace.write_bytes(whole[:end])
        analyze_and_render(trace, ring)
        assert set(released) <= genuine


@pytest.mark.slow
def test_flipped_bytes_never_release_plaintext_that_did_not_authenticate(rings, released, tmp_path):
    chance = random.Random(20261123)
    genuine = {}
    for capture in captures():
        released.clear()
        analyze_and_render(capture, rings[capture.parent])
        genuine[capture] = set(released)
    assert any(genuine.values())
    trace = tmp_path / "flipped.pcap"
    for _ in range(FLIPS):
        capture = chance.choice(captures())
        damaged = bytearray(capture.read_bytes())
        for _ in range(chance.choice((1, 2, 16))):
            damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
        trace.write_bytes(damaged)
        released.clear()
        analyze_and_render(trace, rings[capture.parent])
        assert set(released) <= genuine[capture]
