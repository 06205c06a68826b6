"""Complexity losses: what an open gate costs.

All read the mean of a gate over the valid frames of an utterance
(:meth:`Decision.usage`), so padding never counts.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

from torch import Tensor


def budget_hinge(usage: Tensor, target: Tensor | float) -> Tensor:
    """One-sided: only use beyond the target is paid.

    ``max(0, mean_t g - theta)``: the gate loss of the standard DSN in arXiv
    2510.11395, and of MGT-DSN when ``target`` comes from
    :func:`metric_target`.

    Arguments
    ---------
    usage : Tensor
        Mean gate per item.
    target : Tensor or float
        Allowed mean.

    Returns
    -------
    Tensor
        Like ``usage``.

    Example
    -------
    >>> import torch
    >>> budget_hinge(torch.tensor([0.25, 0.75]), 0.5)
    tensor([0.0000, 0.2500])
    """
    return (usage - target).clamp_min(0)


def budget_pull(usage: Tensor, target: Tensor | float) -> Tensor:
    """Two-sided: the squared distance to the target.

    Ours. The one-sided hinge lets a policy undershoot and stay there; a
    symmetric pull holds it while the decision forms.

    Arguments
    ---------
    usage : Tensor
        Mean gate per item.
    target : Tensor or float
        Wanted mean.

    Returns
    -------
    Tensor
        Like ``usage``.

    Example
    -------
    >>> import torch
    >>> budget_pull(torch.tensor([0.25, 1.0]), 0.5)
    tensor([0.0625, 0.2500])
    """
    return (usage - target).square()


def threshold_shift(logits: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Moves all logits of an item until the wanted share of them is positive.

    Its value is the squared distance of deterministic use and target; its
    gradient moves every logit alike, by the signed distance. Unlike a
    sigmoid's, it does not vanish far from zero, and it leaves the ranks of
    the frames to quality. Ours, for
    :func:`~speechbrain_dsn.gating.top_share_gate`.

    Arguments
    ---------
    logits : Tensor
        ``[B, T]``.
    target : Tensor
        Wanted mean gate ``[B]``.
    mask : Tensor
        1 in valid frames, else 0, ``[B, T]``.

    Returns
    -------
    Tensor
        ``[B]``.

    Example
    -------
    >>> import torch
    >>> logits = torch.tensor([[1.0, 1.0, -1.0, -1.0]], requires_grad=True)
    >>> loss = threshold_shift(logits, torch.tensor([0.25]), torch.ones(1, 4))
    >>> loss.sum().backward()
    >>> loss.item(), logits.grad.tolist()
    (0.0625, [[0.0625, 0.0625, 0.0625, 0.0625]])
    """
    frames = mask.sum(1).clamp_min(1)
    mean = (logits * mask).sum(1) / frames
    use = ((logits > 0) * mask).sum(1) / frames
    distance = (use - target).detach()
    return distance.square() + distance * (mean - mean.detach())


def unit_spread(logits: Tensor, mask: Tensor) -> Tensor:
    """Holds the deviation of an item's logits over time at one.

    Ours, beside :func:`threshold_shift`: that one moves all logits of an
    item alike, and if they hardly differ, all its frames cross zero at once.

    Arguments
    ---------
    logits : Tensor
        ``[B, T]``.
    mask : Tensor
        1 in valid frames, else 0, ``[B, T]``.

    Returns
    -------
    Tensor
        ``[B]``.

    Example
    -------
    >>> import torch
    >>> unit_spread(torch.tensor([[3.0, 1.0]]), torch.ones(1, 2)).item() < 1e-3
    True
    """
    frames = mask.sum(1, keepdim=True).clamp_min(1)
    mean = (logits * mask).sum(1, keepdim=True) / frames
    power = ((logits - mean).square() * mask).sum(1) / frames.squeeze(1)
    return ((power + 1e-6).sqrt() - 1).square()


def metric_target(quality: Tensor, scale: float = 0.8) -> Tensor:
    """The allowed mean gate for an input of this quality.

    ``theta_m = scale (5 - m) / 4`` (arXiv 2510.11395), ``m`` the DNSMOS OVRL
    of the noisy input: the worst input may use ``scale``, a perfect one
    nothing.

    Arguments
    ---------
    quality : Tensor
        Opinion score in 1..5.
    scale : float
        Lambda; set so that the mean over a data set is the wanted budget.

    Returns
    -------
    Tensor
        In 0..1, like ``quality``.

    Example
    -------
    >>> import torch
    >>> metric_target(torch.tensor([1.0, 3.0, 5.0]))
    tensor([0.8000, 0.4000, 0.0000])
    """
    return (scale * (5 - quality) / 4).clamp(0, 1)
