"""Plots are PNG files that show what they were given."""

import math
import sys

import numpy as np
import pytest
from PIL import Image
from tiny_model import noise

from speechbrain_dsn.errors import InputError
from speechbrain_dsn.plots import (
    plot_gates,
    plot_quality_against_macs,
    plot_usage,
)

RNG = np.random.default_rng(0)


def pixels(path):
    """The picture ``[rows, columns, RGB]``."""
    with Image.open(path) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB"), dtype=int)


def share_of(path, color):
    """Share of the pixels that are near a colour."""
    return np.mean(np.abs(pixels(path) - color).sum(-1) < 40)


@pytest.mark.parametrize("rate", [8000, 16_000, 48_000])
def test_open_frames_are_shaded(tmp_path, rate):
    signal = noise(rate)[:, 0]
    shaded = []
    for share in (0.0, 0.5, 1.0):
        gates = np.arange(63) < 63 * share
        path = tmp_path / f"{share}.png"
        plot_gates(signal, signal / 2, gates, rate, path, title="$x$ 噪 é")
        shaded.append(share_of(path, (38, 135, 189)))
    assert shaded[0] < 0.001 < shaded[1]
    assert shaded[2] == pytest.approx(2 * shaded[1], rel=0.1)


def test_many_gates_are_a_heat_map(tmp_path):
    signal = noise(16_000)[:, 0]
    path = tmp_path / "many.png"
    plot_gates(signal, signal, np.zeros((63, 4)), 16_000, path)
    closed = share_of(path, (0, 34, 78))  # the low end of cividis
    plot_gates(signal, signal, np.ones((63, 4)), 16_000, path)
    assert closed > 0.05 > share_of(path, (0, 34, 78))


def test_short_and_silent_signals_can_be_drawn(tmp_path):
    still = np.zeros(10)
    plot_gates(still, still, np.ones(1), 16_000, tmp_path / "a.png")
    assert pixels(tmp_path / "a.png").size


def test_usage_against_few_and_many_values(tmp_path):
    snr = np.repeat([-5, 0, 5, 10], 10)
    for name, x in (("few", snr), ("many", snr + RNG.random(40))):
        path = tmp_path / f"{name}.png"
        plot_usage(RNG.random(40), x, path, "input SNR (dB)", "mgt-dsn")
        assert share_of(path, (213, 94, 0)) > 0.0005
    plot_usage([0.5, math.nan], [1.0, 2.0], path, "one file")
    with pytest.raises(InputError, match="nothing to plot"):
        plot_usage([math.nan], [1.0], path, "x")


def rows():
    single = {"label": "ftfnet", "macs_per_second": 3e8, "value": 2.4}
    single |= {"low": math.nan, "high": math.nan}
    points = [
        {
            "label": f"dsn at {budget}",
            "series": "dsn",
            "macs_per_second": 1.4e8 + 1.6e8 * budget,
            "value": 2 + budget,
            "low": 1.9 + budget,
            "high": 2.1 + budget,
        }
        for budget in (0.25, 0.5)
    ]
    return [single, *points]


def test_quality_against_macs(tmp_path):
    path = tmp_path / "q.png"
    plot_quality_against_macs(rows(), path, "PESQ", baseline=1.5)
    for color in ((0, 114, 178), (213, 94, 0)):  # a colour for each series
        assert share_of(path, color) > 0.0003
    with pytest.raises(InputError, match="no row"):
        plot_quality_against_macs([], path)


def test_nothing_half_written(tmp_path):
    with pytest.raises(InputError, match="cannot write"):
        plot_quality_against_macs(rows(), tmp_path / "no" / "q.png")
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(InputError, match="cannot write"):
        plot_quality_against_macs(rows(), tmp_path / "folder.png")
    assert [path.name for path in tmp_path.iterdir()] == ["folder.png"]


def test_pyplot_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    plot_quality_against_macs(rows(), tmp_path / "q.png")


def test_bad_shapes_and_missing_package(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="frames, K"):
        plot_gates(noise(99), noise(99), np.ones(9), 8000, tmp_path / "a")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(InputError, match=r"speechbrain-dsn\[plots\]"):
        plot_quality_against_macs(rows(), tmp_path / "q.png")
