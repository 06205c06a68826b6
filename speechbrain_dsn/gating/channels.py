"""The gates of dynamic channel pruning: one logit per channel and frame.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speechbrain_dsn.cost import MacCount
from speechbrain_dsn.nnet.empty import takes_empty_chunks
from speechbrain_dsn.nnet.linear import DynamicLinear
from speechbrain_dsn.nnet.past import PastContext, make_past, with_past


class ChannelGate(nn.Module):
    """``PW(ReLU(PW(P(x))))`` with a moving average ``P`` over time.

    The gate of a block of DynCP (arXiv 2412.17121), before its step. The
    first pointwise convolution is linear, so that averaging its few outputs
    is the same as averaging its inputs, and cheaper. Ours: the width, which
    at 11 costs what the published saving leaves for gates; the window; and
    that logits start above zero, with all channels open.

    Arguments
    ---------
    gates : int
        Logits.
    input_size : int
        Channels that they are made of.
    hidden : int
        Width between the convolutions.
    window : int
        Frames of the average, odd if not causal.
    causal : bool
        Whether the average reads no future frame. Only then it streams.
    initial_bias : float
        Of the logits.

    Example
    -------
    >>> gate = ChannelGate(128, 128)
    >>> gate(torch.randn(2, 10, 128)).shape, gate.macs()
    (torch.Size([2, 10, 128]), MacCount(fixed=2816, gated=()))
    """

    def __init__(
        self,
        gates: int,
        input_size: int,
        hidden: int = 11,
        window: int = 9,
        causal: bool = True,
        initial_bias: float = 1.0,
    ) -> None:
        super().__init__()
        if window < 1 or not (causal or window % 2):
            raise ValueError(
                f"window of {window} frames: expected at least one, and an "
                "odd number without causality"
            )
        self.window, self.causal = window, causal
        self.squeeze = DynamicLinear(hidden, input_size)
        self.expand = DynamicLinear(gates, hidden, initial_bias=initial_bias)

    def reset_parameters(self) -> None:
        """Starts with all channels open."""
        self.squeeze.reset_parameters()
        self.expand.reset_parameters()

    def forward(self, x: Tensor) -> Tensor:
        """Logits of whole sequences.

        Arguments
        ---------
        x : Tensor
            ``[B, T, C]``.

        Returns
        -------
        Tensor
            ``[B, T, gates]``, positive means open.
        """
        after = 0 if self.causal else self.window // 2
        before = self.window - 1 - after
        return self._logits(F.pad(self._squeezed(x), (0, 0, before, after)))

    def _squeezed(self, x: Tensor) -> Tensor:
        return F.linear(x, self.squeeze.weight)

    def _logits(self, x: Tensor) -> Tensor:
        """``[B, window - 1 + T, hidden]`` to ``[B, T, gates]``."""
        mean = x.unfold(1, self.window, 1).mean(-1)
        return self.expand(F.relu(mean + self.squeeze.bias))

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
        shape = (batch_size, self.window - 1, len(self.squeeze.weight))
        return make_past(shape, self.causal, device, dtype)

    @takes_empty_chunks
    def forward_streaming(self, x: Tensor, context: PastContext) -> Tensor:
        """Logits of any number of frames.

        Arguments
        ---------
        x : Tensor
            ``[B, T, C]``.
        context : PastContext
            Updated in place.

        Returns
        -------
        Tensor
            ``[B, T, gates]``.
        """
        return self._logits(with_past(self._squeezed(x), context))

    def macs(self) -> MacCount:
        """Cost of one frame; sums do not count.

        Returns
        -------
        MacCount
            Fixed: every frame is looked at.
        """
        return MacCount(self.squeeze.macs().open + self.expand.macs().open)
