"""TLS material that is not docker-machine's: client directories, docker contexts, the daemon's own, docker:dind's /certs.

    DIR/{ca,cert,key}.pem                                    DOCKER_CERT_PATH, ~/.docker, docker-machine's certs/
    DIR/meta/ID/meta.json, DIR/tls/ID/docker/{ca,cert,key}.pem    docker contexts, ID is the SHA-256 of the name (docker/cli context/store)
    DIR/daemon.json with tlscacert, tlscert, tlskey, hosts   /etc/docker; without these, DIR/{ca,server,server-key}.pem of docker-machine
    DIR/{server,client}/{ca,cert,key}.pem, DIR/ca/cert.pem   /certs of docker:dind

Names of these places contain an underscore, which a docker-machine name cannot (libmachine/host/host.go). The private key of a CA is
never read: it decrypts nothing.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from captool.keys.key_file import entries, is_there, read_key_file
from captool.keys.machine_config import text_of
from captool.keys.machine_store import SAFE_NAME
from captool.keys.place import Place, StoreKind

CLIENT_FILES: Final = ("ca.pem", "cert.pem", "key.pem")
SERVER_FILES: Final = ("ca.pem", "server.pem", "server-key.pem")
DAEMON_CONFIG: Final = "daemon.json"
DAEMON_FIELDS: Final = {"ca.pem": "tlscacert", "server.pem": "tlscert", "server-key.pem": "tlskey"}
MOST_CONTEXTS: Final = 10_000


def find_other_places(directory: Path) -> Iterator[Place]:
    """Every place of these kinds in `directory` itself."""
    names = entries(directory)
    if "contexts" in names:
        yield from _contexts(directory / "contexts")
    elif {"meta", "tls"} <= names:
        yield from _contexts(directory)
    if DAEMON_CONFIG in names:
        yield from _daemon(directory)
    if "key.pem" in entries(directory / "server") or "key.pem" in entries(directory / "client"):
        yield _dind(directory)
    if "server-key.pem" not in names and {"cert.pem", "key.pem"} <= names:
        yield client_place(directory)


def client_place(directory: Path, store: StoreKind = "docker-client") -> Place:
    """A directory with the files that Docker's client looks for."""
    name = "machine_certs" if store == "docker-machine-certs" else f"client_{_safe(directory.resolve().name.lstrip('.') or 'root')}"
    return Place(store, name, directory, directory.resolve(), _present(directory, CLIENT_FILES))


def _contexts(directory: Path) -> Iterator[Place]:
    for identifier in sorted(entries(directory / "tls"))[:MOST_CONTEXTS]:
        folder = directory / "tls" / identifier / "docker"
        if files := _present(folder, CLIENT_FILES):
            meta = _json_object(directory / "meta" / identifier / "meta.json", directory)
            name = text_of(meta.get("Name"))
            if name is None or hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest() != identifier:
                name = identifier[:12]  # the store's own rule is broken: the name is nobody's word
            found = meta.get("Endpoints")
            docker = found.get("docker") if isinstance(found, dict) else None
            host = text_of(docker.get("Host")) if isinstance(docker, dict) else None
            yield Place("docker-context", f"context_{_safe(name)}", folder, directory.resolve(), files, (host,) if host else ())


def _daemon(directory: Path) -> Iterator[Place]:
    config = _json_object(directory / DAEMON_CONFIG, directory)
    named = {file: Path(path) for file, key in DAEMON_FIELDS.items() if (path := text_of(config.get(key))) and "\0" not in path}
    hosts = config.get("hosts")
    endpoints = tuple(host for host in hosts if isinstance(host, str)) if isinstance(hosts, list) else ()
    if named:
        # relative to the daemon's working directory, which is / under systemd
        files = {file: Path("/") / path for file, path in named.items()}
        yield Place("dockerd", "dockerd_config", directory, directory.resolve(), files, endpoints, directory / DAEMON_CONFIG)


def _dind(directory: Path) -> Place:
    server, client = directory / "server", directory / "client"
    files = {
        "ca.pem": next((path for folder in (server, client) if is_there(path := folder / "ca.pem")), directory / "ca" / "cert.pem"),
        "server.pem": server / "cert.pem",
        "server-key.pem": server / "key.pem",
        "cert.pem": client / "cert.pem",
        "key.pem": client / "key.pem",
    }
    return Place("dind", "dind_certs", directory, directory.resolve(), {file: path for file, path in files.items() if is_there(path)})


def _present(directory: Path, names: tuple[str, ...]) -> dict[str, Path]:
    there = entries(directory)
    return {name: directory / name for name in names if name in there}


def _json_object(path: Path, root: Path) -> Mapping[str, object]:
    """The object in a small JSON file, empty where there is none."""
    data = read_key_file(path, root.resolve(), [])
    try:
        document = json.loads(data) if data is not None else None
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _safe(name: str) -> str:
    """A name that may be a directory's; others are replaced by their digest."""
    return name if re.fullmatch(SAFE_NAME, name) else hashlib.sha256(name.encode("utf-8", "backslashreplace")).hexdigest()[:12]
