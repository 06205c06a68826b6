"""Attention of which only the leading heads run.

What lies between the projections of an attention is cut, its input and output
keep all channels: so masking heads equals leaving them out. That heads are
slimmed is ours.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speechbrain_dsn.cost import MacCount
from speechbrain_dsn.nnet.chunks import MaskedLayer, mask_chunks, slim_sizes
from speechbrain_dsn.nnet.masking import bucketed
from speechbrain_dsn.nnet.widths import copy_leading


class Heads:
    """A mixin: self-attention with any number of leading heads.

    Weights and their names are those of ``torch.nn.MultiheadAttention``.
    """

    dropout: float
    training: bool

    def _add_heads(
        self,
        nhead: int,
        d_model: int,
        utilizations: Sequence[float],
        slim: bool = True,
    ) -> None:
        """Called by constructors; a width has a share of the heads, or all
        of them."""
        if d_model % nhead:
            raise ValueError(f"{nhead} heads do not divide {d_model} channels")
        self.head_size = d_model // nhead
        ladder, heads = slim_sizes(nhead, utilizations)
        self.heads = heads if slim else (nhead,) * len(ladder)
        # Channels of the heads of each width.
        self.inner = tuple(h * self.head_size for h in self.heads)
        rows = 3 * self.inner[-1]  # queries, keys, values
        self.in_proj_weight = nn.Parameter(torch.empty(rows, d_model))
        self.in_proj_bias = nn.Parameter(torch.empty(rows))
        self.out_proj = nn.Linear(self.inner[-1], d_model)

    def _reset_projections(self) -> None:
        """Draws what comes in as ``torch.nn.MultiheadAttention`` does."""
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.in_proj_bias)

    def _attend(
        self,
        x: Tensor,
        level: int,
        gate: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """``[M, L, N]`` at one width; ``mask [M or 1, 1, L, L]`` is added to
        what is in the softmax."""
        heads, inner = self.heads[level], self.inner[level]
        weight, bias = self.in_proj_weight, self.in_proj_bias
        if inner < self.inner[-1]:
            weight, bias = (
                p.unflatten(0, (3, -1))[:, :inner].flatten(0, 1)
                for p in (weight, bias)
            )
        x = F.linear(x, weight, bias)
        x = x.unflatten(-1, (3, heads, self.head_size)).permute(2, 0, 3, 1, 4)
        dropout = self.dropout if self.training else 0.0
        x = F.scaled_dot_product_attention(*x, mask, dropout)
        x = mask_chunks(x.transpose(1, 2).flatten(2), gate, self.inner)
        weight = self.out_proj.weight[:, :inner]
        return F.linear(x, weight, self.out_proj.bias)

    def _attention_macs(self, steps: int) -> tuple[int, ...]:
        """MACs of a chunk at each width."""
        channels = self.in_proj_weight.size(1)
        return tuple(
            steps * (4 * channels * inner + 2 * steps * inner)
            for inner in self.inner
        )


class SlimmableAttention(MaskedLayer, Heads, nn.Module):
    """Self-attention that runs each chunk with heads of its own number.

    At the widest it computes what ``torch.nn.MultiheadAttention`` computes,
    and reads a state dict of that. Each way to run it takes a ``mask [B' or
    1, 1, L, L]`` as well, which is added to what is in the softmax.

    Arguments
    ---------
    nhead : int
        Heads of the widest.
    d_model : int
        Channels ``N``.
    dropout : float
        Dropout rate of the attention weights.
    utilizations : sequence of float
        Widths as shares of the heads, ascending in (0, 1].

    Example
    -------
    >>> layer = SlimmableAttention(4, 32)
    >>> choice = torch.eye(4)[torch.randint(4, (2, 10))]
    >>> layer(torch.randn(2, 10, 50, 32), choice).shape
    torch.Size([2, 10, 50, 32])
    >>> layer.heads
    (1, 1, 2, 4)
    """

    def __init__(
        self,
        nhead: int,
        d_model: int,
        dropout: float = 0.0,
        utilizations: Sequence[float] = (0.125, 0.25, 0.5, 1.0),
    ) -> None:
        super().__init__()
        self.utilizations, _ = slim_sizes(nhead, utilizations)
        self.nhead, self.dropout = nhead, dropout
        self.in_channels = self.out_channels = d_model
        self._add_heads(nhead, d_model, utilizations)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws all weights anew."""
        self._reset_projections()
        self.out_proj.reset_parameters()

    def _run(
        self,
        x: Tensor,
        level: int,
        gate: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        return self._attend(x, level, gate, mask)

    def branch(
        self, x: Tensor, level: int, mask: Tensor | None = None
    ) -> Tensor:
        """Runs one width.

        Arguments
        ---------
        x : Tensor
            ``[M, L, N]``.
        level : int
            Index of the width.
        mask : Tensor, optional
            ``[M or 1, 1, L, L]``.

        Returns
        -------
        Tensor
            ``[M, L, N]``.
        """
        return self._attend(x, level, None, mask)

    def forward_skipping(
        self, x: Tensor, level: Tensor, mask: Tensor | None = None
    ) -> Tensor:
        """Runs each chunk at its own width; differentiable in all but it.

        Arguments
        ---------
        x : Tensor
            ``[B', L, N]`` or ``[B, S, L, N]``.
        level : Tensor
            Index of the width of each chunk ``[B']`` or ``[B, S]``.
        mask : Tensor, optional
            ``[B' or 1, 1, L, L]``.

        Returns
        -------
        Tensor
            Like ``x``, equal to ``forward`` for this choice.
        """
        if mask is None:
            return super().forward_skipping(x, level)
        mask = mask.expand(level.numel(), -1, -1, -1)
        return bucketed(self.branch, x, level, self.out_channels, mask)

    def slice_to(self, level: int) -> SlimmableAttention:
        """The same layer with one width only, with its own copy of it.

        Arguments
        ---------
        level : int
            Index of the width.

        Returns
        -------
        SlimmableAttention
            Needs no gate.
        """
        dense = SlimmableAttention(
            self.nhead,
            self.out_channels,
            self.dropout,
            (self.utilizations[level],),
        ).to(self.in_proj_weight)
        return copy_leading(self, dense)

    def macs(self, steps: int) -> MacCount:
        """Cost of one chunk.

        Arguments
        ---------
        steps : int
            Steps per chunk ``L``.

        Returns
        -------
        MacCount
            One gate per width.
        """
        return self._declare(self._attention_macs(steps))

    def extra_repr(self) -> str:
        """Sizes for ``print``."""
        return f"heads {self.heads} of {self.head_size} channels"
