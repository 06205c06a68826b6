"""The price of compute for recipes that know only a signal loss.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from speechbrain_dsn.cost import Decision
from speechbrain_dsn.gating.tape import find_tapes
from speechbrain_dsn.losses.complexity import budget_pull


class ComplexityRegularized(nn.Module):
    """A signal loss, plus what the gates of a module cost while it trains.

    Fits both hooks of SpeechBrain's recipes: ``compute_cost(predictions,
    targets, lengths)``, a scalar, and ``loss(targets, predictions)``, one
    value per item. It is the signal loss alone, so that validation, choice of
    checkpoints and statistics are not touched, in eval mode, where nothing
    was decided since the last call, and where a reduction is asked for, as
    SpeechBrain's ``MetricStats`` does after every batch.

    Arguments
    ---------
    base_loss : callable
        The signal loss.
    module : torch.nn.Module
        Holds the blocks whose tapes are read.
    weight : float
        Weight of the price.
    target : float
        Wanted share of open gates, in 0..1.
    price : callable
        ``(usage, target) -> price`` of each item:
        :func:`~speechbrain_dsn.losses.budget_pull` or
        :func:`~speechbrain_dsn.losses.budget_hinge`.

    Raises
    ------
    ValueError
        The module has no block that notes its decisions.

    Example
    -------
    >>> from speechbrain_dsn.lobes.models.ftfnet import DynamicFTFNet
    >>> from speechbrain_dsn.lobes.models.masks import MaskLobe
    >>> model = MaskLobe(DynamicFTFNet(), random_share=0)
    >>> cost = ComplexityRegularized(nn.functional.mse_loss, model)
    >>> feats = torch.rand(2, 10, 257)
    >>> loss = cost(model(feats) * feats, feats)
    >>> loss.shape, len(model.tape)
    (torch.Size([]), 0)
    """

    def __init__(
        self,
        base_loss: Callable[..., Tensor],
        module: nn.Module,
        weight: float = 1.0,
        target: float = 0.5,
        price: Callable[[Tensor, float], Tensor] = budget_pull,
    ) -> None:
        super().__init__()
        if not 0 <= target <= 1:
            raise ValueError(f"target lies in 0..1, got {target}")
        if not find_tapes(module):
            raise ValueError(
                f"expected a block with a tape, such as MaskLobe, found none "
                f"in {type(module).__name__}"
            )
        self.base_loss = base_loss
        self.weight, self.target, self.price = weight, target, price
        # In a list: it belongs to the recipe's modules, not to the loss.
        self._module = [module]

    def forward(
        self,
        first: Tensor,
        second: Tensor,
        lengths: Tensor | None = None,
        **options,
    ) -> Tensor:
        """The signal loss, with the price while training.

        Arguments
        ---------
        first, second : Tensor
            Prediction and target ``[B, ...]``, in the signal loss's order.
        lengths : Tensor, optional
            Share of each item that is no padding ``[B]``, in 0..1. Gates
            beyond are not paid for.
        **options
            Passed to the signal loss. With ``reduction`` the price is left
            out.

        Returns
        -------
        Tensor
            What the signal loss gives: a scalar, or ``[B]``.
        """
        given = () if lengths is None else (lengths,)
        loss = self.base_loss(first, second, *given, **options)
        if not self._module[0].training or "reduction" in options:
            return loss
        price = self._price(len(first), lengths)
        if price is None:
            return loss
        price = self.weight * price
        return loss + (price if loss.shape == price.shape else price.mean())

    def _price(self, batch: int, lengths: Tensor | None) -> Tensor | None:
        """Price of each item ``[B]``; None where nothing was decided."""
        tapes = find_tapes(self._module[0])
        decisions = [note for tape in tapes for note in tape.read()]
        if not decisions:
            return None
        usage = [_usage(note, batch, lengths) for note in decisions]
        return self.price(torch.stack(usage).mean(0), self.target)


def _usage(decision: Decision, batch: int, lengths: Tensor | None) -> Tensor:
    """Mean gate of each item ``[B]``.

    A dual-path block sees chunks or frequencies as items of its own, those of
    one signal side by side.
    """
    values = decision.values
    if decision.lengths is None and lengths is not None:
        if len(values) == batch:
            frames = (lengths * values.size(1)).ceil().to(values.device)
            decision = replace(decision, lengths=frames)
    return decision.usage().mean(1).reshape(batch, -1).mean(1)
