"""What is usable of the TLS material in a place: every key and certificate parsed, and whether they belong together."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from captool.keys.machine_config import addresses, server_name
from captool.keys.machine_store import machine_place, refusal, unknown_machine
from captool.keys.material import Machine
from captool.keys.pem_facts import ENCRYPTED_KEY, CertificateFacts, PemError, PrivateKeyFacts, read_certificate, read_private_key
from captool.keys.place import (
    CONFIG,
    KEYS,
    MACHINE_FILES,
    SERVER_CERTIFICATE,
    SERVER_KEY,
    Place,
    StoreKind,
    content_of,
    file_is_there,
    host_of,
    machine_in,
    read_config,
)


@dataclass(frozen=True, slots=True)
class StoredMachine:
    """What a place holds. `pem_files` are the usable files by name, `config` is the harmless part of config.json.

    `names` are all addresses and host names that the machine is known by.
    """

    machine: Machine
    directory: Path
    pem_files: Mapping[str, bytes] = field(repr=False)
    certificates: Mapping[str, CertificateFacts]
    private_keys: Mapping[str, PrivateKeyFacts]
    config: Mapping[str, object] | None
    problems: tuple[str, ...]
    store: StoreKind = "docker-machine"
    names: tuple[str, ...] = ()


def read_machine(directory: Path) -> StoredMachine:
    """Everything usable in one machine's directory. Never raises for what is in it."""
    if problem := refusal(directory):
        return StoredMachine(unknown_machine(directory), directory, {}, {}, {}, None, (problem,))
    return read_place(machine_place(directory))


def read_place(place: Place, held: Mapping[str, bytes] | None = None) -> StoredMachine:
    """Everything usable in a place. `held` are files that were read before, by name: they may be gone. Never raises for what is in it."""
    held = held or {}
    problems: list[str] = []
    directory = place.directory
    config = read_config(place, held, problems)
    content: dict[str, bytes] = {}
    missing = [CONFIG] if CONFIG in place.files and not file_is_there(place, CONFIG, held) else []
    for file in MACHINE_FILES:
        data = held[file] if file in held else content_of(place, file, config, problems, missing)
        if data is not None:
            content[file] = data
    if missing:
        problems.append(f"{directory}: no {', '.join(missing)}")
    certificates, private_keys = _parse(place, content, problems)
    usable = {file: content[file] for file in content if file in certificates or file in private_keys}
    problems += _mismatches(directory, certificates, private_keys)
    server = certificates.get(SERVER_CERTIFICATE)
    names = _names(place, config, server)
    problems += _wrong_address(place, config, server)
    key = private_keys.get(SERVER_KEY)
    fingerprints = [one.spki_sha256 for one in (key, server) if one is not None and one.spki_sha256 is not None]
    machine = machine_in(place, config, server.ip if server else None, fingerprints[0] if fingerprints else None)
    return StoredMachine(machine, directory, usable, certificates, private_keys, config, tuple(problems), place.store, names)


def _parse(
    place: Place, content: Mapping[str, bytes], problems: list[str]
) -> tuple[dict[str, CertificateFacts], dict[str, PrivateKeyFacts]]:
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
    directory: Path, certificates: Mapping[str, CertificateFacts], private_keys: Mapping[str, PrivateKeyFacts]
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


def _names(place: Place, config: Mapping[str, object] | None, server: CertificateFacts | None) -> tuple[str, ...]:
    certified = server.names if server else ()
    known = (*addresses(config), *map(host_of, place.endpoints), server_name(config), *certified)
    return tuple(dict.fromkeys(name for name in known if name))


def _wrong_address(place: Place, config: Mapping[str, object] | None, server: CertificateFacts | None) -> list[str]:
    """A certificate for none of the machine's addresses: a client that checks it will refuse."""
    expected = {*addresses(config), server_name(config)} - {None}
    if server is None or not addresses(config) or expected & set(server.names):
        return []
    return [f"{place.directory / 'server.pem'}: is for {', '.join(server.names) or 'no name'}, not for {', '.join(addresses(config))}"]
