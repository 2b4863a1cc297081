"""Whether work grows in proportion to its input: processor time at n and at 4n, in the same process, never against a clock."""

import time
from collections.abc import Callable

PROPORTIONATE = 6  # times the work for four times the input; what is quadratic needs 16


def growth(prepare: Callable[[int], Callable[[], object]], size: int) -> float:
    """How many times longer `prepare(4 * size)()` takes than `prepare(size)()`; making the input does not count."""
    return spent(prepare(4 * size)) / spent(prepare(size))


def spent(work: Callable[[], object]) -> float:
    times = []
    for _ in range(3):
        begin = time.process_time()
        work()
        times.append(time.process_time() - begin)
    return max(min(times), 1e-3)
