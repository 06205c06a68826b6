"""What all plots share: colours, a figure without global state, saving.

Colours are those of Okabe and Ito (2008) and perceptually uniform maps, which
people with colour-deficient vision can tell apart.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import io
import os
import secrets
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from speechbrain_dsn.errors import InputError
from speechbrain_dsn.optional import import_optional

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

__all__ = [
    "BLUE",
    "MARKERS",
    "ORANGE",
    "SERIES",
    "draw_spectrogram",
    "new_figure",
    "require_matplotlib",
    "save_figure",
    "spectrogram",
]

BLUE, ORANGE = "#0072B2", "#D55E00"
SERIES = (BLUE, ORANGE, "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
MARKERS = "osD^vP*"
DPI = 150
RANGE_DB = 70.0


def require_matplotlib() -> None:
    """Check, before long work starts, that plots can be drawn.

    Raises
    ------
    InputError
        If matplotlib is missing, with the extra that brings it.
    """
    import_optional(
        "matplotlib", "plots need it, pip install 'speechbrain-dsn[plots]'"
    )


def new_figure(width: float, height: float) -> Figure:
    """A figure of its own: nothing of pyplot's state is touched."""
    require_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: Figure, path: str | os.PathLike) -> None:
    """Under a temporary name, then renamed."""
    path = Path(path)
    content = io.BytesIO()
    with warnings.catch_warnings():  # titles in scripts the font lacks
        warnings.filterwarnings("ignore", "Glyph .* missing")
        figure.savefig(content, format="png", dpi=DPI)
    part = path.with_name(f".{secrets.token_hex(8)}.part")
    try:
        part.write_bytes(content.getvalue())
        os.replace(part, path)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}") from error
    finally:
        part.unlink(missing_ok=True)


def draw_spectrogram(
    axis: Axes, level: np.ndarray, seconds: float, sample_rate: int
) -> AxesImage:
    """Levels in dB, at most 0, over time and frequency.

    Arguments
    ---------
    axis : Axes
        Where.
    level : np.ndarray
        ``[bins, frames]``, see `spectrogram`.
    seconds : float
        Length of the signal.
    sample_rate : int
        In Hz.

    Returns
    -------
    AxesImage
        For a colour bar.
    """
    return axis.imshow(
        level,
        origin="lower",
        aspect="auto",
        extent=(0, seconds, 0, sample_rate / 2000),
        vmin=-RANGE_DB,
        vmax=0,
        cmap="magma",
        interpolation="nearest",
    )


def spectrogram(signal: np.ndarray, sample_rate: int) -> np.ndarray:
    """Levels in dB ``[bins, frames]``, windows of 32 ms at a step of 8 ms."""
    size = max(8, round(0.032 * sample_rate))
    signal = np.asarray(signal, dtype=np.float64)
    signal = np.pad(signal, (0, max(0, size - len(signal))))
    frames = np.lib.stride_tricks.sliding_window_view(signal, size)
    spectrum = np.fft.rfft(frames[:: size // 4] * np.hanning(size))
    return 20 * np.log10(np.abs(spectrum).T + 1e-6)
