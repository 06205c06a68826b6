"""``speechbrain-dsn evaluate``: score a model on clean and noisy files.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from speechbrain_dsn.cli.report import (
    add_json_argument,
    add_model_argument,
    check_json_target,
    complain,
    emit,
)
from speechbrain_dsn.errors import InputError

if TYPE_CHECKING:
    from speechbrain_dsn.inference.evaluation import Evaluation, Pair


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``evaluate``."""
    pairs = parser.add_argument_group("pairs of equal name, in two folders")
    pairs.add_argument("--clean", metavar="DIR")
    pairs.add_argument("--noisy", metavar="DIR")
    mixed = parser.add_argument_group("or a list of fixed mixtures")
    mixed.add_argument(
        "--list",
        metavar="CSV",
        help="id, speech, noise, noise_offset, snr_db, level_dbfs",
    )
    mixed.add_argument(
        "--data_folder",
        metavar="DIR",
        help="what the files in the list are relative to",
    )
    add_model_argument(parser)
    parser.add_argument(
        "--budget",
        type=float,
        metavar="0..1",
        help="mean share of what the gates can add, 0..1 (default: the model's)",
    )
    parser.add_argument(
        "--metrics",
        nargs="+",
        metavar="NAME",
        help="default: pesq, si_sdr, estoi, dnsmos_ovrl, as far as installed",
    )
    parser.add_argument(
        "--workers",
        type=int,
        default=1,
        metavar="N",
        help="processes that score (default: %(default)s)",
    )
    add_json_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Evaluate; 2 if a file was bad or without counterpart."""
    check_json_target(args.json)
    from speechbrain_dsn.inference.evaluation import evaluate_pairs
    from speechbrain_dsn.pretrained import load_model

    pairs, unpaired = _pairs(args)
    model = load_model(args.model)
    metrics = args.metrics or _installed()
    for line in unpaired:
        complain(line)
    evaluation = evaluate_pairs(
        model, pairs, metrics, args.budget, args.workers
    )
    bad = [file for file in evaluation.files if file.error]
    for file in bad:
        complain(f"{file.name}: {file.error}")
    values = {**evaluation.as_dict(), "unpaired": unpaired}
    emit(values, _as_text(evaluation), args.json)
    return 2 if bad or unpaired else 0


def _pairs(args: argparse.Namespace) -> tuple[list[Pair], list[str]]:
    from speechbrain_dsn.inference.evaluation import folder_pairs, list_pairs

    folders = (args.clean, args.noisy)
    mixed = (args.list, args.data_folder)
    if all(folders) and not any(mixed):
        return folder_pairs(*folders)
    if all(mixed) and not any(folders):
        return list_pairs(*mixed), []
    raise InputError(
        "expected either --clean DIR and --noisy DIR, or --list CSV and "
        "--data_folder DIR"
    )


def _installed() -> list[str]:
    """The usual metrics, without those whose package is missing."""
    from speechbrain_dsn.inference.evaluation import DEFAULT_METRICS
    from speechbrain_dsn.metrics import require_metrics

    found = []
    for name in DEFAULT_METRICS:
        try:
            require_metrics([name])
        except InputError as error:
            complain(f"{name} is left out: {error}")
        else:
            found.append(name)
    return found


def _as_text(evaluation: Evaluation) -> str:
    from speechbrain_dsn.metrics import MetricTable

    table = MetricTable()
    evaluation.add_noisy_to(table)
    evaluation.add_to(table)
    return table.markdown()
