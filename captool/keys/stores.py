"""Where TLS material of Docker lies on this machine, and what kind of store a directory is."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from captool.errors import KeyMaterialError
from captool.keys.key_file import entries, is_directory
from captool.keys.machine_store import default_storage, find_machines, machine_place
from captool.keys.other_stores import SERVER_FILES, client_place, find_other_places
from captool.keys.place import Place

DAEMON_DIRECTORIES: Final = ("/etc/docker", "/var/lib/boot2docker")
DIND_DIRECTORY: Final = "/certs"
OVERRIDES: Final = {"ca.pem": "MACHINE_TLS_CA_CERT", "cert.pem": "MACHINE_TLS_CLIENT_CERT", "key.pem": "MACHINE_TLS_CLIENT_KEY"}


def default_stores(environment: Mapping[str, str]) -> tuple[Path, ...]:
    """The directories where docker-machine, Docker's client, dockerd and docker:dind keep TLS material, as far as they exist."""
    home = environment.get("HOME")
    client = environment.get("DOCKER_CONFIG") or (f"{home}/.docker" if home else None)
    certificates = environment.get("DOCKER_CERT_PATH") or environment.get("DOCKER_TLS_CERTDIR")
    wanted = [default_storage(environment), client, certificates, *DAEMON_DIRECTORIES, DIND_DIRECTORY]
    paths = [Path(path) for path in wanted if path]
    return tuple(dict.fromkeys(path for path in paths if is_directory(path) and os.access(path, os.R_OK | os.X_OK)))


def override_places(environment: Mapping[str, str]) -> tuple[Place, ...]:
    """The files that MACHINE_TLS_* put elsewhere than in docker-machine's certs/, as one place; none while none of them is there."""
    named = {file: path for file, variable in OVERRIDES.items() if (path := environment.get(variable))}
    files = {file: Path(path) for file, path in named.items() if os.path.isfile(path)}  # noqa: PTH113  (Path.is_file may raise)
    if not files:
        return ()
    directory = next(iter(files.values())).parent
    return (Place("docker-machine-certs", "machine_tls_options", directory, Path("/"), files),)


def find_places(path: Path) -> list[Place]:
    """Every place with TLS material in a store of any kind; a store inside it that is docker-machine's default is found as well.

    Raises KeyMaterialError when the path is missing, no directory, or not readable.
    """
    other = list(find_other_places(path)) if is_directory(path) else []
    directories = find_machines(path)
    found = [machine_place(directory) for directory in directories]
    found = [_as_daemon(place) if place.directory == path and _is_daemon(place) else place for place in found]
    names = entries(path)
    if "machines" in entries(path / "machine"):
        found += find_places(path / "machine")
    if "machines" in names and {"cert.pem", "key.pem"} & entries(path / "certs"):
        found.append(client_place(path / "certs", "docker-machine-certs"))
    if path in directories:
        other = [place for place in other if place.store != "docker-client"]  # a machine's own cert.pem and key.pem
    return [*found, *other]


def all_places(paths: tuple[Path, ...] | list[Path]) -> list[Place]:
    """The places of several stores, each once. Raises KeyMaterialError for one that cannot be read."""
    try:
        found = {(place.directory.resolve(), place.store): place for path in paths for place in find_places(path)}
    except KeyMaterialError as error:
        raise KeyMaterialError(f"{error}; name docker-machine's storage, or another directory with keys") from None
    return list(found.values())


def try_places(path: Path) -> list[Place]:
    """As `find_places`, and none where the path cannot be read (yet)."""
    try:
        return find_places(path)
    except KeyMaterialError:
        return []


def _is_daemon(place: Place) -> bool:
    """The three files that docker-machine puts on the machine itself, where no client's key is."""
    there = entries(place.directory)
    return place.store == "docker-machine" and "server-key.pem" in there and not there & {"config.json", "cert.pem", "key.pem"}


def _as_daemon(place: Place) -> Place:
    files = {file: place.files[file] for file in SERVER_FILES}
    return place._replace(store="dockerd", name="dockerd", root=place.directory.resolve(), files=files)
