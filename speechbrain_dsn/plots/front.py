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
    others: Sequence[Pair],
    baseline: Pair,
    path: str | os.PathLike,
    measure: str,
    baseline_name: str = "uniform 8 bits",
    reference: float | None = None,
    title: str = "",
) -> None:
    """Draws a front over all that was tried near it.

    Arguments
    ---------
    front : sequence of tuple
        Bytes and error, by ascending bytes.
    others : sequence of tuple
        The same of all that was tried.
    baseline : tuple
        The same of what the front is compared with.
    path : path
        PNG to write.
    measure : str
        What the error is.
    baseline_name : str
        Its name.
    reference : float, optional
        The error of the model on real numbers.
    title : str
        Above the picture.

    Raises
    ------
    InputError
        If there is nothing to draw, or the file cannot be written.
    """
    if not front:
        raise InputError("nothing to plot: expected a front with some points")
    figure = new_figure(7, 4.6)
    axis = figure.add_subplot()
    shown = [baseline, *front]
    sizes, errors = ([row[k] for row in shown] for k in range(2))
    axis.scatter(
        *zip(*others, strict=True) if others else ([], []),
        s=10,
        color="0.75",
        linewidths=0,
        label="tried",
    )
    axis.step(
        *zip(*front, strict=True),
        where="post",
        color=BLUE,
        marker="o",
        markersize=4,
        label="mixed widths: front",
    )
    axis.scatter(
        *([each] for each in baseline),
        s=130,
        marker="*",
        color=ORANGE,
        zorder=3,
        label=baseline_name,
    )
    if reference is not None:
        axis.axhline(
            reference, color="0.3", linestyle=":", label="real numbers"
        )
    # What is far above the front would flatten it.
    axis.set_xlim(0.9 * min(sizes), 1.15 * max(sizes))
    low, high = min(errors), max(errors)
    if reference is not None:
        low, high = min(low, reference), max(high, reference)
    margin = 0.08 * (high - low) or 1e-3
    axis.set_ylim(low - margin, high + margin)
    axis.set_xlabel("size of the integer GRU (bytes)")
    axis.set_ylabel(measure.replace(" than ", "\nthan "))
    axis.grid(alpha=0.3)
    axis.legend()
    axis.set_title(title, parse_math=False)
    save_figure(figure, path)
