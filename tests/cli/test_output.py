"""Where the output goes, and what happens when it cannot."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from captool.cli.output import IN_PLAIN_LETTERS

CAPTOOL = [sys.executable, "-P", "-m", "captool.cli.main"]
LONG_NAME = "x" * 255


@pytest.fixture
def dropped(fixtures):
    return [fixtures / "silent-drop/server.pcap", "--keys", fixtures / "silent-drop/machines"]


@pytest.fixture
def plain(fixtures):
    """A capture without TLS takes half the time; for tests of where the output goes."""
    return [fixtures / "half-close/server.pcap"]


@pytest.fixture
def closed():
    """The writing end of a pipe that nobody reads."""
    reading, writing = os.pipe()
    os.close(reading)
    yield writing
    os.close(writing)


@pytest.mark.parametrize("command", ["analyze", "follow"])
def test_a_dash_is_standard_output(captool, dropped, tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    run = subprocess.run([*CAPTOOL, command, *dropped, "-o", "-"], capture_output=True, text=True, check=True)
    assert ("Job succeeded" in run.stdout, []) == (True, list(tmp_path.iterdir()))


@pytest.mark.parametrize(("arguments", "code"), [(["follow"], 0), (["analyze"], 0), (["analyze", "--fail-on", "error"], 1)])
def test_a_reader_that_goes_away_changes_no_answer(plain, closed, arguments, code):
    run = subprocess.run([*CAPTOOL, arguments[0], *plain, *arguments[1:]], stdout=closed, stderr=subprocess.PIPE, check=False)
    assert (code, b"") == (run.returncode, run.stderr)


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["analyze", "--help"]])
def test_a_reader_of_the_help_may_go_away_too(closed, words):
    run = subprocess.run([*CAPTOOL, *words], stdout=closed, stderr=subprocess.PIPE, check=False)
    assert (0, b"") == (run.returncode, run.stderr)


def test_what_an_encoding_lacks_is_written_in_plain_letters(dropped):
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    run = subprocess.run([*CAPTOOL, "analyze", *dropped], capture_output=True, text=True, check=True, env=environment)
    assert ("10.77.1.2:41778 -> 10.77.2.2:2376" in run.stdout, "\\u" in run.stdout) == (True, False)
    assert b"gr\\xf6\\xdfer -> \\u65e5" == "größer → 日".encode("ascii", IN_PLAIN_LETTERS)


@pytest.mark.parametrize(
    ("words", "refused"),
    [
        (["follow", "--connection", "1", "--raw", "to_client"], True),
        (["follow", "--connection", "1", "--raw", "to_client", "-o", "-"], False),
        (["follow", "--connection", "1"], False),
        (["export", "--to", "pcapng", "-o", "-"], True),
        (["export", "--to", "keylog", "-o", "-"], False),
    ],
)
def test_raw_bytes_are_for_no_terminal_unless_that_is_asked_for(dropped, words, refused):
    leader, follower = pty.openpty()
    run = subprocess.run([*CAPTOOL, words[0], *dropped, *words[1:]], stdout=follower, stderr=subprocess.PIPE, text=True, check=False)
    os.close(follower)
    os.close(leader)
    assert (2 if refused else 0, refused) == (run.returncode, "standard output is a terminal" in run.stderr)


@pytest.mark.parametrize("command", ["analyze", "follow"])
def test_a_full_disk_behind_standard_output_is_one_line(plain, command):
    with Path("/dev/full").open("wb") as full:
        run = subprocess.run([*CAPTOOL, command, *plain], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (2, "captool: the output cannot be written: no space left on device; make room, or write elsewhere\n") == (
        run.returncode,
        run.stderr,
    )


def test_a_name_as_long_as_the_file_system_takes(captool, dropped, tmp_path):
    assert 0 == captool("analyze", *dropped, "-o", tmp_path / LONG_NAME).code
    assert 0 == captool("follow", *dropped, "-o", tmp_path / LONG_NAME).code
    assert [LONG_NAME] == [path.name for path in tmp_path.iterdir()]


@pytest.mark.parametrize("command", ["analyze", "follow"])
def test_a_name_that_is_too_long_is_one_line(captool, dropped, tmp_path, command):
    run = captool(command, *dropped, "-o", tmp_path / (LONG_NAME + "x"))
    assert (2, True) == (run.code, "file name too long; choose another place with -o" in run.err)


def test_what_may_not_be_read_is_an_input_that_cannot_be_read(captool, dropped, monkeypatch):
    def denied(*_arguments: object, **_options: object) -> None:
        raise PermissionError(13, "Permission denied", "machines/server-key.pem")

    monkeypatch.setattr("captool.analysis.key_ring", denied)
    run = captool("analyze", *dropped)
    assert (3, "captool: machines/server-key.pem: permission denied; let this user into its directory, or run as root\n") == (run.code, run.err)


def test_an_unreadable_capture_is_not_a_usage_error(captool, dropped, monkeypatch):
    monkeypatch.setattr("os.access", lambda *_arguments, **_options: False)  # what click asks; root may read everything
    assert 0 == captool("analyze", *dropped).code


@pytest.mark.slow
@pytest.mark.needs("setpriv", "tcpdump", root=True)
@pytest.mark.parametrize("place", ["private/new", "private/none/new"])
@pytest.mark.parametrize(
    "words",
    ["analyze TRACE -o", "follow TRACE KEYS -o", "export TRACE KEYS --to pcapng -o", "export TRACE KEYS --to keylog -o", "record -w",
     "record --force -w", "record --session-keys auto -w", "harvest STORE -o", "harvest STORE --watch -o",
     "harvest --session-keys auto -o"],
)  # fmt: skip
def test_a_directory_that_may_not_be_entered_is_no_place_to_write_to(fixtures, tmp_path, words, place):
    (tmp_path / "private").mkdir(mode=0o700)
    os.chown(tmp_path / "private", 65534, 65534)
    folder = fixtures / "silent-drop"
    given = {"TRACE": [folder / "server.pcap"], "KEYS": ["--keys", folder / "machines"], "STORE": [folder / "machines"]}
    arguments = [one for word in words.split() for one in given.get(word, [word])]
    without_rights = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", *CAPTOOL, *arguments, place]
    run = subprocess.run(without_rights, cwd=tmp_path, capture_output=True, text=True, check=False, env={**os.environ, "HOME": str(tmp_path)})
    line = run.stderr.splitlines()[-1]
    assert (2, "", True) == (run.returncode, run.stdout, "permission denied; choose another " in line)
    assert line.startswith(f"captool: {place}")


@pytest.mark.parametrize("command", ["analyze", "follow"])
def test_standard_streams_that_are_closed_are_no_error(plain, command):
    shell = ["sh", "-c", '"$@" >&- 2>&-', "sh", *CAPTOOL, command, *plain]
    assert 0 == subprocess.run(shell, check=False).returncode
    assert 3 == subprocess.run([*shell[:-1], "none.pcap"], check=False).returncode


@pytest.mark.parametrize("command", ["analyze", "follow"])
def test_what_is_read_is_not_written_over(captool, fixtures, tmp_path, command):
    folder = tmp_path / "traces"
    folder.mkdir()
    for name in ("server.pcap", "client.pcap"):
        (folder / name).write_bytes((fixtures / "silent-drop" / name).read_bytes())
    key = tmp_path / "server-key.pem"
    key.write_bytes((fixtures / "silent-drop/machines/runner-1/server-key.pem").read_bytes())
    before = {path: path.read_bytes() for path in (*folder.iterdir(), key)}
    (tmp_path / "link.pcap").symlink_to(folder / "server.pcap")
    refused = [([folder / "server.pcap"], folder / "server.pcap"), ([folder / "server.pcap", "--keys", key], key), ([tmp_path / "link.pcap"], folder / "server.pcap")]
    if command == "analyze":
        refused += [([folder], folder / "server.pcap"), ([folder / "server.pcap", "--other-side", folder / "client.pcap"], folder / "client.pcap")]
    for arguments, output in refused:
        run = captool(command, *arguments, "-o", output)
        assert (2, f"captool: {output}: is what is to be read; write to another file with -o\n") == (run.code, run.err)
    for arguments, output in ([folder, "--keys", key], folder / "server.pcap"), ([folder / "server.pcap", "--keys", key], key):
        run = captool("export", *arguments, "--to", "keylog", "-o", output)
        assert (2, True) == (run.code, "is what is to be read" in run.err)
    assert before == {path: path.read_bytes() for path in before}
