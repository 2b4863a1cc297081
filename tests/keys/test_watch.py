"""`harvest --watch`: machines that come and go while it runs."""

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import pytest

from captool.errors import UsageError
from captool.keys import watch as watching
from captool.keys.caught import Caught, read_wanted
from captool.keys.inotify_reach import blind_spot
from captool.keys.stores import override_places
from captool.keys.watch import Watcher
from docker_machine import machine

WAIT_S = 20


def wait_for(condition):
    end = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < end, "not in time"
        time.sleep(0.02)


class Watch:
    """`speed`: how fast the clock runs by which it measures how long files have been at rest."""

    def __init__(self, tmp_path, speed=1):
        self.speed = speed
        self.pool, self.store, self.bundle = tmp_path / "pool", tmp_path / "store", tmp_path / "keys"
        self.said, self.told = [], []
        self.watcher = Watcher(
            [self.store], self.bundle, clock_ns=time.time_ns, monotonic_ns=lambda: self.speed * time.monotonic_ns(),
            say=self.said.append, told=self.told.append,
        )  # fmt: skip

    def generations(self):
        return sorted(path.relative_to(self.bundle / "machines").as_posix() for path in self.bundle.glob("machines/*/[0-9]*"))

    def index(self):
        return json.loads((self.bundle / "manifest.json").read_text())["machines"]

    @contextmanager
    def running(self):
        stop, result = threading.Event(), []
        thread = threading.Thread(target=lambda: result.append(self.watcher.run(stop)))
        thread.start()
        wait_for(lambda: self.watcher._roots or not (self.store / "machines").exists())
        try:
            yield
        finally:
            stop.set()
            thread.join()
        self.summary = result[0]


@pytest.fixture(params=["inotify", "looking"])
def watch(request, tmp_path, monkeypatch):
    if request.param == "looking":
        monkeypatch.setattr(watching.DirectoryEvents, "add", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    watch = Watch(tmp_path)
    (watch.store / "machines").mkdir(parents=True)
    return watch


def test_a_machine_that_lives_for_a_fifth_of_a_second_is_kept_and_its_removal_recorded(watch):
    source = machine(watch.pool)
    before = time.time_ns() // 10**9
    with watch.running():
        shutil.copytree(source, watch.store / "machines/runner-7")
        time.sleep(0.2)
        shutil.rmtree(watch.store / "machines/runner-7")
    assert (["runner-7/1"], 1, 1, []) == (watch.generations(), watch.summary.kept, watch.summary.removed, watch.summary.missed)
    for name in ("server-key.pem", "server.pem", "key.pem", "cert.pem", "ca.pem"):
        assert (source / name).read_bytes() == (watch.bundle / "machines/runner-7/1" / name).read_bytes()
    (entry,) = watch.index()
    (removed,) = entry["removed"]
    assert before <= time.mktime(time.strptime(removed[:19], "%Y-%m-%dT%H:%M:%S")) - time.timezone <= time.time_ns() // 10**9
    for path in [watch.bundle, *watch.bundle.rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


@pytest.mark.slow
def test_half_written_files_are_waited_for(watch):
    source, home = machine(watch.pool), watch.store / "machines/slow"
    with watch.running():
        home.mkdir()
        for name in ("config.json", "server-key.pem", "server.pem", "ca.pem", "cert.pem", "key.pem"):
            content = (source / name).read_bytes()
            with (home / f"{name}.tmp" if name == "config.json" else home / name).open("wb") as file:
                file.write(content[:100])
                file.flush()
                time.sleep(0.4)
                file.write(content[100:])
            if name == "config.json":
                (home / "config.json.tmp").rename(home / name)
            assert name == "key.pem" or not [
                path
                for path in watch.bundle.glob("machines/slow/*/server-key.pem")
                if path.read_bytes() != (source / "server-key.pem").read_bytes()
            ]
        wait_for(lambda: watch.generations() and (watch.bundle / watch_path(watch) / "key.pem").exists())
    assert not [problem for problem in watch.said if "half written" in problem]
    assert (source / "key.pem").read_bytes() == (watch.bundle / watch_path(watch) / "key.pem").read_bytes()


def watch_path(watch):
    return f"machines/{watch.generations()[-1]}"


@pytest.mark.slow
def test_regenerated_keys_become_the_next_generation_even_within_a_moment(watch):
    first, second = machine(watch.pool), machine(watch.pool.parent / "two", generation=2)
    with watch.running():
        home = shutil.copytree(first, watch.store / "machines/runner-1")
        wait_for(lambda: watch.generations() == ["runner-1/1"])
        for name in ("ca.pem", "cert.pem", "key.pem", "server.pem", "server-key.pem"):
            (home / name).write_bytes((second / name).read_bytes())
        wait_for(lambda: len(watch.generations()) == 2)
    assert (second / "server-key.pem").read_bytes() == (watch.bundle / "machines/runner-1/2/server-key.pem").read_bytes()
    assert (first / "server-key.pem").read_bytes() == (watch.bundle / "machines/runner-1/1/server-key.pem").read_bytes()


def test_what_was_there_before_is_kept_and_a_second_watch_finds_it_known(watch):
    watch.speed = 5
    shutil.copytree(machine(watch.pool), watch.store / "machines/old")
    with watch.running():
        wait_for(lambda: watch.generations() == ["old/1"])
    again = Watch(watch.pool.parent, speed=5)
    with again.running():
        wait_for(lambda: again.told)
    assert (0, 1, ["old/1"]) == (again.summary.kept, again.summary.unchanged, again.generations())


def test_no_cloud_secret_comes_through_the_watch(watch):
    watch.speed = 5
    source = machine(watch.pool)
    config = json.loads((source / "config.json").read_text())
    config["Driver"] |= dict.fromkeys(("AccessKey", "SecretKey", "Password", "APIToken", "UserData"), "SECRET")
    (source / "config.json").write_text(json.dumps(config))
    (source / "id_rsa").write_text("SECRET")
    with watch.running():
        shutil.copytree(source, watch.store / "machines/cloudy")
        wait_for(lambda: watch.generations() == ["cloudy/1"])
    assert b'"IPAddress"' in (watch.bundle / "machines/cloudy/1/config.json").read_bytes()
    assert not [path for path in watch.bundle.rglob("*") if path.is_file() and b"SECRET" in path.read_bytes()]


@pytest.mark.slow
def test_links_of_hostile_machines_lead_nowhere(watch):
    outside = machine(watch.pool.parent / "private", "secret")
    with watch.running():
        (watch.store / "machines/evil").symlink_to(outside)
        inside = watch.store / "machines/-o \x1b[31m"
        inside.mkdir()
        (inside / "server-key.pem").symlink_to(outside / "server-key.pem")
        os.mkfifo(inside / "server.pem")
        time.sleep(1.5)
    assert not list(watch.bundle.rglob("*.pem"))


def test_a_directory_that_vanished_before_its_key_was_written_is_said_to_be_missed(watch):
    with watch.running():
        (watch.store / "machines/empty").mkdir()
        wait_for(lambda: watch.watcher._caught)
        (watch.store / "machines/empty").rmdir()
        wait_for(lambda: watch.watcher.summary.missed)
    assert (["empty"], []) == (watch.summary.missed, watch.generations())


def test_a_storage_that_appears_later_is_watched(tmp_path):
    watch = Watch(tmp_path, speed=5)
    with watch.running():
        machine(watch.store)
        wait_for(lambda: watch.generations() == ["runner-1/1"])
    assert 1 == watch.summary.kept


def contents(directory):
    return {path.name: path.read_bytes() for path in directory.glob("*.pem")}


@pytest.mark.slow
def test_files_of_machine_tls_options_are_followed_as_they_are_made_and_made_anew(tmp_path):
    """MACHINE_TLS_CA_CERT and the like: certificates outside of every store, which the first `docker-machine create` makes."""
    elsewhere, said, told = tmp_path / "elsewhere", [], []
    names = {"ca.pem": "MACHINE_TLS_CA_CERT", "cert.pem": "MACHINE_TLS_CLIENT_CERT", "key.pem": "MACHINE_TLS_CLIENT_KEY"}
    environment = {variable: str(elsewhere / f"my-{file}") for file, variable in names.items()}
    watcher = Watcher(
        [], tmp_path / "keys", clock_ns=time.time_ns, monotonic_ns=time.monotonic_ns, say=said.append, told=told.append,
        extra=lambda: override_places(environment),
    )  # fmt: skip
    stop = threading.Event()
    thread = threading.Thread(target=watcher.run, args=[stop])
    thread.start()
    try:
        for generation in (1, 2):
            directory = machine(tmp_path / f"pool-{generation}", generation=generation)
            elsewhere.mkdir(exist_ok=True)
            for file in names:
                shutil.copy(directory / file, tmp_path / "whole")
                (tmp_path / "whole").rename(elsewhere / f"my-{file}")
            wanted = {file: (directory / file).read_bytes() for file in names}
            wait_for(lambda wanted=wanted: wanted in [contents(one.path) for one in told])
    finally:
        stop.set()
        thread.join()
    assert watcher.summary.kept == len(told) >= 2
    assert {"machine_tls_options"} == {one.machine.name for one in told}


def test_a_bundle_inside_the_watched_tree_is_refused(tmp_path):
    machine(tmp_path / "store")
    watcher = Watcher([tmp_path / "store"], tmp_path, clock_ns=time.time_ns, monotonic_ns=time.monotonic_ns, say=lambda _: None)
    stop = threading.Event()
    stop.set()
    with pytest.raises(UsageError, match="choose another directory"):
        watcher.run(stop)


def test_every_server_key_between_two_writings_is_a_generation_with_its_own_certificate(tmp_path):
    caught = Caught(0)
    one, two = machine(tmp_path / "1"), machine(tmp_path / "2", generation=2)
    for source in (one, two):
        for file, data in read_wanted(source).items():
            caught.add(file, data, 1)
            caught.add(file, data[:50], 2)
    first, second = caught.generations()
    assert [(one / name).read_bytes() for name in ("server.pem", "server-key.pem")] == [first["server.pem"], first["server-key.pem"]]
    assert read_wanted(two) == second


MOUNTS = """21 1 254:0 / / rw - ext4 /dev/vda rw
30 21 0:40 / /mnt/nfs\\040share rw shared:1 - nfs4 server:/x rw
31 21 0:41 / /mnt/over rw - overlay overlay rw
32 31 0:42 / /mnt/over/tmp rw - tmpfs tmpfs rw
33 21 0:43 / /mnt/ssh rw - fuse.sshfs host: rw
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/root", None), ("/mnt/nfs share/x", "nfs4"), ("/mnt/over/x", "overlay"), ("/mnt/over/tmp/x", None), ("/mnt/ssh", "fuse.sshfs")],
)
def test_file_systems_that_inotify_does_not_reach_are_known_by_their_mounts(path, kind):
    said = blind_spot(watching.Path(path), MOUNTS)
    assert said is None if kind is None else kind in said


@pytest.mark.slow
def test_the_command_ends_cleanly_on_ctrl_c_with_a_summary(tmp_path):
    machine(tmp_path / "store")
    command = [sys.executable, "-m", "captool.cli.main", "harvest", str(tmp_path / "store"), "--watch", "-o", str(tmp_path / "keys")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        wait_for((tmp_path / "keys/manifest.json").exists)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=WAIT_S)
    assert (0, "runner-1\tgoogle\t10.77.2.2\tgeneration 1\tnew\n") == (process.returncode, out)
    assert "captool: 1 new generation, 0 known, 0 removed meanwhile" == err.splitlines()[-1]


def test_the_command_keeps_the_files_of_machine_tls_options(tmp_path):
    directory = machine(tmp_path / "store")
    named = {"MACHINE_TLS_CLIENT_CERT": str(directory / "cert.pem"), "MACHINE_TLS_CLIENT_KEY": str(directory / "key.pem")}
    environment = {**os.environ, "HOME": str(tmp_path), **named}
    command = [sys.executable, "-m", "captool.cli.main", "harvest", "--watch", "-o", str(tmp_path / "keys")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as process:
        wait_for((tmp_path / "keys/machines/machine_tls_options/1/key.pem").exists)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=WAIT_S)
    assert process.returncode == 0
    assert "machine_tls_options\t-\t-\tgeneration 1\tnew" in out.splitlines()
    assert str(directory / "key.pem") in err.splitlines()[0]
