"""The hot path gives the same answers compiled and as plain Python."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from captool.analysis import analyze
from captool.report.json_report import render
from captool.tcp import tracker
from fixture_cases import FIXTURES, captures

ROOT = Path(__file__).parent.parent
SCRIPT = """
import sys
from captool.analysis import analyze
from captool.report.json_report import render
from captool.tcp import tracker
assert tracker.__file__.endswith(".py"), tracker.__file__
for trace in sys.argv[1:]:
    print(render(analyze(trace.split(","))))
"""


def test_installed_captool_is_compiled():
    if os.environ.get("CI") != "true" and tracker.__file__.endswith(".py"):
        pytest.skip("captool runs uncompiled here (from the checkout, or without a C compiler)")
    assert not tracker.__file__.endswith(".py")


@pytest.mark.slow
def test_source_gives_the_same_report_as_the_compiled_modules():
    at_the_same_time = ",".join(str(path) for path in sorted((FIXTURES / "any-interface").glob("*.pcap")))
    traces = [*map(str, captures()), at_the_same_time]
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT, *traces], env={**os.environ, "PYTHONPATH": str(ROOT)}, cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "".join(f"{render(analyze(trace.split(',')))}\n" for trace in traces) == run.stdout
