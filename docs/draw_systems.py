"""What each system costs, layer by layer, drawn from its own layers.

``python docs/draw_systems.py FOLDER`` writes a PNG per system; the build of
the pages does so each time, so that no picture outlives the code it shows.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import speechbrain_dsn  # noqa: F401  # isort: skip  # the torchaudio guard
import torch
from matplotlib import colormaps

from speechbrain_dsn.cost import CostReport
from speechbrain_dsn.inference.profiling import memory_profile
from speechbrain_dsn.nnet.gru_scheme import uniform_widths
from speechbrain_dsn.nnet.quantized import QuantizedGRU, calibrate
from speechbrain_dsn.plots.figure import ORANGE, new_figure, save_figure
from speechbrain_dsn.pretrained.config import ModelConfig
from speechbrain_dsn.pretrained.table import LOBES
from speechbrain_dsn.quantization.packing import scheme_bytes

MILLION = 1e6
BYTES = "kB"
Parts = Mapping[str, float]  # layer: what it takes


@dataclass(frozen=True)
class Picture:
    """What is drawn of a system.

    Arguments
    ---------
    title : str
        Above it.
    series : mapping of str to Parts
        What each layer takes, in each way to run; the cheapest comes first.
    totals : mapping of str to float
        What the whole takes, in each way.
    unit : str
        Of both.
    activations : tuple of float, optional
        Of the ways, where a run can lie between them.
    static : float, optional
        The peer that decides nothing.
    """

    title: str
    series: Mapping[str, Parts]
    totals: Mapping[str, float]
    unit: str = "M MAC/s"
    activations: tuple[float, ...] | None = None
    static: float | None = None


def report_of(lobe: str, **arguments) -> CostReport:
    """The report of a lobe within its front end, at its default sizes."""
    entry = LOBES[lobe]
    config = ModelConfig(
        "drawn", lobe, arguments, entry.front_end, kind=entry.kind
    )
    return config.build().report()


def layers_at(report: CostReport, activation: float) -> dict[str, float]:
    """M MAC/s of each layer at an activation of the whole network."""
    usage = report.cost.usage_at(activation)
    return {
        name: cost.at(usage[: len(cost.gated)]) * report.frame_rate / MILLION
        for name, cost in report.layers.items()
    }


def dynamic(title: str, lobe: str, peer: str, names: list[str], **arguments):
    """A lobe that decides, at each of its levels, and its static peer."""
    report = report_of(lobe, **arguments)
    levels = report.cost.levels
    ways = dict(zip(names, levels, strict=True))
    return Picture(
        title,
        {name: layers_at(report, level) for name, level in ways.items()},
        {k: report.macs_per_second(v) / MILLION for k, v in ways.items()},
        activations=levels,
        static=report_of(peer).macs_per_second(1) / MILLION,
    )


def neurons() -> Picture:
    """nsNet2 whose GRUs update a share P of their units."""
    reports = {
        f"P = {ratio:g}": report_of("nsnet2", update_ratio=ratio)
        for ratio in (0.25, 0.5, 0.75, 1.0)
    }
    return Picture(
        "nsNet2 with D-GRUs: MACs by the share of units that are updated",
        {name: layers_at(report, 1) for name, report in reports.items()},
        {k: x.macs_per_second(1) / MILLION for k, x in reports.items()},
    )


def maps() -> Picture:
    """Memory of the quality predictor in each of its modes."""
    profile = memory_profile(
        ModelConfig("drawn", "quality_net", front_end="mel", kind="quality")
        .build()
        .eval()
    )
    order = sorted(profile["memory_bytes"], key=profile["memory_bytes"].get)
    layers = profile["memory_layers"]
    series = {}
    for mode in order:
        parts = {f"maps of {k}": x["maps"] for k, x in layers[mode].items()}
        parts["all weights"] = sum(x["weights"] for x in layers[mode].values())
        series[mode] = {k: x / 1000 for k, x in parts.items()}
    totals = {mode: profile["memory_bytes"][mode] / 1000 for mode in order}
    return Picture(
        "Quality predictor: bytes for 5 s of speech "
        "(the whole: the largest map and all weights)",
        series,
        totals,
        BYTES,
    )


def integers() -> Picture:
    """Storage of one GRU of nsNet2 at uniform widths."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        gru = torch.nn.GRU(400, 400)
        ranges = calibrate(gru, [torch.randn(1, 4, 400)])
    series = {}
    for bits in (4, 6, 8, 12):
        scheme = QuantizedGRU(gru, ranges, uniform_widths(bits)).scheme
        series[f"{bits} bits"] = scheme_bytes(scheme)
    totals = {name: parts.pop("total") for name, parts in series.items()}
    weights = {"weights": 0, "biases": 0}
    for name, values in gru.named_parameters():
        part = "weights" if name.startswith("weight") else "biases"
        weights[part] += 4 * values.numel()
    series["float32"] = dict.fromkeys(series["8 bits"], 0) | weights
    totals["float32"] = sum(weights.values())
    return Picture(
        "A GRU of 400 units on integers: bytes by width of all operators",
        {k: {p: x / 1000 for p, x in v.items()} for k, v in series.items()},
        {k: x / 1000 for k, x in totals.items()},
        BYTES,
    )


PICTURES = {
    "mgt_dsn": lambda: dynamic(
        "MGT-DSN: what runs in every frame, and what a gate opens",
        "dynamic_ftfnet",
        "ftfnet",
        ["every frame", "open frames only"],
    ),
    "demucs": lambda: dynamic(
        "Slimmable DEMUCS: MACs at each utilization factor",
        "slim_demucs",
        "demucs",
        ["1/8", "1/4", "1/2", "1"],
    ),
    "separation": lambda: dynamic(
        "Dual-path separator: MACs at each width of its chunks",
        "slim_dual_path",
        "dual_path",
        ["1/8", "1/4", "1/2", "1"],
    ),
    "dyncp": lambda: dynamic(
        "DynCP: what runs in every frame, and what 1,152 gates open",
        "dyncp",
        "conv_fsenet",
        ["every frame", "all channels open"],
    ),
    "nsnet2": lambda: dynamic(
        "Dynamic nsNet2: MACs of a frame that ends at each exit",
        "dynamic_nsnet2",
        "nsnet2",
        ["exit 1", "exit 2", "exit 3", "exit 5"],
    ),
    "dgru": neurons,
    "quality": maps,
    "integers": integers,
}


def stacked(picture: Picture) -> bool:
    """Whether a dearer way to run adds to each layer, and adds in MACs."""
    ways = list(picture.series.values())
    return picture.unit != BYTES and all(
        low[layer] <= high[layer]
        for low, high in zip(ways, ways[1:], strict=False)
        for layer in low
    )


def draw_layers(axis, picture: Picture, colours) -> None:
    """Bars of each layer: what each way adds, or side by side."""
    layers = list(next(iter(picture.series.values())))
    rows, on_top = range(len(layers)), stacked(picture)
    below = [0.0] * len(layers)
    height = 0.8 if on_top else 0.8 / len(picture.series)
    for place, (name, parts) in enumerate(picture.series.items()):
        values = [parts[layer] for layer in layers]
        if on_top:
            widths = [v - b for v, b in zip(values, below, strict=True)]
            axis.barh(
                rows, widths, height, below, color=colours[place], label=name
            )
            below = values
        else:
            shifted = [row - 0.4 + (place + 0.5) * height for row in rows]
            axis.barh(shifted, values, height, color=colours[place], label=name)
    axis.set_yticks(rows, layers)
    axis.invert_yaxis()
    axis.set_xlabel(picture.unit)
    axis.grid(axis="x", alpha=0.3)
    axis.set_axisbelow(True)
    if picture.unit == BYTES:
        axis.set_xscale("log")  # a bit against 32


def draw_totals(axis, picture: Picture, colours) -> None:
    """The whole: over the activation, or a bar for each way to run."""
    names, totals = list(picture.totals), list(picture.totals.values())
    if picture.activations is None:
        bars = axis.bar(names, totals, color=colours)
        axis.bar_label(bars, fmt="{:,.0f}")
        axis.tick_params(axis="x", rotation=30)
    else:
        axis.plot(picture.activations, totals, color="0.6", zorder=1)
        axis.scatter(picture.activations, totals, c=colours, s=60, zorder=2)
        for place, total in enumerate(totals):
            above = place % 2 == 0
            axis.annotate(
                f"{total:.1f}",
                (picture.activations[place], total),
                (0, 8 if above else -17),
                textcoords="offset points",
                ha="right" if above else "left",
            )
        axis.set_xlabel("activation")
        axis.set_xlim(-0.3, 1.3)  # room for the numbers
        axis.set_xticks([0, 0.25, 0.5, 0.75, 1])
    if picture.static is not None:
        axis.axhline(
            picture.static,
            color=ORANGE,
            linestyle="--",
            label=f"static peer: {picture.static:.1f}",
        )
        axis.legend(loc="lower right")
    axis.set_ylim(0, 1.15 * max(totals))
    axis.set_ylabel(picture.unit)
    axis.set_title("the whole", fontsize="medium")


def draw(picture: Picture, path: Path) -> None:
    """Layers at the left, the whole at the right."""
    layers = len(next(iter(picture.series.values())))
    rows = layers * (1 if stacked(picture) else 1.7)
    figure = new_figure(11, max(4.2, 1.4 + 0.24 * rows))
    left, right = figure.subplots(1, 2, width_ratios=(1.7, 1))
    steps = max(len(picture.series) - 1, 1)
    colours = [
        colormaps["viridis"](0.85 * place / steps)
        for place in range(len(picture.series))
    ]
    draw_layers(left, picture, colours)
    left.legend(loc="best")
    draw_totals(right, picture, colours)
    figure.suptitle(picture.title)
    save_figure(figure, path)


def draw_all(folder: Path) -> list[Path]:
    """A PNG per system.

    Arguments
    ---------
    folder : Path
        Made if it is not there.

    Returns
    -------
    list of Path
        What was written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}.png" for name in PICTURES]
    for path, make in zip(paths, PICTURES.values(), strict=True):
        draw(make(), path)
    return paths


if __name__ == "__main__":
    for written in draw_all(Path(sys.argv[1])):
        print(written)
