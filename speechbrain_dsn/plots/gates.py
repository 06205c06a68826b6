"""Where the network was open, below what it heard and what it said.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from speechbrain_dsn.errors import InputError
from speechbrain_dsn.plots.figure import (
    BLUE,
    draw_spectrogram,
    new_figure,
    save_figure,
    spectrogram,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot_gates"]


def plot_gates(
    noisy: np.ndarray,
    enhanced: np.ndarray,
    gates: np.ndarray,
    sample_rate: int,
    path: str | os.PathLike,
    frame_rate: float = 62.5,
    title: str = "",
) -> None:
    """Noisy and enhanced spectrogram, and where the network was open.

    Arguments
    ---------
    noisy : np.ndarray
        ``[T]``.
    enhanced : np.ndarray
        ``[T]``.
    gates : np.ndarray
        ``[frames]`` or ``[frames, K]`` in 0..1; a heat map if ``K > 1``.
    sample_rate : int
        Of both signals, in Hz.
    path : path
        PNG to write.
    frame_rate : float
        Gates per second.
    title : str
        Above the picture.

    Raises
    ------
    InputError
        If signals and gates cannot be drawn, or the file not be written.
    """
    gates = np.asarray(gates, dtype=np.float64)
    gates = gates[:, None] if gates.ndim == 1 else gates
    if gates.ndim != 2 or not gates.size or np.ndim(noisy) != 1:
        raise InputError(
            f"signals {np.shape(noisy)} and gates {gates.shape}: expected [T] "
            "and [frames, K]"
        )
    figure = new_figure(10, 6.4)
    grid = figure.add_gridspec(
        3, 2, height_ratios=(3, 3, 1.1), width_ratios=(1, 0.018)
    )
    first = figure.add_subplot(grid[0, 0])
    axes = [first] + [
        figure.add_subplot(grid[row, 0], sharex=first) for row in (1, 2)
    ]
    levels = [spectrogram(x, sample_rate) for x in (noisy, enhanced)]
    loudest = max(float(level.max()) for level in levels)
    for axis, level, name in zip(
        axes, levels, ("noisy", "enhanced"), strict=False
    ):
        seconds = len(noisy) / sample_rate
        image = draw_spectrogram(axis, level - loudest, seconds, sample_rate)
        axis.set_ylabel(f"{name}\nfrequency (kHz)")
        axis.tick_params(labelbottom=False)
    bar = figure.colorbar(image, cax=figure.add_subplot(grid[:2, 1]))
    bar.set_label("level (dB re the loudest)")
    heat = _draw_gates(axes[2], gates, frame_rate)
    if heat is not None:
        bar = figure.colorbar(heat, cax=figure.add_subplot(grid[2, 1]))
        bar.set_ticks([0, 1], labels=["closed", "open"])
    first.set_xlim(0, len(noisy) / sample_rate)
    first.set_title(title, parse_math=False)
    save_figure(figure, path)


def _draw_gates(axis: Axes, gates: np.ndarray, frame_rate: float) -> Any:
    """Open frames shaded; a heat map, which is returned, of many gates."""
    frames, count = gates.shape
    edges = np.arange(frames + 1) / frame_rate
    axis.set_xlabel("time (s)")
    if count == 1:
        axis.stairs(gates[:, 0], edges, fill=True, color=BLUE, alpha=0.85)
        axis.set_ylim(0, 1)
        axis.set_yticks([0, 1], ["closed", "open"])
        axis.set_ylabel("gate")
        return None
    axis.set_ylabel(f"gate\n(of {count})")
    return axis.pcolormesh(
        edges, np.arange(count + 1), gates.T, cmap="cividis", vmin=0, vmax=1
    )
