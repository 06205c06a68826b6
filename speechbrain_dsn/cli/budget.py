"""How much a command may compute.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from speechbrain_dsn.inference.judged import JudgedBudget
    from speechbrain_dsn.pretrained import LoadedModel

__all__ = ["add_budget_argument", "add_judge_argument", "wanted_budget"]


def add_budget_argument(parser: argparse.ArgumentParser) -> None:
    """Declare ``--budget``."""
    parser.add_argument(
        "--budget",
        type=float,
        metavar="0..1",
        help="mean share of what the gates can add, 0..1 (default: the model's)",
    )


def add_judge_argument(parser: argparse.ArgumentParser) -> None:
    """Declare ``--judge``."""
    parser.add_argument(
        "--judge",
        metavar="NAME|FOLDER",
        help="a quality model, such as quality-bam, that hears each 5 s first: "
        "the budget is for speech of OVRL 2, worse gets more, better less",
    )


def wanted_budget(
    args: argparse.Namespace, model: LoadedModel
) -> float | JudgedBudget | None:
    """What was asked for, checked.

    Arguments
    ---------
    args : argparse.Namespace
        With ``budget`` and ``judge``.
    model : LoadedModel
        Of kind ``enhancement``.

    Returns
    -------
    float or JudgedBudget or None
        What `speechbrain_dsn.inference.judged.open_stream` takes.

    Raises
    ------
    InputError
        If the model cannot have it.
    """
    if args.judge is None:
        model.decide(args.budget)
        return args.budget
    from speechbrain_dsn.inference.judged import JudgedBudget

    return JudgedBudget.for_model(model, args.judge, args.budget)
