"""Two dense layers with any number of units between.

Input and output keep all channels, only what lies between the two layers is
cut: so masking hidden units equals leaving them out, and one dense pass with
a mask trains all widths.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from speechbrain_dsn.cost import MacCount
from speechbrain_dsn.nnet.chunks import MaskedLayer, mask_chunks, slim_sizes
from speechbrain_dsn.nnet.widths import copy_leading


class Hidden:
    """A mixin: two dense layers with any number of leading units between."""

    dropout: float
    training: bool
    expand: nn.Linear
    contract: nn.Linear

    def _add_hidden(
        self,
        channels: int,
        units: int,
        out_channels: int,
        utilizations: Sequence[float],
        bias: tuple[bool, bool] = (True, True),
    ) -> None:
        """Called by constructors; a width has a share of the units."""
        _, self.hidden = slim_sizes(units, utilizations)
        self.expand = nn.Linear(channels, self.hidden[-1], bias[0])
        self.contract = nn.Linear(self.hidden[-1], out_channels, bias[1])

    def _feed(
        self,
        x: Tensor,
        level: int,
        gate: Tensor | None,
        activate: Callable[[Tensor], Tensor],
    ) -> Tensor:
        """``[M, L, N]`` at one width."""
        hidden, bias = self.hidden[level], self.expand.bias
        bias = None if bias is None else bias[:hidden]
        x = activate(F.linear(x, self.expand.weight[:hidden], bias))
        x = F.dropout(x, self.dropout, self.training)
        x = mask_chunks(x, gate, self.hidden)
        return F.linear(x, self.contract.weight[:, :hidden], self.contract.bias)

    def _hidden_macs(self, steps: int) -> tuple[int, ...]:
        """MACs of a chunk at each width."""
        channels = self.expand.in_features + self.contract.out_features
        return tuple(steps * channels * hidden for hidden in self.hidden)


class PairLayer(MaskedLayer):
    """What pairs share: hidden units of any number."""

    hidden: tuple[int, ...]

    def extra_repr(self) -> str:
        """Sizes for ``print``."""
        return f"hidden {self.hidden}"


class SlimmableFeedForward(PairLayer, Hidden, nn.Module):
    """Linear -> activation -> dropout -> Linear, slimmable in between.

    Arguments
    ---------
    input_size : int
        Channels ``N``.
    d_ffn : int
        Hidden units of the widest.
    out_channels : int, optional
        Channels of the output, those of the input by default.
    activation : torch.nn.Module, optional
        Acts on each unit by itself; a ReLU by default.
    dropout : float
        Dropout rate of the hidden units.
    utilizations : sequence of float
        Widths as shares of the hidden units, ascending in (0, 1].
    bias : tuple of bool
        Whether either layer has one.

    Example
    -------
    >>> import torch
    >>> layer = SlimmableFeedForward(32, 64)
    >>> choice = torch.eye(4)[torch.randint(4, (2, 10))]
    >>> layer(torch.randn(2, 10, 50, 32), choice).shape
    torch.Size([2, 10, 50, 32])
    """

    def __init__(
        self,
        input_size: int,
        d_ffn: int,
        out_channels: int | None = None,
        activation: nn.Module | None = None,
        dropout: float = 0.0,
        utilizations: Sequence[float] = (0.125, 0.25, 0.5, 1.0),
        bias: tuple[bool, bool] = (True, True),
    ) -> None:
        super().__init__()
        self.utilizations, _ = slim_sizes(d_ffn, utilizations)
        self.in_channels = input_size
        self.out_channels = out_channels or input_size
        self.d_ffn, self.dropout = d_ffn, dropout
        self.activation = nn.ReLU() if activation is None else activation
        self._add_hidden(
            input_size, d_ffn, self.out_channels, utilizations, bias
        )

    def reset_parameters(self) -> None:
        """Draws all weights anew, as ``torch.nn.Linear`` does."""
        self.expand.reset_parameters()
        self.contract.reset_parameters()

    def _run(self, x: Tensor, level: int, gate: Tensor | None = None) -> Tensor:
        return self._feed(x, level, gate, self.activation)

    def slice_to(self, level: int) -> SlimmableFeedForward:
        """The same pair with one width only, with its own copy of it.

        Arguments
        ---------
        level : int
            Index of the width.

        Returns
        -------
        SlimmableFeedForward
            Needs no gate.
        """
        dense = SlimmableFeedForward(
            self.expand.in_features,
            self.d_ffn,
            self.out_channels,
            copy.deepcopy(self.activation),
            self.dropout,
            (self.utilizations[level],),
            (self.expand.bias is not None, self.contract.bias is not None),
        ).to(self.expand.weight)
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
        return self._declare(self._hidden_macs(steps))
