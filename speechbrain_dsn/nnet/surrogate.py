"""Steps that learn: hard values forward, a smooth slope backward.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class _Heaviside(torch.autograd.Function):
    """The step, with the derivative of a softened sign."""

    @staticmethod
    def forward(context: Any, x: Tensor, slope: float) -> Tensor:
        """1 above zero."""
        context.save_for_backward(x)
        context.slope = slope
        return (x > 0).to(x.dtype)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None]:
        """``1 / (slope |x| + 1)^2``."""
        (x,) = context.saved_tensors
        return gradient / (context.slope * x.abs() + 1).square(), None


def heaviside(x: Tensor, slope: float = 1.0) -> Tensor:
    """1 where ``x > 0``, else 0, with a surrogate gradient.

    Backward the step counts as if its derivative were ``1 / (slope |x| +
    1)^2``: the surrogate of the same group's binary activation maps (arXiv
    2407.04578, at slope 1). Its tails are long, so that a gate far from zero
    still learns, where a sigmoid's derivative has vanished.

    Arguments
    ---------
    x : Tensor
        Any shape.
    slope : float
        The larger, the narrower is the band in which ``x`` learns.

    Returns
    -------
    Tensor
        Like ``x``.

    Raises
    ------
    ValueError
        If the slope is not positive.

    Example
    -------
    >>> x = torch.tensor([-1.0, 0.0, 3.0], requires_grad=True)
    >>> y = heaviside(x)
    >>> y.sum().backward()
    >>> y.tolist(), x.grad.tolist()
    ([0.0, 0.0, 1.0], [0.25, 1.0, 0.0625])
    """
    if slope <= 0:
        raise ValueError(f"slope must be > 0, got {slope}")
    return _Heaviside.apply(x, slope)
