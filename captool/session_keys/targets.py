"""What `--session-keys` names: a program, a process, or `auto`; and the program files that this means now."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from captool.errors import UsageError
from captool.session_keys.live_sockets import processes

AUTO: Final = "auto"
# Go programs that speak to a Docker Engine over TCP, or are one. Where they are installed, `auto` does not wait until they connect:
# a command that lives for half a second has made its keys by then.
DOCKER_PROGRAMS: Final = ("docker", "dockerd", "docker-machine", "docker-compose", "gitlab-runner")
PLUGINS: Final = ("docker-compose", "docker-buildx")
PLUGIN_DIRECTORIES: Final = (
    "~/.docker/cli-plugins",
    "/usr/local/lib/docker/cli-plugins",
    "/usr/local/libexec/docker/cli-plugins",
    "/usr/lib/docker/cli-plugins",
    "/usr/libexec/docker/cli-plugins",
)
SYSTEM_DIRECTORIES: Final = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
DELETED: Final = " (deleted)"


@dataclass(frozen=True, slots=True)
class Target:
    """One `--session-keys`: its kind, and the name, path or number that was given."""

    kind: Literal["auto", "process", "program", "path"]
    word: str


@dataclass(frozen=True, slots=True)
class ProgramFile:
    """A program file: `path` can be opened from here, `name` is its path where it runs.

    `process` is set if it was found through one, `contained` if that process has a file system of its own.
    """

    path: str
    name: str
    process: int | None = None
    contained: bool = False

    @property
    def shown(self) -> str:
        """How it is called in messages."""
        return f"{self.name} (in the container of process {self.process})" if self.contained else self.name


def parse_targets(words: Sequence[str]) -> tuple[Target, ...]:
    """The targets, each once. Raises UsageError for a process or a path that does not exist, and for a program that is nowhere."""
    return tuple(dict.fromkeys(_parse(word) for word in words))


def _parse(word: str) -> Target:
    if word == AUTO:
        return Target("auto", word)
    if word.isascii() and word.isdecimal():
        if not Path("/proc", word).is_dir():
            raise UsageError(f"--session-keys {word}: there is no process {word}; name a running one, or its program")
        return Target("process", str(int(word)))
    if "/" in word:
        if not Path(word).is_file():
            raise UsageError(f"--session-keys {word}: there is no such file")
        return Target("path", word)
    if not word or "\0" in word or not (_installed(word, os.environ) or any(running(word))):
        raise UsageError(f"--session-keys {word}: there is no such program, installed or running; name its path or its process id")
    return Target("program", word)


def program_files(targets: Sequence[Target], environment: Mapping[str, str]) -> Iterator[ProgramFile]:
    """The program files of the targets as things are now, without those that `auto` finds by their sockets."""
    for target in targets:
        match target.kind:
            case "auto":
                for name in DOCKER_PROGRAMS:
                    yield from _installed(name, environment)
                yield from _plugins(environment)
            case "process":
                yield program_of(int(target.word))
            case "path":
                yield ProgramFile(target.word, target.word)
            case "program":
                yield from _installed(target.word, environment)
                yield from running(target.word)


def concerns(targets: Sequence[Target], program: ProgramFile) -> bool:
    """Whether a process that has just opened a socket is one that the targets mean."""
    name = Path(program.name).name
    return any(target.kind == "auto" or (target.kind == "program" and target.word == name) for target in targets)


def program_of(process: int) -> ProgramFile:
    """The program of a process, wherever its file is: also one of another mount namespace, or one that was replaced since."""
    link = f"/proc/{process}/exe"
    with suppress(OSError):
        return ProgramFile(link, os.readlink(link).removesuffix(DELETED), process, _contained(process))  # noqa: PTH115
    return ProgramFile(link, f"process {process}", process)


def running(name: str) -> Iterator[ProgramFile]:
    """The programs of this name that run now, in containers too."""
    for process in processes():
        with suppress(OSError):
            path = os.readlink(f"/proc/{process}/exe").removesuffix(DELETED)  # noqa: PTH115
            if path.rpartition("/")[2] == name:
                yield program_of(process)


def _contained(process: int) -> bool:
    return not os.path.samestat(os.stat(f"/proc/{process}/root/"), os.stat("/"))  # noqa: PTH116


def _installed(name: str, environment: Mapping[str, str]) -> list[ProgramFile]:
    """Every program of this name, not only the one that our own PATH begins with: others have another PATH."""
    directories = dict.fromkeys((*environment.get("PATH", os.defpath).split(os.pathsep), *SYSTEM_DIRECTORIES))
    paths = [Path(directory, name) for directory in directories if directory]
    return [ProgramFile(str(path), str(path)) for path in paths if path.is_file() and os.access(path, os.X_OK)]


def _plugins(environment: Mapping[str, str]) -> Iterator[ProgramFile]:
    home = environment.get("HOME", "")
    for directory in PLUGIN_DIRECTORIES:
        for name in PLUGINS:
            path = Path(directory.replace("~", home, 1), name)
            if path.is_file():
                yield ProgramFile(str(path), str(path))
