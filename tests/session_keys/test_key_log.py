"""The key log that is written: others can read it, nobody else may."""

import os
import stat

import pytest

from captool.errors import UsageError
from captool.keys.keylog import parse_key_log
from captool.session_keys.events import SecretSeen
from captool.session_keys.key_log import KeyLog

NOW = 1_795_415_601_123_456_789


def seen(label="CLIENT_RANDOM", first=1, secret=b"s" * 48):
    return SecretSeen("k0", 12, 0, label, bytes((first,)) * 32, secret)


@pytest.fixture
def log(tmp_path):
    log = KeyLog(tmp_path / "keys.log")
    yield log
    log.close()


def test_each_secret_once_with_time_process_and_program(log):
    assert log.write(seen(), "/usr/bin/docker", NOW)
    assert not log.write(seen(), "/usr/bin/docker", NOW + 5)
    assert log.write(seen("SERVER_TRAFFIC_SECRET_0", secret=b"t" * 32), "/usr/bin/docker", NOW)
    assert log.write(seen(first=2), "/usr/bin/docker", NOW)
    assert (log.secrets, log.sessions) == (3, 2)
    lines = log.path.read_text().splitlines()
    assert lines[0] == "# 2026-11-23T06:33:21.123456789Z pid 12 /usr/bin/docker"
    assert lines[1] == f"CLIENT_RANDOM {'01' * 32} {'73' * 48}"
    secrets, problems = parse_key_log(log.path.read_bytes(), "keys.log")
    assert (3, []) == (len(secrets), problems)


def test_it_is_there_at_once_and_for_its_owner_only(log):
    log.write(seen(), "p", NOW)
    assert len(log.path.read_text().splitlines()) == 2
    assert stat.S_IMODE(log.path.stat().st_mode) == 0o600


def test_a_program_name_cannot_write_lines_of_its_own(log):
    log.write(seen(), "/tmp/x\nCLIENT_RANDOM 00 00\r\x1b[2J\udcff" + "y" * 5000, NOW)
    assert len(log.path.read_bytes().splitlines()) == 2
    assert b"\x1b" not in log.path.read_bytes()
    assert len(log.path.read_bytes()) < 1000


def test_an_existing_one_is_continued_and_closed_to_others(tmp_path):
    path = tmp_path / "keys.log"
    path.write_text("# old\n")
    path.chmod(0o644)
    log = KeyLog(path)
    log.write(seen(), "p", NOW)
    log.close()
    assert path.read_text().startswith("# old\n# 2026")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_one_without_secrets_is_not_left_behind(tmp_path):
    log = KeyLog(tmp_path / "keys.log")
    log.close()
    log.close()
    assert [] == list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    for name in ("missing/keys.log", "link"):
        with pytest.raises(UsageError, match="cannot write session keys there"):
            KeyLog(tmp_path / name)


def test_what_is_no_file_is_left_alone(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe, 0o644)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    with pytest.raises(UsageError, match="no ordinary file"):
        KeyLog(pipe)
    os.close(reader)
    assert stat.filemode(pipe.stat().st_mode) == "prw-r--r--"


def test_a_disk_that_fills_leaves_whole_lines(log, monkeypatch):
    log.write(seen(), "p", NOW)
    write = os.write

    def full(descriptor, data):
        monkeypatch.setattr(os, "write", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        return write(descriptor, data[:20])

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space"):
        log.write(seen(first=2), "p", NOW)
    monkeypatch.undo()
    assert len(log.path.read_text().splitlines()) == 2
    assert log.write(seen(first=2), "p", NOW)
