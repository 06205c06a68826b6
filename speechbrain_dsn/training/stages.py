"""Stages of a training: what the gates do, and how fast to learn.

A policy that is trained naively closes its gates for good: a branch that is
closed gets no gradient, so it is never worth opening. The plan here trains
the whole net first, then both branches under random gates, then the policy.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import math
from dataclasses import dataclass

GATES = ("open", "layerwise", "joint", "random", "policy")


@dataclass(frozen=True)
class Stage:
    """One stretch of a training.

    Arguments
    ---------
    gates : str
        ``open``: all open, as the static net; ``layerwise``: a choice's
        levels one after the other, the cheapest first, each with what it adds
        to those before, which stay as they are; ``joint``: every clip at each
        of the levels; ``random``: drawn without looking; ``policy``: the
        policy decides.
    epochs : int
        Length.
    alone : bool
        Whether only the policy learns.
    """

    gates: str
    epochs: int
    alone: bool = False

    def __post_init__(self) -> None:
        """Refuses what no brain could run."""
        if self.gates not in GATES:
            raise ValueError(
                f"gates are one of {', '.join(GATES)}, got {self.gates!r}"
            )
        if self.epochs < 0:
            raise ValueError(f"epochs must be >= 0, got {self.epochs}")


class StagePlan:
    """The stages of a run in order, with a learning-rate schedule.

    The rate warms up, stays, and falls along a half cosine over the last
    ``decay_epochs``. Peers that train for the same number of epochs with
    the same plan of rates are comparable.

    Arguments
    ---------
    open : int
        Epochs with all gates open.
    random : int
        Epochs with random gates.
    alone : int
        Epochs in which the policy decides and nothing else learns.
    policy : int
        Epochs in which the policy decides.
    decay_epochs : int
        Epochs at the end over which the rate falls.
    warmup_steps : int
        Steps over which the rate rises.
    final : float
        Last rate as a share of the highest.
    layerwise : int
        Epochs with one level after the other, between open and joint.
    joint : int
        Epochs with all levels of a choice at once, before random gates.

    Example
    -------
    >>> plan = StagePlan(open=2, random=1, policy=1, decay_epochs=2)
    >>> [plan.stage(epoch).gates for epoch in (1, 2, 3, 4)]
    ['open', 'open', 'random', 'policy']
    >>> plan.rate(epoch=4, step=10, steps_per_epoch=10) < 0.02
    True
    """

    def __init__(
        self,
        open: int = 0,
        random: int = 0,
        policy: int = 0,
        alone: int = 0,
        decay_epochs: int = 1,
        warmup_steps: int = 0,
        final: float = 0.01,
        layerwise: int = 0,
        joint: int = 0,
    ) -> None:
        self.stages = [
            Stage("open", open),
            Stage("layerwise", layerwise),
            Stage("joint", joint),
            Stage("random", random),
            Stage("policy", alone, alone=True),
            Stage("policy", policy),
        ]
        self.decay_epochs = decay_epochs
        self.warmup_steps, self.final = warmup_steps, final

    @property
    def epochs(self) -> int:
        """Length of the whole plan."""
        return sum(stage.epochs for stage in self.stages)

    def _locate(self, epoch: int) -> tuple[Stage, int]:
        """The stage of an epoch (from 1), and the epochs before it."""
        before = 0
        for stage in self.stages:
            if epoch <= before + stage.epochs:
                return stage, before
            before += stage.epochs
        raise ValueError(f"epoch {epoch} of a plan of {self.epochs}")

    def stage(self, epoch: int) -> Stage:
        """The stage that an epoch belongs to.

        Arguments
        ---------
        epoch : int
            From 1.

        Returns
        -------
        Stage
            What the gates do.
        """
        return self._locate(epoch)[0]

    def progress(self, epoch: int, step: int, steps_per_epoch: int) -> float:
        """How much of the current stage is done.

        Arguments
        ---------
        epoch : int
            From 1.
        step : int
            Step within the epoch.
        steps_per_epoch : int
            Length of an epoch.

        Returns
        -------
        float
            In 0..1.
        """
        stage, before = self._locate(epoch)
        done = epoch - 1 - before + step / max(steps_per_epoch, 1)
        return min(1.0, done / max(stage.epochs, 1))

    def rate(
        self,
        epoch: int,
        step: int,
        steps_per_epoch: int,
        first_epoch: int = 1,
    ) -> float:
        """The learning rate as a share of the highest.

        Arguments
        ---------
        epoch : int
            From 1.
        step : int
            Step within the epoch.
        steps_per_epoch : int
            Length of an epoch.
        first_epoch : int
            Where this run began: it warms up there, with a new optimizer.

        Returns
        -------
        float
            In 0..1.
        """
        steps = (epoch - 1) * steps_per_epoch + step
        since = steps - (first_epoch - 1) * steps_per_epoch
        warm = min(1.0, (since + 1) / max(self.warmup_steps, 1))
        start = (self.epochs - self.decay_epochs) * steps_per_epoch
        length = max(self.decay_epochs * steps_per_epoch, 1)
        fall = min(max((steps - start) / length, 0.0), 1.0)
        cosine = 0.5 * (1 + math.cos(math.pi * fall))
        return warm * (self.final + (1 - self.final) * cosine)
