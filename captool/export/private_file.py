"""Output that holds secrets: a file that only its owner may read, there whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final

from captool.errors import UsageError

NAME_KEPT: Final = 40  # characters of a name that the unfinished file keeps, which must not become too long with its additions


@contextmanager
def private_file(path: Path) -> Iterator[BinaryIO]:
    """Write `path` whole or not at all (0600), replacing what is there; devices and pipes are written to, never replaced.

    Raises UsageError where that is not possible.
    """
    try:
        replaceable = not path.exists() or path.is_file()
    except OSError as error:  # a directory on the way cannot be searched
        raise _unwritable(path, error) from None
    if not replaceable:
        try:
            with path.open("wb") as file:
                yield file
        except BrokenPipeError:
            raise
        except OSError as error:
            raise _unwritable(path, error) from None
        return
    unfinished = path.with_name(f".{path.name[:NAME_KEPT]}.{os.getpid()}.part")
    try:
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb", 1 << 20) as file:
            yield file
        unfinished.replace(path)
    except OSError as error:
        raise _unwritable(path, error) from None
    finally:
        with suppress(OSError):
            unfinished.unlink()


def _unwritable(path: Path, error: OSError) -> UsageError:
    return UsageError(f"{path}: cannot write: {(error.strerror or str(error)).lower()}; choose another place with -o")
