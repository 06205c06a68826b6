"""Attention and feed-forward net of any width.

Slimming the hidden layer of the feed-forward net is known of the separation
DSN (IEEE SPL 2024, doi 10.1109/LSP.2024.3445304) from third-party code only;
that heads of the attention are slimmed with it, and all sizes, are ours.
Inputs and outputs keep all channels, only what lies inside an attention or a
feed-forward net is cut: so masking equals slicing.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speechbrain_dsn.nnet.chunks import slim_sizes
from speechbrain_dsn.nnet.masking import mask_widths

ACTIVATIONS = {"relu": F.relu_, "gelu": F.gelu}
EPS = 1e-6  # of norms, as in SpeechBrain's encoder


class SlimmableTransformerLayer(nn.Module):
    """Attention and a feed-forward net, each with leading parts of any size.

    Arguments
    ---------
    nhead : int
        Heads of the widest attention.
    d_model : int
        Channels.
    d_ffn : int
        Hidden units of the widest feed-forward net.
    dropout : float
        Dropout rate.
    activation : str
        ``relu`` or ``gelu``.
    norm_before : bool
        Whether norms come before attention and feed-forward net, not after.
    utilizations : sequence of float
        Widths as shares of heads and hidden units, ascending in (0, 1].
    slim_attention : bool
        Whether narrow widths have fewer heads, too.
    """

    def __init__(
        self,
        nhead: int,
        d_model: int,
        d_ffn: int,
        dropout: float,
        activation: str,
        norm_before: bool,
        utilizations: Sequence[float],
        slim_attention: bool,
    ) -> None:
        super().__init__()
        self.head_size, self.dropout = d_model // nhead, dropout
        self.activation, self.norm_before = activation, norm_before
        ladder, self.hidden = slim_sizes(d_ffn, utilizations)
        _, heads = slim_sizes(nhead, utilizations)
        self.heads = heads if slim_attention else (nhead,) * len(ladder)
        # Channels of the heads of each width.
        self.inner = tuple(h * self.head_size for h in self.heads)
        rows = 3 * self.inner[-1]  # queries, keys, values
        self.in_proj_weight = nn.Parameter(torch.empty(rows, d_model))
        self.in_proj_bias = nn.Parameter(torch.empty(rows))
        self.out_proj = nn.Linear(self.inner[-1], d_model)
        self.expand = nn.Linear(d_model, self.hidden[-1])
        self.contract = nn.Linear(self.hidden[-1], d_model)
        self.norm1 = nn.LayerNorm(d_model, eps=EPS)
        self.norm2 = nn.LayerNorm(d_model, eps=EPS)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws all weights anew, as SpeechBrain's encoder layer does."""
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.in_proj_bias)
        for child in self.children():
            child.reset_parameters()

    def run(self, x: Tensor, level: int, gate: Tensor | None = None) -> Tensor:
        """Runs one width, and masks where a gate says so.

        Arguments
        ---------
        x : Tensor
            ``[M, L, N]``.
        level : int
            Index of the width.
        gate : Tensor, optional
            Choice among widths ``[M, J]``, at the widest level only.

        Returns
        -------
        Tensor
            ``[M, L, N]``.
        """
        for sublayer, norm in (
            (self._attend, self.norm1),
            (self._feed, self.norm2),
        ):
            if self.norm_before:
                x = x + self._drop(sublayer(norm(x), level, gate))
            else:
                x = norm(x + self._drop(sublayer(x, level, gate)))
        return x

    def _drop(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.dropout, self.training)

    def _attend(self, x: Tensor, level: int, gate: Tensor | None) -> Tensor:
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
        x = F.scaled_dot_product_attention(*x, dropout_p=dropout)
        x = _mask(x.transpose(1, 2).flatten(2), gate, self.inner)
        weight = self.out_proj.weight[:, :inner]
        return F.linear(x, weight, self.out_proj.bias)

    def _feed(self, x: Tensor, level: int, gate: Tensor | None) -> Tensor:
        hidden = self.hidden[level]
        weight, bias = self.expand.weight[:hidden], self.expand.bias[:hidden]
        x = ACTIVATIONS[self.activation](F.linear(x, weight, bias))
        x = _mask(self._drop(x), gate, self.hidden)
        return F.linear(x, self.contract.weight[:, :hidden], self.contract.bias)

    def macs(self, steps: int) -> tuple[int, ...]:
        """MACs of a chunk at each width.

        Arguments
        ---------
        steps : int
            Steps per chunk.

        Returns
        -------
        tuple of int
            One per width.
        """
        channels = self.in_proj_weight.size(1)
        return tuple(
            steps * (4 * channels * inner + 2 * steps * inner)
            + steps * 2 * channels * hidden
            for inner, hidden in zip(self.inner, self.hidden, strict=True)
        )


def _mask(x: Tensor, gate: Tensor | None, widths: tuple[int, ...]) -> Tensor:
    """Of rows ``[M, L, C]``, by choices ``[M, J]``."""
    if gate is None:
        return x
    return mask_widths(x.unsqueeze(0), gate.unsqueeze(0), widths).squeeze(0)
