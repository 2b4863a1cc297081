"""The directories of docker-machine: which machines there are, and what each one holds.

Layout (docker/machine libmachine/persist/filestore.go): `STORAGE/machines/NAME/` with config.json, ca.pem, cert.pem, key.pem,
server.pem and server-key.pem; every sub-directory of machines/ that does not begin with a dot is a machine. A directory that
`captool harvest` wrote has one more level, `machines/NAME/GENERATION/`.

A directory may be half written, or in the middle of its removal: whatever cannot be used is a sentence in `problems`,
and the rest is returned. config.json holds cloud credentials; only the fields named here ever leave `read_machine`.
"""

import errno
import json
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from captool.errors import KeyMaterialError
from captool.keys.material import Machine
from captool.keys.pem_facts import CertificateFacts, PemError, PrivateKeyFacts, read_certificate, read_private_key

CERTIFICATES: Final = ("ca.pem", "cert.pem", "server.pem")
KEYS: Final = {"key.pem": "cert.pem", "server-key.pem": "server.pem"}  # a key and the certificate it belongs to
MACHINE_FILES: Final = (*CERTIFICATES, *KEYS)
CONFIG: Final = "config.json"
ELSEWHERE: Final = {"server.pem": "ServerCertPath", "server-key.pem": "ServerKeyPath"}  # fields of AuthOptions
GENERATION_MANIFEST: Final = "manifest.json"

_MOST_BYTES: Final = 1 << 20  # of any one file; a key is 2 kB, a config.json 4 kB
_NAME: Final = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._-]*", re.ASCII)
_ENGINE_URL: Final = re.compile(r"tcp://[a-zA-Z0-9.\-:\[\]]+", re.ASCII)  # no user, no query: nowhere for a secret

# Names of config.json that describe a machine and open nothing. Whatever is not listed stays where it is.
HARMLESS_TOP: Final = frozenset({"ConfigVersion", "DriverName", "Name"})
HARMLESS_DRIVER: Final = frozenset({
    "IPAddress", "IPv6Address", "PrivateIPAddress", "MachineName", "EnginePort", "SSHPort", "SSHUser", "URL", "SwarmMaster",
    "Zone", "ResolvedZone", "Region", "AvailabilityZone", "VpcId", "SubnetId", "Network", "Subnetwork",
    "MachineType", "ResolvedMachineType", "MachineImage", "InstanceType", "InstanceId",
    "UseInternalIP", "UseInternalIPOnly", "PrivateIPOnly", "UsePrivateIP", "Preemptible",
})  # fmt: skip
HARMLESS_AUTH: Final = frozenset({
    "CertDir", "CaCertPath", "ClientCertPath", "ClientKeyPath", "ServerCertPath", "ServerKeyPath",
    "ServerCertSANs", "ServerName", "StorePath",
})  # fmt: skip
HARMLESS_ENGINE: Final = frozenset({"TlsVerify", "StorageDriver"})


@dataclass(frozen=True, slots=True)
class StoredMachine:
    """What a machine's directory holds. `pem_files` are the usable files by name, `config` is the harmless part of config.json."""

    machine: Machine
    directory: Path
    pem_files: Mapping[str, bytes] = field(repr=False)
    certificates: Mapping[str, CertificateFacts]
    private_keys: Mapping[str, PrivateKeyFacts]
    config: Mapping[str, object] | None
    problems: tuple[str, ...]


def default_storage(environment: Mapping[str, str]) -> Path | None:
    """docker-machine's own storage: MACHINE_STORAGE_PATH, else ~/.docker/machine; None without a home."""
    if chosen := environment.get("MACHINE_STORAGE_PATH"):
        return Path(chosen)
    home = environment.get("HOME")
    return Path(home) / ".docker" / "machine" if home else None


def find_machines(path: Path) -> list[Path]:
    """Machine directories at or below `path`: a storage, a machines directory, one machine, or a harvested bundle; sorted.

    Raises KeyMaterialError when the path is missing, no directory, or not readable.
    """
    names = _entries(path)
    if _holds_machine(names):
        return [path]
    if "machines" in names and (path / "machines").is_dir():
        return find_machines(path / "machines")
    found: list[Path] = []
    for name in sorted(names):
        directory = path / name
        if name.startswith(".") or not directory.is_dir():
            continue
        try:
            inside = _entries(directory)
        except KeyMaterialError:
            found.append(directory)  # read_machine will say what is wrong with it
            continue
        generations = [] if _holds_machine(inside) else _generations(directory, inside)
        if generations:
            found.extend(generations)
        elif path.name == "machines" or _holds_machine(inside):
            found.append(directory)
    return found


def _generations(directory: Path, names: set[str]) -> list[Path]:
    """The numbered folders of a machine in a harvested bundle, oldest first."""
    found = []
    for name in sorted((name for name in names if name.isdecimal()), key=int):
        try:
            if (directory / name).is_dir() and _holds_machine(_entries(directory / name)):
                found.append(directory / name)
        except KeyMaterialError:
            continue
    return found


def read_machine(directory: Path) -> StoredMachine:
    """Everything usable in one machine's directory. Never raises for what is in it."""
    problems: list[str] = []
    name = directory.resolve().name
    try:
        present = _entries(directory)
    except KeyMaterialError as error:
        return StoredMachine(Machine(name, None, None, None), directory, {}, {}, {}, None, (str(error),))
    root = _storage_of(directory)
    config = _read_config(directory, present, root, problems)
    content: dict[str, bytes] = {}
    missing = [] if CONFIG in present else [CONFIG]
    for file in MACHINE_FILES:
        path = directory / file if file in present else _configured(file, config, root)
        if path is None:
            missing.append(file)
        elif (data := _read(path, root, problems)) is not None:
            content[file] = data
    if missing:
        problems.append(f"{directory}: no {', '.join(missing)}")
    certificates, private_keys = _parse(directory, content, problems)
    usable = {file: content[file] for file in content if file in certificates or file in private_keys}
    problems += _mismatches(directory, certificates, private_keys)
    machine = _describe(_original_name(directory) or name, config, certificates.get("server.pem"), private_keys.get("server-key.pem"))
    return StoredMachine(machine, directory, usable, certificates, private_keys, config, tuple(problems))


def _describe(name: str, config: Mapping[str, object] | None, certificate: CertificateFacts | None, key: PrivateKeyFacts | None) -> Machine:
    """The google driver does not store the address, so the server certificate's is taken where config.json has none."""
    driver = config.get("Driver") if config else None
    settings = driver if isinstance(driver, dict) else {}
    ip = _text(settings.get("IPAddress")) or _text(settings.get("PrivateIPAddress")) or (certificate.ip if certificate else None)
    server = key or certificate
    return Machine(name, ip, _text(config.get("DriverName")) if config else None, server.spki_sha256 if server else None)


def reduced_config(document: object) -> dict[str, object] | None:
    """The harmless part of a config.json of any schema version; None if it is no JSON object."""
    if not isinstance(document, dict):
        return None
    kept = _only(document, HARMLESS_TOP)
    # google's driver of the GitLab fork nests the common fields; version 0 to 2 files have Driver as an object as well
    driver = document.get("Driver")
    if isinstance(driver, dict):
        inner = driver.get("BaseDriver")
        kept["Driver"] = (_only(inner, HARMLESS_DRIVER) if isinstance(inner, dict) else {}) | _only(driver, HARMLESS_DRIVER)
    options = document.get("HostOptions")
    if isinstance(options, dict):
        sections = {"AuthOptions": HARMLESS_AUTH, "EngineOptions": HARMLESS_ENGINE}
        kept["HostOptions"] = {
            name: _only(options[name], fields) for name, fields in sections.items() if isinstance(options.get(name), dict)
        }
    return kept


def _only(section: dict[str, object], names: frozenset[str]) -> dict[str, object]:
    return {name: value for name, value in section.items() if name in names and _is_plain(name, value)}


def _is_plain(name: str, value: object) -> bool:
    """Only flat values: a nested one would carry fields that nobody has looked at."""
    if name == "URL":
        return isinstance(value, str) and _ENGINE_URL.fullmatch(value) is not None
    if isinstance(value, list):
        return all(isinstance(item, str) for item in value)
    return isinstance(value, bool | int | str)


def _entries(directory: Path) -> set[str]:
    try:
        return {path.name for path in directory.iterdir()}
    except OSError as error:
        raise KeyMaterialError(f"{directory}: {_reason(error)}") from None


def _holds_machine(names: set[str]) -> bool:
    return CONFIG in names or not names.isdisjoint(("server.pem", "server-key.pem"))


def _storage_of(directory: Path) -> Path:
    """The storage that a machine's files may link into: the directory above machines/, else the machine's own."""
    real = directory.resolve()
    return real.parent.parent if real.parent.name == "machines" else real


def _read(path: Path, root: Path, problems: list[str]) -> bytes | None:
    """A file's bytes; None, with a problem, for what is no ordinary file of this storage."""
    try:
        real = path.resolve(strict=True)
        if not real.is_relative_to(root):
            problems.append(f"{path}: is a link to {real}, outside {root}; not followed")
            return None
        # not blocking, so that a pipe under a key's name cannot hold the harvest up
        descriptor = os.open(real, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                problems.append(f"{path}: not an ordinary file")
                return None
            with os.fdopen(descriptor, "rb", closefd=False) as file:
                data = file.read(_MOST_BYTES + 1)
        finally:
            os.close(descriptor)
    except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links, before Python 3.13
        problems.append(f"{path}: {_reason(error)}")
        return None
    if len(data) > _MOST_BYTES:
        problems.append(f"{path}: larger than {_MOST_BYTES} bytes, which no key or certificate is")
        return None
    return data


def _reason(error: OSError | RuntimeError) -> str:
    if isinstance(error, RuntimeError) or error.errno == errno.ELOOP:
        return "is a link that leads back to itself"
    return (error.strerror or str(error)).lower()


def _read_config(directory: Path, present: set[str], root: Path, problems: list[str]) -> dict[str, object] | None:
    if CONFIG not in present:
        return None
    data = _read(directory / CONFIG, root, problems)
    if data is None:
        return None
    try:
        config = reduced_config(json.loads(data))
    except (ValueError, RecursionError):  # json.loads: also of bytes that are no text
        config = None
    if config is None:
        problems.append(f"{directory / CONFIG}: not a whole JSON object (half written?)")
    return config


def _configured(file: str, config: Mapping[str, object] | None, root: Path) -> Path | None:
    """Programs that use libmachine as a library keep the server's pair in machines/ itself; config.json then says so."""
    options = config.get("HostOptions") if config else None
    paths = options.get("AuthOptions") if isinstance(options, dict) else None
    named = _text(paths.get(ELSEWHERE.get(file, ""))) if isinstance(paths, dict) else None
    if named is None or "\0" in named or not Path(named).is_absolute():
        return None
    path = Path(named)
    return path if path.is_relative_to(root) and path.exists() else None


def _parse(
    directory: Path, content: Mapping[str, bytes], problems: list[str]
) -> tuple[dict[str, CertificateFacts], dict[str, PrivateKeyFacts]]:
    certificates: dict[str, CertificateFacts] = {}
    private_keys: dict[str, PrivateKeyFacts] = {}
    for file, data in content.items():
        try:
            if file in KEYS:
                private_keys[file] = read_private_key(data)
            else:
                certificates[file] = read_certificate(data)
        except PemError as error:
            problems.append(f"{directory / file}: {error}")
    return certificates, private_keys


def _mismatches(directory: Path, certificates: Mapping[str, CertificateFacts], private_keys: Mapping[str, PrivateKeyFacts]) -> list[str]:
    """Keys that are not their certificate's, and certificates that the CA beside them did not issue."""
    found = [
        f"{directory / key}: does not belong to {certificate}"
        for key, certificate in KEYS.items()
        if key in private_keys and certificate in certificates and private_keys[key].spki_sha256 != certificates[certificate].spki_sha256
    ]
    authority = certificates.get("ca.pem")
    return found + [
        f"{directory / file}: was not issued by the ca.pem beside it"
        for file in ("server.pem", "cert.pem")
        if authority is not None and file in certificates and not certificates[file].issued_by(authority)
    ]


def _original_name(directory: Path) -> str | None:
    """The machine's name in a harvested bundle, whose directories are called by generation."""
    if not directory.name.isdecimal():
        return None
    try:
        document = json.loads((directory / GENERATION_MANIFEST).read_bytes()[:_MOST_BYTES])
    except (OSError, ValueError, RecursionError):
        return None
    name = _text(document.get("machine")) if isinstance(document, dict) else None
    return name if name and _NAME.fullmatch(name) else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
