"""A real dockerd in the server's namespace, with directories of its own, and an image made of the machine's busybox."""

import contextlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from network import SERVER_IP
from processes import LabError, run, started, wait_until

IMAGE = "lab/busybox:latest"
PORT = 2376
PLAIN_PORT = 2375  # without TLS


@dataclass(frozen=True)
class Daemon:
    """A running dockerd: its unix socket, and the docker program to talk to it."""

    socket: Path
    docker: str

    def docker_run(self, *words: str, **options: object) -> str:
        """Run the docker client against the unix socket."""
        return run(self.docker, "--host", f"unix://{self.socket}", *words, **options)


@contextlib.contextmanager
def daemon(directory: Path, namespace: str, tls_from: Path | None, *, plain: bool = False) -> Iterator[Daemon]:
    """Start dockerd in the namespace; with `tls_from` (a machine directory) it listens on 2376 itself, as on a docker-machine host.

    With `plain` it listens on 2375, without TLS.
    """
    dockerd, docker = shutil.which("dockerd"), shutil.which("docker")
    if dockerd is None or docker is None:
        raise LabError("dockerd and docker are needed (Debian: docker.io)")
    socket, log = directory / "docker.sock", directory / "dockerd.log"
    if len(str(socket)) > 100:
        raise LabError(f"{socket}: too long a name for a unix socket; set TMPDIR to a shorter path")
    remove_leftovers()
    cgroup = f"/captool-lab-{os.getpid()}"
    command: list[str | Path] = [
        "unshare",
        "--mount",
        "--pid",
        "--fork",
        "--kill-child=KILL",
        "--mount-proc",
        sys.executable,
        Path(__file__).with_name("isolated_dockerd.py"),
        dockerd,
        "--host",
        f"unix://{socket}",
        "--data-root",
        directory / "data",
        "--exec-root",
        directory / "exec",
        "--pidfile",
        directory / "dockerd.pid",
        "--config-file",
        directory / "daemon.json",
        "--storage-driver",
        "vfs",
        "--bridge",
        "none",
        "--iptables=false",
        "--ip-forward=false",
        "--ip-masq=false",
        "--cgroup-parent",
        cgroup,
        "--exec-opt",
        "native.cgroupdriver=cgroupfs",
    ]
    if tls_from is not None:
        command += ["--host", f"tcp://{SERVER_IP}:{PORT}", "--tlsverify", "--tlscacert", tls_from / "ca.pem"]
        command += ["--tlscert", tls_from / "server.pem", "--tlskey", tls_from / "server-key.pem"]
    if plain:
        command += ["--host", f"tcp://{SERVER_IP}:{PLAIN_PORT}"]
    (directory / "daemon.json").write_text("{}")
    running = Daemon(socket, docker)
    with contextlib.ExitStack() as stack:
        stack.callback(_remove_cgroups, cgroup)
        process = stack.enter_context(started(command, log=log, namespace=namespace, stdin=subprocess.PIPE))
        wait_until("dockerd", lambda: _answers(running), alive=process, log=log)
        image = directory / "image.tar"
        image.write_bytes(_busybox_tree())
        running.docker_run("import", str(image), IMAGE)
        stack.callback(_remove_containers, running)
        yield running


def _answers(running: Daemon) -> bool:
    try:
        return running.socket.exists() and bool(running.docker_run("version", "--format", "{{.Server.Version}}").strip())
    except LabError:
        return False


def _remove_containers(running: Daemon) -> None:
    """A job that is cut short has nothing to save; dockerd itself would give it ten seconds."""
    with contextlib.suppress(LabError):
        if containers := running.docker_run("ps", "--all", "--quiet").split():
            running.docker_run("rm", "--force", *containers)


def _busybox_tree() -> bytes:
    """A root file system with nothing but a static busybox, so no registry is needed."""
    busybox = shutil.which("busybox")
    if busybox is None:
        raise LabError("busybox is needed (Debian: busybox-static)")
    content = Path(busybox).resolve().read_bytes()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tree:
        file = tarfile.TarInfo("bin/busybox")
        file.size, file.mode = len(content), 0o755
        tree.addfile(file, io.BytesIO(content))
        for name in ("sh", "echo", "sleep", "cat", "date", "seq", "true", "false"):
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tree.addfile(link)
    return buffer.getvalue()


def remove_leftovers() -> None:
    """Control groups of a lab that was killed: their process id is nobody's any more."""
    names = {path.name for pattern in ("captool-lab-*", "*/captool-lab-*") for path in Path("/sys/fs/cgroup").glob(pattern)}
    for name in names:
        if not Path("/proc", name.rpartition("-")[2]).exists():
            _remove_cgroups(f"/{name}")


def _remove_cgroups(parent: str) -> None:
    """The groups of removed containers are gone; their parent is left to us, once for every controller."""
    for folder in [*Path("/sys/fs/cgroup").glob(f"*{parent}"), *Path("/sys/fs/cgroup").glob(parent.lstrip("/"))]:
        for inner in sorted((path for path in folder.rglob("*") if path.is_dir()), reverse=True):
            with contextlib.suppress(OSError):
                inner.rmdir()
        with contextlib.suppress(OSError):
            folder.rmdir()
