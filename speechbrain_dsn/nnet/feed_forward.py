"""Two dense layers, or two convolutions, with any number of units between.

Input and output keep all channels, only what lies between the two layers is
cut: so masking hidden units equals leaving them out, and one dense pass with
a mask trains all widths.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speechbrain_dsn.cost import MacCount
from speechbrain_dsn.nnet.chunks import ChunkLayer, mask_chunks, slim_sizes


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


class _Pair(ChunkLayer):
    """What pairs share that run each chunk with units of its own number."""

    def forward(self, x: Tensor, gate: Tensor | None = None) -> Tensor:
        """Computes all units and masks, for training.

        Arguments
        ---------
        x : Tensor
            ``[B', L, N]`` or ``[B, S, L, N]``.
        gate : Tensor, optional
            Choice among widths ``[B', J]`` or ``[B, S, J]``, soft or one-hot;
            the widest by default.

        Returns
        -------
        Tensor
            ``[..., L', N']``.
        """
        if gate is not None:
            gate = gate.flatten(0, -2)
        y = self._run(x.flatten(0, -3), self.top, gate)
        return y.unflatten(0, x.shape[:-2])

    def branch(self, x: Tensor, level: int) -> Tensor:
        """Runs one width.

        Arguments
        ---------
        x : Tensor
            ``[M, L, N]``.
        level : int
            Index of the width.

        Returns
        -------
        Tensor
            ``[M, L', N']``.
        """
        return self._run(x, level)

    def extra_repr(self) -> str:
        """Sizes for ``print``."""
        return f"hidden {self.hidden}"


class SlimmableFeedForward(_Pair, Hidden, nn.Module):
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
        return _copy_leading(self, dense)

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


class SlimmableConvPair(_Pair, nn.Module):
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
        y = F.linear(x, weight, self.contract.bias)
        return F.glu(y) if self.glu else y

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
        return _copy_leading(self, dense)

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


def _copy_leading(whole: nn.Module, dense: nn.Module) -> nn.Module:
    """Fills a layer with the leading part of each weight of another."""
    with torch.no_grad():
        for name, parameter in dense.named_parameters():
            source = whole.get_parameter(name)
            for axis, size in enumerate(parameter.shape):
                source = source.narrow(axis, 0, size)
            parameter.copy_(source)
    return dense.train(whole.training)
