"""What goes wrong while a job runs: the client stands still, the path or a program dies, the recording ends."""

import contextlib
import os
import signal
import subprocess
import time
from dataclasses import dataclass, field

import firewall
from network import Network
from processes import LabError

INCIDENTS = ("client-stops", "client-continues", "path-dies", "front-dies", "recording-stops")


@dataclass
class Stage:
    """What an incident can happen to, and what is still to come: (seconds after the container's start, incident), in order of time."""

    network: Network
    client: "subprocess.Popen[bytes]"
    front: "subprocess.Popen[bytes] | None"
    recorders: contextlib.ExitStack
    coming: list[tuple[float, str]]
    happened: list[dict[str, object]] = field(default_factory=list)

    def play_due(self, began: float) -> None:
        """Let happen what is due, `began` (monotonic seconds) being the container's start."""
        while self.coming and time.monotonic() - began >= self.coming[0][0]:
            _, incident = self.coming.pop(0)
            self._play(incident)
            self.happened.append({"incident": incident, "at": time.time_ns()})

    def _play(self, incident: str) -> None:
        match incident:
            case "client-stops":
                os.kill(self.client.pid, signal.SIGSTOP)
            case "client-continues":
                os.kill(self.client.pid, signal.SIGCONT)
            case "path-dies":
                firewall.cut(self.network.router)
            case "front-dies" if self.front is not None:
                os.killpg(self.front.pid, signal.SIGKILL)
            case "recording-stops":
                self.recorders.close()
            case _:
                raise LabError(f"{incident} cannot happen in this case")
