"""What decisions of a whole batch cost: the prices of routers and channels.

Slimmable DEMUCS (arXiv 2507.04879) adds ``beta L_Eff + gamma L_Bal`` to its
signal loss, DynCP (arXiv 2412.17121) a term that pulls the ratio of open
channels to a target. The formulas are ours: the papers say what the terms are
for.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import math

from torch import Tensor

from speechbrain_dsn.cost import Decision, MacCount, activation
from speechbrain_dsn.losses.complexity import budget_pull


def load_balance(usage: Tensor) -> Tensor:
    """How far a router is from using all widths alike.

    ``1 - H(p) / log J`` for the shares ``p`` of the ``J`` widths: 0 where all
    are used alike, 1 where only one is.

    Arguments
    ---------
    usage : Tensor
        Share of each width ``[..., J]``, with a sum of 1.

    Returns
    -------
    Tensor
        ``[...]``.

    Example
    -------
    >>> import torch
    >>> round(load_balance(torch.tensor([0.5, 0.5, 0.0, 0.0])).item(), 3)
    0.5
    """
    share = usage.clamp_min(1e-6)
    return 1 + (share * share.log()).sum(-1) / math.log(usage.size(-1))


def batch_weights(decision: Decision) -> Tensor:
    """The share that each item has of the valid frames of a batch.

    Arguments
    ---------
    decision : Decision
        ``[B, T, K]``.

    Returns
    -------
    Tensor
        ``[B]``, with a sum of 1.
    """
    frames = decision.mask().sum((1, 2))
    return frames / frames.sum().clamp_min(1)


class RatioPrice:
    """The squared distance of a batch's mean activation to its target.

    ``(u - target)^2``, over all frames of the batch: a single clip may use
    more than another, and a layer more than another.

    Example
    -------
    >>> import torch
    >>> decision = Decision(torch.tensor([[[1.0, 0.0]], [[1.0, 1.0]]]), 62.5)
    >>> cost = MacCount(0, (5, 5))
    >>> RatioPrice()(decision, cost, torch.tensor([0.25, 0.25])).item()
    0.25
    """

    def __call__(
        self, decision: Decision, cost: MacCount, target: Tensor
    ) -> Tensor:
        """What these gates cost.

        Arguments
        ---------
        decision : Decision
            ``[B, T, K]``, with gradient.
        cost : MacCount
            One frame of the network.
        target : Tensor
            Wanted mean activation of each item ``[B]``.

        Returns
        -------
        Tensor
            A scalar.
        """
        weight = batch_weights(decision)
        used = (activation(decision, cost) * weight).sum()
        return budget_pull(used, (target * weight).sum())


class RoutingPrice:
    """The two terms of a router, over a whole batch.

    ``efficiency (u - target)^2 + balance L_Bal``, with the mean activation
    ``u`` and the mean shares of the widths over all frames of the batch: a
    single clip may use more than another.

    Arguments
    ---------
    efficiency : float
        The paper's beta, 1.
    balance : float
        The paper's gamma, 0.1. Without it a router ends with two widths.

    Example
    -------
    >>> import torch
    >>> cost = MacCount(0, (25, 100), one_hot=True)
    >>> chosen = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    >>> decision = Decision(chosen, 62.5)
    >>> price = RoutingPrice()(decision, cost, torch.tensor([0.5]))
    >>> round(price.item(), 4)
    0.0156
    """

    def __init__(self, efficiency: float = 1.0, balance: float = 0.1) -> None:
        self.efficiency, self.balance = efficiency, balance

    def __call__(
        self, decision: Decision, cost: MacCount, target: Tensor
    ) -> Tensor:
        """What these choices cost.

        Arguments
        ---------
        decision : Decision
            ``[B, T, J]``, with gradient; or several such choices.
        cost : MacCount
            One frame of the network.
        target : Tensor
            Wanted mean activation of each item ``[B]``.

        Returns
        -------
        Tensor
            A scalar.
        """
        pull = RatioPrice()(decision, cost, target)
        balance = batch_balance(decision, cost)
        return self.efficiency * pull + self.balance * balance


def batch_balance(decision: Decision, cost: MacCount) -> Tensor:
    """The load balance of a batch, a mean over its choices.

    Arguments
    ---------
    decision : Decision
        ``[B, T, J]``; or several such choices.
    cost : MacCount
        One frame of the network.

    Returns
    -------
    Tensor
        A scalar.
    """
    weight = batch_weights(decision).unsqueeze(1)
    shares = (decision.usage() * weight).sum(0)
    return load_balance(shares.unflatten(0, (cost.groups, -1))).mean()
