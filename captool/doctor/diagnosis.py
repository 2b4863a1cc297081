"""`examine`: every part of a diagnosis in order. Nothing is changed, and nothing is sent but to a server that was named."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from captool.doctor.cloud import DMI, Cloud, find_cloud
from captool.doctor.kernel import SYSCTL, Kernel, kernel_settings
from captool.doctor.path import Path as NetworkPath
from captool.doctor.path import path_of
from captool.doctor.programs import ProgramReport, look_at_programs
from captool.doctor.server import ServerReport, look_at_server
from captool.doctor.sockets import SocketReport, look_at_sockets
from captool.doctor.tracing import Tracing, look_at_tracing
from captool.errors import MissingToolError
from captool.keys.load import load_keys
from captool.keys.material import KeyRing
from captool.session_keys.live_sockets import MAX_SOCKETS


@dataclass(frozen=True, slots=True)
class Questions:
    """What was asked: the ports, the middlebox or the timeout to judge by, a server to try, key material."""

    ports: tuple[int, ...]
    network: str | None = None
    idle_timeout_ns: int | None = None
    server: tuple[str, int] | None = None
    keys: tuple[Path, ...] = ()
    key_password: bytes | None = None


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What was found, at `now_ns`. `missing` are sentences about what could not be seen, and why."""

    now_ns: int
    questions: Questions
    sockets: tuple[SocketReport, ...]
    path: NetworkPath
    kernel: Kernel
    cloud: Cloud
    programs: tuple[ProgramReport, ...]
    tracing: Tracing
    server: ServerReport | None
    missing: tuple[str, ...]


def examine(questions: Questions, now_ns: int, *, sysctl: Path = SYSCTL, dmi: Path = DMI) -> Diagnosis:
    """Look at everything. Raises UsageError, KeyMaterialError for what was named and is wrong, MissingToolError where there is no Linux."""
    if sys.platform != "linux":
        raise MissingToolError("captool doctor reads what Linux tells of its sockets and programs; run it on the Linux machine itself")
    ring = load_keys(questions.keys, password=questions.key_password) if questions.keys else KeyRing()
    cloud = find_cloud(dmi)
    kernel = kernel_settings(sysctl)
    path = path_of(questions.network, questions.idle_timeout_ns, cloud)
    sockets = look_at_sockets(questions.ports, path, kernel.conntrack)
    owners = dict.fromkeys(each.owner.process for each in sockets if each.owner is not None)
    programs = look_at_programs(tuple(owners), os.environ)
    tracing = look_at_tracing()
    server = None if questions.server is None else look_at_server(*questions.server, ring, questions.keys)
    return Diagnosis(now_ns, questions, sockets, path, kernel, cloud, programs, tracing, server, tuple(_missing(sockets, tracing)))


def _missing(sockets: Sequence[SocketReport], tracing: Tracing) -> list[str]:
    told = []
    if not tracing.privileged:
        told.append(
            "without root's capabilities (CAP_SYS_ADMIN, CAP_SYS_PTRACE) other network namespaces, and the programs and socket options of "
            "other users, are not to be seen; use sudo"
        )
    if not tracing.all_processes:
        told.append("a container or process namespace: processes outside of it, and their sockets, are not seen; run captool on the host")
    if len(sockets) >= MAX_SOCKETS:
        told.append(f"more than {MAX_SOCKETS} sockets; the others are left out")
    return told
