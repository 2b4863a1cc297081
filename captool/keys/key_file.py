"""One small file of key material, read without being led astray: no link out of its store, no pipe, no disk image."""

import errno
import os
import stat
from pathlib import Path
from typing import Final

MOST_BYTES: Final = 1 << 20  # of any one file; a key is 2 kB, a config.json 4 kB


def read_key_file(path: Path, root: Path, problems: list[str]) -> bytes | None:
    """A file's bytes; None, with a problem, for what is no ordinary file below `root`."""
    try:
        real = path.resolve(strict=True)
        if not real.is_relative_to(root):
            problems.append(f"{path}: is a link to {real}, outside {root}; not followed")
            return None
        return _read(real, path, problems)
    except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links, before Python 3.13
        problems.append(f"{path}: {reason(error)}")
        return None


def read_named_file(path: Path, named_by: Path, problems: list[str]) -> bytes | None:
    """The bytes of a file that the configuration `named_by` puts anywhere on this machine.

    Whoever wrote that configuration must be able to read the file himself: else a captool run by root would fetch him another's key.
    """
    try:
        writer = named_by.stat().st_uid
        if writer not in {0, os.geteuid()} and path.stat().st_uid != writer:
            problems.append(f"{path}: named by {named_by}, whose owner does not own that file; not followed")
            return None
        return _read(path.resolve(strict=True), path, problems)
    except (OSError, RuntimeError) as error:
        problems.append(f"{path}: {reason(error)} (named by {named_by})")
        return None


def entries(directory: Path) -> set[str]:
    """The names in a directory, none where it cannot be read."""
    try:
        return {path.name for path in directory.iterdir()}
    except OSError:
        return set()


def reason(error: OSError | RuntimeError) -> str:
    """Why a file could not be read."""
    if isinstance(error, RuntimeError) or error.errno == errno.ELOOP:
        return "is a link that leads back to itself"
    return (error.strerror or str(error)).lower()


def _read(real: Path, shown: Path, problems: list[str]) -> bytes | None:
    # not blocking, so that a pipe under a key's name cannot hold the harvest up
    descriptor = os.open(real, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            problems.append(f"{shown}: not an ordinary file")
            return None
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            data = file.read(MOST_BYTES + 1)
    finally:
        os.close(descriptor)
    if len(data) > MOST_BYTES:
        problems.append(f"{shown}: larger than {MOST_BYTES} bytes, which no key or certificate is")
        return None
    return data
