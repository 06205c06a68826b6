"""From logits to gates.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def sample_gate(
    logits: Tensor,
    training: bool,
    temperature: float = 0.5,
    noise: float = 1.0,
    straight_through: bool = True,
    bias: float = 0.0,
) -> Tensor:
    """On/off gates by Gumbel-Softmax over two classes.

    The difference of two Gumbel variables is logistic, so one logit (open
    against closed) and logistic noise are enough. Jang et al. 2017 (arXiv
    1611.01144); MGT-DSN (arXiv 2510.11395) gates its frames by it.

    Arguments
    ---------
    logits : Tensor
        Any shape; positive means open.
    training : bool
        Whether to add noise. Without it the gate is hard and deterministic:
        open where ``logits + bias > 0``.
    temperature : float
        Softness of the relaxed gate.
    noise : float
        Scale of the logistic noise; 0 trains without.
    straight_through : bool
        Hard values forward, gradient of the soft gate backward.
    bias : float
        Added to the logits: the run-time compute knob.

    Returns
    -------
    Tensor
        Gates in 0..1, float32, in the shape of ``logits``.

    Example
    -------
    >>> sample_gate(torch.tensor([-1.0, 2.0]), training=False)
    tensor([0., 1.])
    """
    if temperature <= 0:
        raise ValueError(f"temperature must be > 0, got {temperature}")
    logits = logits.float() + bias
    if not training:
        return (logits > 0).float()
    if noise:
        logits = logits + noise * _logistic(logits)
    soft = torch.sigmoid(logits / temperature)
    if not straight_through:
        return soft
    # The brackets matter: (1 + soft) - soft is not always 1.
    return (soft > 0.5).float() + (soft - soft.detach())


def top_share_gate(
    logits: Tensor,
    share: Tensor,
    lengths: Tensor | None = None,
    temperature: float = 0.5,
    noise: float = 0.0,
) -> Tensor:
    """Opens the given share of each item's frames: those of highest logit.

    For training only, and ours. With noise and a price on the mean gate, a
    policy finds it easiest to keep all logits near zero and let the noise
    open the wanted share; without noise whole utterances flip. Here the
    share is right whatever the logits are, so that quality alone ranks the
    frames; :func:`~speechbrain_dsn.losses.threshold_shift` brings the
    threshold to zero, where inference cuts.

    Arguments
    ---------
    logits : Tensor
        ``[B, T]``.
    share : Tensor
        Wanted mean gate of each item in 0..1, ``[B]``.
    lengths : Tensor, optional
        Valid frames per item ``[B]``; later ones stay closed.
    temperature : float
        Softness of the gate that the gradient is taken of.
    noise : float
        Scale of logistic noise on the ranks, for exploration.

    Returns
    -------
    Tensor
        ``[B, T]`` of 0 and 1; its gradient is that of a sigmoid around the
        threshold.

    Example
    -------
    >>> logits = torch.tensor([[3.0, 1.0, 2.0, 0.0]])
    >>> top_share_gate(logits, torch.tensor([0.5]))
    tensor([[1., 0., 1., 0.]])
    """
    logits = logits.float()
    batch, time = logits.shape
    if lengths is None:
        lengths = torch.full((batch,), time, device=logits.device)
    inside = torch.arange(time, device=logits.device) < lengths[:, None]
    ranked = logits.detach()
    if noise:
        ranked = ranked + noise * _logistic(ranked)
    ranked = ranked.masked_fill(~inside, -torch.inf)
    opened = (share.to(lengths.device) * lengths).round().long()
    order = ranked.argsort(1, descending=True)
    rank = torch.empty_like(order).scatter_(
        1, order, torch.arange(time, device=order.device).expand(batch, -1)
    )
    hard = (rank < opened[:, None]).float()
    # The cut lies between the last frame that is open and the next one.
    ordered = logits.detach().masked_fill(~inside, -torch.inf)
    ordered = ordered.sort(1, descending=True).values
    last = (opened - 1).clamp_min(0)[:, None]
    following = torch.minimum(opened, lengths - 1).clamp_min(0)[:, None]
    cut = (ordered.gather(1, last) + ordered.gather(1, following)) / 2
    soft = torch.sigmoid((logits - cut) / temperature) * inside
    return hard + (soft - soft.detach())


def _logistic(like: Tensor) -> Tensor:
    """Noise whose distribution function is the sigmoid."""
    tiny = torch.finfo(like.dtype).tiny
    u = torch.rand_like(like).clamp_(tiny, 1 - 1e-7)
    return u.log() - (-u).log1p()


def random_gate(
    batch: int,
    time: int,
    generator: torch.Generator | None = None,
    mean_runs: tuple[float, float] = (1.0, 32.0),
) -> Tensor:
    """Gates drawn without looking at the signal.

    A branch that is closed gets no gradient. Before a policy learns, both
    branches of every layer are trained with these: a quarter of the items
    open, a quarter closed, the others in runs of random length and share.
    The mixture is ours.

    Arguments
    ---------
    batch : int
        Items.
    time : int
        Frames.
    generator : torch.Generator, optional
        Source of randomness.
    mean_runs : tuple of float
        Range of the mean length of a run in frames, drawn per item on a
        logarithmic scale: from a new gate in every frame to half a second.

    Returns
    -------
    Tensor
        ``[batch, time]`` of 0 and 1.

    Example
    -------
    >>> random_gate(4, 100).shape
    torch.Size([4, 100])
    """
    kind = torch.rand(batch, 1, generator=generator)
    share = torch.rand(batch, 1, generator=generator)
    low, high = (math.log(run) for run in mean_runs)
    run = low + (high - low) * torch.rand(batch, 1, generator=generator)
    # A new value is drawn at each renewal and held until the next one.
    renewals = torch.rand(batch, time, generator=generator) < (-run).exp()
    drawn = (torch.rand(batch, time, generator=generator) < share).float()
    index = torch.arange(time).expand(batch, -1)
    last = torch.where(renewals, index, 0).cummax(1).values
    runs = drawn.gather(1, last)
    gate = torch.where(kind < 0.25, torch.ones_like(runs), runs)
    return torch.where(kind > 0.75, torch.zeros_like(runs), gate)
