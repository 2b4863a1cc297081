"""What was read of a machine's directory while it was there: every whole version of every file, for the directory may be gone next."""

import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from captool.keys.key_file import MOST_BYTES
from captool.keys.pem_facts import PemError, read_certificate, read_private_key
from captool.keys.place import CONFIG, MACHINE_FILES

WANTED: Final = (CONFIG, *MACHINE_FILES)
MOST_VERSIONS: Final = 8  # of one file between two writings to the bundle, a second apart


@dataclass(slots=True)
class Caught:
    """A directory's files. Times are monotonic nanoseconds: of the last new version, of the last look that found the files wanting."""

    changed_ns: int
    versions: dict[str, list[bytes]] = field(default_factory=dict, repr=False)
    looked_ns: int = 0

    def add(self, file: str, data: bytes, now_ns: int) -> int:
        """Keep a version of a file, if it is whole and not the last one again; returns how many bytes more are held."""
        kept = self.versions.setdefault(file, [])
        if not is_whole(file, data) or (kept and kept[-1] == data):
            return 0
        self.changed_ns = now_ns
        kept.append(data)
        dropped = kept.pop(0) if len(kept) > MOST_VERSIONS else b""
        return len(data) - len(dropped)

    def size(self) -> int:
        """Bytes held."""
        return sum(len(data) for kept in self.versions.values() for data in kept)

    def generations(self) -> Iterator[dict[str, bytes]]:
        """The files by name, once for every server key that was seen, each with the certificate that belongs to it; latest last."""
        latest = {file: kept[-1] for file, kept in self.versions.items() if kept}
        keys, certificates = self.versions.get("server-key.pem", []), self.versions.get("server.pem", [])
        for key in keys[:-1]:
            fitting = [certificate for certificate in certificates if _belong_together(key, certificate)]
            if fitting:
                yield latest | {"server-key.pem": key, "server.pem": fitting[-1]}
            else:
                yield {file: data for file, data in latest.items() if file != "server.pem"} | {"server-key.pem": key}
        yield latest


def is_whole(file: str, data: bytes) -> bool:
    """Whether a file looks written to its end; only a parser can tell for certain, and it asks later, when there is time."""
    return data.rstrip().endswith(b"}") if file == CONFIG else b"-----END " in data


def read_wanted(directory: Path, names: tuple[str, ...] = WANTED) -> Mapping[str, bytes]:
    """The files of a machine's directory that are there and ordinary. No link is followed."""
    found: dict[str, bytes] = {}
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        place = os.open(directory, flags | os.O_DIRECTORY)
    except (OSError, ValueError):
        return found
    try:
        for name in names:
            try:
                descriptor = os.open(name, flags | os.O_NONBLOCK, dir_fd=place)
            except OSError:
                continue
            with os.fdopen(descriptor, "rb") as file:
                status = os.fstat(descriptor)
                if stat.S_ISREG(status.st_mode) and 0 < status.st_size <= MOST_BYTES:
                    found[name] = file.read(MOST_BYTES)
    finally:
        os.close(place)
    return found


def _belong_together(key: bytes, certificate: bytes) -> bool:
    try:
        return read_private_key(key).belongs_to(read_certificate(certificate)) is True
    except PemError:
        return False
