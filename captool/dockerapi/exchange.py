"""A Docker Engine API exchange: the HTTP exchange, what it asked for, and the container output it carried."""

from typing import Literal, NamedTuple

from captool.direction import Moment
from captool.http.exchange import HttpExchange


class Output(NamedTuple):
    """Some bytes that a container printed, or was sent (`stdin`), raw, with the moment at which they were seen.

    A `hole` has no bytes: the capture lacks output just before the moment, `missing` being how many bytes of the stream at least and at
    most, frame headers included (None: nobody knows), and `of_stdout` and `of_stderr` what is known to be output of each among them.

    `request` is method and target of the exchange that carried them, `exchange` its number on the connection, from 0.
    """

    stream: Literal["stdin", "stdout", "stderr", "hole"]
    data: bytes
    moment: Moment
    exchange: int
    request: str
    missing: tuple[int, int] | None = None
    of_stdout: int = 0
    of_stderr: int = 0


class LostOutput(NamedTuple):
    """Container output that was sent and that the client never acknowledged: bytes of payload, and its beginning.

    `text` is at most the first 200 bytes, still raw: whoever prints it neutralises it first.
    """

    stdout_bytes: int
    stderr_bytes: int
    first: Moment
    text: bytes


class ContainerStream(NamedTuple):
    """What a hijacked stream (or a followed log) carried towards the client; sizes are payload bytes without frame headers.

    `kind` is found from the content (stdcopy frames), not from the header, which older daemons get wrong (FACTS 6.1).
    A raw stream (TTY) counts everything as stdout. `last_output` is the last output that the client acknowledged as well.
    `holes` counts the places at which the capture lacks output, so that the sizes are lower bounds; `unattributed_bytes` came behind
    one and cannot be told apart, because where a frame begins was not known there. `missing` is how many bytes of the stream the holes
    hold at least and at most, frame headers included (None: nobody knows, or they may hold more than the stream); `missing_stdout` and
    `missing_stderr` are the bytes of output among them of which it is known whose they are.
    """

    kind: Literal["multiplexed", "raw", "empty"]
    stdin_bytes: int
    stdout_bytes: int
    stderr_bytes: int
    last_output: Moment | None
    lost: LostOutput | None
    holes: int = 0
    unattributed_bytes: int = 0
    missing: tuple[int, int] | None = None
    missing_stdout: int = 0
    missing_stderr: int = 0


class DockerExchange(NamedTuple):
    """One exchange. `endpoint` is the operation's name in Docker's API description (`ContainerAttach`), None for others."""

    http: HttpExchange
    endpoint: str | None
    container: str | None
    stream: ContainerStream | None
