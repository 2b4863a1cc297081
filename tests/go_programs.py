"""Go programs that tests build for themselves, in the ways in which Go links programs."""

import fcntl
import functools
import itertools
import os
import subprocess
from pathlib import Path

TLS_PAIR = Path(__file__).parent / "session_keys" / "tls_pair.go"
OTHER_GO = tuple(filter(None, os.environ.get("CAPTOOL_GO", "").split(os.pathsep)))  # programs `go` of other releases, if there are any
HELLO = Path(__file__).parent / "goprogram" / "hello.go"  # no TLS in it
MODES = tuple(itertools.product(("exe", "pie"), ("internal", "external"), ("symbols", "stripped")))


@functools.cache
def build(directory, source, mode="exe", link="internal", symbols="symbols", architecture="amd64", go="go"):
    """The path of the program; `external` is the C linker's work, `stripped` is -s -w. Each is built once for a directory."""
    name = "".join(letter if letter.isalnum() else "_" for letter in go)
    target = directory / f"{name}-{Path(source).stem}-{mode}-{link}-{symbols}-{architecture}"
    flags = f"-linkmode={link}" + (" -s -w" if symbols == "stripped" else "")
    environment = {
        **os.environ, "GO111MODULE": "off", "GOTOOLCHAIN": "local", "GOFLAGS": "", "GOARCH": architecture,
        "CGO_ENABLED": "1" if link == "external" else "0",
    }  # fmt: skip
    # Go's library, compiled for each mode, takes a minute; it is kept from run to run, where Go keeps it, if there is such a place.
    if not {"GOCACHE", "XDG_CACHE_HOME", "HOME"} & environment.keys():
        environment["GOCACHE"] = str(directory / "cache")
    command = [go, "build", f"-buildmode={mode}", f"-ldflags={flags}", "-o", str(target), str(source)]
    with target.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another process that shares the tests may be building it
        if not target.exists():
            subprocess.run(command, check=True, env=environment, cwd=directory)
    return target
