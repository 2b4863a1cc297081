"""One capture read by several processes: each follows a part of the connections, told apart by a hash of their ends.

Every process reads all packets and decodes them as far as their ends; tracking, decryption and what is above them are shared. This
process is one of them: its part need not be sent. The result is that of one process. Where it might not be, because a bound on all
connections together was reached or one connection's secrets are in another's handshake, `read_in_shards` says so by giving nothing, and
the capture is to be read by one process.
"""

import os
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection as Pipe
from typing import Final

from captool import marshalled
from captool.connections import Progress, Reading
from captool.errors import CaptoolError
from captool.findings.tables import Connection
from captool.keys.material import KeyRing
from captool.tcp.connection import TcpConnection

SENT_AT_ONCE: Final = 256  # while the next ones are made ready

ReadShard = Callable[[int, int, Progress | None], Reading]


def read_in_shards(read: ReadShard, jobs: int, progress: Progress | None) -> Reading | None:
    """`read(shard, jobs, progress)` in `jobs` processes, put together; None if one process has to read the capture.

    Raises what `read` raises here. A process that fails, for whatever reason, leaves it to the one to fail in the same way.
    """
    context = get_context("fork")
    pipes, processes = [], []
    try:
        for shard in range(1, jobs):
            receiver, sender = context.Pipe(duplex=False)
            process = context.Process(target=_work, args=(read, shard, jobs, sender), daemon=True)
            process.start()
            sender.close()
            pipes.append(receiver)
            processes.append(process)
        results = [read(0, jobs, progress)]
        while pipes and not results[-1].alone:
            try:
                results.append(_received(pipes.pop(0)))
            except EOFError:
                return None
    finally:
        for process in processes:
            process.terminate()
            process.join()
    return None if results[-1].alone else _together(results)


def _work(read: ReadShard, shard: int, jobs: int, sender: Pipe) -> None:
    """The life of a process: read, send, leave."""
    with suppress(CaptoolError, OSError, MemoryError, KeyboardInterrupt):
        reading = read(shard, jobs, None)
        secrets = reading.ring.session_secrets, reading.ring.premaster_secrets
        sender.send_bytes(marshalled.dumps((reading._replace(connections=[], ring=KeyRing()), secrets, len(reading.connections))))
        for begin in range(0, len(reading.connections), SENT_AT_ONCE):
            sender.send_bytes(marshalled.dumps(reading.connections[begin : begin + SENT_AT_ONCE]))
    sender.close()
    os._exit(0)


def _received(pipe: Pipe) -> Reading:
    """What another process read. Raises EOFError where it failed."""
    reading, (session_secrets, premaster_secrets), count = marshalled.loads(pipe.recv_bytes())
    connections: list[Connection] = []
    while len(connections) < count:
        connections += marshalled.loads(pipe.recv_bytes())
    ring = KeyRing(session_secrets=session_secrets, premaster_secrets=premaster_secrets)
    return reading._replace(connections=connections, ring=ring)  # type: ignore[no-any-return]


def _together(results: list[Reading]) -> Reading:
    """One reading: connections numbered in the order of their first packets, as one process numbers them."""
    connections = [connection for reading in results for connection in reading.connections]
    connections.sort(key=lambda connection: connection.tcp.first_packet)
    return results[0]._replace(
        capture=results[0].capture._replace(duplicate_packets=sum(reading.capture.duplicate_packets for reading in results)),
        connections=[numbered(connection, number) for number, connection in enumerate(connections)],
        opened=len(connections),
    )


def numbered(connection: Connection, number: int) -> Connection:
    """The connection with this number."""
    return Connection(TcpConnection(number, *connection.tcp[1:]), *connection[1:])
