"""The key log that is written while recording (RFC 9850): each secret once, a comment before it that says when and from whom.

    # 2026-11-23T06:40:01.123456789Z pid 1234 /usr/bin/docker
    CLIENT_HANDSHAKE_TRAFFIC_SECRET 2f1c... 9a3b...

Every line is handed to the kernel at once, so a recording that is killed keeps what it had. Only the owner can read the file.
"""

import os
import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from captool.errors import UsageError
from captool.session_keys.events import SecretSeen

FILE_NAME: Final = "session-keys.log"  # in a bundle of keys
MAX_SECRETS: Final = 1 << 20  # remembered, so that none is written twice


class KeyLog:
    """A key log that grows. `secrets` and `sessions` count what was written to it now; an existing one is continued."""

    def __init__(self, path: Path) -> None:
        """Open or make the file. Raises UsageError."""
        self.path = path
        self.secrets = 0
        self._seen: set[bytes] = set()
        self._sessions: set[bytes] = set()
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            self._descriptor = os.open(path, flags, 0o600)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise UsageError(f"{path}: cannot write session keys there: {reason}; choose another place") from None
        status = os.fstat(self._descriptor)
        if not stat.S_ISREG(status.st_mode):  # a device would be closed to others, and removed at the end
            os.close(self._descriptor)
            raise UsageError(f"{path}: is no ordinary file; name another one for the session keys")
        os.fchmod(self._descriptor, 0o600)
        self._size = status.st_size

    @property
    def sessions(self) -> int:
        """The number of TLS sessions that secrets were written of."""
        return len(self._sessions)

    def write(self, seen: SecretSeen, program: str, time_ns: int) -> bool:
        """Write a secret, unless it is there already. `time_ns` is since 1970. Raises OSError, and the file ends after a whole line."""
        line = f"{seen.label} {seen.client_random.hex()} {seen.secret.hex()}\n".encode()
        if line in self._seen:
            return False
        shown = "".join(letter if letter.isprintable() else "?" for letter in program)[:256]
        whole, fraction = divmod(time_ns, 10**9)
        comment = f"# {datetime.fromtimestamp(whole, UTC):%Y-%m-%dT%H:%M:%S}.{fraction:09d}Z pid {seen.process} {shown}\n"
        self._put(comment.encode("utf-8", "backslashreplace") + line)
        if len(self._seen) < MAX_SECRETS:
            self._seen.add(line)
            self._sessions.add(seen.client_random)
        self.secrets += 1
        return True

    def close(self) -> None:
        """Close the file; one that is empty is removed."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
            if self._size == 0:
                self.path.unlink(missing_ok=True)

    def _put(self, data: bytes) -> None:
        written = 0
        try:
            while written < len(data):
                written += os.write(self._descriptor, data[written:])
        except OSError:
            os.ftruncate(self._descriptor, self._size)
            raise
        self._size += written
