"""The Docker programs of this machine and the owners of the sockets: version, Go, keepalive, and whether session keys can be taken."""

import os
import re
import stat
import subprocess
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Final, Literal

from captool.doctor.keepalive_by_version import AskedFor, Product, asked_for, products, version_numbers
from captool.goprogram.build_info import GoBuild
from captool.goprogram.elf import ElfFile, ProgramError, open_program
from captool.goprogram.function_address import find_function
from captool.session_keys.built_by import built_by
from captool.session_keys.targets import DOCKER_PROGRAMS, ProgramFile, Target, program_files, program_of, running
from captool.session_keys.write_key_log import FUNCTION, fetch_arguments

VersionFrom = Literal["build information", "--version"]

MAX_PROGRAMS: Final = 100
ASK_S: Final = 5.0  # docker --version answers in 30 ms
MAX_ANSWER: Final = 4096
_VARIABLE: Final = re.compile(r"-X[ =]+\\?[\"']?([\w./-]+)=([\w.+~-]{1,80})")
_ANSWER: Final = re.compile(r"[vV]ersion:?\s+v?(\d+\.\d+(?:\.\d+)?[\w.+~-]{0,40})")


@dataclass(frozen=True, slots=True)
class ProgramReport:
    """A program file. `processes` run it now. `version_from` says how its version is known; `not_known` why it is not.

    `go` is None for programs that are not Go's, and for stripped ones of Go 1.12 and older, which do not say (`before_build_info`).
    `keys` says whether session keys can be taken from it as far as the file goes, `keys_why` why not.
    """

    program: ProgramFile
    name: str
    processes: tuple[int, ...]
    version: str | None
    version_from: VersionFrom | None
    not_known: str | None
    go: str | None
    before_build_info: bool
    keepalive: tuple[AskedFor, ...]
    keys: bool
    keys_why: str | None


@dataclass(slots=True)
class _Found:
    program: ProgramFile
    processes: list[int] = field(default_factory=list)


def look_at_programs(owners: Collection[int], environment: Mapping[str, str]) -> tuple[ProgramReport, ...]:
    """The installed and running Docker programs, and those of the processes `owners`; each file once, our own Python left out."""
    found: dict[tuple[int, int], _Found] = {}
    for program in _candidates(owners, environment):
        if len(found) >= MAX_PROGRAMS:
            break
        if program.process == os.getpid():
            continue
        with suppress(OSError):
            status = os.stat(program.path)  # noqa: PTH116
            one = found.setdefault((status.st_dev, status.st_ino), _Found(program))
            if program.process is not None and program.process not in one.processes:
                one.processes.append(program.process)
    return tuple(_report(one) for one in found.values())


def _candidates(owners: Collection[int], environment: Mapping[str, str]) -> Iterator[ProgramFile]:
    yield from program_files([Target("auto", "auto")], environment)
    for name in DOCKER_PROGRAMS:
        yield from running(name)
    for process in owners:
        yield program_of(process)


def _report(found: _Found) -> ProgramReport:
    program = found.program
    name = PurePath(program.name).name
    processes = tuple(sorted(found.processes))
    try:
        descriptor = os.open(program.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        return _unread(program, name, processes, why)
    try:
        with open_program(descriptor, program.shown) as elf:
            return _examined(found, name, processes, elf, os.fstat(descriptor))
    except ProgramError as error:
        return _unread(program, name, processes, str(error))
    finally:
        os.close(descriptor)


def _unread(program: ProgramFile, name: str, processes: tuple[int, ...], why: str) -> ProgramReport:
    return ProgramReport(program, name, processes, None, None, why, None, before_build_info=False, keepalive=(), keys=False, keys_why=why)


def _examined(found: _Found, name: str, processes: tuple[int, ...], elf: ElfFile, status: os.stat_result) -> ProgramReport:
    build: GoBuild | None = None
    old = False
    with suppress(ProgramError):
        build = built_by(elf)
        old = build is None
    product = _product(build, name)
    version: str | None = None
    version_from: VersionFrom | None = None
    not_known = None
    if build is not None and (version := recorded_version(build, product)):
        version_from = "build information"
    elif product is not None:
        version, not_known = _asked(found.program, status)
        version_from = "--version" if version else None
    numbers = version_numbers(version) if version else None
    go = build.release if build is not None else None
    keepalive = tuple(asked_for(product, numbers, go)) if build is not None or old else ()
    keys_why = _keys_why(elf)
    return ProgramReport(
        found.program,
        product.name if product is not None else name,
        processes,
        version,
        version_from,
        not_known,
        None if build is None else build.version,
        before_build_info=old,
        keepalive=keepalive,
        keys=keys_why is None,
        keys_why=keys_why,
    )


def recorded_version(build: GoBuild, product: Product | None) -> str | None:
    """The product's version in its build information: a variable that was set while linking, else the version of its main module."""
    variables = {} if product is None else dict(_VARIABLE.findall(build.settings.get("-ldflags", "")))
    set_while_linking = next((variables[name] for name in product.variables if name in variables), None) if product is not None else None
    module = build.module_version
    return set_while_linking or (module if module is not None and version_numbers(module) else None)


def _product(build: GoBuild | None, name: str) -> Product | None:
    table = products()
    if build is not None and build.package is not None:
        return next((product for product in table.values() if build.package in product.packages), None)
    product = table.get(name)
    return product if product is not None and product.packages else None


def _keys_why(elf: ElfFile) -> str | None:
    try:
        fetch_arguments(elf, built_by(elf), find_function(elf, FUNCTION))
    except ProgramError as error:
        return str(error)
    return None


def _asked(program: ProgramFile, status: os.stat_result) -> tuple[str | None, str | None]:
    """What `PROGRAM --version` says, and why it was not asked. Only a file that nobody but root or we could have written is run."""
    if program.contained:
        return None, "the file does not say, and programs of containers are not run"
    if program.process is not None:
        return None, "the file does not say, and it is only known as a running process"
    trusted = status.st_uid in {0, os.geteuid()} and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    if not trusted or not os.access(program.path, os.X_OK):
        return None, "the file does not say, and others can write it, so it was not run"
    answer = answer_of([program.path, "--version"])
    match = _ANSWER.search(answer)
    return (match[1], None) if match else (None, "the file does not say, neither does `--version`")


def answer_of(command: list[str]) -> str:
    """The first bytes that a program prints; empty when it does not end in time or cannot be run."""
    with suppress(OSError):
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={"PATH": os.defpath, "HOME": "/nonexistent"},
            cwd="/",
            start_new_session=True,
        )
        with process:
            try:
                answer, _ = process.communicate(timeout=ASK_S)
                return answer[:MAX_ANSWER].decode("utf-8", "replace")
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
    return ""
