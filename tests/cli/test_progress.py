"""What a terminal gets beside the report."""

import os
import pty
import subprocess
import sys

import pytest

from captool.cli import progress

SCRIPT = "import sys; from captool.cli.main import main\ntry:\n    main(sys.argv[1:])\nfinally:\n    print('rich' in sys.modules)"


def on_a_terminal(*arguments: object) -> tuple[str, bytes]:
    """Standard output of captool, and what it wrote to a terminal as standard error."""
    ours, theirs = pty.openpty()
    run = subprocess.run([sys.executable, "-P", "-c", SCRIPT, *arguments], stdout=subprocess.PIPE, stderr=theirs, text=True, check=True)
    os.write(theirs, b"end")
    os.close(theirs)
    written = os.read(ours, 65536)
    os.close(ours)
    return run.stdout, written


def test_a_small_capture_writes_nothing_and_imports_no_progress_bar(fixtures):
    out, terminal = on_a_terminal("analyze", fixtures / "silent-drop/server.pcap")
    assert (True, b"end") == (out.endswith("\nFalse\n"), terminal)


def test_a_large_capture_is_counted(monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    with progress.progress_bar() as advance:
        assert advance is not None
        advance(1_000_000, progress.PROGRESS_BYTES)
    assert "1.0/50.0 MB" in capsys.readouterr().err


@pytest.mark.parametrize(("variable", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_a_terminal_without_colours_gets_none(captool, fixtures, monkeypatch, variable, value):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[" in captool("analyze", fixtures / "silent-drop/server.pcap").out
    monkeypatch.setenv(variable, value)
    assert "\x1b" not in captool("analyze", fixtures / "silent-drop/server.pcap").out


def test_a_narrow_terminal_gets_lines_that_fit(captool, fixtures, monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "40")
    lines = captool("analyze", fixtures / "silent-drop/server.pcap", "--keys", fixtures / "silent-drop/machines").out.splitlines()
    assert 40 >= max(map(len, lines))


def test_the_doctor_keeps_to_the_terminal(captool, monkeypatch):
    monkeypatch.setattr("captool.session_keys.targets.SYSTEM_DIRECTORIES", ())  # no program of this machine is read
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "72")
    lines = captool("doctor", "--port", 1).out.splitlines()
    assert 60 < max(len(line) for line in lines if "/" not in line) <= 72
