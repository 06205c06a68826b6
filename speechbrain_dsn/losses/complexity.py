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
