"""The enhancement recipes: prepare, train by the plan, measure.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

from typing import Any

import numpy as np
from speechbrain.utils.distributed import run_on_main

from speechbrain_dsn.errors import InputError
from speechbrain_dsn.training.brain import DynamicBrain
from speechbrain_dsn.training.fit import (
    check_run_options,
    fit_network,
    load_teacher,
)
from speechbrain_dsn.training.results import write_results


def run_enhancement(hparams: dict[str, Any], run_opts: Any) -> None:
    """Runs a recipe from data to results.

    Arguments
    ---------
    hparams : dict
        A loaded YAML, such as ``recipes/Folders/enhance/hparams/dsn.yaml``.
    run_opts : RunOptions
        From SpeechBrain's command line.
    """
    check_run_options(run_opts)
    data = hparams["data"]
    check_scores(hparams)
    teacher = load_teacher(hparams, DynamicBrain.network)
    data.prepare()
    if hparams["batches_per_epoch"] is None:  # one pass over the data
        hparams["batches_per_epoch"] = data.batches_per_epoch
    hparams.setdefault("metric_scale", None)
    if hparams["metric_scale"] == "auto":
        # theta = scale (5 - m) / 4 has the wanted mean for this scale.
        quality = np.nanmean(data.train_ovrl())
        hparams["metric_scale"] = float(
            4 * hparams["mean_activation"] / (5 - quality)
        )
    brain, valid = fit_network(DynamicBrain, hparams, run_opts, teacher)
    run_on_main(
        write_results, args=[brain.enhancer, hparams, valid, data.test()]
    )


def check_scores(hparams: dict[str, Any]) -> None:
    """Refuses a plan whose policy would meet clips without a score.

    Arguments
    ---------
    hparams : dict
        With ``plan``, ``gate_target`` and ``scored_from``.

    Raises
    ------
    InputError
        Before any work starts.
    """
    if hparams["gate_target"] != "metric":
        return
    plan, first = hparams["plan"], hparams["scored_from"]
    for epoch in range(1, plan.epochs + 1):
        if plan.stage(epoch).gates == "policy" and epoch < first:
            raise InputError(
                f"the policy decides from epoch {epoch} on, but scored_from "
                f"is {first}: expected {epoch} or less"
            )
