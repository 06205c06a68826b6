"""The policy of MGT-DSN: one gate per frame from early features.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speechbrain_dsn.cost import MacCount, total
from speechbrain_dsn.gating.statistics import channel_statistics
from speechbrain_dsn.nnet.linear import DynamicLinear
from speechbrain_dsn.nnet.normalization import DynamicLayerNorm
from speechbrain_dsn.nnet.time_gru import GRUContext, TimeGRU


class FramePolicy(nn.Module):
    """Statistics of a feature map, two dense layers, one logit per frame.

    Mean and standard deviation over frequency feed two dense layers as in
    MGT-DSN (arXiv 2510.11395). Ours are the normalization of the statistics,
    with their level as one more input: raw, they hardly vary, and neither do
    the logits; and the small GRU between the layers: with the statistics of
    a single frame the policy cannot tell a pause from a noise floor.

    Arguments
    ---------
    channels : int
        Channels of the feature map.
    hidden : int
        Width of the hidden layer, and of the memory.
    memory : bool
        Whether there is a GRU between the dense layers.
    initial_bias : float
        Bias of the logit before training, above zero so that gates start
        open.

    Example
    -------
    >>> policy = FramePolicy(32)
    >>> policy(torch.randn(2, 10, 63, 32)).shape
    torch.Size([2, 10])
    >>> policy.macs()
    MacCount(fixed=8256, gated=(0,))
    """

    def __init__(
        self,
        channels: int,
        hidden: int = 32,
        memory: bool = True,
        initial_bias: float = 0.0,
    ) -> None:
        super().__init__()
        self.norm = DynamicLayerNorm(2 * channels)
        self.dense = DynamicLinear(hidden, 2 * channels + 1)
        self.memory = TimeGRU(hidden, hidden, 1) if memory else None
        self.head = DynamicLinear(1, hidden, initial_bias=initial_bias)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Starts undecided, at the initial bias."""
        for layer in (self.norm, self.dense, self.memory, self.head):
            if layer is not None:
                layer.reset_parameters()

    def forward(self, features: Tensor) -> Tensor:
        """Logits of whole utterances.

        Arguments
        ---------
        features : Tensor
            ``[B, T, F, C]``.

        Returns
        -------
        Tensor
            ``[B, T]``, positive means open.
        """
        x = F.leaky_relu(
            self.dense(channel_statistics(features, self.norm)), 0.03
        )
        if self.memory is not None:
            x = self.memory(x)
        return self.head(x).flatten(1)

    def make_streaming_context(
        self,
        batch_size: int,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> GRUContext | None:
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
        GRUContext or None
            The memory, if there is one.
        """
        if self.memory is None:
            return None
        return self.memory.make_streaming_context(batch_size, 1, device, dtype)

    def forward_streaming(
        self, features: Tensor, context: GRUContext | None
    ) -> Tensor:
        """Logits of any number of frames.

        Arguments
        ---------
        features : Tensor
            ``[B, T, F, C]``.
        context : GRUContext or None
            Updated in place.

        Returns
        -------
        Tensor
            ``[B, T]``.
        """
        x = F.leaky_relu(
            self.dense(channel_statistics(features, self.norm)), 0.03
        )
        if self.memory is not None:
            x = self.memory.forward_streaming(x, context)
        return self.head(x).flatten(1)

    def macs(self) -> MacCount:
        """Cost of one frame, statistics not counted.

        Returns
        -------
        MacCount
            All fixed.
        """
        parts = [self.dense.macs(), self.head.macs()]
        if self.memory is not None:
            parts.append(self.memory.macs(1))
        return total(parts)
