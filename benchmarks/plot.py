"""Time against MACs.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

from typing import Any

from speechbrain_dsn.plots.figure import (
    new_figure,
    require_matplotlib,
    save_figure,
)


def plot_time_against_macs(results: dict[str, Any], path: str) -> None:
    """Draws the real-time factor of each candidate over its MACs per second.

    Arguments
    ---------
    results : dict
        Of the benchmark.
    path : str
        PNG to write.
    """
    require_matplotlib()
    figure = new_figure(7.0, 4.5)
    axis = figure.subplots()
    rows = dict(results["streaming"])
    own = rows.pop("mgt-dsn")
    line = own["by_activation"].values()
    axis.plot(
        [row["macs_per_second"] / 1e6 for row in line],
        [row["rtf"] for row in line],
        "o-",
        label="mgt-dsn, share of open frames forced",
    )
    for name, row in [("mgt-dsn, as decided", own), *rows.items()]:
        if "eager" in name:
            continue
        if "macs_per_second" not in row:
            axis.axhline(row["rtf"], linestyle="--", label=name)
            continue
        low, high = (row[k] / row["us_per_frame"] for k in ("us_p10", "us_p90"))
        axis.errorbar(
            row["macs_per_second"] / 1e6,
            row["rtf"],
            [[row["rtf"] * (1 - low)], [row["rtf"] * (high - 1)]],
            fmt="s",
            capsize=3,
            label=name,
        )
    axis.set_xlabel("M MAC per second of audio")
    axis.set_ylabel("real-time factor, one thread")
    axis.set_xlim(left=0)
    axis.set_ylim(bottom=0)
    axis.legend()
    save_figure(figure, path)
