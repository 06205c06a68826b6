"""Quality against cost.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from speechbrain_dsn.errors import InputError
from speechbrain_dsn.plots.figure import (
    MARKERS,
    SERIES,
    new_figure,
    save_figure,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot_quality_against_macs"]


def plot_quality_against_macs(
    rows: Sequence[Mapping[str, Any]],
    path: str | os.PathLike,
    ylabel: str = "PESQ",
    baseline: float | None = None,
) -> None:
    """Quality over cost: one point per row, with its interval.

    Arguments
    ---------
    rows : sequence of mapping
        With ``label``, ``macs_per_second``, ``value``, ``low``, ``high`` and
        perhaps ``series``: points of one series are joined. What
        ``Evaluation.point`` gives.
    path : path
        PNG to write.
    ylabel : str
        Metric and unit.
    baseline : float, optional
        Score of the noisy input, as a line.

    Raises
    ------
    InputError
        If there is no row, or the file cannot be written.
    """
    if not rows:
        raise InputError("no row to plot: expected at least one")
    figure = new_figure(7.5, 5)
    axis = figure.add_subplot()
    series: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        series.setdefault(row.get("series") or row["label"], []).append(row)
    best = max(series, key=lambda name: _mean_value(series[name]))
    for place, (name, points) in enumerate(series.items()):
        points = sorted(points, key=lambda row: row["macs_per_second"])
        _draw_series(axis, name, points, place, above=name == best)
    if baseline is not None:
        axis.axhline(baseline, color="0.4", linestyle="--", label="noisy")
    axis.set_xlabel("cost as executed (M MAC per second of audio)")
    axis.set_ylabel(f"{ylabel}, mean and 95 % interval")
    axis.grid(alpha=0.3)
    axis.margins(x=0.12)
    axis.legend(frameon=False)
    save_figure(figure, path)


def _draw_series(
    axis: Axes,
    name: str,
    points: Sequence[Mapping[str, Any]],
    place: int,
    above: bool,
) -> None:
    """Points with error bars; what their labels add to the name beside."""
    x = [row["macs_per_second"] / 1e6 for row in points]
    y = [row["value"] for row in points]
    errors = [
        [_distance(row["value"], row["low"]) for row in points],
        [_distance(row["high"], row["value"]) for row in points],
    ]
    color = SERIES[place % len(SERIES)]
    axis.errorbar(
        x,
        y,
        yerr=errors,
        color=color,
        marker=MARKERS[place % len(MARKERS)],
        linewidth=1.2,
        elinewidth=1,
        capsize=3,
        label=name,
    )
    for row, at, value in zip(points, x, y, strict=True):
        axis.annotate(
            row["label"].removeprefix(name).strip(),
            (at, value),
            (6, 6 if above else -13),
            textcoords="offset points",
            fontsize=9,
            color=color,
            parse_math=False,
        )


def _mean_value(points: Sequence[Mapping[str, Any]]) -> float:
    """Mean score of a series with more than one point."""
    values = [row["value"] for row in points]
    return float(np.mean(values)) if len(points) > 1 else -math.inf


def _distance(high: float, low: float) -> float:
    """Length of half an error bar; none where there is no interval."""
    return 0.0 if math.isnan(high - low) else max(0.0, high - low)
