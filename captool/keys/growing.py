"""Key material beside a trace that is still being recorded: what is new in it is taken again and again."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from captool.errors import KeyMaterialError
from captool.keys.keylog import add_secrets, parse_key_log
from captool.keys.load import MAX_DEPTH, MAX_FILES, load_keys
from captool.keys.material import KeyRing

MAX_SESSIONS: Final = 1 << 16  # of which secrets are remembered; the oldest go
MAX_TAKEN: Final = 1 << 22  # bytes of the key log at a time


class GrowingKeys:
    """The keys of a bundle that may not exist yet, and of the key log in it. `ring` holds what was found so far.

    The secrets of sessions stay in the same dictionaries, so that whoever has an older ring sees them as well.
    """

    def __init__(self, bundle: Path, key_log: str) -> None:
        self.ring = KeyRing()
        self._bundle, self._key_log = bundle, key_log
        self._seen: dict[str, tuple[int, int]] = {}
        self._offset = 0

    def look(self) -> None:
        """Take what is new. What cannot be read yet is tried again the next time."""
        with suppress(OSError):
            self._take_secrets()
        seen = self._files()
        if seen == self._seen:
            return
        self._seen = seen
        with suppress(KeyMaterialError):  # nothing that can be used is there yet
            loaded = load_keys([self._bundle])
            mine = self.ring
            self.ring = loaded.with_secrets(mine.session_secrets, mine.premaster_secrets, mine.resumable)

    def _take_secrets(self) -> None:
        with (self._bundle / self._key_log).open("rb") as file:
            file.seek(self._offset)
            lines, end, _ = file.read(MAX_TAKEN).rpartition(b"\n")
        if end:
            self._offset += len(lines) + 1
            add_secrets(self.ring, parse_key_log(lines, self._key_log)[0])
            while len(self.ring.session_secrets) > MAX_SESSIONS:
                del self.ring.session_secrets[next(iter(self.ring.session_secrets))]

    def _files(self) -> dict[str, tuple[int, int]]:
        """Time and size of each file but the key log."""
        found: dict[str, tuple[int, int]] = {}
        for folder, folders, files in os.walk(self._bundle):
            if len(Path(folder).relative_to(self._bundle).parts) >= MAX_DEPTH:
                folders.clear()
            for name in files:
                if len(found) >= MAX_FILES:
                    return found
                with suppress(OSError):
                    status = os.stat(os.path.join(folder, name))  # noqa: PTH116, PTH118 - many, and again and again
                    if name != self._key_log:
                        found[os.path.join(folder, name)] = (status.st_mtime_ns, status.st_size)  # noqa: PTH118
        return found
