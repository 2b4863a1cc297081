import json
import os
from pathlib import Path

import pytest

from captool.errors import KeyMaterialError
from captool.keys.key_file import read_key_file
from captool.keys.machine_config import reduced_config
from captool.keys.machine_store import default_storage, find_machines, machine_of
from captool.keys.other_stores import find_other_places
from captool.keys.stored_machine import read_machine, read_place
from docker_machine import machine


def test_machines_are_found_from_the_storage_the_machines_directory_and_the_machine_itself(tmp_path):
    one, two = machine(tmp_path, "runner-1"), machine(tmp_path, "runner-2")
    assert [one, two] == find_machines(tmp_path)
    assert [one, two] == find_machines(tmp_path / "machines")
    assert [one] == find_machines(one)


def test_a_machine_that_has_no_file_yet_is_found_in_a_machines_directory_only(tmp_path):
    (tmp_path / "machines" / "new").mkdir(parents=True)
    (tmp_path / "machines" / ".hidden").mkdir()
    assert [tmp_path / "machines" / "new"] == find_machines(tmp_path)
    (tmp_path / "elsewhere" / "folder").mkdir(parents=True)
    assert [] == find_machines(tmp_path / "elsewhere")


def test_a_missing_directory_and_a_file_are_errors_with_the_reason(tmp_path):
    with pytest.raises(KeyMaterialError, match="no such file or directory"):
        find_machines(tmp_path / "nowhere")
    (tmp_path / "file").write_text("x")
    with pytest.raises(KeyMaterialError, match="not a directory"):
        find_machines(tmp_path / "file")


def test_the_default_storage_is_that_of_docker_machine(tmp_path):
    assert str(tmp_path) == str(default_storage({"MACHINE_STORAGE_PATH": str(tmp_path), "HOME": "/root"}))
    assert default_storage({"HOME": "/root"}).parts[-3:] == ("root", ".docker", "machine")
    assert default_storage({}) is None


def test_a_whole_machine_is_read_without_a_problem(tmp_path):
    directory = machine(tmp_path)
    stored = read_machine(directory)
    assert () == stored.problems
    assert stored.machine == machine_of(directory)
    assert ("runner-1", "10.77.2.2", "google") == (stored.machine.name, stored.machine.ip, stored.machine.driver)
    assert (
        stored.machine.server_spki_sha256
        == stored.certificates["server.pem"].spki_sha256
        == stored.private_keys["server-key.pem"].spki_sha256
    )
    assert {"ca.pem", "cert.pem", "key.pem", "server.pem", "server-key.pem"} == set(stored.pem_files)
    assert "PRIVATE KEY" not in repr(stored)


def test_the_address_comes_from_the_certificate_where_the_driver_stores_none(tmp_path):
    directory = machine(tmp_path)
    config = json.loads((directory / "config.json").read_text())
    config["Driver"]["IPAddress"] = ""
    (directory / "config.json").write_text(json.dumps(config))
    assert "10.77.2.2" == read_machine(directory).machine.ip == machine_of(directory).ip


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (lambda d: (d / "server-key.pem").unlink(), "no server-key.pem"),
        (lambda d: (d / "server.pem").write_text(""), "server.pem: empty"),
        (lambda d: (d / "server-key.pem").write_bytes((d / "server-key.pem").read_bytes()[:700]), "server-key.pem: no usable private key"),
        (lambda d: (d / "server.pem").write_bytes((d / "server.pem").read_bytes()[:500]), "server.pem: no usable certificate"),
        (lambda d: (d / "config.json").write_text('{"Name": "run'), "config.json: not a whole JSON object"),
        (lambda d: (d / "config.json").write_text("[" * 100_000), "config.json: not a whole JSON object"),
        (lambda d: (d / "config.json").write_bytes(b"\xff\xfe\xff"), "config.json: not a whole JSON object"),
        (lambda d: (d / "server-key.pem").write_bytes((d / "key.pem").read_bytes()), "server-key.pem: does not belong to server.pem"),
        (lambda d: (d / "ca.pem").write_bytes((d / "cert.pem").read_bytes()), "server.pem: was not issued by the ca.pem beside it"),
        (lambda d: (d / "key.pem").write_bytes(b"x" * 2_000_000), "key.pem: larger than"),
        (lambda d: ((d / "key.pem").unlink(), os.mkfifo(d / "key.pem")), "key.pem: not an ordinary file"),
        (lambda d: ((d / "key.pem").unlink(), (d / "key.pem").mkdir()), "key.pem: not an ordinary file"),
        (lambda d: ((d / "key.pem").unlink(), (d / "key.pem").symlink_to("/etc/hostname")), "outside"),
        (lambda d: ((d / "key.pem").unlink(), (d / "key.pem").symlink_to("key.pem")), "link that leads back"),
    ],
)
def test_what_cannot_be_used_is_one_sentence_and_the_rest_is_read(tmp_path, spoil, problem):
    directory = machine(tmp_path)
    spoil(directory)
    stored = read_machine(directory)
    assert any(problem in line for line in stored.problems), stored.problems
    assert all("\n" not in line for line in stored.problems)
    assert len(stored.pem_files) >= 3
    assert stored.machine.name == "runner-1"
    assert stored.machine == machine_of(directory)


def test_a_link_within_the_storage_is_followed(tmp_path):
    directory = machine(tmp_path)
    (tmp_path / "certs").mkdir()
    (directory / "key.pem").rename(tmp_path / "certs" / "key.pem")
    (directory / "key.pem").symlink_to(tmp_path / "certs" / "key.pem")
    assert () == read_machine(directory).problems


def test_a_server_key_that_config_json_puts_elsewhere_in_the_storage_is_found(tmp_path):
    directory = machine(tmp_path)
    config = json.loads((directory / "config.json").read_text())
    config["HostOptions"]["AuthOptions"]["ServerKeyPath"] = str(tmp_path / "machines" / "server-key.pem")
    (directory / "config.json").write_text(json.dumps(config))
    (directory / "server-key.pem").rename(tmp_path / "machines" / "server-key.pem")
    assert "server-key.pem" in read_machine(directory).private_keys
    (directory / "server.pem").unlink()
    assert read_machine(directory).private_keys["server-key.pem"].spki_sha256 == machine_of(directory).server_spki_sha256


def test_only_flat_harmless_fields_of_a_config_are_kept():
    document = {
        "ConfigVersion": 3,
        "Name": "m",
        "Driver": {"IPAddress": "10.0.0.1", "Zone": {"Token": "s"}, "URL": "tcp://user:secret@10.0.0.1:2376", "AccessToken": "s"},
        "HostOptions": {"EngineOptions": {"TlsVerify": True, "Env": ["PASSWORD=s"]}, "SwarmOptions": {"Discovery": "token://s"}},
        "RawDriver": "s",
    }
    expected = {"ConfigVersion": 3, "Name": "m", "Driver": {"IPAddress": "10.0.0.1"}, "HostOptions": {"EngineOptions": {"TlsVerify": True}}}
    assert expected == reduced_config(document)
    assert reduced_config([]) is None
    assert reduced_config(None) is None


def test_names_that_no_file_can_have_are_problems_of_the_place(tmp_path):
    """A config.json, a daemon.json and a link, each with a name that the kernel refuses (ENAMETOOLONG)."""
    directory = machine(tmp_path)
    (directory / "server-key.pem").unlink()
    config = json.loads((directory / "config.json").read_text())
    config["HostOptions"]["AuthOptions"]["ServerKeyPath"] = f"/{'a' * 5000}"
    (directory / "config.json").write_text(json.dumps(config))
    assert any("no server-key.pem" in problem for problem in read_machine(directory).problems)
    (tmp_path / "machines" / "link").symlink_to("a" * 300)
    assert [directory] == find_machines(tmp_path)
    daemon = tmp_path / "docker"
    daemon.mkdir()
    (daemon / "daemon.json").write_text(json.dumps({"tlskey": f"/{'a' * 5000}"}))
    (place,) = find_other_places(daemon)
    assert {} == read_place(place).pem_files


def test_what_was_opened_is_judged_and_not_what_the_path_meant_before(tmp_path, monkeypatch):
    """A directory of the path becomes a link out of the store between the look at the path and the opening of the file."""
    directory = machine(tmp_path / "store")
    aside, elsewhere = tmp_path / "store" / "machines" / "aside", machine(tmp_path / "other")
    resolve = Path.resolve

    def then_swapped(path, strict=False):
        real = resolve(path, strict=strict)
        if path.name == "key.pem" and not aside.exists():
            directory.rename(aside)
            directory.symlink_to(elsewhere)
        return real

    monkeypatch.setattr(Path, "resolve", then_swapped)
    problems = []
    assert read_key_file(directory / "key.pem", tmp_path / "store", problems) is None
    assert "was changed into a link out of" in problems[0]
