"""Signal losses on samples.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

from torch import Tensor


def relative_error(
    estimate: Tensor, target: Tensor, eps: float = 1e-4
) -> Tensor:
    """Mean absolute error over the level of the target.

    The L1 loss of DEMUCS, divided so that loud items do not outweigh quiet
    ones (ours).

    Arguments
    ---------
    estimate : Tensor
        ``[B, samples]``.
    target : Tensor
        ``[B, samples]``.
    eps : float
        Floor of the level.

    Returns
    -------
    Tensor
        ``[B]``.

    Example
    -------
    >>> import torch
    >>> x = torch.tensor([[1.0, -1.0, 1.0, -1.0]])
    >>> round(relative_error(0.5 * x, x).item(), 3)
    0.5
    """
    level = target.square().mean(1).sqrt() + eps
    return (estimate - target).abs().mean(1) / level


def negative_si_sdr(
    estimate: Tensor, target: Tensor, eps: float = 1e-8
) -> Tensor:
    """Scale-invariant signal-to-distortion ratio in dB, with its sign turned.

    Le Roux et al. 2019 (arXiv 1811.02508), means removed. Both energies get
    a floor relative to the target, so that the loss of a silent or perfect
    estimate is finite.

    Arguments
    ---------
    estimate : Tensor
        ``[B, samples]``.
    target : Tensor
        ``[B, samples]``.
    eps : float
        Floor of the energies as a share of the target's.

    Returns
    -------
    Tensor
        ``[B]``, in dB.

    Example
    -------
    >>> import torch
    >>> x = torch.tensor([[1.0, -1.0, 1.0, -1.0]])
    >>> y = torch.tensor([[1.0, 1.0, -1.0, -1.0]])
    >>> round(negative_si_sdr(x + 0.1 * y, x).item(), 2)
    -20.0
    """
    estimate = estimate - estimate.mean(1, keepdim=True)
    target = target - target.mean(1, keepdim=True)
    energy = target.square().sum(1, keepdim=True).clamp_min(1e-20)
    wanted = (estimate * target).sum(1, keepdim=True) / energy * target
    floor = eps * energy.squeeze(1)
    signal = wanted.square().sum(1) + floor
    distortion = (estimate - wanted).square().sum(1) + floor
    return 10 * (distortion.log10() - signal.log10())
