"""One capture read by several processes: each follows a part of the connections, told apart by a hash of their ends.

Every process reads and decodes all packets, which is quick; tracking, decryption and what is above them are shared. The result is that of
one process. Where it might not be, because a bound on all connections together was reached or one connection's secrets are in
another's handshake, `read_in_shards` says so by giving nothing, and the capture is to be read by one process.
"""

import os
import pickle
import selectors
from collections.abc import Callable, Iterable
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection as Pipe
from typing import Final

from captool.capture.summary import CaptureSummary
from captool.connections import Progress, Reading
from captool.errors import CaptoolError
from captool.findings.tables import Connection
from captool.keys.material import KeyRing

PROGRESS_STEPS: Final = 200

ReadShard = Callable[[int, int, Progress | None], Reading]


def read_in_shards(read: ReadShard, jobs: int, progress: Progress | None) -> Reading | None:
    """`read(shard, jobs, progress)` in `jobs` processes, put together; None if one process has to read the capture.

    A process that fails, for whatever reason, leaves it to the one to fail in the same way.
    """
    context = get_context("fork")
    pipes, processes = [], []
    try:
        for shard in range(jobs):
            receiver, sender = context.Pipe(duplex=False)
            process = context.Process(target=_work, args=(read, shard, jobs, sender, progress is not None and shard == 0), daemon=True)
            process.start()
            sender.close()
            pipes.append(receiver)
            processes.append(process)
        results = _results(pipes, progress)
    finally:
        for process in processes:
            process.terminate()
            process.join()
    return None if results is None else _together(results)


def _work(read: ReadShard, shard: int, jobs: int, sender: Pipe, tells: bool) -> None:  # noqa: FBT001 - a process's arguments
    """The life of a process: read, send, leave."""
    sent = 0

    def tell(done: int, total: int) -> None:
        nonlocal sent
        if total and done * PROGRESS_STEPS // total > sent:
            sent = done * PROGRESS_STEPS // total
            sender.send((done, total))

    with suppress(CaptoolError, OSError, MemoryError, KeyboardInterrupt):
        reading = read(shard, jobs, tell if tells else None)
        secrets = reading.ring.session_secrets, reading.ring.premaster_secrets
        sender.send_bytes(pickle.dumps((reading._replace(ring=KeyRing()), secrets), pickle.HIGHEST_PROTOCOL))
    sender.close()
    os._exit(0)


def _results(pipes: list[Pipe], progress: Progress | None) -> list[Reading] | None:
    """What every process sent, in the order of the shards; None as soon as one of them sent nothing, or must not be alone."""
    results: dict[int, Reading] = {}
    with selectors.DefaultSelector() as waiting:
        for shard, pipe in enumerate(pipes):
            waiting.register(pipe, selectors.EVENT_READ, shard)
        while waiting.get_map():
            for key, _ in waiting.select():
                pipe = pipes[key.data]
                try:
                    received = pickle.loads(pipe.recv_bytes())  # noqa: S301 - from a process of our own
                except EOFError:
                    return None
                if isinstance(received[0], int):
                    if progress:
                        progress(*received)
                    continue
                reading, (session_secrets, premaster_secrets) = received
                if reading.alone:
                    return None
                results[key.data] = reading._replace(ring=KeyRing(session_secrets=session_secrets, premaster_secrets=premaster_secrets))
                waiting.unregister(pipe)
    return [results[shard] for shard in range(len(pipes))]


def _together(results: list[Reading]) -> Reading:
    """One reading: connections numbered in the order of their first packets, as one process numbers them."""
    connections = sorted(_all(results), key=lambda connection: connection.tcp.first_packet)
    return results[0]._replace(
        capture=_summed(results),
        connections=[numbered(connection, number) for number, connection in enumerate(connections)],
        opened=len(connections),
    )


def _all(results: Iterable[Reading]) -> Iterable[Connection]:
    return (connection for reading in results for connection in reading.connections)


def _summed(results: list[Reading]) -> CaptureSummary:
    return results[0].capture._replace(duplicate_packets=sum(reading.capture.duplicate_packets for reading in results))


def numbered(connection: Connection, number: int) -> Connection:
    """The connection with this number."""
    return connection._replace(tcp=connection.tcp._replace(id=number))
