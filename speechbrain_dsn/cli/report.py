"""``speechbrain-dsn report``: one page of results, with clips to hear.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from speechbrain_dsn.cli.output import (
    add_model_argument,
    check_target,
    complain,
)
from speechbrain_dsn.cli.results import add_results_argument, read_results
from speechbrain_dsn.cli.signals import (
    add_signal_arguments,
    read_mixtures,
    read_pairs,
)
from speechbrain_dsn.errors import InputError

if TYPE_CHECKING:
    from speechbrain_dsn.inference.mixtures import Mixture
    from speechbrain_dsn.inference.pairs import Pair
    from speechbrain_dsn.inference.scores import Evaluation
    from speechbrain_dsn.report import Clip

TITLE = "speechbrain-dsn report"
SECONDS = 6.0
SIGNALS = ("clean", "noisy", "mixtures", "sources", "list", "data_folder")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``report``."""
    add_results_argument(parser)
    parser.add_argument(
        "-o",
        "--out",
        default="report.html",
        metavar="HTML",
        help="page to write; one that exists is replaced (default: "
        "%(default)s)",
    )
    parser.add_argument(
        "--title", default=TITLE, help="of the page (default: %(default)s)"
    )
    clips = parser.add_argument_group(
        "clips to hear: a model, and the signals that it was evaluated on"
    )
    add_model_argument(clips, default=None)
    clips.add_argument(
        "--clips",
        nargs="+",
        metavar="NAME",
        help="which of the signals (default: three, over the range of "
        "activation in the first result where that varies)",
    )
    clips.add_argument(
        "--seconds",
        type=float,
        default=SECONDS,
        metavar="S",
        help="as much of the beginning of each (default: %(default)g)",
    )
    clips.add_argument(
        "--budget",
        type=float,
        metavar="0..1",
        help="of the model (default: its own)",
    )
    add_signal_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Write the page; 2 if a clip could not be made."""
    check_target("--out", args.out, ".html")
    given = [name for name in SIGNALS if getattr(args, name)]
    wants = args.model or given or args.clips or args.budget is not None
    if wants and not (args.model and given):
        raise InputError(
            "clips need --model and the signals that it was evaluated on: "
            "expected both or neither"
        )
    if not 0.1 <= args.seconds <= 60:
        raise InputError(
            f"--seconds {args.seconds:g}: expected a number from 0.1 to 60"
        )
    from speechbrain_dsn.report.data import check_rows
    from speechbrain_dsn.report.page import write_page

    rows = read_results(args.results)
    check_rows(rows)
    clips, bad = _clips(args, rows) if wants else ([], 0)
    write_page(args.out, rows, clips, args.title)
    size = Path(args.out).stat().st_size / 1e6
    print(f"{args.out}: {len(rows)} results, {len(clips)} clips, {size:.1f} MB")
    return 2 if bad else 0


def _clips(
    args: argparse.Namespace, rows: Sequence[Evaluation]
) -> tuple[list[Clip], int]:
    """The clips, and how many could not be made."""
    from speechbrain_dsn.plots import require_matplotlib
    from speechbrain_dsn.pretrained import load_model
    from speechbrain_dsn.report.clips import make_clip
    from speechbrain_dsn.report.data import is_separation

    require_matplotlib()
    model = load_model(args.model)
    separates = is_separation(rows[0])
    model.expect("separation" if separates else "enhancement")
    model.decide(args.budget)
    read = read_mixtures if separates else read_pairs
    found, bad = [], 0
    for item in _chosen(args.clips, read(args)[0], rows):
        try:
            found.append(make_clip(model, item, args.budget, args.seconds))
        except InputError as error:
            complain(error)
            bad += 1
    return found, bad


def _chosen(
    names: Sequence[str] | None,
    items: Sequence[Pair | Mixture],
    rows: Sequence[Evaluation],
) -> list[Pair | Mixture]:
    from speechbrain_dsn.report.clips import choose_clips

    if names is None:
        return choose_clips(items, rows)
    known = {item.name: item for item in items}
    absent = [name for name in names if name not in known]
    if absent:
        raise InputError(
            f"--clips: no signal is called {', '.join(absent)}: expected "
            f"names such as {next(iter(known))}"
        )
    return [known[name] for name in names]
