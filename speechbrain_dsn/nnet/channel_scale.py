"""A factor per channel.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from speechbrain_dsn.cost import MacCount


class ChannelScale(nn.Module):
    """A depth-wise 1x1 convolution: the skip connections of FTF-Net.

    Arguments
    ---------
    channels : int
        Channels.

    Example
    -------
    >>> ChannelScale(16)(torch.randn(1, 5, 31, 16)).shape
    torch.Size([1, 5, 31, 16])
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels))
        self.bias = nn.Parameter(torch.empty(channels))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Starts as a plain skip connection."""
        nn.init.ones_(self.weight)
        nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Scales and shifts each channel.

        Arguments
        ---------
        x : Tensor
            ``[..., C]``.

        Returns
        -------
        Tensor
            Like ``x``.
        """
        return torch.addcmul(self.bias, x, self.weight)

    def macs(self, bins: int) -> MacCount:
        """Cost of one frame.

        Arguments
        ---------
        bins : int
            Frequency bins.

        Returns
        -------
        MacCount
            One product per bin and channel.
        """
        return MacCount(bins * len(self.weight))
