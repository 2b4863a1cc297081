"""Whether work grows in proportion to its input: processor time at n and at 4n, in the same process, never against a clock."""

import gc
import time
from collections.abc import Callable

PROPORTIONATE = 6  # times the work for four times the input; what is quadratic needs 16


def growth(prepare: Callable[[int], Callable[[], object]], size: int) -> float:
    """How many times longer `prepare(4 * size)()` takes than `prepare(size)()`; making the input does not count.

    What looks out of proportion is measured again, and later: other processes only ever make something take longer, some for seconds.
    """
    large, small = prepare(4 * size), prepare(size)
    long, short = [], []
    for pause_s in (0, 0.1, 0.3, 1, 3):
        time.sleep(pause_s)
        long += spent(large)
        short += spent(small)
        if min(long) < PROPORTIONATE * min(short):
            break
    return max(min(long), 1e-3) / max(min(short), 1e-3)


def spent(work: Callable[[], object]) -> list[float]:
    """Without the collector, which goes through all that pytest has made again and again; captool has it look seldom (captool/cli)."""
    times = []
    for _ in range(3):
        gc.disable()
        try:
            begin = time.process_time()
            work()
            times.append(time.process_time() - begin)
        finally:
            gc.enable()
    return times
