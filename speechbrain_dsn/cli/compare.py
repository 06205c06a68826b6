"""``speechbrain-dsn compare``: results of several models side by side.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from speechbrain_dsn.cli.output import (
    add_json_argument,
    check_json_target,
    emit,
)
from speechbrain_dsn.cli.results import (
    add_results_argument,
    check_labels,
    read_results,
)
from speechbrain_dsn.errors import InputError

if TYPE_CHECKING:
    from speechbrain_dsn.inference.scores import Evaluation


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``compare``."""
    add_results_argument(parser, "; differences are taken to the first one")
    parser.add_argument(
        "--frontier",
        nargs="+",
        default=[],
        metavar="[LABEL=]FILE",
        help="JSON of static nets that the others are held against at equal "
        "MACs",
    )
    parser.add_argument(
        "--plot", metavar="PNG", help="draw quality against MACs"
    )
    parser.add_argument(
        "--metric",
        default="pesq",
        metavar="NAME",
        help="of the plot (default: %(default)s)",
    )
    add_json_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Print tables, and draw."""
    check_json_target(args.json)
    from speechbrain_dsn.inference.comparison import paired_difference
    from speechbrain_dsn.plots.figure import require_matplotlib

    if args.plot:
        require_matplotlib()
    rows, statics = read_results(args.results), read_results(args.frontier)
    if len(statics) == 1:
        raise InputError("--frontier: expected two static nets or more")
    check_labels(rows + statics)
    metrics = list(rows[0].metrics)
    if args.plot and args.metric not in metrics:
        raise InputError(
            f"{rows[0].label} has no {args.metric}: expected one of "
            f"{', '.join(metrics)}"
        )
    values: dict[str, Any] = {"differences": {}, "frontier": {}}
    for row in (rows + statics)[1:]:
        values["differences"][row.label] = {
            metric: paired_difference(row, rows[0], metric).as_dict()
            for metric in metrics
        }
    if statics:
        values["frontier"] = _against(rows, statics, metrics)
    if args.plot:
        _draw(rows + statics, args.plot, args.metric)
    emit(values, _as_text(rows, statics, values), args.json)
    return 0


def _against(
    rows: list[Evaluation], statics: list[Evaluation], metrics: list[str]
) -> dict[str, Any]:
    """Distance from the frontier, and MACs saved at each static's quality."""
    from speechbrain_dsn.inference.comparison import above_frontier, macs_saved

    return {
        "above": {
            row.label: {
                metric: above_frontier(row, statics, metric).as_dict()
                for metric in metrics
            }
            for row in rows
        },
        "macs_saved": {
            static.label: {
                metric: macs_saved(static, rows, metric).as_dict()
                for metric in metrics
            }
            for static in statics
        },
    }


def _draw(rows: list[Evaluation], path: str, metric: str) -> None:
    from speechbrain_dsn.metrics import summarize
    from speechbrain_dsn.plots.quality import plot_quality_against_macs

    points = [row.point(metric) for row in rows]
    noisy = summarize(rows[0].pairs_of(metric))["noisy"].value
    plot_quality_against_macs(points, path, metric, noisy)


def _as_text(
    rows: list[Evaluation], statics: list[Evaluation], values: dict[str, Any]
) -> str:
    """Scores, then differences."""
    from speechbrain_dsn.inference.scores import results_table

    parts = [results_table(rows + statics).markdown()]
    titles = {f"minus {rows[0].label}": values["differences"]}
    if statics:
        titles["above the frontier at equal MACs"] = values["frontier"]["above"]
        titles["MACs saved at the quality of"] = values["frontier"][
            "macs_saved"
        ]
    for title, found in titles.items():
        parts.append(_table(title, found))
    return "\n\n".join(parts)


def _table(title: str, rows: dict[str, dict[str, dict[str, Any]]]) -> str:
    """A line per model, a column per metric."""
    if not rows:
        return f"{title}: nothing"
    metrics = list(next(iter(rows.values())))
    lines = [[title, *metrics], ["---"] * (len(metrics) + 1)]
    for label, cells in rows.items():
        lines.append([label, *(_cell(cells[name]) for name in metrics)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(summary: dict[str, Any]) -> str:
    if summary["value"] is None:
        return "-"
    low, high = (
        "nan" if end is None else f"{end:.3f}"
        for end in (summary["low"], summary["high"])
    )
    return f"{summary['value']:.3f} [{low}, {high}]"
