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
        tiny = torch.finfo(logits.dtype).tiny
        u = torch.rand_like(logits).clamp_(tiny, 1 - 1e-7)
        logits = logits + noise * (u.log() - (-u).log1p())
    soft = torch.sigmoid(logits / temperature)
    if not straight_through:
        return soft
    # The brackets matter: (1 + soft) - soft is not always 1.
    return (soft > 0.5).float() + (soft - soft.detach())


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
