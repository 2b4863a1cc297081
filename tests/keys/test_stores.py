"""Stores of TLS material other than docker-machine's, and docker-machine's odd corners."""

import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from captool.cli.main import main
from captool.keys.harvest import harvest
from captool.keys.stored_machine import read_machine, read_place
from captool.keys.stores import default_stores, find_places, override_places
from docker_machine import machine

NOW_NS = 1_795_413_600_123_456_789
CLIENT = ("ca.pem", "cert.pem", "key.pem")


def copy(source: Path, target: Path, names: dict[str, str]) -> Path:
    target.mkdir(parents=True, exist_ok=True)
    for there, here in names.items():
        shutil.copy(source / there, target / here)
    return target


def client_files(source: Path, target: Path) -> Path:
    return copy(source, target, {name: name for name in CLIENT})


def kept(bundle: Path) -> dict[str, set[str]]:
    return {path.name: {file.name for file in (path / "1").iterdir()} - {"manifest.json"} for path in (bundle / "machines").iterdir()}


def change_config(directory: Path, **changes: object) -> None:
    config = json.loads((directory / "config.json").read_text())
    for path, value in changes.items():
        section = config
        *above, last = path.split("__")
        for name in above:
            section = section[name]
        section[last] = value
    (directory / "config.json").write_text(json.dumps(config))


@pytest.mark.needs("docker")
def test_contexts_of_the_real_docker_client_are_kept_under_their_names(tmp_path):
    source = machine(tmp_path / "store")
    tls = ",".join(f"{name.removesuffix('.pem')}={source / name}" for name in CLIENT)
    command = ["docker", "context", "create", "prod", "--docker", f"host=tcp://10.77.2.2:2376,{tls}"]
    subprocess.run(command, check=True, capture_output=True, env=os.environ | {"DOCKER_CONFIG": str(tmp_path / "docker")})
    report = harvest([tmp_path / "docker"], tmp_path / "keys", NOW_NS)
    assert ((), ["context_prod"], "10.77.2.2") == (
        report.problems,
        [one.machine.name for one in report.generations],
        report.generations[0].machine.ip,
    )
    assert {"context_prod": set(CLIENT)} == kept(tmp_path / "keys")


def test_a_context_whose_name_is_not_the_one_of_its_folder_is_not_believed(tmp_path):
    identifier = hashlib.sha256(b"prod").hexdigest()
    client_files(machine(tmp_path / "store"), tmp_path / "contexts/tls" / identifier / "docker")
    (tmp_path / "contexts/meta" / identifier).mkdir(parents=True)
    (tmp_path / "contexts/meta" / identifier / "meta.json").write_text(json.dumps({"Name": "../../etc"}))
    assert [f"context_{identifier[:12]}"] == [place.name for place in find_places(tmp_path) if place.store == "docker-context"]


def test_the_daemon_is_found_by_its_configuration_and_by_the_names_of_docker_machine(tmp_path):
    source = machine(tmp_path / "store")
    etc = copy(source, tmp_path / "etc", {"ca.pem": "ca.pem", "server.pem": "server.pem", "server-key.pem": "server-key.pem"})
    elsewhere = copy(source, tmp_path / "elsewhere", {"server.pem": "tls.crt", "server-key.pem": "tls.key", "ca.pem": "ca.crt"})
    assert ["dockerd"] == [place.name for place in find_places(etc)]
    named = {"tlscacert": "ca.crt", "tlscert": "tls.crt", "tlskey": "tls.key"}
    daemon = {key: str(elsewhere / name) for key, name in named.items()} | {
        "hosts": ["tcp://10.77.2.2:2376", "unix:///var/run/docker.sock"]
    }
    (etc / "daemon.json").write_text(json.dumps(daemon))
    stored = {place.name: read_place(place) for place in find_places(etc)}["dockerd_config"]
    assert (("10.77.2.2", "localhost"), "10.77.2.2", ()) == (stored.names, stored.machine.ip, stored.problems)
    assert {"ca.pem", "server.pem", "server-key.pem"} == set(stored.pem_files)


def test_certificates_of_dind_are_one_machine_and_its_authoritys_key_stays(tmp_path):
    source = machine(tmp_path / "store")
    certs = tmp_path / "certs"
    copy(source, certs / "server", {"ca.pem": "ca.pem", "server.pem": "cert.pem", "server-key.pem": "key.pem"})
    client_files(source, certs / "client")
    copy(source, certs / "ca", {"ca.pem": "cert.pem", "key.pem": "key.pem"})
    report = harvest([certs], tmp_path / "keys", NOW_NS)
    assert ((), {"dind_certs": {*CLIENT, "server.pem", "server-key.pem"}}) == (report.problems, kept(tmp_path / "keys"))
    assert report.generations[0].machine.server_spki_sha256 == read_machine(source).machine.server_spki_sha256


def test_a_harvested_client_keeps_its_name_when_the_bundle_is_harvested(tmp_path):
    client_files(machine(tmp_path / "store"), tmp_path / ".docker")
    harvest([tmp_path / ".docker"], tmp_path / "keys", NOW_NS)
    report = harvest([tmp_path / "keys"], tmp_path / "copy", NOW_NS)
    assert (["client_docker"], ()) == ([one.machine.name for one in report.generations], report.problems)


def test_all_default_stores_that_exist_are_taken(tmp_path, monkeypatch, capsys):
    (tmp_path / "home/.docker").mkdir(parents=True)
    source = machine(tmp_path / "home/.docker/machine")
    for folder in ("certificates", "home/.docker"):
        client_files(source, tmp_path / folder)
    own = {"HOME": str(tmp_path / "home"), "DOCKER_CERT_PATH": str(tmp_path / "certificates")}
    for name in ("MACHINE_STORAGE_PATH", "DOCKER_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in (own | {"MACHINE_TLS_CLIENT_KEY": str(source / "key.pem")}).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as leaving:
        main(["harvest", "-o", str(tmp_path / "keys")])
    assert not leaving.value.code
    names = {line.split("\t")[0] for line in capsys.readouterr().out.splitlines()}
    assert {"runner-1", "client_docker", "client_certificates", "machine_tls_options"} <= names
    assert () == default_stores({"HOME": str(tmp_path / "nobody")}) or all(
        str(path).startswith(("/etc", "/var", "/certs")) for path in default_stores({})
    )
    assert () == override_places({})


def test_another_authority_in_the_storage_is_reported_and_both_are_kept(tmp_path):
    machine(tmp_path / "store")
    client_files(machine(tmp_path / "other", generation=2), tmp_path / "store/certs")
    report = harvest([tmp_path / "store"], tmp_path / "keys", NOW_NS)
    assert {"runner-1", "machine_certs"} == {one.machine.name for one in report.generations}
    assert any("runner-1/ca.pem: is another CA than" in problem for problem in report.problems)


def test_a_certificate_for_another_address_is_reported(tmp_path):
    directory = machine(tmp_path)
    change_config(directory, Driver__IPAddress="10.0.0.9")
    assert any("is for 10.77.2.2, localhost, not for 10.0.0.9" in problem for problem in read_machine(directory).problems)


def test_a_certificate_for_the_name_that_gitlabs_fork_checks_is_no_problem(tmp_path):
    directory = machine(tmp_path)
    change_config(directory, Driver__IPAddress="10.0.0.9", HostOptions__AuthOptions__ServerName="localhost")
    stored = read_machine(directory)
    assert ((), ("10.0.0.9", "localhost", "10.77.2.2")) == (stored.problems, stored.names)


@pytest.mark.parametrize("version", [0, 1, 2, 3])
def test_server_pair_outside_the_store_is_followed_in_every_schema_version(tmp_path, version):
    directory, outside = machine(tmp_path / "store"), tmp_path / "outside"
    outside.mkdir()
    for name in ("server.pem", "server-key.pem"):
        (directory / name).rename(outside / name)
    paths = {"ServerCertPath": str(outside / "server.pem"), "ServerKeyPath": str(outside / "server-key.pem")}
    config = {"ConfigVersion": version, "DriverName": "generic", "Driver": {"IPAddress": "10.77.2.2", "AccessToken": "SECRET"}}
    config |= paths | {"PrivateKeyPath": "/x"} if version == 0 else {"HostOptions": {"AuthOptions": paths | {"PrivateKeyPath": "/x"}}}
    (directory / "config.json").write_text(json.dumps(config))
    stored = read_machine(directory)
    assert ((), "generic", "10.77.2.2") == (stored.problems, stored.machine.driver, stored.machine.ip)
    assert "server-key.pem" in stored.private_keys
    assert "SECRET" not in json.dumps(stored.config)


@pytest.mark.needs(root=True)
def test_root_fetches_no_file_for_a_user_who_does_not_own_it(tmp_path):
    directory, outside = machine(tmp_path / "store"), tmp_path / "outside.pem"
    (directory / "server-key.pem").rename(outside)
    change_config(directory, HostOptions__AuthOptions__ServerKeyPath=str(outside))
    os.chown(directory / "config.json", 12345, 12345)
    stored = read_machine(directory)
    assert any("whose owner does not own that file; not followed" in problem for problem in stored.problems)
    assert "server-key.pem" not in stored.pem_files


def test_a_machine_that_is_a_link_out_of_its_storage_is_not_followed(tmp_path):
    machine(tmp_path / "other", "secret")
    (tmp_path / "store/machines").mkdir(parents=True)
    (tmp_path / "store/machines/evil").symlink_to(tmp_path / "other/machines/secret")
    report = harvest([tmp_path / "store"], tmp_path / "keys", NOW_NS)
    assert () == report.generations
    assert any("outside its storage; not followed" in problem for problem in report.problems)
