"""Bytes of strangers: the corpus through every target, compiled and not; and for a short while what a fuzzer makes of it."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.seeds import seeds
from tests.fuzz.targets import CORPUS, TARGETS

TESTS = Path(__file__).parent.parent
MAX_CORPUS_BYTES = 300_000
SECONDS = 2


def python(module, *arguments, checkout, place, **options):
    """A target's process: captool uncompiled from the checkout, or as it is installed. `place` is where inputs become files."""
    paths = [str(TESTS.parent), str(TESTS)] if checkout else [str(TESTS)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "TMPDIR": str(place), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", module, *map(str, arguments)]
    return subprocess.run(command, env=environment, cwd=place, capture_output=True, text=True, check=False, **options)


def answers(*, checkout, place):
    run = python("fuzz.replay", checkout=checkout, place=place)
    assert 0 == run.returncode, f"{run.stdout[-200:]}\n{run.stderr}"
    return run.stdout.splitlines()


@pytest.mark.slow
def test_the_whole_corpus_gives_the_same_answers_compiled_and_not(tmp_path, without):
    kind, *installed = answers(checkout=False, place=tmp_path)
    uncompiled, *expected = answers(checkout=True, place=tmp_path)
    assert "uncompiled" == uncompiled
    assert len(expected) >= sum(1 for _ in CORPUS.glob("*/*"))
    assert expected == installed
    if kind != "compiled":
        without("captool is installed without its compiled modules")


def test_every_target_has_its_seeds_and_the_corpus_is_small():
    assert set(TARGETS) == {directory.name for directory in CORPUS.iterdir()} == set(seeds())
    for target, files in seeds().items():
        assert files == {name: (CORPUS / target / name).read_bytes() for name in files}, target
    assert sum(file.stat().st_size for file in CORPUS.glob("*/*")) < MAX_CORPUS_BYTES
    assert not [file for file in CORPUS.glob("*/*") if b"PRIVATE KEY-----" in file.read_bytes()]


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory):
    """Where every target has been fuzzed for a short while, or None without atheris."""
    if importlib.util.find_spec("atheris") is None:
        return None
    directory = tmp_path_factory.mktemp("fuzzed")
    bounds = ["-seed=20261124", "-runs=2000", f"-max_total_time={SECONDS}", "-timeout=10", "-rss_limit_mb=1024"]
    run = python("fuzz.run", "each", directory, *bounds, checkout=True, place=directory, timeout=280)
    assert 0 == run.returncode, run.stderr[-4000:]
    return directory


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
def test_nothing_escapes_hangs_or_grows(target, fuzzed, without):
    if fuzzed is None:
        without("needs atheris")
    place = fuzzed / target
    said = (place / "said").read_text(errors="replace")
    assert "0" == (place / "status").read_text(), said[-4000:]
    assert "Done " in said
    assert [] == list((place / "failures").iterdir())
    assert list((place / "found").iterdir())
