"""A place where TLS material lies, whatever made it, and what is usable there.

A place may be half written, or in the middle of its removal: whatever cannot be used is a sentence in `problems`,
and the rest is returned. Of a config.json only harmless fields ever leave `read_place`.
"""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from captool.errors import DecodeError
from captool.keys.certificate import CertificateFields, parse_certificate
from captool.keys.key_file import is_there, read_key_file, read_named_file
from captool.keys.machine_config import addresses, configured_path, driver_name, reduced_config, server_name
from captool.keys.material import Machine
from captool.keys.pem import PRIVATE_KEY_LABELS, pem_blocks, private_key

if TYPE_CHECKING:  # what of cryptography is needed for them takes longer to import than a small capture takes to analyze
    from captool.keys.pem_facts import CertificateFacts, PrivateKeyFacts

CERTIFICATES: Final = ("ca.pem", "cert.pem", "server.pem")
KEYS: Final = {"key.pem": "cert.pem", "server-key.pem": "server.pem"}  # a key and the certificate it belongs to
MACHINE_FILES: Final = (*CERTIFICATES, *KEYS)
SERVER_KEY: Final = "server-key.pem"
SERVER_CERTIFICATE: Final = "server.pem"
CONFIG: Final = "config.json"
CERTIFICATE_LABEL: Final = "CERTIFICATE"

StoreKind = Literal["docker-machine", "docker-machine-certs", "docker-context", "docker-client", "dockerd", "dind", "bundle"]


class Place(NamedTuple):
    """Where the files of one machine, context or daemon are: `files` by the names that docker-machine gives them.

    Links are followed within `root` only. `named_by` is the configuration that named files outside of it, `endpoints` are the
    addresses that a context or a daemon.json says.
    """

    store: StoreKind
    name: str
    directory: Path
    root: Path
    files: Mapping[str, Path]
    endpoints: tuple[str, ...] = ()
    named_by: Path | None = None


@dataclass(frozen=True, slots=True)
class StoredMachine:
    """What a place holds. `pem_files` are the usable files by name, `config` is the harmless part of config.json.

    `names` are all addresses and host names that the machine is known by.
    """

    machine: Machine
    directory: Path
    pem_files: Mapping[str, bytes] = field(repr=False)
    certificates: "Mapping[str, CertificateFacts]"
    private_keys: "Mapping[str, PrivateKeyFacts]"
    config: Mapping[str, object] | None
    problems: tuple[str, ...]
    store: StoreKind = "docker-machine"
    names: tuple[str, ...] = ()


def read_place(place: Place, held: Mapping[str, bytes] | None = None) -> StoredMachine:
    """Everything usable in a place. `held` are files that were read before, by name: they may be gone. Never raises for what is in it."""
    held = held or {}
    problems: list[str] = []
    directory = place.directory
    config = _read_config(place, held, problems)
    content: dict[str, bytes] = {}
    missing = [CONFIG] if CONFIG in place.files and not _is_there(place, CONFIG, held) else []
    for file in MACHINE_FILES:
        data = held[file] if file in held else _content(place, file, config, problems, missing)
        if data is not None:
            content[file] = data
    if missing:
        problems.append(f"{directory}: no {', '.join(missing)}")
    certificates, private_keys = _parse(place, content, problems)
    usable = {file: content[file] for file in content if file in certificates or file in private_keys}
    problems += _mismatches(directory, certificates, private_keys)
    server = certificates.get("server.pem")
    names = _names(place, config, server)
    problems += _wrong_address(place, config, server)
    key = private_keys.get("server-key.pem")
    fingerprints = [one.spki_sha256 for one in (key, server) if one is not None and one.spki_sha256 is not None]
    machine = _machine(place, config, server.ip if server else None, fingerprints[0] if fingerprints else None)
    return StoredMachine(machine, directory, usable, certificates, private_keys, config, tuple(problems), place.store, names)


def machine_at(place: Place) -> Machine:
    """The machine of a place, from as little as tells of it. Never raises for what is there."""
    ignored: list[str] = []
    config = _read_config(place, {}, ignored)
    key = _content(place, SERVER_KEY, config, ignored, ignored)
    certificate = _content(place, SERVER_CERTIFICATE, config, ignored, ignored)
    said = _first_certificate(certificate) if certificate else None
    fingerprint = _fingerprint(key) if key else None
    return _machine(place, config, said.ip if said else None, fingerprint or (said.spki_sha256 if said else None))


def _first_certificate(pem: bytes) -> CertificateFields | None:
    with suppress(DecodeError):
        return next((parse_certificate(block.der) for block in pem_blocks(pem) if block.label == CERTIFICATE_LABEL), None)
    return None


def _fingerprint(pem: bytes) -> str | None:
    """That of the public key which belongs to the first private key; None where it cannot be known, without a password for example."""
    block = next((block for block in pem_blocks(pem) if block.label in PRIVATE_KEY_LABELS), None)
    with suppress(DecodeError):
        key = private_key(block, SERVER_KEY) if block and not block.is_encrypted else None
        return key.spki_sha256 if key else None
    return None


def _machine(place: Place, config: Mapping[str, object] | None, certified: str | None, fingerprint: str | None) -> Machine:
    """A machine whose certificate is for the address `certified`, if that is known and no other one is."""
    noted = addresses(config) or tuple(filter(None, map(_host, place.endpoints)))
    return Machine(place.name, noted[0] if noted else certified, driver_name(config), fingerprint)


def _content(
    place: Place, file: str, config: Mapping[str, object] | None, problems: list[str], missing: list[str]
) -> bytes | None:
    """The bytes of one of a place's files, from wherever its configuration says that it is."""
    if file not in place.files:
        return None
    if os.path.lexists(place.files[file]):
        return _read(place, place.files[file], problems)
    if (elsewhere := configured_path(config, file)) is not None and is_there(elsewhere):
        return read_named_file(elsewhere, place.files[CONFIG], problems)
    missing.append(file)
    return None


def _is_there(place: Place, file: str, held: Mapping[str, bytes]) -> bool:
    path = place.files[file]
    return file in held or os.path.lexists(path)


def _read(place: Place, path: Path, problems: list[str]) -> bytes | None:
    if place.named_by is not None:
        return read_named_file(path, place.named_by, problems)
    return read_key_file(path, place.root, problems)


def _read_config(place: Place, held: Mapping[str, bytes], problems: list[str]) -> dict[str, object] | None:
    if CONFIG not in place.files or not _is_there(place, CONFIG, held):
        return None
    path = place.files[CONFIG]
    data = held.get(CONFIG) or read_key_file(path, place.root, problems)
    if data is None:
        return None
    try:
        config = reduced_config(json.loads(data))
    except (ValueError, RecursionError):  # json.loads: also of bytes that are no text
        config = None
    if config is None:
        problems.append(f"{path}: not a whole JSON object (half written?)")
    return config


def _parse(
    place: Place, content: Mapping[str, bytes], problems: list[str]
) -> "tuple[dict[str, CertificateFacts], dict[str, PrivateKeyFacts]]":
    from captool.keys.pem_facts import ENCRYPTED_KEY, PemError, read_certificate, read_private_key

    certificates: dict[str, CertificateFacts] = {}
    private_keys: dict[str, PrivateKeyFacts] = {}
    for file, data in content.items():
        path = place.files.get(file, place.directory / file)
        try:
            if file in KEYS:
                private_keys[file] = read_private_key(data)
            else:
                certificates[file] = read_certificate(data)
        except PemError as error:
            problems.append(f"{path}: {error}")
        if private_keys.get(file) is ENCRYPTED_KEY:
            problems.append(f"{path}: is encrypted; kept as it is, analyze needs its password (--key-password-file)")
    return certificates, private_keys


def _mismatches(
    directory: Path, certificates: "Mapping[str, CertificateFacts]", private_keys: "Mapping[str, PrivateKeyFacts]"
) -> list[str]:
    """Keys that are not their certificate's, and certificates that the CA beside them did not issue."""
    found = [
        f"{directory / key}: does not belong to {certificate}"
        for key, certificate in KEYS.items()
        if key in private_keys and certificate in certificates and private_keys[key].belongs_to(certificates[certificate]) is False
    ]
    authority = certificates.get("ca.pem")
    return found + [
        f"{directory / file}: was not issued by the ca.pem beside it"
        for file in ("server.pem", "cert.pem")
        if authority is not None and file in certificates and not certificates[file].issued_by(authority)
    ]


def _names(place: Place, config: Mapping[str, object] | None, server: "CertificateFacts | None") -> tuple[str, ...]:
    certified = server.names if server else ()
    known = (*addresses(config), *map(_host, place.endpoints), server_name(config), *certified)
    return tuple(dict.fromkeys(name for name in known if name))


def _wrong_address(place: Place, config: Mapping[str, object] | None, server: "CertificateFacts | None") -> list[str]:
    """A certificate for none of the machine's addresses: a client that checks it will refuse."""
    expected = {*addresses(config), server_name(config)} - {None}
    if server is None or not addresses(config) or expected & set(server.names):
        return []
    return [f"{place.directory / 'server.pem'}: is for {', '.join(server.names) or 'no name'}, not for {', '.join(addresses(config))}"]


def _host(endpoint: str) -> str | None:
    """The host of tcp://host:port; None for sockets and addresses that mean all interfaces."""
    kind, _, rest = endpoint.partition("://")
    if kind not in {"tcp", "https"}:
        return None
    host = rest.partition("/")[0].rpartition("@")[2]
    host = host.partition("]")[0].lstrip("[") if host.startswith("[") else host.partition(":")[0]
    return host if host and host not in {"0.0.0.0", "::"} else None  # noqa: S104
