"""Two convolutions with any number of channels between.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from speechbrain_dsn.cost import MacCount
from speechbrain_dsn.nnet.chunks import mask_chunks, slim_sizes
from speechbrain_dsn.nnet.feed_forward import PairLayer
from speechbrain_dsn.nnet.gated import gated_linear
from speechbrain_dsn.nnet.widths import copy_leading


class SlimmableConvPair(PairLayer, nn.Module):
    """Conv1d -> activation -> 1x1 -> GLU, slimmable in between.

    The encoder block of DEMUCS (arXiv 1911.13254), over whole chunks or
    signals; the GLU may be left out. Steps come before channels, as in the
    other layers here.

    Arguments
    ---------
    first : torch.nn.Conv1d
        Gives sizes, stride, padding and dilation; in one group, padded with
        zeros.
    second : torch.nn.Conv1d
        Of kernel and stride 1.
    activation : torch.nn.Module, optional
        Acts on each unit by itself; a ReLU by default.
    glu : bool
        Whether a gated linear unit follows.
    utilizations : sequence of float
        Widths as shares of the inner channels, ascending in (0, 1].

    Example
    -------
    >>> import torch
    >>> layer = SlimmableConvPair(nn.Conv1d(1, 16, 8, 4), nn.Conv1d(16, 32, 1))
    >>> choice = torch.eye(4)[torch.randint(4, (2,))]
    >>> layer(torch.randn(2, 64, 1), choice).shape
    torch.Size([2, 15, 16])
    """

    def __init__(
        self,
        first: nn.Conv1d,
        second: nn.Conv1d,
        activation: nn.Module | None = None,
        glu: bool = True,
        utilizations: Sequence[float] = (0.125, 0.25, 0.5, 1.0),
    ) -> None:
        super().__init__()
        self.units, self.glu = first.out_channels, glu
        self.utilizations, self.hidden = slim_sizes(self.units, utilizations)
        self.activation = nn.ReLU() if activation is None else activation
        self.expand = _conv_like(first, first.in_channels, self.hidden[-1])
        self.contract = _conv_like(second, self.hidden[-1], second.out_channels)
        self.in_channels = first.in_channels
        self.out_channels = second.out_channels // (1 + glu)
        self.to(first.weight)

    def reset_parameters(self) -> None:
        """Draws all weights anew, as ``torch.nn.Conv1d`` does."""
        self.expand.reset_parameters()
        self.contract.reset_parameters()

    def _run(self, x: Tensor, level: int, gate: Tensor | None = None) -> Tensor:
        hidden, conv = self.hidden[level], self.expand
        bias = None if conv.bias is None else conv.bias[:hidden]
        x = F.conv1d(
            x.transpose(1, 2),
            conv.weight[:hidden],
            bias,
            conv.stride,
            conv.padding,
            conv.dilation,
        )
        x = self.activation(x).transpose(1, 2)
        x = mask_chunks(x, gate, self.hidden)
        weight = self.contract.weight[:, :hidden, 0]
        product = gated_linear if self.glu else F.linear
        return product(x, weight, self.contract.bias)

    def slice_to(self, level: int) -> SlimmableConvPair:
        """The same pair with one width only, with its own copy of it.

        Arguments
        ---------
        level : int
            Index of the width.

        Returns
        -------
        SlimmableConvPair
            Needs no gate.
        """
        whole = _conv_like(self.expand, self.expand.in_channels, self.units)
        dense = SlimmableConvPair(
            whole,
            self.contract,
            copy.deepcopy(self.activation),
            self.glu,
            (self.utilizations[level],),
        ).to(self.expand.weight)
        return copy_leading(self, dense)

    def macs(self, steps: int) -> MacCount:
        """Cost of one chunk.

        Arguments
        ---------
        steps : int
            Steps per chunk ``L``, before the first convolution.

        Returns
        -------
        MacCount
            One gate per width.
        """
        conv, (taps,) = self.expand, self.expand.kernel_size
        if conv.padding != "same":
            reach = conv.dilation[0] * (taps - 1)
            pad = 0 if conv.padding == "valid" else 2 * conv.padding[0]
            steps = max(0, steps + pad - reach - 1) // conv.stride[0] + 1
        each = steps * (taps * conv.in_channels + self.contract.out_channels)
        return self._declare([each * hidden for hidden in self.hidden])


def _conv_like(conv: nn.Conv1d, inputs: int, outputs: int) -> nn.Conv1d:
    """A convolution of another size, with its own weights."""
    return nn.Conv1d(
        inputs,
        outputs,
        conv.kernel_size,
        conv.stride,
        conv.padding,
        conv.dilation,
        bias=conv.bias is not None,
    )
