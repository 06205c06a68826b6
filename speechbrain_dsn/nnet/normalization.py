"""Layer normalization over the channels that are active.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speechbrain_dsn.cost import MacCount
from speechbrain_dsn.nnet.masking import bucketed, expand_gate


class DynamicLayerNorm(nn.Module):
    """LayerNorm whose mean and variance see active channels only.

    With a soft gate the gated channels count by their gate, so the result
    goes smoothly from the normalization of the static channels to that of
    all. Normalizing over active channels is our choice (references: slimmable
    networks need it, arXiv 1812.08928 keeps one norm per width).

    Arguments
    ---------
    input_size : int
        Channels.
    static_size : int, optional
        Leading channels that are always active, all by default.
    eps : float
        Added to the variance.

    Example
    -------
    >>> norm = DynamicLayerNorm(8, static_size=4)
    >>> norm(torch.randn(2, 5, 8), torch.zeros(2, 5)).shape
    torch.Size([2, 5, 8])
    """

    def __init__(
        self, input_size: int, static_size: int | None = None, eps: float = 1e-5
    ) -> None:
        super().__init__()
        self.static_size = input_size if static_size is None else static_size
        if not 0 < self.static_size <= input_size:
            raise ValueError(
                f"static_size must be 1..{input_size}, got {static_size}"
            )
        self.eps = eps
        self.weight = nn.Parameter(torch.empty(input_size))
        self.bias = nn.Parameter(torch.empty(input_size))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Starts as the identity scale."""
        nn.init.ones_(self.weight)
        nn.init.zeros_(self.bias)

    def forward(self, x: Tensor, gate: Tensor | None = None) -> Tensor:
        """Normalizes with a soft or hard gate.

        Arguments
        ---------
        x : Tensor
            ``[B, T, ..., C]``.
        gate : Tensor, optional
            ``[B, T]`` in 0..1; open by default.

        Returns
        -------
        Tensor
            Like ``x``; gated channels are multiplied by the gate.
        """
        size, static = len(self.weight), self.static_size
        if gate is None or static == size:
            return F.layer_norm(x, (size,), self.weight, self.bias, self.eps)
        gate = expand_gate(gate, x)
        leading = torch.arange(size, device=x.device) < static
        active = torch.where(leading, torch.ones_like(gate), gate)
        count = static + (size - static) * gate
        mean = (x * active).sum(-1, keepdim=True) / count
        centred = x - mean
        power = (centred.square() * active).sum(-1, keepdim=True) / count
        y = centred * torch.rsqrt(power + self.eps)
        return (y * self.weight + self.bias) * active

    def branch(self, x: Tensor, is_open: bool) -> Tensor:
        """Normalizes all channels, or the static ones.

        Arguments
        ---------
        x : Tensor
            ``[..., C]``; the closed branch reads leading channels only.
        is_open : bool
            Which branch.

        Returns
        -------
        Tensor
            ``[..., C]``, or ``[..., static_size]`` when closed.
        """
        size = len(self.weight) if is_open else self.static_size
        return F.layer_norm(
            x[..., :size],
            (size,),
            self.weight[:size],
            self.bias[:size],
            self.eps,
        )

    def forward_skipping(self, x: Tensor, is_open: Tensor) -> Tensor:
        """Runs each frame through its own branch.

        Arguments
        ---------
        x : Tensor
            ``[B, T, ..., C]``.
        is_open : Tensor
            Booleans ``[B, T]``.

        Returns
        -------
        Tensor
            Like ``x``.
        """
        return bucketed(self.branch, x, is_open, len(self.weight))

    def slice_to(self, is_open: bool) -> nn.LayerNorm:
        """A plain LayerNorm of one branch, with its own copy.

        Arguments
        ---------
        is_open : bool
            Which branch.

        Returns
        -------
        torch.nn.LayerNorm
            Over the channels of that branch.
        """
        size = len(self.weight) if is_open else self.static_size
        dense = nn.LayerNorm(size, self.eps).to(self.weight)
        with torch.no_grad():
            dense.weight.copy_(self.weight[:size])
            dense.bias.copy_(self.bias[:size])
        return dense

    def macs(self, positions: int = 1) -> MacCount:
        """Norms do not count by our convention.

        Arguments
        ---------
        positions : int
            How often the layer runs per frame.

        Returns
        -------
        MacCount
            Zero.
        """
        return MacCount() * positions
