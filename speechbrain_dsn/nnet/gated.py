"""Products that end in a gated linear unit.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from speechbrain_dsn import native


def gated_linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """``glu(W x + b)`` as two products, one for each half of the outputs.

    Halves of one product are strided. Where they are shorter than a vector
    register (16 floats), a GLU of them takes ten times as long.

    Arguments
    ---------
    x : Tensor
        ``[..., in]``.
    weight : Tensor
        ``[2 * out, in]`` or ``[2, out, in]``.
    bias : Tensor or None
        ``[2 * out]`` or ``[2, out]``.

    Returns
    -------
    Tensor
        ``[..., out]``.

    Example
    -------
    >>> x, weight, bias = torch.randn(5, 3), torch.randn(8, 3), torch.randn(8)
    >>> whole = F.glu(F.linear(x, weight, bias))
    >>> torch.allclose(gated_linear(x, weight, bias), whole, atol=1e-6)
    True
    """
    weights = weight.view(2, -1, weight.size(-1))
    if bias is not None:
        bias = bias.view(2, -1)
    _, outputs, inputs = weights.shape
    if native.fits(x, x.numel() // inputs, inputs * outputs):
        rows = x.reshape(1, -1, inputs)
        y = native.gated_linear(rows, weights, bias)
        return y.view(*x.shape[:-1], outputs)
    biases = (None, None) if bias is None else bias
    value, gate = map(F.linear, (x, x), weights, biases)
    if torch.is_grad_enabled():
        return value * gate.sigmoid()
    return value.mul_(gate.sigmoid_())
