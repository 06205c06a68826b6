"""Causal transposed convolutions over time and frequency with gated channels.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import math

from torch import Tensor, nn
from torch.nn import functional as F

from speechbrain_dsn.nnet.conv import DynamicConv


class DynamicConvTranspose2d(DynamicConv):
    """Transposed convolution over ``(time, frequency)``, causal in time.

    The decoder layers of FTF-Net: upsamples frequency by ``stride``. Closed,
    only the static inputs contribute: "gated transposed-conv output added to
    the static one" for MGT-DSN (arXiv 2510.11395).

    Arguments
    ---------
    out_channels : int
        Output channels.
    kernel_size : tuple of int
        ``(time, frequency)``.
    in_channels : int
        Input channels.
    stride : int
        Upsampling along frequency.
    static_channels : int, optional
        Leading outputs that a closed frame computes, all by default.
    static_inputs : int, optional
        Leading inputs that a closed frame reads, all by default.
    output_padding : int
        Bins added at the high end.
    initial_bias : float, optional
        Where all biases start, instead of being drawn.

    Example
    -------
    >>> import torch
    >>> conv = DynamicConvTranspose2d(32, (2, 3), 64, 2, static_inputs=32)
    >>> conv(torch.randn(1, 10, 31, 64), torch.ones(1, 10)).shape
    torch.Size([1, 10, 63, 32])
    >>> conv.macs(31)
    MacCount(fixed=190464, gated=(190464,))
    """

    def __init__(
        self,
        out_channels: int,
        kernel_size: tuple[int, int],
        in_channels: int,
        stride: int = 1,
        static_channels: int | None = None,
        static_inputs: int | None = None,
        output_padding: int = 0,
        initial_bias: float | None = None,
    ) -> None:
        self.output_padding = output_padding
        super().__init__(
            out_channels,
            kernel_size,
            in_channels,
            stride,
            static_channels,
            static_inputs,
            initial_bias,
        )

    def _weight_shape(self) -> tuple[int, ...]:
        return (self.in_channels, self.out_channels, *self.kernel_size)

    def _cut(self, inputs: slice, outputs: int) -> Tensor:
        return self.weight[inputs, :outputs]

    def _convolve(self, x: Tensor, inputs: slice, outputs: int) -> Tensor:
        past = self._past_frames
        y = F.conv_transpose2d(
            x[..., inputs].permute(0, 3, 1, 2),
            self._cut(inputs, outputs),
            stride=(1, self.stride),
            output_padding=(0, self.output_padding),
        ).permute(0, 2, 3, 1)
        # Frames before the chunk and after it are partial sums.
        return y[:, past : y.size(1) - past]

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
        # A transposed convolution over the window would also compute frames
        # that nobody reads; with time as channels only the wanted one runs.
        weight = self._cut(slice(0, inputs), outputs).flip(2)
        y = F.conv_transpose1d(
            x[..., :inputs].transpose(2, 3).flatten(1, 2),
            weight.permute(2, 0, 1, 3).flatten(0, 1),
            self.bias[:outputs],
            self.stride,
            output_padding=self.output_padding,
        )
        return y.transpose(1, 2)

    def slice_to(self, is_open: bool) -> nn.Module:
        """The same layer with one branch only, all static, with its copy.

        Arguments
        ---------
        is_open : bool
            Which branch.

        Returns
        -------
        torch.nn.Module
            A layer of the branch's sizes.
        """
        dense = super().slice_to(is_open)
        dense.output_padding = self.output_padding
        return dense

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
        return (
            (bins - 1) * self.stride + self.kernel_size[1] + self.output_padding
        )

    def _taps(self, bins: int) -> int:
        return bins * math.prod(self.kernel_size)
