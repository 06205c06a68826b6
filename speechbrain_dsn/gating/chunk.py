"""The gate of a dual-path block: one width per chunk from its statistics.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from speechbrain_dsn.cost import MacCount
from speechbrain_dsn.gating.statistics import channel_statistics
from speechbrain_dsn.nnet.linear import DynamicLinear
from speechbrain_dsn.nnet.normalization import DynamicLayerNorm

SHARPNESS = 3.0


class ChunkGate(nn.Module):
    """Mean and deviation over a chunk, one dense layer: a logit per width.

    After the separation DSN (IEEE SPL 2024, doi 10.1109/LSP.2024.3445304),
    which chooses by local input; that these are its statistics, and a
    learned factor on the logits that starts at 3, is known from third-party
    code. Ours is that statistics are normalized, with their level as one more
    input. Logits keep the type of the weights under autocast.

    Arguments
    ---------
    channels : int
        Channels of the chunk.
    widths : int
        Widths to choose from.

    Example
    -------
    >>> gate = ChunkGate(64, 4)
    >>> gate(torch.randn(2, 10, 100, 64)).shape
    torch.Size([2, 10, 4])
    >>> gate.macs()
    MacCount(fixed=516, gated=())
    """

    def __init__(self, channels: int, widths: int) -> None:
        super().__init__()
        self.norm = DynamicLayerNorm(2 * channels)
        self.dense = DynamicLinear(widths, 2 * channels + 1, initial_bias=0.0)
        self.sharpness = nn.Parameter(torch.empty(()))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Starts undecided."""
        self.norm.reset_parameters()
        self.dense.reset_parameters()
        nn.init.constant_(self.sharpness, SHARPNESS)

    def forward(self, chunks: Tensor) -> Tensor:
        """Logits of any number of chunks.

        Arguments
        ---------
        chunks : Tensor
            ``[..., L, N]``, steps by channels.

        Returns
        -------
        Tensor
            ``[..., widths]``, the largest one wins.
        """
        with torch.autocast(chunks.device.type, enabled=False):
            chunks = chunks.to(self.dense.weight.dtype)
            seen = channel_statistics(chunks, self.norm)
            return self.sharpness * self.dense(seen).squeeze(-2)

    def macs(self) -> MacCount:
        """Cost of one chunk, statistics not counted.

        Returns
        -------
        MacCount
            Fixed: every chunk is looked at.
        """
        return MacCount(self.dense.macs().open)
