"""Output that holds secrets: a file that only its owner may read, there whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from captool.errors import UsageError


@contextmanager
def private_file(path: Path) -> Iterator[BinaryIO]:
    """Write `path` whole or not at all (0600), replacing what is there; devices and pipes are written to, never replaced.

    Raises UsageError where that is not possible.
    """
    if path.exists() and not path.is_file():
        try:
            with path.open("wb") as file:
                yield file
        except BrokenPipeError:
            raise
        except OSError as error:
            raise UsageError(f"{path}: cannot write: {(error.strerror or str(error)).lower()}; choose another place with -o") from None
        return
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb", 1 << 20) as file:
            yield file
        unfinished.replace(path)
    except OSError as error:
        raise UsageError(f"{path}: cannot write: {(error.strerror or str(error)).lower()}; choose another place with -o") from None
    finally:
        unfinished.unlink(missing_ok=True)
