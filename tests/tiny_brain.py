"""A brain with little around it, for tests of stages and losses."""

import torch

from speechbrain_dsn.losses import MultiResolutionCompressedLoss, Term
from speechbrain_dsn.training.brain import DynamicBrain
from speechbrain_dsn.training.stages import StagePlan

SPECTRAL = MultiResolutionCompressedLoss((64,))


def brain_of(enhancer, plan, steps=6, **hparams):
    return DynamicBrain(
        modules={"enhancer": enhancer},
        opt_class=lambda p: torch.optim.AdamW(p, lr=1e-2, weight_decay=0.1),
        hparams={
            "plan": StagePlan(**plan),
            "first_epoch": 1,
            "signal_losses": {"spectral": Term(SPECTRAL)},
            "batches_per_epoch": steps,
            "lr": 1e-2,
            "policy_lr": 1e-2,
            "gate_weight": 1.0,
            "gate_noise": (0.0, 0.0),
            "gate_target": 0.5,
            "seed": 0,
            **hparams,
        },
    )


def fit(brain, batches):
    options = {"batch_size": None}
    brain.fit([1], batches, progressbar=False, train_loader_kwargs=options)
