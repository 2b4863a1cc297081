"""What inotify tells of a machines directory, by way of watchdog: directories that came and went, files that were written."""

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from watchdog.events import (
    DirCreatedEvent,
    DirDeletedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer

from captool.keys.caught import WANTED

Catch = Callable[[Path, tuple[str, ...]], None]
Gone = Callable[[Path], None]

# No openings: reading the files would tell of itself without end.
EVENTS: Final[list[type[FileSystemEvent]]] = [
    DirCreatedEvent, DirDeletedEvent, DirMovedEvent, FileClosedEvent, FileCreatedEvent, FileMovedEvent,
]  # fmt: skip


class DirectoryEvents:
    """Calls `catch` with a machine's directory and the files to read in it, `gone` with one that was removed; in watchdog's thread."""

    def __init__(self, catch: Catch, gone: Gone) -> None:
        self._catch, self._gone = catch, gone
        self._observer = Observer()
        self._started = False

    def add(self, root: Path) -> None:
        """Hear of another machines directory. Raises OSError where inotify or a watch is not to be had."""
        if not self._started:
            logging.getLogger("watchdog").addHandler(logging.NullHandler())  # a full queue is made up for by the watcher's next look
            self._observer.start()
            self._started = True
        self._observer.schedule(_Handler(root, self._catch, self._gone), str(root), recursive=True, event_filter=EVENTS)

    def stop(self) -> None:
        """No call comes after this."""
        if self._started:
            self._observer.stop()
            self._observer.join()


class _Handler(FileSystemEventHandler):
    def __init__(self, root: Path, catch: Catch, gone: Gone) -> None:
        self._root, self._catch, self._gone = str(root), catch, gone

    def dispatch(self, event: FileSystemEvent) -> None:
        """A new directory is read whole: watchdog added its watch before it told of it, so what is written afterwards is told as well."""
        source, target = self._parts(event.src_path), self._parts(event.dest_path)
        if event.is_directory:
            if event.event_type in {"deleted", "moved"} and len(source) == 1:
                self._gone(Path(self._root, *source))
            for made in (source if event.event_type == "created" else (), target):
                if len(made) == 1 and not made[0].startswith("."):
                    self._catch(Path(self._root, *made), WANTED)
            return
        for written in (source if event.event_type != "moved" else (), target):
            if len(written) == 2 and written[1] in WANTED and not written[0].startswith("."):
                self._catch(Path(self._root, written[0]), (written[1],))

    def _parts(self, path: str | bytes) -> tuple[str, ...]:
        text = os.fsdecode(path)
        return tuple(text[len(self._root) + 1 :].split("/")) if text.startswith(self._root + "/") else ()
