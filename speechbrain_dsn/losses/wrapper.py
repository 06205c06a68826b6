"""The price of compute for recipes that know only a signal loss.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from speechbrain_dsn.cost import Decision, MacCount, activation
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
    """What the gates of each item cost.

    Arguments
    ---------
    decision : Decision
        ``[B, T, K]``. On/off gates count alike; choices among widths, which
        bring their cost, by their MACs.
    target : Tensor
        Wanted mean activation ``[B]``.
    kind : str
        ``rank``, of on/off gates: moves the threshold of logits whose best
        ones were opened (:func:`~speechbrain_dsn.losses.threshold_shift`),
        and holds their spread; ``pull`` and ``hinge``: on the mean,
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
        if decision.cost is not None and decision.cost.one_hot:
            raise ValueError("price by rank: expected gates, got widths")
        logits = decision.logits
        mask = decision.mask().expand_as(logits).flatten(1)
        logits = logits.flatten(1)
        price = threshold_shift(logits, target, mask)
        return price + 0.1 * unit_spread(logits, mask)
    usage = activation(decision, decision.cost or MacCount())
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
    price : str or callable
        See :func:`gate_price`. ``rank`` belongs to blocks that open this
        very share while training, as ``MaskLobe`` does. For chunks that
        choose among widths: ``pull``, ``hinge``, a
        :class:`~speechbrain_dsn.losses.RoutingPrice` or a
        :class:`~speechbrain_dsn.losses.SignalDependentPrice`, which takes
        the first signal for the sources.

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
        price: str | Callable[..., Tensor] = "rank",
    ) -> None:
        super().__init__()
        if not 0 <= target <= 1:
            raise ValueError(f"target lies in 0..1, got {target}")
        if not callable(price) and price not in PRICES:
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
        price = self._price(first, second, lengths)
        if price is None:
            return loss
        price = self.weight * price
        return loss + (price if loss.shape == price.shape else price.mean())

    def _price(
        self, first: Tensor, second: Tensor, lengths: Tensor | None
    ) -> Tensor | None:
        """Price of each item ``[B]``; None where nothing was decided."""
        # Blocks that decide alike are one choice of several layers.
        alike: dict[torch.Size, list[Decision]] = {}
        for tape in find_tapes(self._module[0]):
            for note in tape.read():
                alike.setdefault(note.values.shape, []).append(note)
        prices = [
            self._price_of(_joined(notes, len(first), lengths), first, second)
            for notes in alike.values()
        ]
        return torch.stack(prices).mean(0) if prices else None

    def _price_of(
        self, decision: Decision, first: Tensor, second: Tensor
    ) -> Tensor:
        """Price of one decision, for each item ``[B]``."""
        target = decision.values.new_full((len(first),), self.target)
        if not callable(self.price):
            return gate_price(decision, target, self.price)
        # The loss of separation: targets first.
        needs = getattr(self.price, "needs_signals", False)
        signals = (second.detach(), first) if needs else ()
        cost = decision.cost or MacCount(gated=(1,) * decision.values.size(2))
        return self.price(decision, cost, target, *signals).expand(len(first))


def _joined(
    notes: list[Decision], batch: int, lengths: Tensor | None
) -> Decision:
    """One decision of all blocks about the items of a batch.

    A dual-path block sees chunks or frequencies as items of its own, those of
    one signal side by side.
    """
    first = notes[0]

    def join(parts: list[Tensor]) -> Tensor:
        whole = torch.cat(parts, -1)
        return whole.reshape(batch, -1, whole.size(-1))

    values = join([note.values for note in notes])
    alone, frames = len(first.values) == batch, None
    if alone:
        frames = first.lengths
    # The chunks of a signal, one to an item, follow each other in time.
    ordered = alone or first.values.size(1) == 1
    if frames is None and lengths is not None and ordered:
        frames = (lengths * values.size(1)).ceil().to(values.device)
    logits = [note.logits for note in notes]
    given = all(each is not None for each in logits)
    cost = first.cost
    if cost is not None and cost.one_hot:
        gated = tuple(macs for note in notes for macs in note.cost.gated)
        cost = MacCount(0, gated, one_hot=True, groups=len(notes))
    return Decision(
        values, first.frame_rate, frames, join(logits) if given else None, cost
    )
