"""Times that can be compared on a busy machine.

Candidates take turns in one process; a turn is a few steps to warm the caches
and some that count, in CPU time of the one thread they run on. What somebody
else does on the machine hits all of them alike, and the median forgets it.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Timing:
    """Microseconds of a step over all turns.

    Arguments
    ---------
    median, p10, p90 : float
        Quantiles over turns of the mean within a turn.
    """

    median: float
    p10: float
    p90: float


def measure(
    steps: Mapping[str, Callable[[], None]],
    turns: int,
    count: int,
    warm: int = 3,
) -> dict[str, Timing]:
    """Times steps against each other.

    Arguments
    ---------
    steps : mapping of str to callable
        Each advances its candidate by one step.
    turns : int
        How often each has its turn.
    count : int
        Steps of a turn that count.
    warm : int
        Steps before them.

    Returns
    -------
    dict of str to Timing
        For each.
    """
    times: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(turns + 1):
        for name, step in steps.items():
            for _ in range(warm):
                step()
            begin = time.thread_time_ns()
            for _ in range(count):
                step()
            spent = (time.thread_time_ns() - begin) / count / 1000
            if turn:  # the first one is for warming up
                times[name].append(spent)
    return {
        name: Timing(*np.percentile(each, [50, 10, 90]).tolist())
        for name, each in times.items()
    }
