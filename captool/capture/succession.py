"""Which file comes next when a capture that is followed goes on in another one: rotation by captool record, tcpdump -C/-G/-W, dumpcap -b.

In a directory that was named every new capture is one; beside a file that was named, those are whose names differ from its name in
digits only.
"""

import os
import re
import struct
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from captool.capture.capture_file import SECTION_HEADER_BYTES
from captool.capture.merge import NEVER
from captool.capture.pcap import HEADER_LENGTH, MAGICS
from captool.capture.source import STANDARD_INPUT

DIGITS: Final = re.compile(r"\d+")
TIME: Final = 8  # bytes of a packet's time in pcap


class Place(NamedTuple):
    """A directory to look into; `shapes` are names without their digits, None: any name."""

    folder: Path
    shapes: frozenset[str] | None


class Succession:
    """Looks for files that began after those that were read. A ring that writes old names anew is recognised by the times in them."""

    def __init__(self, named: Iterable[Path]) -> None:
        self._places = tuple(_places(list(named)))
        # Time of change and size of files that are none, or were there before the beginning: looked at again only when they change.
        self._passed: dict[Path, tuple[int, int]] = {}
        for place in self._places:
            if place.shapes is not None:
                self._passed.update(_files(place))

    def __bool__(self) -> bool:
        return bool(self._places)

    def next_file(self, read: Collection[Path], latest_ns: int) -> Path | None:
        """The file that begins first of those not `read`; one of these only if it was written anew, with packets after `latest_ns`."""
        found: list[tuple[int, int, Path]] = []
        for place in self._places:
            for path, status in _files(place):
                if self._passed.get(path) == status or status[1] < HEADER_LENGTH:
                    continue
                begins = _first_packet_ns(path)
                if begins is None or (path in read and not latest_ns < begins < NEVER):
                    self._passed[path] = status
                else:
                    found.append((begins, status[0], path))
        return min(found)[2] if found else None

    def went_on(self, path: Path) -> bool:
        """Whether another file of the set that this one belongs to was written later."""
        shape = _shape(path.name)
        with suppress(OSError):
            written = path.stat().st_mtime_ns
            for place in self._places:
                if place.folder == path.parent and (place.shapes is None or shape in place.shapes):
                    return any(
                        status[0] > written and status[1] >= HEADER_LENGTH and _shape(other.name) == shape
                        for other, status in _files(place)
                        if other != path
                    )
        return False


def _places(named: list[Path]) -> Iterator[Place]:
    directories = {path for path in named if path != STANDARD_INPUT and path.is_dir()}
    yield from (Place(folder, None) for folder in sorted(directories))
    files = [path for path in named if path not in directories and path.is_file()]
    for folder in sorted({path.parent for path in files} - directories):
        yield Place(folder, frozenset(_shape(path.name) for path in files if path.parent == folder))


def _shape(name: str) -> str:
    return DIGITS.sub("", name)


def _files(place: Place) -> Iterator[tuple[Path, tuple[int, int]]]:
    """The files of a place with the time of their last change and their size."""
    with suppress(OSError), os.scandir(place.folder) as entries:
        for entry in entries:
            if place.shapes is not None and _shape(entry.name) not in place.shapes:
                continue
            with suppress(OSError):
                if entry.is_file():
                    status = entry.stat()
                    yield place.folder / entry.name, (status.st_mtime_ns, status.st_size)


def _first_packet_ns(path: Path) -> int | None:
    """The time of a pcap file's first packet, `NEVER` where it has none yet or is pcapng; None for what is no capture."""
    try:
        with path.open("rb") as file:
            head = file.read(HEADER_LENGTH + TIME)
    except OSError:
        return None
    if head[:4] in MAGICS:
        order, fraction_ns, _ = MAGICS[head[:4]]
        if len(head) < HEADER_LENGTH + TIME:
            return NEVER
        seconds, fraction = struct.unpack_from(f"{order}II", head, HEADER_LENGTH)
        return int(seconds) * 1_000_000_000 + int(fraction) * fraction_ns
    return NEVER if head[:4] == SECTION_HEADER_BYTES else None
