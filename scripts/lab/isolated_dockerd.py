"""Runs dockerd as the only thing in fresh mount and process namespaces; ends it when standard input closes.

Started by docker_daemon.py through unshare(1). /run is an empty tmpfs here: dockerd finds no containerd of the host's and
starts its own, and no mount or socket of it is seen outside. When this process dies, the kernel ends all containers with it.
"""

import contextlib
import os
import subprocess
import sys
import threading


def main(command: list[str]) -> int:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=0755", "captool-lab", "/run"], check=True)
    dockerd = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    threading.Thread(target=_end_with_stdin, args=(dockerd,), daemon=True).start()
    while True:  # the first process of a process namespace inherits its orphans
        pid, status = os.wait()
        if pid == dockerd.pid:
            return os.waitstatus_to_exitcode(status) & 0xFF


def _end_with_stdin(dockerd: "subprocess.Popen[bytes]") -> None:
    sys.stdin.buffer.read()
    with contextlib.suppress(ProcessLookupError):
        os.kill(dockerd.pid, 15)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
