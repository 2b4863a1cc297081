"""A host of a test's own that can be reached by ssh: a real sshd with throw-away keys in a network namespace, and a caller in another."""

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from recordings import inside, network_namespace

HERE, THERE = "10.97.0.1", "10.97.0.2"
PORT = 2222


@dataclass(frozen=True)
class SshHost:
    """`caller` is the namespace from which it is reached, `namespace` its own, `wrapper` what makes ssh use the keys."""

    caller: str
    namespace: str
    folder: Path
    wrapper: tuple[str, ...]

    @property
    def words(self):
        return ("--ssh", f"root@{THERE}:{PORT}")

    def processes(self, *names):
        """The process ids of programs of these names on the host."""
        inode = Path(f"/run/netns/{self.namespace}").stat().st_ino
        return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal() and _is(entry, inode, names)]

    def running(self, *names, seconds=10):
        """As `processes`, once there is one: a process that is just replacing its program has no name for a moment."""
        deadline = time.monotonic() + seconds
        while not (found := self.processes(*names)) and time.monotonic() < deadline:
            time.sleep(0.05)
        return found

    def without(self, *names, seconds=10):
        """Whether these programs have ended there in this time."""
        deadline = time.monotonic() + seconds
        while self.processes(*names):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        return True

    def send(self, count, size=10, port=9999):
        """UDP packets from the caller to the host, which answers with ICMP."""
        sending = f"import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); d = ('{THERE}', {port})\n"
        sending += f"for n in range({count}): s.sendto(n.to_bytes(4, 'big') + bytes({size}), d)"
        subprocess.run(inside(self.caller, "python3", "-c", sending), check=True)


def _is(process, inode, names):
    with contextlib.suppress(OSError):
        if (process / "ns/net").stat().st_ino == inode:
            return (process / "comm").read_text().strip() in names
    return False


@contextlib.contextmanager
def ssh_host(folder, *, wrapper=()):
    """`wrapper` is a program that starts sshd. It runs as root, in no service."""
    folder.mkdir(exist_ok=True)
    with network_namespace() as caller, network_namespace() as namespace:
        link = ["ip", "link", "add", "c0", "netns", caller, "type", "veth", "peer", "name", "eth0", "netns", namespace]
        subprocess.run(link, check=True)
        for name, interface, address in ((caller, "c0", HERE), (namespace, "eth0", THERE)):
            subprocess.run(["ip", "-n", name, "address", "add", f"{address}/24", "dev", interface], check=True)
            subprocess.run(["ip", "-n", name, "link", "set", interface, "up"], check=True)
        for key in ("host", "user"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / key], check=True)
        (folder / "known").write_text(f"[{THERE}]:{PORT} {(folder / 'host.pub').read_text()}")
        settings = {
            "Port": PORT, "HostKey": folder / "host", "PidFile": "none", "StrictModes": "no", "AuthorizedKeysFile": "none",
            "AuthorizedKeysCommandUser": "root", "AuthorizedKeysCommand": f"{shutil.which('cat')} {folder}/user.pub",  # accounts may not look there
            "UsePAM": "no", "PasswordAuthentication": "no", "KbdInteractiveAuthentication": "no",
        }  # fmt: skip
        (folder / "sshd_config").write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
        (folder / "config").write_text(
            f"Host *\n IdentityFile {folder}/user\n IdentitiesOnly yes\n UserKnownHostsFile {folder}/known\n GlobalKnownHostsFile /dev/null\n"
        )
        programs = folder / "bin"
        programs.mkdir()
        # ssh looks for its configuration in the home of the account, whatever HOME says
        (programs / "ssh").write_text(f"#!/bin/sh\nexec {shutil.which('ssh')} -F {shlex.quote(str(folder / 'config'))} \"$@\"\n")
        (programs / "ssh").chmod(0o755)
        Path("/run/sshd").mkdir(exist_ok=True)  # sshd's empty directory, which its service makes elsewhere
        command = [*wrapper, shutil.which("sshd"), "-D", "-e", "-f", str(folder / "sshd_config")]
        with (folder / "sshd.log").open("wb") as log:
            sshd = subprocess.Popen(inside(namespace, *command), stderr=log, stdin=subprocess.DEVNULL)
        host = SshHost(caller, namespace, folder, ("env", f"PATH={programs}:{os.environ['PATH']}"))
        try:
            deadline = time.monotonic() + 10
            while b"listening on" not in (folder / "sshd.log").read_bytes():
                assert sshd.poll() is None, (folder / "sshd.log").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.02)
            yield host
        finally:
            sshd.terminate()
            sshd.wait()
            for process in host.processes("sshd", "sshd-session", "tcpdump", "sh"):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
