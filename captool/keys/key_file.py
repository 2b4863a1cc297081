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
        return _read(real, path, problems, root=root)
    except (OSError, RuntimeError, ValueError) as error:  # RuntimeError: a loop of links, before Python 3.13
        problems.append(f"{path}: {reason(error)}")
        return None


def read_named_file(path: Path, named_by: Path, problems: list[str]) -> bytes | None:
    """The bytes of a file that the configuration `named_by` puts anywhere on this machine.

    Whoever wrote that configuration must be able to read the file himself: else a captool run by root would fetch him another's key.
    """
    try:
        writer = named_by.stat().st_uid
        return _read(path.resolve(strict=True), path, problems, owner=None if writer in {0, os.geteuid()} else writer, named_by=named_by)
    except (OSError, RuntimeError, ValueError) as error:
        problems.append(f"{path}: {reason(error)} (named by {named_by})")
        return None


def is_there(path: Path) -> bool:
    """Whether something can be found at a path. Path.exists raises where a name is too long or a directory may not be entered."""
    try:
        return path.exists()
    except OSError:
        return False


def is_directory(path: Path) -> bool:
    """Whether a path leads to a directory, as far as can be found out (see `is_there`)."""
    try:
        return path.is_dir()
    except OSError:
        return False


def entries(directory: Path) -> set[str]:
    """The names in a directory, none where it cannot be read."""
    try:
        return {path.name for path in directory.iterdir()}
    except OSError:
        return set()


def reason(error: OSError | RuntimeError | ValueError) -> str:
    """Why a file could not be read."""
    if isinstance(error, ValueError):
        return "is no name that a file can have"
    if isinstance(error, RuntimeError) or error.errno == errno.ELOOP:
        return "is a link that leads back to itself"
    return (error.strerror or str(error)).lower()


def _read(
    real: Path, shown: Path, problems: list[str], *, root: Path | None = None, owner: int | None = None, named_by: Path | None = None
) -> bytes | None:
    """A file's bytes. What was opened is judged, not what the path meant before: links may have been changed meanwhile."""
    # not blocking, so that a pipe under a key's name cannot hold the harvest up
    descriptor = os.open(real, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            problems.append(f"{shown}: not an ordinary file")
            return None
        if owner is not None and os.fstat(descriptor).st_uid != owner:
            problems.append(f"{shown}: named by {named_by}, whose owner does not own that file; not followed")
            return None
        if root is not None and not _opened(descriptor, real).is_relative_to(root):
            problems.append(f"{shown}: was changed into a link out of {root} while it was read; not followed")
            return None
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            data = file.read(MOST_BYTES + 1)
    finally:
        os.close(descriptor)
    if len(data) > MOST_BYTES:
        problems.append(f"{shown}: larger than {MOST_BYTES} bytes, which no key or certificate is")
        return None
    return data


def _opened(descriptor: int, path: Path) -> Path:
    """Where an open file really is; `path` where the kernel does not say."""
    try:
        return Path(os.readlink(f"/proc/self/fd/{descriptor}"))  # noqa: PTH115
    except OSError:
        return path
