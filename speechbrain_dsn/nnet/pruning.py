"""A dense layer of which a frame computes only the outputs that it opened.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speechbrain_dsn.cost import MacCount


class PrunedLinear(nn.Module):
    """``y = W x``, where each frame has gates on the rows of ``W``.

    The pointwise convolution of dynamic channel pruning (arXiv 2412.17121):
    there every output channel has a gate of its own, ``group = 1``. Larger
    groups are ours: neighbouring channels share a gate, and what is skipped
    is a block of rows that a matrix product runs well. There is no bias: a
    closed output is zero.

    Arguments
    ---------
    n_neurons : int
        Output channels.
    input_size : int
        Input channels.
    group : int
        Output channels per gate; divides ``n_neurons``.

    Example
    -------
    >>> layer = PrunedLinear(4, 6, group=2)
    >>> x, is_open = torch.randn(1, 3, 6), torch.tensor([[[True, False]] * 3])
    >>> y = layer.forward_skipping(x, is_open)
    >>> torch.allclose(y, layer(x, is_open.float()), atol=1e-6)
    True
    >>> layer.macs()
    MacCount(fixed=0, gated=(12, 12))
    """

    def __init__(self, n_neurons: int, input_size: int, group: int = 1) -> None:
        super().__init__()
        if group < 1 or n_neurons % group:
            raise ValueError(
                f"groups of {group} do not divide {n_neurons} channels"
            )
        self.group, self.gates = group, n_neurons // group
        self.weight = nn.Parameter(torch.empty(n_neurons, input_size))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws the weights as ``torch.nn.Linear`` does."""
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))

    def forward(self, x: Tensor, gate: Tensor | None = None) -> Tensor:
        """Computes everything and masks, for training.

        Arguments
        ---------
        x : Tensor
            ``[B, T, input_size]``.
        gate : Tensor, optional
            ``[B, T, gates]`` in 0..1, soft or hard; open by default.

        Returns
        -------
        Tensor
            ``[B, T, n_neurons]``.
        """
        y = F.linear(x, self.weight)
        if gate is None:
            return y
        if self.group > 1:
            gate = gate.repeat_interleave(self.group, -1)
        return y * gate.to(y.dtype)

    def forward_skipping(self, x: Tensor, is_open: Tensor) -> Tensor:
        """Multiplies the rows that are open, and no others.

        A loop over gates, each for the frames that opened it, or, where there
        are fewer of them, over frames. Groups of 32 channels make it faster
        than the dense product; rows of single channels, however they are
        gathered (by gate, by frame, by frames of the same mask), make it
        slower: there this path is for counting, and for equality.

        Arguments
        ---------
        x : Tensor
            ``[B, T, input_size]``.
        is_open : Tensor
            Booleans ``[B, T, gates]``.

        Returns
        -------
        Tensor
            ``[B, T, n_neurons]``, equal to ``forward`` for these gates.
        """
        rows, opened = x.flatten(0, 1), is_open.flatten(0, 1)
        weight = self.weight.unflatten(0, (self.gates, self.group))
        y = rows.new_zeros(len(rows), self.gates, self.group)
        if len(rows) < self.gates:
            for frame, gates in _indices(opened):
                part = weight.index_select(0, gates).flatten(0, 1)
                part = F.linear(rows[frame : frame + 1], part)
                part = part.view(-1, self.group)
                y[frame] = y[frame].index_copy(0, gates, part)
            return y.flatten(1).unflatten(0, x.shape[:2])
        counts = opened.sum(0).tolist()
        if min(counts) == len(rows):
            return F.linear(x, self.weight)
        for gate, frames in _indices(opened.t(), counts):
            part = F.linear(rows.index_select(0, frames), weight[gate])
            y[:, gate].index_copy_(0, frames, part)
        return y.flatten(1).unflatten(0, x.shape[:2])

    def slice_to(self, is_open: bool | Tensor) -> nn.Linear:
        """A plain dense layer of the rows that are open in every frame.

        Arguments
        ---------
        is_open : bool or Tensor
            For all gates, or booleans ``[gates]``: channels that are closed
            for good can be cut out.

        Returns
        -------
        torch.nn.Linear
            With its own copy of the weights, without bias.
        """
        opened = torch.as_tensor(is_open).expand(self.gates)
        rows = opened.repeat_interleave(self.group)
        weight = self.weight.detach()[rows.to(self.weight.device)].clone()
        dense = nn.Linear(weight.size(1), 1, bias=False)
        dense.out_features = len(weight)  # 0 at first would make torch warn
        dense.weight = nn.Parameter(weight)
        return dense

    def macs(self) -> MacCount:
        """Cost of one frame.

        Returns
        -------
        MacCount
            All gated: each gate has its rows.
        """
        size = self.weight.size(1) * self.group
        return MacCount(0, (size,) * self.gates)

    def extra_repr(self) -> str:
        """Sizes for ``print``."""
        return f"{self.weight.size(1)} -> {self.gates} x {self.group}"


def _indices(
    opened: Tensor, counts: list[int] | None = None
) -> list[tuple[int, Tensor]]:
    """Rows of a matrix of booleans that hold some, and where."""
    if counts is None:
        counts = opened.sum(1).tolist()
    parts = opened.nonzero()[:, 1].split(counts)
    return [(row, part) for row, part in enumerate(parts) if len(part)]
