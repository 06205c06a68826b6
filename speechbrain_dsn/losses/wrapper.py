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
from speechbrain_dsn.losses.complexity import (
    budget_hinge,
    budget_pull,
    threshold_shift,
    unit_spread,
)

PRICES = ("rank", "pull", "hinge")


def gate_price(
    decision: Decision, target: Tensor, kind: str = "rank"
) -> Tensor:
    """What the on/off gates of each item cost.

    Arguments
    ---------
    decision : Decision
        ``[B, T, K]``; every gate counts alike.
    target : Tensor
        Wanted mean gate ``[B]``.
    kind : str
        ``rank``: moves the threshold of logits whose best ones were opened
        (:func:`~speechbrain_dsn.losses.threshold_shift`), and holds their
        spread; ``pull`` and ``hinge``: on the mean gate,
        :func:`~speechbrain_dsn.losses.budget_pull` and
        :func:`~speechbrain_dsn.losses.budget_hinge`.

    Returns
    -------
    Tensor
        ``[B]``.

    Example
    -------
    >>> gates = torch.ones(2, 5, 1)
    >>> gate_price(Decision(gates, 62.5), torch.tensor([0.5, 1.0]), "pull")
    tensor([0.2500, 0.0000])
    """
    if kind not in PRICES:
        raise ValueError(f"expected one of {', '.join(PRICES)}, got {kind!r}")
    if kind == "rank":
        if decision.logits is None:
            raise ValueError("price by rank: the decision holds no logits")
        logits = decision.logits
        mask = decision.mask().expand_as(logits).flatten(1)
        logits = logits.flatten(1)
        price = threshold_shift(logits, target, mask)
        return price + 0.1 * unit_spread(logits, mask)
    usage = decision.usage().mean(1)
    price = budget_pull if kind == "pull" else budget_hinge
    return price(usage, target)


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
    price : str
        See :func:`gate_price`. ``rank`` belongs to blocks that open this
        very share while training, as ``MaskLobe`` does.

    Raises
    ------
    ValueError
        The module has no block that notes its decisions, target or price do
        not exist.

    Example
    -------
    >>> from speechbrain_dsn.lobes.models.ftfnet import DynamicFTFNet
    >>> from speechbrain_dsn.lobes.models.masks import MaskLobe
    >>> model = MaskLobe(DynamicFTFNet())
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
        weight: float = 0.1,
        target: float = 0.5,
        price: str = "rank",
    ) -> None:
        super().__init__()
        if not 0 <= target <= 1:
            raise ValueError(f"target lies in 0..1, got {target}")
        if price not in PRICES:
            raise ValueError(
                f"price: expected one of {', '.join(PRICES)}, got {price!r}"
            )
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
        prices = [self._price_of(note, batch, lengths) for note in decisions]
        return torch.stack(prices).mean(0)

    def _price_of(
        self, decision: Decision, batch: int, lengths: Tensor | None
    ) -> Tensor:
        """Price of one decision, for each item ``[B]``.

        A dual-path block sees chunks or frequencies as items of its own,
        those of one signal side by side.
        """
        values = decision.values
        if decision.lengths is None and lengths is not None:
            if len(values) == batch:
                frames = (lengths * values.size(1)).ceil().to(values.device)
                decision = replace(decision, lengths=frames)
        target = values.new_full((len(values),), self.target)
        price = gate_price(decision, target, self.price)
        return price.reshape(batch, -1).mean(1)
