"""``speechbrain-dsn evaluate``: score a model against clean files.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from speechbrain_dsn.cli.output import (
    add_json_argument,
    add_model_argument,
    check_json_target,
    complain,
    emit,
)
from speechbrain_dsn.errors import InputError

if TYPE_CHECKING:
    from speechbrain_dsn.inference.evaluation import Evaluation, Pair
    from speechbrain_dsn.inference.mixtures import Mixture


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``evaluate``."""
    pairs = parser.add_argument_group("pairs of equal name, in two folders")
    pairs.add_argument("--clean", metavar="DIR")
    pairs.add_argument("--noisy", metavar="DIR")
    speakers = parser.add_argument_group(
        "or, for a separator, mixtures and sources of equal name"
    )
    speakers.add_argument("--mixtures", metavar="DIR")
    speakers.add_argument("--sources", nargs="+", metavar="DIR")
    mixed = parser.add_argument_group("or a list of fixed mixtures")
    mixed.add_argument(
        "--list",
        metavar="CSV",
        help="id, speech, noise, noise_offset, snr_db, level_dbfs; for a "
        "separator id, s1, s2, overlap_percent, s2_gain_db, noise, "
        "noise_offset, noise_snr_db",
    )
    mixed.add_argument(
        "--with_noise",
        action="store_true",
        help="for a separator: with the noise of the list",
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
        help="default: pesq, si_sdr, estoi, dnsmos_ovrl, as far as installed; "
        "of a separator si_sdr and pesq, in its band",
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
    from speechbrain_dsn.pretrained import load_model

    model = load_model(args.model)
    kind = _separated if model.config.kind == "separation" else _enhanced
    evaluation, unpaired = kind(args, model)
    bad = [file for file in evaluation.files if file.error]
    for file in bad:
        complain(f"{file.name}: {file.error}")
    values = {**evaluation.as_dict(), "unpaired": unpaired}
    emit(values, _as_text(evaluation), args.json)
    return 2 if bad or unpaired else 0


def _enhanced(
    args: argparse.Namespace, model: Any
) -> tuple[Evaluation, list[str]]:
    from speechbrain_dsn.inference.evaluation import (
        DEFAULT_METRICS,
        evaluate_pairs,
    )

    pairs, unpaired = _pairs(args)
    metrics = args.metrics or _installed(DEFAULT_METRICS)
    for line in unpaired:
        complain(line)
    return (
        evaluate_pairs(model, pairs, metrics, args.budget, args.workers),
        unpaired,
    )


def _separated(
    args: argparse.Namespace, model: Any
) -> tuple[Evaluation, list[str]]:
    from speechbrain_dsn.inference.separation_evaluation import (
        default_metrics,
        evaluate_mixtures,
    )

    mixtures, unpaired = _mixtures(args)
    usual = default_metrics(model.config.sample_rate)
    metrics = args.metrics or _installed(usual)
    for line in unpaired:
        complain(line)
    return (
        evaluate_mixtures(model, mixtures, metrics, args.budget, args.workers),
        unpaired,
    )


def _pairs(args: argparse.Namespace) -> tuple[list[Pair], list[str]]:
    from speechbrain_dsn.inference.evaluation import folder_pairs, list_pairs

    folders = (args.clean, args.noisy)
    mixed = (args.list, args.data_folder)
    other = args.mixtures or args.sources or args.with_noise
    if all(folders) and not any(mixed) and not other:
        return folder_pairs(*folders)
    if all(mixed) and not any(folders) and not other:
        return list_pairs(*mixed), []
    raise InputError(
        f"model {args.model} is for enhancement: expected either --clean DIR "
        "and --noisy DIR, or --list CSV and --data_folder DIR"
    )


def _mixtures(args: argparse.Namespace) -> tuple[list[Mixture], list[str]]:
    from speechbrain_dsn.inference.mixtures import (
        folder_mixtures,
        list_mixtures,
    )

    folders = (args.mixtures, args.sources)
    mixed = (args.list, args.data_folder)
    other = args.clean or args.noisy
    if all(folders) and not any(mixed) and not other and not args.with_noise:
        return folder_mixtures(*folders)
    if all(mixed) and not any(folders) and not other:
        return list_mixtures(*mixed, args.with_noise), []
    raise InputError(
        f"model {args.model} is for separation: expected either --mixtures "
        "DIR and --sources DIR DIR, or --list CSV and --data_folder DIR"
    )


def _installed(names: Sequence[str]) -> list[str]:
    """The usual metrics, without those whose package is missing."""
    from speechbrain_dsn.metrics import require_metrics

    found = []
    for name in names:
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
