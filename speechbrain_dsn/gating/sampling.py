"""From logits to gates.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from speechbrain_dsn.cost import MacCount
from speechbrain_dsn.nnet.surrogate import heaviside


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


def surrogate_gate(
    logits: Tensor,
    training: bool,
    slope: float = 1.0,
    noise: float = 0.0,
    bias: float | Tensor = 0.0,
) -> Tensor:
    """On/off gates by a step, hard while training too.

    DynCP (arXiv 2412.17121) trains its gates by a Heaviside function with a
    surrogate gradient, without noise; which surrogate is our choice, see
    :func:`~speechbrain_dsn.nnet.surrogate.heaviside`.

    Arguments
    ---------
    logits : Tensor
        ``[B, T, K]``; positive means open.
    training : bool
        Whether to add noise.
    slope : float
        Of the surrogate.
    noise : float
        Scale of logistic noise on the logits.
    bias : float or Tensor
        Added to the logits, one number or ``[B, T]``: the run-time compute
        knob.

    Returns
    -------
    Tensor
        Gates of 0 and 1, float32, in the shape of ``logits``.

    Example
    -------
    >>> surrogate_gate(torch.tensor([[[-1.0, 2.0]]]), training=True)
    tensor([[[0., 1.]]])
    """
    if isinstance(bias, Tensor):
        bias = bias.unsqueeze(-1)
    logits = logits.float() + bias
    if training and noise:
        logits = logits + noise * _logistic(logits)
    return heaviside(logits, slope)


def sample_choice(
    logits: Tensor,
    levels: Sequence[float],
    training: bool,
    temperature: float = 0.5,
    noise: float = 1.0,
    straight_through: bool = True,
    bias: float | Tensor = 0.0,
) -> Tensor:
    """A choice among widths by Gumbel-Softmax.

    Jang et al. 2017 (arXiv 1611.01144); slimmable DEMUCS (arXiv 2507.04879)
    chooses its utilization factors by it. The knob is ours: ``logits + bias *
    levels`` makes wide choices dearer or cheaper by what they cost, so that
    the mean activation rises with one number from the narrowest to the
    widest. :func:`sample_gate` is the case of the levels 0 and 1.

    Arguments
    ---------
    logits : Tensor
        ``[..., J]``.
    levels : sequence of float
        Activation of each width, ascending.
    training : bool
        Whether to add noise. Without it the choice is that of the largest
        logit, the narrower one in a draw.
    temperature : float
        Softness of the relaxed choice.
    noise : float
        Scale of the Gumbel noise; 0 trains without.
    straight_through : bool
        One-hot forward, gradient of the soft choice backward.
    bias : float or Tensor
        The run-time compute knob, one number or ``[...]``.

    Returns
    -------
    Tensor
        ``[..., J]``, float32, with a sum of 1.

    Example
    -------
    >>> logits = torch.tensor([0.0, 1.0, 0.5])
    >>> sample_choice(logits, (0.25, 0.5, 1.0), training=False)
    tensor([0., 1., 0.])
    >>> sample_choice(logits, (0.25, 0.5, 1.0), training=False, bias=2.0)
    tensor([0., 0., 1.])
    """
    if temperature <= 0:
        raise ValueError(f"temperature must be > 0, got {temperature}")
    if isinstance(bias, Tensor):
        bias = bias.unsqueeze(-1)
    logits = logits.float()
    logits = logits + bias * logits.new_tensor(levels)
    if training and noise:
        tiny = torch.finfo(logits.dtype).tiny
        u = torch.rand_like(logits).clamp_(tiny, 1 - 1e-7)
        logits = logits - noise * (-u.log()).log()
    hard = F.one_hot(logits.argmax(-1), len(levels)).to(logits.dtype)
    if not training:
        return hard
    soft = torch.softmax(logits / temperature, -1)
    return hard + (soft - soft.detach()) if straight_through else soft


def decided(
    logits: Tensor, cost: MacCount, bias: float | Tensor = 0.0
) -> Tensor:
    """The gates that a network runs with these logits, without noise.

    Arguments
    ---------
    logits : Tensor
        Of a :class:`~speechbrain_dsn.cost.Decision`, ``[B, T, K]``.
    cost : MacCount
        One frame of the network.
    bias : float or Tensor
        The run-time compute knob.

    Returns
    -------
    Tensor
        ``[B, T, K]`` of 0 and 1.
    """
    if not cost.one_hot:
        return sample_gate(logits, False, bias=bias)
    if isinstance(bias, Tensor):
        bias = bias.unsqueeze(-1)
    choices = logits.unflatten(-1, (cost.groups, -1))
    return sample_choice(choices, cost.levels, False, bias=bias).flatten(-2)


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
    levels: Sequence[float] = (0.0, 1.0),
) -> Tensor:
    """Gates drawn without looking at the signal.

    A branch that is closed gets no gradient. Before a policy learns, both
    branches of every layer are trained with these: a quarter of the items
    open, a quarter closed, the others in runs of random length and share.
    With more than two levels the ends get a quarter each, as the sandwich
    rule of slimmable networks has it (Yu and Huang 2019, arXiv 1903.05134),
    an eighth keeps one level throughout, and the others change between any
    of them. The mixture is ours.

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
    levels : sequence of float
        Activations that a frame can have, ascending.

    Returns
    -------
    Tensor
        ``[batch, time]``, each one of the levels.

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
    drawn = torch.rand(batch, time, generator=generator)
    drawn = (drawn < share).long() if len(levels) == 2 else _any(drawn, levels)
    index = torch.arange(time).expand(batch, -1)
    last = torch.where(renewals, index, 0).cummax(1).values
    runs = drawn.gather(1, last)
    if len(levels) > 2:
        runs = torch.where(
            (kind - 0.5).abs() < 1 / 16, _any(share, levels), runs
        )
    runs = torch.where(kind < 0.25, len(levels) - 1, runs)
    runs = torch.where(kind > 0.75, 0, runs)
    return torch.tensor(levels, dtype=torch.float32)[runs]


def _any(uniform: Tensor, levels: Sequence[float]) -> Tensor:
    """Indices, each as likely, from numbers in 0..1."""
    return (uniform * len(levels)).long()
