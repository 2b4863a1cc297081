"""The pytest plugin, as a project that uses captool meets it."""

import shutil

import pytest


@pytest.fixture
def project(pytester, fixtures, monkeypatch):
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    shutil.copytree(fixtures / "silent-drop", pytester.path / "captures")

    def run(test: str):
        pytester.makepyfile(f"import pytest\n\n{test}")
        return pytester.runpytest("-p", "captool.pytest_plugin", "--strict-markers")

    return run


@pytest.mark.captool("fixtures/silent-drop/server.pcap", keys="fixtures/silent-drop/machines", network="gcp-vpc")
def test_fixture_analyzes_the_capture_that_the_marker_names(capture_analysis):
    assert "silent-drop" == capture_analysis.findings[0].code
    assert "gcp-vpc" == capture_analysis.settings.network


def test_paths_are_relative_to_the_root_directory(project):
    result = project(
        "@pytest.mark.captool('captures/server.pcap', keys=['captures/machines'], idle_timeout='600s')\n"
        "def test_lost(capture_analysis):\n    assert 'output-lost' in {finding.code for finding in capture_analysis.findings}\n"
    )
    result.assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("mark", "said"),
    [
        ("", "needs @pytest.mark.captool"),
        ("@pytest.mark.captool()\n", "needs @pytest.mark.captool"),
        ("@pytest.mark.captool('captures/server.pcap', key='captures/machines')\n", "not key"),
    ],
)
def test_a_wrong_marker_is_a_usage_error(project, mark, said):
    result = project(f"{mark}def test_it(capture_analysis):\n    pass\n")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([f"*{said}*"])


def test_an_unusable_capture_is_an_error_of_the_test(project):
    result = project("@pytest.mark.captool('missing.pcap')\ndef test_it(capture_analysis):\n    pass\n")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*CaptureError*missing.pcap*"])
