"""Which width each chunk ran at, below the mixture it belongs to.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np

from speechbrain_dsn.errors import InputError
from speechbrain_dsn.plots.figure import (
    SERIES,
    draw_spectrogram,
    new_figure,
    save_figure,
    spectrogram,
)

__all__ = ["plot_widths"]


def plot_widths(
    mixture: np.ndarray,
    times: np.ndarray,
    levels: np.ndarray,
    utilizations: Sequence[float],
    activity: np.ndarray,
    sample_rate: int,
    path: str | os.PathLike,
    title: str = "",
) -> None:
    """Spectrogram of a mixture, who speaks, and the width of every chunk in
    every layer.

    Arguments
    ---------
    mixture : np.ndarray
        ``[T]``.
    times : np.ndarray
        ``[chunks]``, their middles in seconds, ascending.
    levels : np.ndarray
        ``[chunks, layers]``, index of the width.
    utilizations : sequence of float
        The widths.
    activity : np.ndarray
        ``[chunks, speakers]``, whether each is heard.
    sample_rate : int
        In Hz.
    path : path
        PNG to write.
    title : str
        Above the picture.

    Raises
    ------
    InputError
        If these cannot be drawn together, or the file not be written.
    """
    levels, activity = np.asarray(levels), np.asarray(activity)
    chunks, sides = len(times), (levels.ndim, activity.ndim, np.ndim(mixture))
    if not chunks or sides != (2, 2, 1) or len(levels) != chunks:
        raise InputError(
            f"mixture {np.shape(mixture)}, {chunks} times, levels "
            f"{levels.shape} and activity {activity.shape}: expected [T] and "
            "[chunks, ...]"
        )
    seconds = len(mixture) / sample_rate
    layers, speakers = levels.shape[1], activity.shape[1]
    figure = new_figure(10, 4.6 + 0.3 * (layers + speakers))
    grid = figure.add_gridspec(
        3,
        2,
        height_ratios=(3.2, 0.35 * speakers, 0.45 * layers),
        width_ratios=(1, 0.018),
    )
    first = figure.add_subplot(grid[0, 0])
    voices, widths = (
        figure.add_subplot(grid[row, 0], sharex=first) for row in (1, 2)
    )
    level = spectrogram(mixture, sample_rate)
    image = draw_spectrogram(first, level - level.max(), seconds, sample_rate)
    first.set_ylabel("mixture\nfrequency (kHz)")
    bar = figure.colorbar(image, cax=figure.add_subplot(grid[0, 1]))
    bar.set_label("level (dB re the loudest)")
    edges = _edges(times)
    for speaker in range(speakers):
        voices.stairs(
            speaker + 0.8 * activity[:, speaker],
            edges,
            baseline=speaker,
            fill=True,
            color=SERIES[speaker % len(SERIES)],
        )
    names = [f"speaker {number + 1}" for number in range(speakers)]
    voices.set_yticks(np.arange(speakers) + 0.4, names)
    voices.set_ylim(-0.1, speakers)
    heat = widths.pcolormesh(
        edges,
        np.arange(layers + 1),
        levels.T,
        cmap=_steps(len(utilizations)),
        vmin=-0.5,
        vmax=len(utilizations) - 0.5,
    )
    names = [f"layer {number + 1}" for number in range(layers)]
    widths.set_yticks(np.arange(layers) + 0.5, names)
    bar = figure.colorbar(heat, cax=figure.add_subplot(grid[2, 1]))
    bar.set_ticks(
        np.arange(len(utilizations)), labels=[f"{u:g}" for u in utilizations]
    )
    bar.set_label("width")
    widths.set_xlabel("time (s)")
    for axis in (first, voices):
        axis.tick_params(labelbottom=False)
    first.set_xlim(0, seconds)
    first.set_title(title, parse_math=False)
    save_figure(figure, path)


def _edges(times: np.ndarray) -> np.ndarray:
    """Half way between the middles, ``[chunks + 1]``."""
    times = np.asarray(times, dtype=np.float64)
    middle = (times[1:] + times[:-1]) / 2
    half = middle[0] - times[0] if len(middle) else 0.5
    return np.concatenate(([times[0] - half], middle, [times[-1] + half]))


def _steps(count: int):
    """A colour per width, the dark ones are narrow."""
    from matplotlib import colormaps

    return colormaps["cividis"].resampled(count)
