"""What all recipes share between their data and their results.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset

from speechbrain_dsn.errors import InputError
from speechbrain_dsn.pretrained import load_model
from speechbrain_dsn.pretrained.weights import read_weights
from speechbrain_dsn.training.brain import DynamicBrain

# No half precision: spectra overflow it.
PRECISIONS = ("fp32", "bf16")
REFUSED = {
    "compile": "not supported, gates change from clip to clip what is "
    "computed: expected a run without it",
    "jit": "not supported, decisions are no TorchScript: expected a run "
    "without it",
    "data_parallel_backend": "not supported, decisions cannot be gathered: "
    "expected torchrun --nproc_per_node",
    "auto_mix_prec": "half precision is not supported: expected --precision "
    "bf16",
}


def fit_network(
    brain_class: type[DynamicBrain],
    hparams: dict[str, Any],
    run_opts: Any,
    teacher: torch.nn.Module | str | None = None,
) -> tuple[DynamicBrain, Dataset]:
    """Trains by the plan, from the newest checkpoint on if there is one.

    Arguments
    ---------
    brain_class : type
        Of the recipe.
    hparams : dict
        A loaded YAML whose data is prepared. With ``loader_workers``, so many
        processes read the training data ahead.
    run_opts : RunOptions
        From SpeechBrain's command line.
    teacher : torch.nn.Module or str, optional
        What to learn from as well; ``self`` is the net with open gates.

    Returns
    -------
    brain : DynamicBrain
        With the weights of the last epoch. That one counts: the rate has
        decayed, and the loss on valid of a net that decides depends on how
        much it opens.
    valid : Dataset
        What to calibrate on.
    """
    data, counter = hparams["data"], hparams["epoch_counter"]
    hparams["first_epoch"] = 1
    if hparams["warm_start"]:
        warm_start(hparams[brain_class.network], hparams["warm_start"])
        hparams["first_epoch"] += hparams["warm_epochs"]
        counter.current = hparams["warm_epochs"]
    # The order of the batches is the data's: ranks share them, unshuffled.
    hparams["sorting"] = "ascending"
    brain = brain_class(
        modules=hparams["modules"],
        opt_class=hparams["opt_class"],
        hparams=hparams,
        run_opts=run_opts,
        checkpointer=hparams["checkpointer"],
    )
    if teacher == "self":
        brain.hparams.teacher_net = brain.widest
    elif teacher is not None:
        brain.hparams.teacher_net = teacher.to(brain.device).eval()
    valid = data.valid()
    brain.fit(
        counter,
        data.train(counter),
        valid,
        train_loader_kwargs={
            "batch_size": None,
            "num_workers": hparams.setdefault("loader_workers", 0),
            # Of its own: by default a loader draws from the common generator
            # each time it starts, and an epoch that goes on starts it again.
            "generator": torch.Generator(),
        },
        valid_loader_kwargs={"batch_size": None},
    )
    brain.on_evaluate_start()
    return brain, valid


def check_run_options(run_opts: Any) -> None:
    """Refuses what SpeechBrain's command line offers and no recipe can do.

    Arguments
    ---------
    run_opts : RunOptions
        From SpeechBrain's command line.

    Raises
    ------
    InputError
        Before any work starts.
    """
    for name, reason in REFUSED.items():
        if getattr(run_opts, name):
            raise InputError(f"--{name}: {reason}")
    for name in ("precision", "eval_precision"):
        found = getattr(run_opts, name)
        if found not in PRECISIONS:
            raise InputError(
                f"--{name} {found}: expected {' or '.join(PRECISIONS)}"
            )


def load_teacher(
    hparams: dict[str, Any], network: str
) -> torch.nn.Module | str | None:
    """What a net learns from beside the clean signal.

    Arguments
    ---------
    hparams : dict
        With ``teacher``: null, a model by name or folder, or ``self`` for the
        net itself with all gates open.
    network : str
        Key of the net.

    Returns
    -------
    torch.nn.Module, str or None
        A net of the same kind, or ``self``.

    Raises
    ------
    InputError
        There is no such model, it is of another kind, or a static net is
        to teach itself.
    """
    if hparams["teacher"] == "self":
        if not hparams[network].dynamic:
            raise InputError(
                "teacher: self, but nothing decides in this net: expected a "
                "model, or null"
            )
        return "self"
    if not hparams["teacher"]:
        return None
    model = load_model(hparams["teacher"])
    model.expect(hparams["model_config"].kind)
    return model.enhancer


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
    wanted = enhancer.state_dict()
    policy = [name for name in wanted if ".policy." in name]
    found = read_weights(Path(weights), wanted, optional=policy)
    enhancer.load_state_dict(found, strict=False)
