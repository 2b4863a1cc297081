import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat, load_pem_private_key

from captool.cli.harvest import harvest as harvest_command
from captool.errors import KeyMaterialError, NothingMatchedError, UsageError
from captool.keys.harvest import harvest
from captool.keys.load import load_keys
from docker_machine import machine

NOW_NS = 1_795_413_600_123_456_789
PEM_FILES = {"ca.pem", "cert.pem", "key.pem", "server.pem", "server-key.pem"}

# Fields in which the drivers of docker-machine keep credentials (drivers/*/*.go), and places where users put them.
SECRET_FIELDS = {
    "amazonec2": ("AccessKey", "SecretKey", "SessionToken", "UserDataFile"),
    "azure": ("ClientID", "ClientSecret", "SubscriptionID", "CustomDataFile"),
    "digitalocean": ("AccessToken", "UserData"),
    "exoscale": ("APIKey", "APISecretKey", "ApiKey", "ApiSecretKey", "UserData"),
    "google": ("Tags", "Labels", "Metadata", "MetadataFromFile", "ServiceAccount", "Scopes"),
    "openstack": ("Password", "ApplicationCredentialSecret", "TenantId", "Username", "UserData"),
    "rackspace": ("APIKey", "ApiKey", "Username"),
    "softlayer": ("ApiKey", "APIKey", "User"),
    "vmwarevcloudair": ("UserName", "UserPassword"),
    "vmwarefusion": ("SSHPassword", "ConfigDriveISO", "ConfigDriveURL", "CloudConfig"),
    "hetzner": ("AccessToken", "APIToken", "userData", "AdditionalKeys"),
    "vmwarevsphere": ("Username", "Password", "Cfgparams", "CloudInit"),
    "generic": ("SSHKey", "SSHKeyPath"),
    "rancher-custom": ("anything", "Token", "private_key"),
}


def files(bundle: Path) -> list[Path]:
    return [path for path in bundle.rglob("*") if path.is_file()]


def contents(bundle: Path) -> dict[str, bytes]:
    return {path.relative_to(bundle).as_posix(): path.read_bytes() for path in files(bundle) if path != bundle / "manifest.json"}


def test_a_harvest_keeps_every_key_and_says_whose_it_is(tmp_path):
    machine(tmp_path / "store")
    report = harvest([tmp_path / "store"], tmp_path / "keys", NOW_NS)
    assert () == report.problems
    (generation,) = report.generations
    assert (1, True, tmp_path / "keys/machines/runner-1/1") == (generation.number, generation.new, generation.path)
    assert PEM_FILES | {"config.json", "manifest.json"} == {path.name for path in generation.path.iterdir()}
    index = json.loads((tmp_path / "keys/manifest.json").read_text())
    assert (index["schema"], index["updated"]) == ("captool.keys/1", "2026-11-23T06:00:00.123456789Z")
    (entry,) = index["machines"]
    assert ("captool.machine/1", "runner-1", "google", "10.77.2.2", 1, "machines/runner-1/1") == tuple(
        entry[name] for name in ("schema", "machine", "driver", "ip", "generation", "path")
    )
    of = {file["file"]: file for file in entry["files"]}
    assert of["server.pem"]["names"] == ["10.77.2.2", "localhost"]
    assert of["server.pem"]["not_after"] == "2029-11-07T05:55:00.000000000Z"
    assert of["server-key.pem"]["belongs_to_certificate"] is True
    assert of["server-key.pem"]["spki_sha256"] == of["server.pem"]["spki_sha256"] == entry["server_spki_sha256"]


def test_files_are_private_whatever_the_umask_says(tmp_path):
    machine(tmp_path / "store")
    before = os.umask(0)
    try:
        harvest([tmp_path / "store"], tmp_path / "keys", NOW_NS)
    finally:
        os.umask(before)
    for path in [tmp_path / "keys", *(tmp_path / "keys").rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_unchanged_keys_make_no_generation_and_changed_keys_make_the_next(tmp_path):
    directory = machine(tmp_path / "store")
    first = harvest([tmp_path / "store"], tmp_path / "keys", NOW_NS)
    before = contents(tmp_path / "keys")
    again = harvest([tmp_path / "store"], tmp_path / "keys", NOW_NS + 1)
    assert [False] == [one.new for one in again.generations]
    assert before == contents(tmp_path / "keys")
    shutil.rmtree(directory)
    machine(tmp_path / "store", generation=2)
    changed = harvest([tmp_path / "store"], tmp_path / "keys", NOW_NS + 2)
    assert [(2, True)] == [(one.number, one.new) for one in changed.generations]
    assert changed.generations[0].machine.server_spki_sha256 != first.generations[0].machine.server_spki_sha256
    after = contents(tmp_path / "keys")
    assert before == {name: after[name] for name in before}
    assert [1, 2] == [entry["generation"] for entry in json.loads((tmp_path / "keys/manifest.json").read_text())["machines"]]


def test_a_machine_that_is_being_removed_makes_no_generation(tmp_path):
    directory = machine(tmp_path / "store")
    harvest([tmp_path / "store"], tmp_path / "keys", NOW_NS)
    (directory / "server-key.pem").unlink()
    (directory / "config.json").unlink()
    report = harvest([tmp_path / "store"], tmp_path / "keys", NOW_NS)
    assert [(1, False)] == [(one.number, one.new) for one in report.generations]


def test_a_machine_that_was_caught_half_written_gets_a_whole_generation_later(tmp_path):
    directory = machine(tmp_path / "store")
    key = (directory / "server-key.pem").read_bytes()
    (directory / "server-key.pem").write_bytes(key[:100])
    assert harvest([tmp_path / "store"], tmp_path / "keys", NOW_NS).problems
    assert not (tmp_path / "keys/machines/runner-1/1/server-key.pem").exists()
    (directory / "server-key.pem").write_bytes(key)
    assert [2] == [one.number for one in harvest([tmp_path / "store"], tmp_path / "keys", NOW_NS).generations]
    assert (tmp_path / "keys/machines/runner-1/2/server-key.pem").read_bytes() == key


@pytest.mark.parametrize("form", ["pkcs8", "traditional"])
def test_an_encrypted_key_is_kept_as_it_is_and_opens_with_its_password(tmp_path, form):
    key = machine(tmp_path / "store") / "server-key.pem"
    plain, form = load_pem_private_key(key.read_bytes(), None), PrivateFormat.PKCS8 if form == "pkcs8" else PrivateFormat.TraditionalOpenSSL
    key.write_bytes(plain.private_bytes(Encoding.PEM, form, BestAvailableEncryption(b"secret")))
    report = harvest([tmp_path / "store"], tmp_path / "keys", NOW_NS)
    assert (f"{key}: is encrypted; kept as it is, analyze needs its password (--key-password-file)",) == report.problems
    (generation,) = report.generations
    assert key.read_bytes() == (generation.path / "server-key.pem").read_bytes()
    (entry,) = json.loads((tmp_path / "keys/manifest.json").read_text())["machines"]
    of = {file["file"]: file for file in entry["files"]}
    assert ("encrypted-private-key", None, None, None) == tuple(
        of["server-key.pem"][name] for name in ("kind", "bits", "spki_sha256", "belongs_to_certificate")
    )
    assert of["server.pem"]["spki_sha256"] == entry["server_spki_sha256"]
    opened = {one.spki_sha256 for one in load_keys([tmp_path / "keys"], password=b"secret").private_keys}
    assert of["server.pem"]["spki_sha256"] in opened


def test_an_encrypted_key_that_is_cut_off_is_not_kept(tmp_path):
    key = machine(tmp_path / "store") / "server-key.pem"
    encrypted = load_pem_private_key(key.read_bytes(), None).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    key.write_bytes(encrypted[:-20])
    report = harvest([tmp_path / "store"], tmp_path / "keys", NOW_NS)
    assert [True] == [problem.startswith(f"{key}: no usable private key (half written?)") for problem in report.problems]
    assert not (report.generations[0].path / "server-key.pem").exists()


def test_a_broken_machine_does_not_keep_the_others_from_being_harvested(tmp_path):
    for name in ("good", "half", "bare"):
        machine(tmp_path / "store", name)
    (tmp_path / "store/machines/half/server-key.pem").write_text("-----BEGIN RSA PRIVATE KEY-----\nMIIE")
    shutil.rmtree(tmp_path / "store/machines/bare")
    (tmp_path / "store/machines/bare").mkdir()
    report = harvest([tmp_path / "store"], tmp_path / "keys", NOW_NS)
    assert ["good", "half"] == [one.machine.name for one in report.generations]
    assert any("half/server-key.pem: no usable private key" in line for line in report.problems)
    assert any("bare: no " in line and "server-key.pem" in line for line in report.problems)
    assert PEM_FILES - {"server-key.pem"} <= {path.name for path in (tmp_path / "keys/machines/half/1").iterdir()}


@pytest.mark.parametrize("driver", SECRET_FIELDS)
def test_no_cloud_secret_reaches_the_bundle(tmp_path, driver):
    directory = machine(tmp_path / "store")
    config = json.loads((directory / "config.json").read_text())
    config["DriverName"] = driver
    config["Driver"] |= {name: f"SECRET-{name}" for name in SECRET_FIELDS[driver]}
    config["Driver"]["SwarmDiscovery"] = "token://SECRET-discovery"
    config["Driver"]["URL"] = "tcp://user:SECRET-url@10.77.2.2:2376"
    config["HostOptions"]["EngineOptions"]["Env"] = ["HTTPS_PROXY=http://u:SECRET-env@proxy"]
    config["HostOptions"]["EngineOptions"]["RegistryMirror"] = ["https://u:SECRET-mirror@registry"]
    config["HostOptions"]["SwarmOptions"]["Discovery"] = "token://SECRET-swarm"
    config["HostOptions"]["EngineOptions"]["StorageDriver"] = {"nested": "SECRET-nested"}
    config["RawDriver"] = "SECRET-raw"
    (directory / "config.json").write_text(json.dumps(config))
    (directory / "config.json.bak").write_text(json.dumps(config))
    (directory / "id_rsa").write_text("SECRET-ssh-key")
    (tmp_path / "store/certs").mkdir()
    (tmp_path / "store/certs/ca-key.pem").write_text("SECRET-ca-key")
    report = harvest([tmp_path / "store"], tmp_path / "keys", NOW_NS)
    assert len(report.generations) == 1
    kept = files(tmp_path / "keys")
    assert len(kept) == 8
    assert not [path for path in kept if b"SECRET" in path.read_bytes()]
    assert driver.encode() in (tmp_path / "keys/manifest.json").read_bytes()


def test_a_bundle_can_be_harvested_again_and_keeps_the_names(tmp_path):
    machine(tmp_path / "store")
    harvest([tmp_path / "store"], tmp_path / "keys", NOW_NS)
    report = harvest([tmp_path / "keys"], tmp_path / "copy", NOW_NS)
    assert ["runner-1"] == [one.machine.name for one in report.generations]


def test_the_same_machine_named_twice_is_harvested_once(tmp_path):
    directory = machine(tmp_path / "store")
    assert len(harvest([tmp_path / "store", directory], tmp_path / "keys", NOW_NS).generations) == 1


def test_the_bundle_may_not_be_the_storage_itself(tmp_path):
    machine(tmp_path / "store")
    with pytest.raises(UsageError, match="choose another directory"):
        harvest([tmp_path / "store"], tmp_path / "store", NOW_NS)


def test_nothing_is_made_where_nothing_was_found(tmp_path):
    (tmp_path / "store/machines").mkdir(parents=True)
    report = harvest([tmp_path / "store"], tmp_path / "keys", NOW_NS)
    assert ((), ()) == (report.generations, report.problems)
    assert not (tmp_path / "keys").exists()


def test_a_destination_that_cannot_be_written_is_a_usage_error(tmp_path):
    machine(tmp_path / "store")
    (tmp_path / "keys").write_text("a file")
    with pytest.raises(UsageError, match="cannot keep the keys there: is no directory; choose another directory with -o"):
        harvest([tmp_path / "store"], tmp_path / "keys", NOW_NS)


def test_an_index_that_was_lost_comes_back_whole(tmp_path):
    machine(tmp_path / "store")
    harvest([tmp_path / "store"], tmp_path / "keys", NOW_NS)
    (tmp_path / "keys/manifest.json").write_text("{")
    harvest([tmp_path / "store"], tmp_path / "keys", NOW_NS)
    assert len(json.loads((tmp_path / "keys/manifest.json").read_text())["machines"]) == 1


@pytest.mark.slow
def test_harvests_at_the_same_time_neither_fail_nor_repeat_a_generation(tmp_path):
    for number in range(5):
        machine(tmp_path / "store", f"runner-{number}")
    program = (
        "import sys; from pathlib import Path; from captool.keys.harvest import harvest; "
        f"harvest([Path(sys.argv[1])], Path(sys.argv[2]), {NOW_NS})"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "store"), str(tmp_path / "keys")]
    running = [subprocess.Popen(command) for _ in range(4)]
    assert [0] * 4 == [process.wait() for process in running]
    assert 5 == len(list((tmp_path / "keys").glob("machines/*/*/server-key.pem")))
    assert not list((tmp_path / "keys").rglob("*.part"))


def test_the_command_prints_one_line_a_machine_and_problems_on_stderr(tmp_path):
    machine(tmp_path / "store")
    (tmp_path / "store/machines/runner-1/key.pem").unlink()
    result = CliRunner().invoke(harvest_command, [str(tmp_path / "store"), "-o", str(tmp_path / "keys")])
    assert result.exit_code == 0, result.output
    assert result.stdout == "runner-1\tgoogle\t10.77.2.2\tgeneration 1\tnew\n"
    assert "runner-1: no key.pem" in result.stderr


@pytest.mark.parametrize(
    ("prepare", "error", "text"),
    [
        (lambda store: None, KeyMaterialError, "no such file"),
        (lambda store: (store / "machines").mkdir(parents=True), NothingMatchedError, "no machine"),
        (lambda store: (store / "machines/half").mkdir(parents=True), KeyMaterialError, "usable key"),
    ],
)
def test_the_command_fails_with_its_reason(tmp_path, prepare, error, text):
    prepare(tmp_path / "store")
    result = CliRunner().invoke(harvest_command, [str(tmp_path / "store"), "-o", str(tmp_path / "keys")])
    assert isinstance(result.exception, error)
    assert text in str(result.exception)
    assert not (tmp_path / "keys").exists()


def test_without_a_directory_the_storage_of_docker_machine_is_taken(tmp_path, monkeypatch):
    machine(tmp_path / "store")
    monkeypatch.setenv("MACHINE_STORAGE_PATH", str(tmp_path / "store"))
    result = CliRunner().invoke(harvest_command, ["-o", str(tmp_path / "keys")])
    assert result.exit_code == 0
    assert "runner-1\tgoogle" in result.stdout
    monkeypatch.setattr("captool.keys.stores.DAEMON_DIRECTORIES", ())
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MACHINE_STORAGE_PATH", str(tmp_path / "nowhere"))
    result = CliRunner().invoke(harvest_command, ["-o", str(tmp_path / "keys2")])
    assert isinstance(result.exception, UsageError)
