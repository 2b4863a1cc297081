"""A program that reads the trace while it is being recorded, and can never disturb that: it is another process, told of files by a pipe.

Whether it is slow, stands still or dies, no packet waits for it: what is written to it never blocks, and what it says is read by a thread.
"""

import json
import os
import subprocess
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from captool.capture.told import named

PATIENCE_S: Final = 30.0
MAX_LINE: Final = 1 << 16


class Onlooker:
    """Runs `command`, whose standard input gets the name of each file, and whose output are JSON texts, a line each, for `tell`.

    `say` gets sentences for the user about the program itself.
    """

    def __init__(self, command: Sequence[str], tell: Callable[[str], None], say: Callable[[str], None]) -> None:
        self._command, self._tell, self._say = list(command), tell, say
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._listen, name="captool-onlooker", daemon=True)
        self._names = -1
        self._last_words = ""
        self._ending = False

    def file_begun(self, path: Path) -> None:
        """The recording goes on in this file; with the first one the program is started, when tcpdump runs already."""
        if self._process is None:
            self._start()
        if self._names < 0:
            return
        line = named(path)
        with suppress(OSError):
            if os.write(self._names, line) == len(line):
                return
        self._close()  # it has died, or has not listened for hundreds of files; the thread tells of its end

    def end(self) -> None:
        """The recording is over: let the program read the rest, for at most half a minute."""
        self._ending = True
        self._close()
        if self._process is None:
            return
        try:
            self._thread.join(PATIENCE_S)
            if self._thread.is_alive():
                self._say(f"the live analysis was still behind after {PATIENCE_S:.0f} s, and was stopped")
        finally:
            self._process.kill()
            self._process.wait()

    def _start(self) -> None:
        reader, self._names = os.pipe()
        os.set_blocking(self._names, False)
        try:
            # a session of its own, so that Ctrl-C ends the recording, and the program when it has read all of that
            self._process = subprocess.Popen(
                self._command, stdin=reader, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True, bufsize=0
            )
        except OSError as error:
            self._close()
            self._say(f"no live analysis: {(error.strerror or str(error)).lower()}")
        else:
            self._thread.start()
        finally:
            os.close(reader)

    def _close(self) -> None:
        if self._names >= 0:
            os.close(self._names)
            self._names = -1

    def _listen(self) -> None:
        process = self._process
        if process is None or process.stdout is None:
            return
        rest = b""
        while data := process.stdout.read(MAX_LINE):
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                self._heard(line)
            rest = rest[-MAX_LINE:]
        if process.wait() > 0 or not self._ending:
            because = f" ({self._last_words})" if self._last_words else ""
            self._say(f"the live analysis has ended{because}; the recording is not affected by that")

    def _heard(self, line: bytes) -> None:
        try:
            text = json.loads(line)
        except ValueError:
            self._last_words = line.decode("utf-8", "backslashreplace").strip()[:500] or self._last_words
            return
        self._tell(str(text))
