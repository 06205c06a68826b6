"""The enhancement recipes: prepare, train by the plan, measure.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from speechbrain.utils.distributed import run_on_main

from speechbrain_dsn.errors import InputError
from speechbrain_dsn.pretrained import load_model
from speechbrain_dsn.training.brain import DynamicBrain
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
    data, counter = hparams["data"], hparams["epoch_counter"]
    check_scores(hparams)
    teacher = load_teacher(hparams)
    data.prepare()
    hparams.setdefault("metric_scale", None)
    if hparams["metric_scale"] == "auto":
        # theta = scale (5 - m) / 4 has the wanted mean for this scale.
        quality = np.nanmean(data.train_ovrl())
        hparams["metric_scale"] = float(
            4 * hparams["mean_activation"] / (5 - quality)
        )
    hparams["first_epoch"] = 1
    if hparams["warm_start"]:
        warm_start(hparams["enhancer"], hparams["warm_start"])
        hparams["first_epoch"] += hparams["warm_epochs"]
        counter.current = hparams["warm_epochs"]
    brain = DynamicBrain(
        modules=hparams["modules"],
        opt_class=hparams["opt_class"],
        hparams=hparams,
        run_opts=run_opts,
        checkpointer=hparams["checkpointer"],
    )
    if teacher is not None:
        brain.hparams.teacher_net = teacher.to(brain.device).eval()
    elif hparams["teacher"]:
        brain.hparams.teacher_net = brain.widest
    valid = data.valid()
    brain.fit(
        counter,
        data.train(counter),
        valid,
        train_loader_kwargs={"batch_size": None},
        valid_loader_kwargs={"batch_size": None},
    )
    # The last epoch counts: the rate has decayed, and the loss on valid of a
    # net that decides depends on how much it opens.
    brain.on_evaluate_start()
    run_on_main(
        write_results, args=[brain.enhancer, hparams, valid, data.test()]
    )


def load_teacher(hparams: dict[str, Any]) -> torch.nn.Module | None:
    """What a net learns from beside the clean signal.

    Arguments
    ---------
    hparams : dict
        With ``teacher``: null, a model by name or folder, or ``self`` for the
        net itself with all gates open.

    Returns
    -------
    torch.nn.Module or None
        An enhancer; none if there is no teacher, or it is the net itself.

    Raises
    ------
    InputError
        There is no such model, or a static net is to teach itself.
    """
    if hparams["teacher"] == "self":
        if not hparams["enhancer"].dynamic:
            raise InputError(
                "teacher: self, but nothing decides in this net: expected a "
                "model, or null"
            )
        return None
    if not hparams["teacher"]:
        return None
    return load_model(hparams["teacher"]).enhancer


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


def warm_start(enhancer: torch.nn.Module, weights: str) -> None:
    """Loads the weights of a static net into a dynamic one.

    Arguments
    ---------
    enhancer : torch.nn.Module
        Whose parameters include those of the file.
    weights : str
        A safetensors file, as a run of ``ftfnet.yaml`` writes it after
        ``snapshot_epoch``.

    Raises
    ------
    InputError
        There is no such file, or it belongs to another net.
    """
    if not Path(weights).is_file():
        raise InputError(f"warm_start: expected a file, found no {weights}")
    found = load_file(weights)
    wanted = enhancer.state_dict()
    missing = [n for n in wanted if n not in found and ".policy." not in n]
    unknown = [n for n in found if n not in wanted]
    if missing or unknown:
        raise InputError(
            f"{weights} does not fit: missing {missing}, unknown {unknown}"
        )
    enhancer.load_state_dict(found, strict=False)
