"""A router on magnitudes: how far each frame goes.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speechbrain_dsn.cost import MacCount
from speechbrain_dsn.nnet.linear import DynamicLinear
from speechbrain_dsn.nnet.normalization import DynamicLayerNorm
from speechbrain_dsn.nnet.time_gru import GRUContext, TimeGRU

SLOPE = 0.03
QUIET = 1e-4


class SpectrumRouter(nn.Module):
    """Dense -> GRU -> dense: a logit per choice, from a frame's magnitude.

    A GRU of a few units that decides before anything else of the frame runs.
    All of it is ours: the sizes, and the normalization over bins, with the
    level that it takes away as one more input.

    Arguments
    ---------
    choices : int
        What to choose among.
    bins : int
        Frequency bins.
    hidden : int
        Units.

    Example
    -------
    >>> router = SpectrumRouter(4, bins=257)
    >>> router(torch.rand(2, 10, 257)).shape
    torch.Size([2, 10, 4])
    >>> router.macs()
    MacCount(fixed=14528, gated=())
    """

    def __init__(self, choices: int, bins: int, hidden: int = 32) -> None:
        super().__init__()
        self.norm = DynamicLayerNorm(bins)
        self.dense = DynamicLinear(hidden, bins + 1)
        self.memory = TimeGRU(hidden, hidden, 1)
        self.head = DynamicLinear(choices, hidden, initial_bias=0.0)

    def reset_parameters(self) -> None:
        """Draws all weights anew."""
        for layer in self.children():
            layer.reset_parameters()

    def _features(self, magnitude: Tensor) -> Tensor:
        """What the memory reads ``[B, T, 1, hidden]``."""
        level = magnitude.mean(-1, keepdim=True).clamp_min(QUIET).log()
        x = torch.cat([self.norm(magnitude), level], -1)
        return F.leaky_relu(self.dense(x), SLOPE).unsqueeze(2)

    def forward(self, magnitude: Tensor) -> Tensor:
        """Logits of whole signals.

        Arguments
        ---------
        magnitude : Tensor
            ``[B, T, bins]``.

        Returns
        -------
        Tensor
            ``[B, T, choices]``, the largest one wins.
        """
        x = self.memory(self._features(magnitude))
        return self.head(x.squeeze(2))

    def make_streaming_context(
        self,
        batch_size: int,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> GRUContext:
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
        GRUContext
            The memory.
        """
        return self.memory.make_streaming_context(batch_size, 1, device, dtype)

    def forward_streaming(
        self, magnitude: Tensor, context: GRUContext
    ) -> Tensor:
        """Logits of any number of frames.

        Arguments
        ---------
        magnitude : Tensor
            ``[B, T, bins]``.
        context : GRUContext
            Updated in place.

        Returns
        -------
        Tensor
            ``[B, T, choices]``.
        """
        # A copy: how a product is rounded depends on where its input lies.
        features = self._features(magnitude.clone())
        x = self.memory.forward_streaming(features, context)
        return self.head(x.squeeze(2))

    def macs(self) -> MacCount:
        """Cost of one frame.

        Returns
        -------
        MacCount
            Fixed: every frame is looked at.
        """
        parts = (self.dense.macs(), self.memory.macs(1), self.head.macs())
        return MacCount(sum(part.open for part in parts))
