"""The group of commands."""

import os
import subprocess
import sys

import pytest

from captool.cli.main import COMMANDS
from fixture_cases import FIXTURES


def test_help_teaches_every_command(captool):
    run = captool("--help")
    assert 0 == run.code
    for command in COMMANDS:
        assert f"captool {command}" in run.out


@pytest.mark.parametrize("width", [60, 80, 200])
def test_help_is_as_wide_as_the_terminal_and_nothing_in_it_is_cut(captool, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    run = captool("--help")
    wide = [line.strip() for line in run.out.splitlines() if len(line) > width]
    assert [line for line in wide if line != "captool export trace.pcap --keys keys --to pcapng -o one.pcapng"] == []
    assert "..." not in run.out.replace("... and", "").replace("... on", "").replace("[ARGS]...", "")
    assert "captool analyze trace.pcap --keys keys" in run.out


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_has_help(captool, command):
    run = captool(command, "--help")
    assert 0 == run.code
    assert "Usage:" in run.out


def test_version_says_whether_the_hot_path_is_compiled(captool):
    assert "hot path" in captool("--version").out


def test_unknown_command_is_a_usage_error(captool):
    assert 2 == captool("explain").code
    run = captool("analyse", "trace.pcap")
    assert (2, True) == (run.code, "No such command 'analyse'. Did you mean 'analyze'?" in run.err)


@pytest.mark.parametrize(
    "words", [("analyze", ""), ("analyze", "TRACE", "--keys", ""), ("analyze", "TRACE", "-o", ""), ("keys", ""), ("record", "-w", "")]
)
def test_an_empty_name_is_not_the_present_directory(captool, fixtures, tmp_path, monkeypatch, words):
    monkeypatch.chdir(fixtures / "silent-drop")
    run = captool(*(fixtures / "silent-drop/server.pcap" if word == "TRACE" else word for word in words))
    assert (2, "", True) == (run.code, run.out, "the name is empty" in run.err)


def test_closed_output_is_no_error():
    script = "captool --help | head -1"
    run = subprocess.run(["bash", "-c", f"set -o pipefail; {script}".replace("captool", f"{sys.executable} -m captool.cli.main")],
                         capture_output=True, text=True, check=False)  # fmt: skip
    assert "" == run.stderr


def test_ctrl_c_is_no_traceback(captool, monkeypatch):
    def interrupted(*_arguments: object, **_options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("captool.analysis.analyze", interrupted)
    run = captool("analyze", "trace.pcap")
    assert (130, "captool: interrupted") == (run.code, run.err.strip())


ENDING = """
import atexit, os, sys
class Freed:
    def __del__(self):
        os.write(1, b"freed")
kept = Freed()
atexit.register(os.write, 1, b"asked, ")
sys.argv = ["captool", *sys.argv[1:]]
from captool.__main__ import main
main()
"""


HEALTHY = str(FIXTURES / "idle-but-healthy" / "server.pcap")


@pytest.mark.parametrize(
    ("words", "code"), [(["--version"], 0), (["analyze", HEALTHY, "-o", os.devnull], 0), (["analyze", "nothing.pcap"], 3), (["--unknown"], 2)]
)
def test_the_end_asks_who_wants_to_be_asked_and_frees_nothing(words, code):
    """To free each object takes a tenth of a short run's time."""
    run = subprocess.run([sys.executable, "-P", "-c", ENDING, *words], capture_output=True, text=True, check=False)
    assert (code, "asked, ") == (run.returncode, run.stdout.splitlines()[-1] if run.stdout else "")
