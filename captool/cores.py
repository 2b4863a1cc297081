"""The processor's cores, and how the reading of a large capture is shared among them."""

import os
from typing import Final

PROCESS_AND_READER: Final = 2  # cores that a process keeps busy that reads ahead


def processor_cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def default_jobs() -> int:
    """How many processes read a large capture in the shortest time: each with a thread that reads ahead, and decrypts."""
    return max(1, processor_cores() // PROCESS_AND_READER)


def may_read_ahead(jobs: int) -> bool:
    """Whether there is a core for the reader of each of so many processes."""
    return PROCESS_AND_READER * jobs <= processor_cores()
