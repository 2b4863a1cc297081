"""pytest plugin: the analysis of a capture as a fixture.

    @pytest.mark.captool("captures/job.pcap", keys="captures/machines", idle_timeout="600s")
    def test_the_job_lost_no_output(capture_analysis):
        assert "output-lost" not in {finding.code for finding in capture_analysis.findings}

Paths are relative to pytest's root directory. The heavy parts of captool are imported when the fixture is first used.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from captool.analysis import Analysis

OPTIONS = frozenset({"keys", "network", "idle_timeout", "ports"})


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line(
        "markers",
        "captool(*traces, keys=(), network=None, idle_timeout=None, ports=()): the capture that the fixture capture_analysis analyzes",
    )


@pytest.fixture
def capture_analysis(request: pytest.FixtureRequest) -> "Analysis":
    """The `captool.Analysis` of the capture that the test's `captool` marker names."""
    mark = request.node.get_closest_marker("captool")
    if mark is None or not mark.args:
        raise pytest.UsageError(f"{request.node.nodeid}: capture_analysis needs @pytest.mark.captool('trace.pcap', keys=...)")
    if unknown := sorted(set(mark.kwargs) - OPTIONS):
        raise pytest.UsageError(f"{request.node.nodeid}: the captool marker knows {', '.join(sorted(OPTIONS))}, not {', '.join(unknown)}")
    return _analyze(request.config.rootpath, mark.args, mark.kwargs)


def _analyze(root: Path, traces: tuple[str, ...], options: dict[str, Any]) -> "Analysis":
    from captool.analysis import analyze
    from captool.units import parse_duration

    keys = options.get("keys", ())
    timeout = options.get("idle_timeout")
    return analyze(
        [root / trace for trace in traces],
        [root / path for path in ([keys] if isinstance(keys, str | Path) else keys)],
        network=options.get("network"),
        idle_timeout_ns=None if timeout is None else parse_duration(str(timeout)),
        ports=tuple(options.get("ports", ())),
    )
