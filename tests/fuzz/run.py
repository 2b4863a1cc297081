"""python -m fuzz.run TARGET [libFuzzer's options and corpus directories]: coverage-guided, so with captool uncompiled.

python -m fuzz.run each DIRECTORY [libFuzzer's options]: every target in a process of its own, two at a time, from its corpus. All are
forked from this one: what they call is instrumented once, which takes three times as long as each then runs. What a target finds, what fails
and what it says is in DIRECTORY/TARGET/found, failures and said, its exit status in the file status, which is there once it has ended.
"""

import os
import sys
import tempfile
from pathlib import Path

import atheris

# What a target calls is instrumented while it is imported; h11 because the way through it decides what the sniffer sees.
with atheris.instrument_imports(include=["captool", "h11"]):
    from captool.tcp import tracker
    from fuzz.targets import CORPUS, TARGETS


AT_ONCE = 2


def main() -> None:
    if not tracker.__file__.endswith(".py"):
        sys.exit("captool is the compiled one here, in which atheris sees nothing: put the checkout into PYTHONPATH")
    name = sys.argv[1]
    if name == "each":
        each(Path(sys.argv[2]), sys.argv[3:])
    else:
        fuzz(name, sys.argv[2:])


def fuzz(name: str, options: list[str]) -> None:
    """Does not return: libFuzzer ends the process."""
    target = TARGETS[name]

    def once(data: bytes) -> None:
        target(data)

    atheris.Setup([sys.argv[0], *options], once)
    atheris.Fuzz()


def each(directory: Path, options: list[str]) -> None:
    running: dict[int, Path] = {}
    for name in TARGETS:
        place = directory / name
        for part in ("found", "failures", "inputs"):
            (place / part).mkdir(parents=True)
        if len(running) == AT_ONCE:
            wait(running)
        child = os.fork()
        if not child:
            said = os.open(place / "said", os.O_WRONLY | os.O_CREAT, 0o600)
            os.dup2(said, 1)
            os.dup2(said, 2)
            tempfile.tempdir = str(place / "inputs")
            fuzz(name, [str(place / "found"), str(CORPUS / name), f"-artifact_prefix={place}/failures/", *options])
        running[child] = place
    while running:
        wait(running)


def wait(running: dict[int, Path]) -> None:
    child, status = os.wait()
    (running.pop(child) / "status").write_text(str(os.waitstatus_to_exitcode(status)))


if __name__ == "__main__":
    main()
