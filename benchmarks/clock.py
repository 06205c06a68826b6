"""Times that can be compared on a busy machine.

Candidates take turns in one process, in a new order each time; a turn is a
few steps to warm the caches and some that count, in CPU time of the one thread
they run on. What somebody else does on the machine hits all of them alike: the
median forgets it, and a ratio is the median of ratios within a round.

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
    turns : tuple of float
        Mean of each turn.
    """

    turns: tuple[float, ...]

    @property
    def median(self) -> float:
        """Of all turns."""
        return float(np.median(self.turns))

    @property
    def p10(self) -> float:
        """What a tenth of the turns stays below."""
        return float(np.percentile(self.turns, 10))

    @property
    def p90(self) -> float:
        """What a tenth of the turns exceeds."""
        return float(np.percentile(self.turns, 90))

    def over(self, other: Timing) -> float:
        """Ratio to another candidate of the same run, round by round."""
        return float(np.median(np.divide(self.turns, other.turns)))


def measure(
    steps: Mapping[str, Callable[[], None]],
    turns: int,
    count: int,
    warm: int = 4,
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
    names, random = list(steps), np.random.default_rng(0)
    for turn in range(turns + 1):
        random.shuffle(names)
        for name in names:
            step = steps[name]
            for _ in range(warm):
                step()
            begin = time.thread_time_ns()
            for _ in range(count):
                step()
            spent = (time.thread_time_ns() - begin) / count / 1000
            if turn:  # the first one is for warming up
                times[name].append(spent)
    return {name: Timing(tuple(each)) for name, each in times.items()}
