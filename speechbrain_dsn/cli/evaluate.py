"""``speechbrain-dsn evaluate``: score a model against clean files.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from speechbrain_dsn.cli.budget import (
    add_budget_argument,
    add_judge_argument,
    wanted_budget,
)
from speechbrain_dsn.cli.output import (
    add_json_argument,
    add_model_argument,
    check_json_target,
    complain,
    emit,
)
from speechbrain_dsn.cli.signals import (
    add_signal_arguments,
    read_mixtures,
    read_pairs,
)
from speechbrain_dsn.errors import InputError

if TYPE_CHECKING:
    from speechbrain_dsn.inference.evaluation import Evaluation


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``evaluate``."""
    add_signal_arguments(parser)
    add_model_argument(parser)
    add_budget_argument(parser)
    add_judge_argument(parser)
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

    budget = wanted_budget(args, model)
    pairs, unpaired = read_pairs(args)
    metrics = args.metrics or _installed(DEFAULT_METRICS)
    for line in unpaired:
        complain(line)
    return (
        evaluate_pairs(model, pairs, metrics, budget, args.workers),
        unpaired,
    )


def _separated(
    args: argparse.Namespace, model: Any
) -> tuple[Evaluation, list[str]]:
    from speechbrain_dsn.inference.separation_evaluation import (
        default_metrics,
        evaluate_mixtures,
    )

    if args.judge is not None:
        raise InputError("--judge: expected a model that enhances")
    mixtures, unpaired = read_mixtures(args)
    usual = default_metrics(model.config.sample_rate)
    metrics = args.metrics or _installed(usual)
    for line in unpaired:
        complain(line)
    return (
        evaluate_mixtures(model, mixtures, metrics, args.budget, args.workers),
        unpaired,
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
    from speechbrain_dsn.inference.scores import results_table

    return results_table([evaluation]).markdown()
