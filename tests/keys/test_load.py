"""Key material of every shape, found out by content; what cannot be used is said in one line."""

import os
import shutil
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.hazmat.primitives.serialization.pkcs12 import serialize_key_and_certificates

import docker_machine
from captool.errors import KeyMaterialError
from captool.keys import load
from captool.keys.load import load_keys
from captool.keys.pkcs12 import key_bags
from tests.keys.test_keylog import GOOD_LINES, MASTER, RANDOM
from tests.tls.stacks import identity

KEY_LOG = "\n".join(GOOD_LINES) + "\n"


def rsa_key():
    """The same in all tests: making one takes as long as ten of them."""
    return load_pem_private_key(identity().key_pem, None)


def origins(ring):
    return sorted(key.origin for key in ring.private_keys)


@pytest.fixture
def storage(tmp_path):
    directory = tmp_path / "machine"
    docker_machine.machine(directory)
    (directory / "machines" / "runner-1" / "id_rsa").write_bytes(identity("rsa", "ssh").key_pem)
    return directory


@pytest.mark.parametrize("below", [".", "machines", "machines/runner-1"])
def test_docker_machine_directories(storage, below):
    ring = load_keys([storage / below])
    (machine,) = ring.machines
    server = next(key for key in ring.private_keys if key.origin.endswith("server-key.pem"))
    assert ("runner-1", "10.77.2.2") == (machine.name, machine.ip)
    assert "runner-1" == server.machine
    assert server.spki_sha256 == machine.server_spki_sha256
    assert not [origin for origin in origins(ring) if "id_rsa" in origin]
    assert (storage / below / server.origin).is_file()


def test_harvested_bundle(storage, tmp_path):
    for generation in (1, 2):
        target = tmp_path / "keys" / "machines" / "runner-1" / str(generation)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(docker_machine.machine(tmp_path / f"s{generation}", generation=generation), target)
    ring = load_keys([tmp_path / "keys"])
    assert 2 == len([key for key in ring.private_keys if key.origin.endswith("server-key.pem")])


def test_docker_context_store(tmp_path):
    folder = tmp_path / "contexts" / "tls" / "0123abcd" / "docker"
    folder.mkdir(parents=True)
    (folder / "key.pem").write_bytes(identity().key_pem)
    (folder / "cert.pem").write_bytes(identity().certificate_file.read_bytes())
    assert ["contexts/tls/0123abcd/docker/key.pem"] == origins(load_keys([tmp_path]))


def test_named_files(tmp_path):
    key, log = tmp_path / "any.name", tmp_path / "other"
    key.write_bytes(identity().key_pem)
    log.write_text(KEY_LOG)
    ring = load_keys([key, log])
    assert [str(key)] == origins(ring)
    assert f"{log}:1" == ring.session_secrets[bytes.fromhex(RANDOM)]["CLIENT_RANDOM"].origin


def test_der_file(tmp_path):
    path = tmp_path / "key.der"
    path.write_bytes(rsa_key().private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()))
    assert [str(path)] == origins(load_keys([path]))


@pytest.mark.parametrize("form", ["pem", "p12"])
def test_encrypted_files_with_their_password(tmp_path, form):
    key = rsa_key()
    lock = BestAvailableEncryption(b"right")
    path = tmp_path / f"key.{form}"
    if form == "pem":
        path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, lock))
    else:
        path.write_bytes(serialize_key_and_certificates(b"server", key, None, None, lock))
    assert [str(path)] == origins(load_keys([path], password=b"right"))
    for password, reason in ((b"wrong", "not with the password that was given; check the password"), (None, "decrypt it first")):
        with pytest.raises(KeyMaterialError, match=reason):
            load_keys([path], password=password)


def test_pkcs12_without_a_password(tmp_path):
    path = tmp_path / "key.p12"
    key = rsa_key()
    path.write_bytes(serialize_key_and_certificates(b"server", key, None, None, NoEncryption()))
    assert [str(path)] == origins(load_keys([path]))


def test_pkcs12_with_several_keys():
    """Made by `keytool -genkeypair -keyalg EC -alias one ... -storetype PKCS12 -storepass secret1`, and once more with another alias."""
    path = Path(__file__).parent / "data" / "two-keys.p12"
    ring = load_keys([path], password=b"secret1")
    assert 2 == len({key.spki_sha256 for key in ring.private_keys})
    with pytest.raises(KeyMaterialError, match="not with the password"):
        load_keys([path], password=b"secret")


def test_damaged_pkcs12_has_no_key_bags():
    data = (Path(__file__).parent / "data" / "two-keys.p12").read_bytes()
    assert [True, True] == [shrouded for _, shrouded in key_bags(data)]
    for at in range(len(data)):
        assert len(key_bags(data[:at])) == 0
        assert len(key_bags(data[:at] + bytes([data[at] ^ 0x15]) + data[at + 1 :])) <= 2


def test_key_and_certificate_in_one_file(tmp_path):
    path = tmp_path / "both.pem"
    path.write_bytes(identity().certificate_file.read_bytes() + identity().key_pem)
    assert 1 == len(load_keys([path]).private_keys)


def test_duplicates_are_merged_and_the_machine_is_kept(storage, tmp_path):
    copy = tmp_path / "copy.pem"
    copy.write_bytes((storage / "machines" / "runner-1" / "server-key.pem").read_bytes())
    ring = load_keys([copy, storage, copy])
    fingerprints = [key.spki_sha256 for key in ring.private_keys]
    assert len(set(fingerprints)) == len(fingerprints)
    assert "runner-1" in {key.machine for key in ring.private_keys}
    assert 1 == len(ring.machines)


def unusable(tmp_path):
    encrypted = rsa_key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))
    return {
        "encrypted.pem": (encrypted, "encrypted"),
        "cut.pem": (identity().key_pem[:-100], "damaged"),
        "certificate.pem": (identity().certificate_file.read_bytes(), "no private key"),
        "damaged.pem": (identity().key_pem.replace(b"M", b"?"), "check that the file is whole"),
        "notes.txt": (b"nothing of use\n", "is text with neither a private key nor a line of a key log in it; name a private key (PEM"),
        "README.md": (b"# captool\n\nA CI job prints nothing.\n", "is text with neither a private key"),
        "program": (b"\x7fELF\x02\x01\x01\x00", "is a binary file with neither a private key"),
        "empty": (b"", "is empty; check that the program wrote to it"),
        "request.pem": (b"-----BEGIN CERTIFICATE REQUEST-----\nMA==\n-----END CERTIFICATE REQUEST-----\n", "holds a certificate request"),
        "id": (b"-----BEGIN OPENSSH PRIVATE KEY-----\nMA==\n-----END OPENSSH PRIVATE KEY-----\n", "holds an openssh private key and no"),
        "half.log": (b"# SSL/TLS secrets log file\nCLIENT_RANDOM 00112233", "is a key log none of whose lines is whole"),
        "broken.log": (b"CLIENT_RANDOM 00 11\n", "it holds no other"),
        "fresh.log": (b"# SSL/TLS secrets log file, generated by OpenSSL\n", "without any secret"),
    }


@pytest.mark.parametrize("name", ["encrypted.pem", "cut.pem", "certificate.pem", "damaged.pem", "notes.txt", "README.md", "program",
                                  "empty", "request.pem", "id", "half.log", "broken.log", "fresh.log"])  # fmt: skip
def test_named_file_that_cannot_be_used(tmp_path, name):
    content, reason = unusable(tmp_path)[name]
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(KeyMaterialError) as raised:
        load_keys([path])
    message = str(raised.value)
    assert reason in message
    assert name in message
    assert "\n" not in message
    assert 3 == raised.value.exit_code


def test_missing_file(tmp_path):
    with pytest.raises(KeyMaterialError, match="no such file or directory"):
        load_keys([tmp_path / "none"])


def test_unreadable_file(tmp_path):
    path = tmp_path / "key.pem"
    path.write_bytes(identity().key_pem)
    with pytest.raises(KeyMaterialError, match="not a directory"):
        load_keys([path / "key.pem"])


def test_pipe_does_not_block(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(KeyMaterialError, match="not an ordinary file"):
        load_keys([tmp_path / "pipe"])


def test_directory_without_key_material(tmp_path):
    (tmp_path / "readme").write_text("nothing")
    with pytest.raises(KeyMaterialError, match="no usable private key"):
        load_keys([tmp_path])


def test_a_directory_without_key_material_says_what_came_nearest(tmp_path):
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    with pytest.raises(KeyMaterialError, match="no usable private key and no key log; name the directory"):
        load_keys([tmp_path])
    (tmp_path / "encrypted.pem").write_bytes(unusable(tmp_path)["encrypted.pem"][0])
    with pytest.raises(KeyMaterialError, match=r"no key log \(encrypted.pem: the private key is encrypted; give its password"):
        load_keys([tmp_path])


def test_unusable_files_of_a_directory_are_problems(tmp_path):
    for name, (content, _) in unusable(tmp_path).items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "key.pem").write_bytes(identity().key_pem)
    (tmp_path / "keys.log").write_text(KEY_LOG + "CLIENT_RANDOM 12\n")
    ring = load_keys([tmp_path])
    assert ["key.pem"] == origins(ring)
    assert len(GOOD_LINES) + 1 == len((tmp_path / "keys.log").read_text().splitlines())
    assert {"encrypted.pem", "cut.pem", "damaged.pem", "keys.log", "broken.log"} == {problem.split(":")[0] for problem in ring.problems}
    assert not [problem for problem in ring.problems if MASTER in problem]


def test_links_that_lead_back_do_no_harm(tmp_path):
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    (inner / "back").symlink_to(tmp_path)
    (inner / "itself").symlink_to(inner / "itself")
    (inner / "key.pem").write_bytes(identity().key_pem)
    ring = load_keys([tmp_path])
    assert ["a/b/key.pem"] == origins(ring)
    assert 1 == len(ring.problems)


def test_bounds(tmp_path, monkeypatch):
    monkeypatch.setattr(load, "MAX_FILES", 5)
    monkeypatch.setattr(load, "MAX_DEPTH", 2)
    (tmp_path / "0.pem").write_bytes(identity().key_pem)
    deep = tmp_path / "a" / "b" / "c"
    deep.mkdir(parents=True)
    for number in range(20):
        (tmp_path / f"{number}.txt").write_text("x")
    ring = load_keys([tmp_path])
    assert 1 == len(ring.private_keys)
    assert any("more than 5 files" in problem for problem in ring.problems)


def test_big_files_are_not_read_whole(tmp_path):
    disk = tmp_path / "disk.vmdk"
    with disk.open("wb") as file:
        file.truncate(1 << 33)
    (tmp_path / "key.pem").write_bytes(identity().key_pem)
    assert ["key.pem"] == origins(load_keys([tmp_path]))


def test_relative_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("key.pem").write_bytes(identity().key_pem)
    assert ["key.pem"] == origins(load_keys([Path("key.pem")]))


def test_a_capture_beside_the_keys_is_passed_over_and_named_it_is_an_error(tmp_path, fixtures):
    (tmp_path / "keys.log").write_text("\n".join(GOOD_LINES[:1]) + "\n")
    trace = tmp_path / "trace.pcapng"
    trace.write_bytes(b"\x0a\x0d\x0d\x0a" + bytes(24) + "\n".join(GOOD_LINES).encode() + b"\n")
    ring = load_keys([tmp_path])
    assert ((), {"CLIENT_RANDOM"}) == (ring.problems, {label for secrets in ring.session_secrets.values() for label in secrets})
    with pytest.raises(KeyMaterialError, match="is a capture; the secrets in it open it without --keys"):
        load_keys([trace])
