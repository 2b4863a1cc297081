"""Whom tcpdump becomes once it listens."""

import os
import pwd
import signal
import subprocess
import time
from pathlib import Path

import pytest

from captool.record import unprivileged
from captool.record.unprivileged import USERS, ended_with_captool, user_of_tcpdump
from recordings import ended, packets, recording, send

ALL = "0 0 4294967295\n"


def proc(folder, *, capabilities="000001ffffffffff", setgroups="allow", uid_map=ALL, gid_map=ALL):
    (folder / "status").write_text(f"Name:\tcaptool\nCapEff:\t{capabilities}\n")
    for name, text in (("setgroups", setgroups), ("uid_map", uid_map), ("gid_map", gid_map)):
        (folder / name).write_text(text)
    return folder


@pytest.fixture(autouse=True)
def _as_root(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)


def test_first_user_that_there_is(tmp_path, monkeypatch):
    known = {"nobody": pwd.getpwuid(0), "root": pwd.getpwuid(0)}
    monkeypatch.setattr(unprivileged.pwd, "getpwnam", lambda name: known[name])
    assert "nobody" == user_of_tcpdump(proc(tmp_path))
    known["tcpdump"] = pwd.getpwuid(0)
    assert "tcpdump" == user_of_tcpdump(proc(tmp_path))
    known.clear()
    assert pwd.getpwuid(0).pw_name == user_of_tcpdump(proc(tmp_path))


@pytest.mark.parametrize(
    "lacking",
    [
        {"capabilities": "0000000000003000"},  # network alone
        {"setgroups": "deny"},
        {"uid_map": "0 1000 1\n"},  # a rootless container: no other user
        {"gid_map": "0 1000 1\n"},
    ],
)
def test_root_stays_root_where_it_may_not_become_another(tmp_path, lacking):
    assert pwd.getpwuid(0).pw_name == user_of_tcpdump(proc(tmp_path, **lacking))


def test_others_have_nothing_to_give_up(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert user_of_tcpdump(proc(tmp_path)) is None


@pytest.mark.parametrize("killed", [True, False])
def test_process_ends_with_captool_and_not_before(killed):
    process = subprocess.Popen(["sleep", "60"])
    begun, begins = os.pipe()
    captool = os.fork()
    if not captool:
        with ended_with_captool(process):
            os.write(begins, b"!")
            time.sleep(0 if not killed else 60)
        os._exit(0)
    os.read(begun, 1)
    os.close(begun)
    os.close(begins)
    if killed:
        os.kill(captool, signal.SIGKILL)
    os.waitpid(captool, 0)
    try:
        assert -signal.SIGTERM == process.wait(5 if killed else 0.3)
        assert killed
    except subprocess.TimeoutExpired:
        assert not killed
    finally:
        process.kill()
        process.wait()


@pytest.mark.slow
@pytest.mark.needs("tcpdump", "ip", "nsenter", root=True)
def test_tcpdump_gives_its_privileges_up_and_the_ring_goes_on(namespace, tmp_path):
    with recording(namespace, tmp_path, "-i", "lo", "-w", "t.pcap", "-c", "100", "-G", "1s", "-W", "50", "udp port 9999") as process:
        tcpdump = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[0]
        status = Path(f"/proc/{tcpdump}/status").read_text()
        uids = status.partition("Uid:\t")[2].partition("\n")[0].split()
        for _ in range(4):
            send(namespace, 25)
            time.sleep(0.6)
        ended(process, 0)
    assert {pwd.getpwuid(int(uid)).pw_name for uid in uids} <= set(USERS)
    files = sorted(tmp_path.glob("t*.pcap"))
    assert len(files) > 1
    assert 100 == sum(packets(file) for file in files)
