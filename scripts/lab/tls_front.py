"""A TLS front before dockerd's unix socket that negotiates what stock dockerd does not: RSA key exchange, a chosen suite."""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

from docker_daemon import PORT
from network import SERVER_IP
from processes import run, started, wait_until


@contextlib.contextmanager
def tls_front(
    directory: Path, namespace: str, machine: Path, docker_socket: Path, suite: str, keepalive_s: tuple[int, int] | None
) -> "Iterator[subprocess.Popen[bytes]]":
    """Listen on 2376 with mutual TLS 1.2 and one cipher suite, and hand the bytes to the socket.

    Without `keepalive_s` (idle, interval) this side never probes, like dockerd before 19.03.9.
    """
    keepalive = () if keepalive_s is None else ("keepalive", f"keepidle={keepalive_s[0]}", f"keepintvl={keepalive_s[1]}")
    listen = ",".join((
        f"OPENSSL-LISTEN:{PORT}", f"bind={SERVER_IP}", "reuseaddr", "fork", "verify=1", f"cafile={machine / 'ca.pem'}",
        f"cert={machine / 'server.pem'}", f"key={machine / 'server-key.pem'}", f"cipher={suite}",
        "openssl-min-proto-version=TLS1.2", "openssl-max-proto-version=TLS1.2", *keepalive,
    ))  # fmt: skip
    log = directory / "front.log"
    # a process namespace, because socat's children would survive it
    command = ["unshare", "--pid", "--fork", "--kill-child=KILL", "socat", "-d", "-d", listen, f"UNIX-CONNECT:{docker_socket}"]
    with started(command, log=log, namespace=namespace, on_death="KILL") as process:
        wait_until("the TLS front", lambda: _listens(namespace), alive=process, log=log)
        yield process


def _listens(namespace: str) -> bool:
    return bool(run("nsenter", f"--net=/run/netns/{namespace}", "ss", "-Htln", f"sport = :{PORT}").strip())
