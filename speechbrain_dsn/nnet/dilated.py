"""Depth-wise convolutions over time.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speechbrain_dsn.cost import MacCount
from speechbrain_dsn.nnet.empty import takes_empty_chunks
from speechbrain_dsn.nnet.past import PastContext, make_past, with_past


class DilatedConv(nn.Module):
    """A depth-wise dilated convolution over frames, without bias.

    Frame ``t`` reads the frames ``t, t - d, .. t - (K - 1) d``; not causal, as
    many before as after. Outside the signal there is silence.

    Arguments
    ---------
    channels : int
        Channels.
    kernel_size : int
        K, odd if not causal.
    dilation : int
        d.
    causal : bool
        Whether it reads no future frame. Only then it streams.

    Example
    -------
    >>> conv = DilatedConv(8, kernel_size=3, dilation=4)
    >>> conv(torch.randn(2, 10, 8)).shape, conv.macs()
    (torch.Size([2, 10, 8]), MacCount(fixed=24, gated=()))
    """

    def __init__(
        self,
        channels: int,
        kernel_size: int = 3,
        dilation: int = 1,
        causal: bool = True,
    ) -> None:
        super().__init__()
        self.dilation, self.causal = dilation, causal
        self.reach = (kernel_size - 1) * dilation
        if not causal and kernel_size % 2 == 0:
            raise ValueError(f"kernel {kernel_size}: expected an odd one")
        self.weight = nn.Parameter(torch.empty(channels, 1, 1, kernel_size))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws the weights as torch's convolutions do."""
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))

    def forward(self, x: Tensor) -> Tensor:
        """Whole sequences.

        Arguments
        ---------
        x : Tensor
            ``[B, T, C]``.

        Returns
        -------
        Tensor
            ``[B, T, C]``.
        """
        after = 0 if self.causal else self.reach // 2
        return self._convolve(F.pad(x, (0, 0, self.reach - after, after)))

    def _convolve(self, x: Tensor) -> Tensor:
        """``[B, reach + T, C]`` to ``[B, T, C]``. As an image of one row,
        whose channels may come last: several times as fast as a sequence."""
        image = x.transpose(1, 2).unsqueeze(2)
        dilation, groups = (1, self.dilation), x.size(2)
        y = F.conv2d(image, self.weight, None, 1, 0, dilation, groups)
        return y.squeeze(2).transpose(1, 2)

    def make_streaming_context(
        self,
        batch_size: int,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> PastContext:
        """The state at the start of a stream.

        Arguments
        ---------
        batch_size : int
            Streams.
        device : torch.device, optional
            Where the state lives.
        dtype : torch.dtype, optional
            Its type.

        Returns
        -------
        PastContext
            Silence.
        """
        shape = (batch_size, self.reach, len(self.weight))
        return make_past(shape, self.causal, device, dtype)

    @takes_empty_chunks
    def forward_streaming(self, x: Tensor, context: PastContext) -> Tensor:
        """Any number of frames.

        Arguments
        ---------
        x : Tensor
            ``[B, T, C]``.
        context : PastContext
            Updated in place.

        Returns
        -------
        Tensor
            ``[B, T, C]``.
        """
        return self._convolve(with_past(x, context))

    def macs(self) -> MacCount:
        """Cost of one frame.

        Returns
        -------
        MacCount
            Fixed.
        """
        return MacCount(self.weight.numel())

    def extra_repr(self) -> str:
        """Sizes for ``print``."""
        channels, *_, kernel = self.weight.shape
        return f"{channels}, kernel {kernel}, dilation {self.dilation}"
