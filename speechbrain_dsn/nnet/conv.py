"""Causal 2-D convolutions over time and frequency with gated channels.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speechbrain_dsn.cost import MacCount
from speechbrain_dsn.nnet.empty import takes_empty_chunks
from speechbrain_dsn.nnet.linear import reset_bias
from speechbrain_dsn.nnet.masking import bucketed, expand_gate, mask_channels


@dataclass
class ConvContext:
    """The last input frames of a causal convolution.

    Arguments
    ---------
    past : Tensor
        ``[B, kernel_time - 1, F, C]``, zeros at the start of a stream.
    """

    past: Tensor


class DynamicConv(nn.Module):
    """What the two convolutions share: weights, windows, branches, cost.

    Frame ``t`` reads the input frames ``t - kernel_time + 1 .. t``; before
    the first one there is silence (zeros). A closed frame computes the
    leading ``static_channels`` outputs from the leading ``static_inputs``
    inputs; gates act on the *output* frame, so an open frame may read what
    earlier closed frames left in their gated channels.
    """

    def __init__(
        self,
        out_channels: int,
        kernel_size: tuple[int, int],
        in_channels: int,
        stride: int = 1,
        static_channels: int | None = None,
        static_inputs: int | None = None,
        initial_bias: float | None = None,
    ) -> None:
        super().__init__()
        self.initial_bias = initial_bias
        self.out_channels, self.in_channels = out_channels, in_channels
        self.kernel_size, self.stride = tuple(kernel_size), stride
        self.static_channels = static_channels or out_channels
        self.static_inputs = static_inputs or in_channels
        if self.static_channels > out_channels:
            raise ValueError(
                f"static_channels {static_channels} > {out_channels} outputs"
            )
        if self.static_inputs > in_channels:
            raise ValueError(
                f"static_inputs {static_inputs} > {in_channels} inputs"
            )
        self.weight = nn.Parameter(torch.empty(self._weight_shape()))
        self.bias = nn.Parameter(torch.empty(out_channels))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws the weights as torch's convolutions do."""
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        fan_in = self.weight.size(1) * math.prod(self.kernel_size)
        reset_bias(self.bias, 1 / fan_in**0.5, self.initial_bias)

    def _weight_shape(self) -> tuple[int, ...]:
        raise NotImplementedError

    def _convolve(self, x: Tensor, inputs: slice, outputs: int) -> Tensor:
        """Frames ``[N, kernel_time - 1 + T, F, C]`` to ``[N, T, F', C']``,
        without bias."""
        raise NotImplementedError

    def output_bins(self, bins: int) -> int:
        """Frequency bins after the layer.

        Arguments
        ---------
        bins : int
            Frequency bins before it.

        Returns
        -------
        int
            Frequency bins.
        """
        raise NotImplementedError

    def _run(self, x: Tensor, gate: Tensor | None) -> Tensor:
        """Masked form on frames that already have their past in front."""
        everything = slice(0, self.in_channels)
        if gate is None or self.static_inputs == self.in_channels:
            y = self._convolve(x, everything, self.out_channels)
        else:
            static = slice(0, self.static_inputs)
            gated = slice(self.static_inputs, self.in_channels)
            y = self._convolve(x, static, self.out_channels)
            rest = self._convolve(x, gated, self.out_channels)
            y = y + expand_gate(gate, rest) * rest
        return mask_channels(y + self.bias, gate, self.static_channels)

    def forward(self, x: Tensor, gate: Tensor | None = None) -> Tensor:
        """Computes everything and masks, for training.

        Arguments
        ---------
        x : Tensor
            ``[B, T, F, C]``.
        gate : Tensor, optional
            ``[B, T]`` in 0..1, soft or hard; open by default.

        Returns
        -------
        Tensor
            ``[B, T, F', C']``.
        """
        return self._run(F.pad(x, (0, 0, 0, 0, self._past_frames, 0)), gate)

    def branch(self, x: Tensor, is_open: bool) -> Tensor:
        """One output frame per row, from its window of input frames.

        Arguments
        ---------
        x : Tensor
            ``[N, kernel_time, F, C]``.
        is_open : bool
            Which branch.

        Returns
        -------
        Tensor
            ``[N, F', C']``, with static channels only when closed.
        """
        inputs = self.in_channels if is_open else self.static_inputs
        outputs = self.out_channels if is_open else self.static_channels
        y = self._convolve(x, slice(0, inputs), outputs)
        return (y + self.bias[:outputs]).squeeze(1)

    @property
    def _past_frames(self) -> int:
        return self.kernel_size[0] - 1

    def make_streaming_context(
        self,
        batch_size: int,
        bins: int,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> ConvContext:
        """The state at the start of a stream.

        Arguments
        ---------
        batch_size : int
            Streams.
        bins : int
            Frequency bins of the input.
        device : torch.device, optional
            Where the state lives.
        dtype : torch.dtype, optional
            Its type.

        Returns
        -------
        ConvContext
            Silence.
        """
        shape = (batch_size, self._past_frames, bins, self.in_channels)
        return ConvContext(torch.zeros(shape, device=device, dtype=dtype))

    @takes_empty_chunks
    def forward_streaming(
        self, x: Tensor, context: ConvContext, is_open: Tensor | None = None
    ) -> Tensor:
        """Any number of frames, skipping what is closed.

        Arguments
        ---------
        x : Tensor
            ``[B, T, F, C]``.
        context : ConvContext
            Updated in place.
        is_open : Tensor, optional
            Booleans ``[B, T]``; open by default.

        Returns
        -------
        Tensor
            ``[B, T, F', C']``.
        """
        x = torch.cat([context.past, x], 1)
        context.past = x[:, x.size(1) - self._past_frames :]
        if is_open is None:
            is_open = torch.ones(len(x), x.size(1) - self._past_frames)
            is_open = is_open.to(x.device, torch.bool)
        windows = x.unfold(1, self.kernel_size[0], 1).permute(0, 1, 4, 2, 3)
        return bucketed(self.branch, windows, is_open, self.out_channels)

    def slice_to(self, is_open: bool) -> nn.Module:
        """The same layer with one branch only, all static, with its copy.

        Arguments
        ---------
        is_open : bool
            Which branch.

        Returns
        -------
        torch.nn.Module
            A layer of the branch's sizes; its ``branch(x, True)`` and
            ``forward(x)`` need no gate.
        """
        inputs = self.in_channels if is_open else self.static_inputs
        outputs = self.out_channels if is_open else self.static_channels
        dense = type(self)(outputs, self.kernel_size, inputs, self.stride)
        dense.to(self.weight)
        with torch.no_grad():
            dense.weight.copy_(self._cut(slice(0, inputs), outputs))
            dense.bias.copy_(self.bias[:outputs])
        return dense

    def _cut(self, inputs: slice, outputs: int) -> Tensor:
        raise NotImplementedError

    def _taps(self, bins: int) -> int:
        """Products per pair of channels in one frame."""
        raise NotImplementedError

    def macs(self, bins: int) -> MacCount:
        """Cost of one frame.

        Arguments
        ---------
        bins : int
            Frequency bins of the input.

        Returns
        -------
        MacCount
            Static channels fixed, the rest gated.
        """
        taps = self._taps(bins)
        fixed = taps * self.static_channels * self.static_inputs
        return MacCount(
            fixed, (taps * self.out_channels * self.in_channels - fixed,)
        )


class DynamicConv2d(DynamicConv):
    """Convolution over ``(time, frequency)``, causal in time.

    No padding in frequency, stride along frequency only: the encoder layers
    of FTF-Net (arXiv 2505.21057), with static and dynamic output channels as
    MGT-DSN (arXiv 2510.11395) uses from the third layer on.

    Arguments
    ---------
    out_channels : int
        Output channels.
    kernel_size : tuple of int
        ``(time, frequency)``.
    in_channels : int
        Input channels.
    stride : int
        Stride along frequency.
    static_channels : int, optional
        Leading outputs that a closed frame computes, all by default.
    static_inputs : int, optional
        Leading inputs that a closed frame reads, all by default.
    initial_bias : float, optional
        Where all biases start, instead of being drawn.

    Example
    -------
    >>> conv = DynamicConv2d(64, (2, 3), 32, stride=2, static_channels=32)
    >>> conv(torch.randn(1, 10, 63, 32), torch.ones(1, 10)).shape
    torch.Size([1, 10, 31, 64])
    >>> conv.macs(63)
    MacCount(fixed=190464, gated=(190464,))
    """

    def _weight_shape(self) -> tuple[int, ...]:
        return (self.out_channels, self.in_channels, *self.kernel_size)

    def _cut(self, inputs: slice, outputs: int) -> Tensor:
        return self.weight[:outputs, inputs]

    def _convolve(self, x: Tensor, inputs: slice, outputs: int) -> Tensor:
        y = F.conv2d(
            x[..., inputs].permute(0, 3, 1, 2),
            self._cut(inputs, outputs),
            stride=(1, self.stride),
        )
        return y.permute(0, 2, 3, 1)

    def output_bins(self, bins: int) -> int:
        """Frequency bins after the layer.

        Arguments
        ---------
        bins : int
            Frequency bins before it.

        Returns
        -------
        int
            Frequency bins.
        """
        return (bins - self.kernel_size[1]) // self.stride + 1

    def _taps(self, bins: int) -> int:
        return self.output_bins(bins) * math.prod(self.kernel_size)
