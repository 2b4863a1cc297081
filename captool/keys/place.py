"""A place where TLS material lies, whatever made it, and the machine that it is of.

A place may be half written, or in the middle of its removal: whatever cannot be used is a sentence in `problems`, and the rest is
returned. Of a config.json only harmless fields ever leave a place. What else there is: stored_machine.py.
"""

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, Literal, NamedTuple

from captool.errors import DecodeError
from captool.keys.key_file import is_there, read_key_file, read_named_file
from captool.keys.machine_config import addresses, configured_path, driver_name, reduced_config
from captool.keys.material import Machine
from captool.keys.pem import PRIVATE_KEY_LABELS, first_certificate, pem_blocks, private_key

CERTIFICATES: Final = ("ca.pem", "cert.pem", "server.pem")
KEYS: Final = {"key.pem": "cert.pem", "server-key.pem": "server.pem"}  # a key and the certificate it belongs to
MACHINE_FILES: Final = (*CERTIFICATES, *KEYS)
SERVER_KEY: Final = "server-key.pem"
SERVER_CERTIFICATE: Final = "server.pem"
CONFIG: Final = "config.json"

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


def machine_at(place: Place) -> Machine:
    """The machine of a place, from as little as tells of it. Never raises for what is there."""
    ignored: list[str] = []
    config = read_config(place, {}, ignored)
    key = content_of(place, SERVER_KEY, config, ignored, ignored)
    certificate = content_of(place, SERVER_CERTIFICATE, config, ignored, ignored)
    said = first_certificate(certificate) if certificate else None
    fingerprint = _fingerprint(key) if key else None
    return machine_in(place, config, said.ip if said else None, fingerprint or (said.spki_sha256 if said else None))


def _fingerprint(pem: bytes) -> str | None:
    """That of the public key which belongs to the first private key; None where it cannot be known, without a password for example."""
    block = next((block for block in pem_blocks(pem) if block.label in PRIVATE_KEY_LABELS), None)
    with suppress(DecodeError):
        key = private_key(block, SERVER_KEY) if block and not block.is_encrypted else None
        return key.spki_sha256 if key else None
    return None


def machine_in(place: Place, config: Mapping[str, object] | None, certified: str | None, fingerprint: str | None) -> Machine:
    """A machine whose certificate is for the address `certified`, if that is known and no other one is."""
    noted = addresses(config) or tuple(filter(None, map(host_of, place.endpoints)))
    return Machine(place.name, noted[0] if noted else certified, driver_name(config), fingerprint)


def content_of(
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


def file_is_there(place: Place, file: str, held: Mapping[str, bytes]) -> bool:
    """Whether one of a place's files is there, or was when it was read before (`held`)."""
    return file in held or os.path.lexists(place.files[file])


def _read(place: Place, path: Path, problems: list[str]) -> bytes | None:
    if place.named_by is not None:
        return read_named_file(path, place.named_by, problems)
    return read_key_file(path, place.root, problems)


def read_config(place: Place, held: Mapping[str, bytes], problems: list[str]) -> dict[str, object] | None:
    """The harmless part of a place's config.json; None where there is none."""
    if CONFIG not in place.files or not file_is_there(place, CONFIG, held):
        return None
    path = place.files[CONFIG]
    data = held.get(CONFIG) or read_key_file(path, place.root, problems)
    if data is None:
        return None
    import json

    try:
        config = reduced_config(json.loads(data))
    except (ValueError, RecursionError):  # json.loads: also of bytes that are no text
        config = None
    if config is None:
        problems.append(f"{path}: not a whole JSON object (half written?)")
    return config


def host_of(endpoint: str) -> str | None:
    """The host of tcp://host:port; None for sockets and addresses that mean all interfaces."""
    kind, _, rest = endpoint.partition("://")
    if kind not in {"tcp", "https"}:
        return None
    host = rest.partition("/")[0].rpartition("@")[2]
    host = host.partition("]")[0].lstrip("[") if host.startswith("[") else host.partition(":")[0]
    return host if host and host not in {"0.0.0.0", "::"} else None  # noqa: S104
