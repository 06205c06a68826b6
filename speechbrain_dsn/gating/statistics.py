"""What policies look at.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def channel_statistics(
    features: Tensor, norm: Callable[[Tensor], Tensor]
) -> Tensor:
    """Mean and standard deviation of each channel within a frame, and level.

    Raw, they hardly vary from frame to frame beside what they have in common,
    and neither would the logits: so they are normalized over channels, and
    what this takes away is one more input (ours).

    Arguments
    ---------
    features : Tensor
        ``[..., F, C]``: the bins of a frame, or the steps of a chunk.
    norm : callable
        Normalizes the ``2 C`` statistics.

    Returns
    -------
    Tensor
        ``[..., 1, 2 C + 1]``.

    Example
    -------
    >>> features = torch.randn(2, 10, 63, 32)
    >>> channel_statistics(features, torch.nn.LayerNorm(64)).shape
    torch.Size([2, 10, 1, 65])
    """
    mean = features.mean(-2, keepdim=True)
    power = (features - mean).square().mean(-2, keepdim=True)
    both = torch.cat([mean, (power + 1e-8).sqrt()], -1)
    level = both.abs().mean(-1, keepdim=True).clamp_min(1e-4).log()
    return torch.cat([norm(both), level], -1)
