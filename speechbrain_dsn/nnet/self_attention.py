"""Projections of self-attention with static and dynamic heads.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speechbrain_dsn.cost import MacCount
from speechbrain_dsn.nnet.linear import DynamicLinear


class SelfAttention(nn.Module):
    """Projections shared by attention over bins and over frames.

    Closed, the projections run from static to static channels only, which
    are those of the static heads.
    """

    def __init__(
        self, nhead: int, d_model: int, static_heads: int | None = None
    ) -> None:
        super().__init__()
        if d_model % nhead:
            raise ValueError(f"{nhead} heads do not divide width {d_model}")
        self.nhead, self.d_model = nhead, d_model
        self.static_heads = nhead if static_heads is None else static_heads
        if not 0 < self.static_heads <= nhead:
            raise ValueError(
                f"static_heads must be 1..{nhead}, got {static_heads}"
            )
        self.head_size = d_model // nhead
        self.static_size = self.static_heads * self.head_size
        self.weight = nn.Parameter(torch.empty(3, d_model, d_model))
        self.bias = nn.Parameter(torch.empty(3, d_model))
        self.out = DynamicLinear(
            d_model,
            d_model,
            self.static_size,
            self.static_size,
            initial_bias=0.0,
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws the weights as ``torch.nn.MultiheadAttention`` does."""
        bound = math.sqrt(6 / (4 * self.d_model))
        nn.init.uniform_(self.weight, -bound, bound)
        nn.init.zeros_(self.bias)
        self.out.reset_parameters()

    def _project(self, x: Tensor, is_open: bool) -> Tensor:
        """``[..., C]`` to q, k, v as ``[..., 3, C]``."""
        size = self.d_model if is_open else self.static_size
        weight = self.weight[:, :size, :size].reshape(3 * size, size)
        bias = self.bias[:, :size].reshape(3 * size)
        return F.linear(x[..., :size], weight, bias).unflatten(-1, (3, size))

    def _macs(self, keys: int) -> MacCount:
        """Cost of one query."""
        static = 3 * self.static_size**2 + 2 * keys * self.static_size
        whole = 3 * self.d_model**2 + 2 * keys * self.d_model
        return MacCount(static, (whole - static,)) + self.out.macs()

    def slice_to(self, is_open: bool) -> nn.MultiheadAttention:
        """A plain multi-head attention of one branch, with its own copy.

        Arguments
        ---------
        is_open : bool
            Which branch.

        Returns
        -------
        torch.nn.MultiheadAttention
            ``batch_first``; over time it needs the window as a mask.
        """
        size = self.d_model if is_open else self.static_size
        heads = size // self.head_size
        dense = nn.MultiheadAttention(size, heads, batch_first=True)
        dense.to(self.weight)
        corner = self.weight[:, :size, :size].reshape(3 * size, size)
        dense.in_proj_weight.data.copy_(corner)
        dense.in_proj_bias.data.copy_(self.bias[:, :size].reshape(-1))
        dense.out_proj.weight.data.copy_(self.out.weight[:size, :size])
        dense.out_proj.bias.data.copy_(self.out.bias[:size])
        return dense
