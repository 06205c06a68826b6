"""Activation against what the input is like.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np

from speechbrain_dsn.errors import InputError
from speechbrain_dsn.plots.figure import BLUE, ORANGE, new_figure, save_figure

__all__ = ["plot_usage"]

FEW = 8  # distinct values up to which a box is drawn for each


def plot_usage(
    activation: Sequence[float],
    x: Sequence[float],
    path: str | os.PathLike,
    xlabel: str,
    title: str = "",
) -> None:
    """Activation against a property of the input, file by file.

    A box for each value where there are few (as fixed SNRs), else a scatter
    with the mean of each eighth of the files. Spearman's correlation stands
    in the title.

    Arguments
    ---------
    activation : sequence of float
        Mean gate of each file.
    x : sequence of float
        Such as its SNR or DNSMOS OVRL.
    path : path
        PNG to write.
    xlabel : str
        What ``x`` is, with its unit.
    title : str
        Before the correlation.

    Raises
    ------
    InputError
        If no file has both values, or the file cannot be written.
    """
    from speechbrain_dsn.metrics import spearman

    pairs = np.array([activation, x], dtype=np.float64)
    pairs = pairs[:, ~np.isnan(pairs).any(0)]
    if not pairs.size:
        raise InputError("no file with activation and input: nothing to plot")
    use, values = pairs
    figure = new_figure(6.5, 4.5)
    axis = figure.add_subplot()
    kinds = np.unique(values)
    # Spread sideways, the same way every time.
    spread = np.random.default_rng(0).uniform(-0.5, 0.5, len(use))
    if len(kinds) <= FEW:
        step = np.diff(kinds).min() if len(kinds) > 1 else 1.0
        axis.boxplot(
            [use[values == kind] for kind in kinds],
            positions=kinds,
            widths=0.5 * step,
            manage_ticks=False,
            showfliers=False,
            medianprops={"color": ORANGE, "linewidth": 2},
        )
        axis.set_xticks(kinds, [f"{kind:g}" for kind in kinds])
        values = values + 0.3 * step * spread
    else:
        order = np.array_split(np.argsort(values, kind="stable"), FEW)
        order = [part for part in order if len(part)]
        axis.plot(
            [values[part].mean() for part in order],
            [use[part].mean() for part in order],
            color=ORANGE,
            marker="s",
            linewidth=2,
            zorder=3,
            label=f"mean of each of {len(order)} groups",
        )
        axis.legend(frameon=False)
    axis.scatter(values, use, s=14, color=BLUE, alpha=0.6, linewidths=0)
    rho = spearman(*pairs)
    text = f"Spearman {rho.value:.2f} [{rho.low:.2f}, {rho.high:.2f}]"
    text += f", {len(use)} files"
    axis.set_title(f"{title}: {text}" if title else text, parse_math=False)
    axis.set_xlabel(xlabel)
    axis.set_ylabel("activation (share of open frames)")
    axis.set_ylim(-0.03, 1.03)
    axis.grid(alpha=0.3)
    save_figure(figure, path)
