"""Error against size: a Pareto front and what it is compared with.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from speechbrain_dsn.errors import InputError
from speechbrain_dsn.plots.figure import (
    BLUE,
    ORANGE,
    new_figure,
    save_figure,
)

__all__ = ["plot_front"]

Pair = tuple[float, float]


def plot_front(
    front: Sequence[Pair],
    met: Sequence[Pair],
    baseline: Pair,
    errors: Sequence[float],
    references: Pair,
    path: str | os.PathLike,
    measure: str,
    title: str = "",
) -> None:
    """What a search made small, and what that means for the task.

    Arguments
    ---------
    front : sequence of tuple
        Bytes and deviation, by ascending bytes.
    met : sequence of tuple
        The same of all that was tried.
    baseline : tuple
        The same of uniform 8 bits.
    errors : sequence of float
        Of each point of the front on the task.
    references : tuple of float
        The same of uniform 8 bits and of real numbers.
    path : path
        PNG to write.
    measure : str
        What the error is.
    title : str
        Above the picture.

    Raises
    ------
    InputError
        If there is nothing to draw, or the file cannot be written.
    """
    if not front or len(errors) != len(front):
        raise InputError(
            f"a front of {len(front)} points and {len(errors)} errors: "
            "expected as many, at least one"
        )
    sizes = [size for size, _ in front]
    figure = new_figure(10, 4.4)
    left, right = figure.subplots(1, 2, sharex=True)
    if met:
        style = {"s": 10, "color": "0.75", "linewidths": 0, "label": "tried"}
        left.scatter(*zip(*met, strict=True), **style)
    style = {"color": BLUE, "marker": "o", "markersize": 4}
    left.step(*zip(*front, strict=True), where="post", **style)
    right.plot(sizes, errors, linestyle=":", **style, label="front")
    star = {"s": 130, "marker": "*", "color": ORANGE, "zorder": 3}
    left.scatter(*baseline, **star)
    right.scatter(baseline[0], references[0], **star, label="uniform 8 bits")
    right.axhline(references[1], color="0.3", label="real numbers")
    left.set_yscale("log")
    left.set_ylabel("deviation from real numbers (search)")
    right.set_ylabel(measure.replace(" than ", "\nthan "))
    for axis in (left, right):
        # What is far larger would push the front aside.
        ends = sorted([*sizes, baseline[0]])
        axis.set_xlim(0.9 * ends[0], 1.1 * ends[-1])
        axis.set_xlabel("size of the integer GRU (bytes)")
        axis.grid(alpha=0.3)
    right.legend()
    figure.suptitle(title, parse_math=False)
    save_figure(figure, path)
