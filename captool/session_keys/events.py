"""Lines of trace_pipe -> secrets, sockets, losses. Formats: Documentation/trace/ftrace.rst (output format), uprobetracer.rst.

    docker-1234    (   1230) [001] ..... 5312.871093: k0: (0x746180) ll=13 l={0x43,0x4c,...} rl=32 r={...} sl=48 s={...}

What stands before the process id is the thread's name, which any process chooses freely (15 bytes, also newlines): too short to imitate
an event, and never used. Values are read as far as their length says; what does not fit is no secret.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from captool.session_keys.write_key_log import MAX_LABEL, MAX_SECRET, RANDOM_BYTES

MAX_LINE: Final = 4096
LABEL_OF_OLD_GO: Final = b"CLIENT_RANDOM"  # until Go 1.11 the function has no label

_HEAD: Final = rb"-(\d{1,10}) +(?:\( *(\d{1,10}|-+)\) +)?\[\d+\] +(?:\S+ +)?(\d{1,12})\.(\d{6}): "
_ARRAY: Final = rb"=\{([0-9a-fx,]+)\}"
SECRET: Final = re.compile(
    _HEAD + rb"(k\d+): \(0x[0-9a-f]+\)(?: ll=(\d+) l" + _ARRAY + rb")? rl=(\d+) r" + _ARRAY + rb" sl=(\d+) s" + _ARRAY + rb"\s*$"
)
SOCKET: Final = re.compile(_HEAD + rb"inet_sock_set_state: (?:\w+=\S+ ){0,8}?sport=(\d+) dport=(\d+) (?:\w+=\S+ ){0,8}?newstate=(\w+)\s*$")
LOST: Final = re.compile(rb"^CPU:\d+ \[LOST (\d+) EVENTS\]")
LABEL: Final = re.compile(rb"[A-Z][A-Z0-9_]{2,31}")


@dataclass(frozen=True, slots=True)
class SecretSeen:
    """A secret that a program has just derived: `event` names the program, `time_ns` is CLOCK_MONOTONIC, `process` its id."""

    event: str
    process: int
    time_ns: int
    label: str
    client_random: bytes
    secret: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class SocketSeen:
    """A process that begins to connect, or to listen."""

    process: int
    local_port: int
    remote_port: int
    state: str


@dataclass(frozen=True, slots=True)
class EventsLost:
    """Events that did not fit into the kernel's buffer."""

    count: int


Event = SecretSeen | SocketSeen | EventsLost


def parse_event(line: bytes) -> Event | None:
    """The event of a line; None for lines that are none of ours, or that hold no usable secret."""
    if match := SECRET.search(line):
        return _secret(match)
    if match := SOCKET.search(line):
        return SocketSeen(_process(match), int(match[5]), int(match[6]), match[7].decode())
    if match := LOST.match(line):
        return EventsLost(int(match[1]))
    return None


class EventLines:
    """Cuts what is read from trace_pipe into lines; a line longer than an event can be is dropped."""

    def __init__(self) -> None:
        self._begun = b""
        self._dropping = False

    def lines(self, data: bytes) -> Iterator[bytes]:
        """The lines that are whole with this data."""
        *whole, rest = (self._begun + data).split(b"\n")
        for number, line in enumerate(whole):
            if not (number == 0 and self._dropping) and len(line) <= MAX_LINE:
                yield line
        if whole:
            self._dropping = False
        if len(rest) > MAX_LINE:
            rest, self._dropping = b"", True
        self._begun = rest


def _secret(match: "re.Match[bytes]") -> SecretSeen | None:
    label = LABEL_OF_OLD_GO if match[6] is None else _bytes(match[6], match[7], MAX_LABEL)
    random, secret = _bytes(match[8], match[9], RANDOM_BYTES), _bytes(match[10], match[11], MAX_SECRET)
    if label is None or not LABEL.fullmatch(label) or random is None or len(random) != RANDOM_BYTES:
        return None
    # zeros are what the kernel gives for memory that it could not read
    if secret is None or len(secret) not in {32, 48} or not any(secret) or not any(random):
        return None
    return SecretSeen(match[5].decode(), _process(match), int(match[3]) * 10**9 + int(match[4]) * 1000, label.decode(), random, secret)


def _process(match: "re.Match[bytes]") -> int:
    """The process; where the kernel does not know it (any more), the thread."""
    return int(match[2]) if match[2] and match[2].isdigit() else int(match[1])


def _bytes(length: bytes, array: bytes, most: int) -> bytes | None:
    """The beginning of a fetched array: "0x43,0x4c,0x0"; what is behind the length is the neighbourhood in memory."""
    count = int(length) if len(length) <= 3 else most + 1
    items = array.split(b",")
    if count > most or count > len(items):
        return None
    try:
        return bytes(int(item, 16) for item in items[:count])
    except ValueError:
        return None
