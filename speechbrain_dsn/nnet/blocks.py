"""The frequency and time blocks of FTF-Net, with static and dynamic parts.

Both are ``grouped GRU -> linear -> add and norm -> attention -> add and
norm`` (arXiv 2505.21057; post-norm, no feed-forward net).

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speechbrain_dsn.cost import MacCount, total
from speechbrain_dsn.nnet.frequency_attention import FrequencyAttention
from speechbrain_dsn.nnet.frequency_gru import FrequencyGRU
from speechbrain_dsn.nnet.linear import DynamicLinear
from speechbrain_dsn.nnet.masking import bucketed
from speechbrain_dsn.nnet.normalization import DynamicLayerNorm
from speechbrain_dsn.nnet.time_attention import AttentionContext, TimeAttention
from speechbrain_dsn.nnet.time_gru import GRUContext, TimeGRU

SLOPE = 0.03


class _Block(nn.Module):
    """What the two blocks share: everything after the GRU.

    In a closed frame the linear layer still feeds all channels from the
    static GRU groups, so the residual stream stays whole; the attention
    reads and writes the static channels only.
    """

    rnn: FrequencyGRU | TimeGRU
    attention: FrequencyAttention | TimeAttention

    def __init__(self, channels: int, rnn_channels: int, static: int) -> None:
        super().__init__()
        self.channels = channels
        self.linear = DynamicLinear(
            channels, rnn_channels, static_inputs=static
        )
        self.norm1 = DynamicLayerNorm(channels)
        self.norm2 = DynamicLayerNorm(channels)

    def reset_parameters(self) -> None:
        """Draws all weights anew."""
        for child in self.children():
            child.reset_parameters()

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
            ``[B, T, F, C]``.
        """
        h = F.leaky_relu(self.rnn(x, gate), SLOPE)
        x = self.norm1(x + self.linear(h, gate))
        return self.norm2(x + self.attention(x, gate))

    def macs(self, bins: int, **rnn: bool) -> MacCount:
        """Cost of one frame.

        Arguments
        ---------
        bins : int
            Frequency bins.
        **rnn : bool
            Passed to the GRU's ``macs``.

        Returns
        -------
        MacCount
            The sum of its layers.
        """
        return total(
            [
                self.rnn.macs(bins, **rnn),
                self.linear.macs(bins),
                self.attention.macs(bins),
            ]
        )


class FrequencyBlock(_Block):
    """The frequency block: frames are independent.

    Arguments
    ---------
    channels : int
        Channels.
    groups : int
        GRU groups, and attention heads.
    static_groups : int, optional
        Leading groups and heads that run in every frame, all by default.

    Example
    -------
    >>> block = FrequencyBlock(64, 4, 2)
    >>> block(torch.randn(1, 10, 31, 64), torch.ones(1, 10)).shape
    torch.Size([1, 10, 31, 64])
    """

    def __init__(
        self, channels: int, groups: int, static_groups: int | None = None
    ) -> None:
        static = groups if static_groups is None else static_groups
        super().__init__(
            channels, 2 * channels, 2 * channels * static // groups
        )
        self.rnn = FrequencyGRU(channels, channels, groups, static)
        self.attention = FrequencyAttention(groups, channels, static)

    def branch(self, x: Tensor, is_open: bool) -> Tensor:
        """Runs whole frames, or their static part.

        Arguments
        ---------
        x : Tensor
            ``[N, F, C]``, one row per frame.
        is_open : bool
            Which branch.

        Returns
        -------
        Tensor
            ``[N, F, C]``.
        """
        h = F.leaky_relu(self.rnn.branch(x, is_open), SLOPE)
        x = self.norm1.branch(x + self.linear.branch(h, is_open), True)
        y = self.attention.branch(x, is_open)
        y = F.pad(y, (0, self.channels - y.size(-1)))
        return self.norm2.branch(x + y, True)

    def forward_skipping(self, x: Tensor, is_open: Tensor) -> Tensor:
        """Runs each frame through its own branch.

        Arguments
        ---------
        x : Tensor
            ``[B, T, F, C]``.
        is_open : Tensor
            Booleans ``[B, T]``.

        Returns
        -------
        Tensor
            ``[B, T, F, C]``.
        """
        return bucketed(self.branch, x, is_open, self.channels)


@dataclass
class TimeBlockContext:
    """State of a :class:`TimeBlock`.

    Arguments
    ---------
    rnn : GRUContext
        Hidden states.
    attention : AttentionContext
        Past keys and values.
    """

    rnn: GRUContext
    attention: AttentionContext


class TimeBlock(_Block):
    """The time block: bins are independent, frames are causal.

    Arguments
    ---------
    channels : int
        Channels.
    groups : int
        GRU groups, and attention heads.
    static_groups : int, optional
        Leading groups and heads that run in every frame, all by default.
    window : int
        Frames that the attention sees, the current one included.
    update_ratio : float
        Share of the GRU's units that a frame updates.

    Example
    -------
    >>> block = TimeBlock(64, 4, 2)
    >>> block(torch.randn(1, 10, 31, 64), torch.ones(1, 10)).shape
    torch.Size([1, 10, 31, 64])
    """

    def __init__(
        self,
        channels: int,
        groups: int,
        static_groups: int | None = None,
        window: int = 65,
        update_ratio: float = 1.0,
    ) -> None:
        static = groups if static_groups is None else static_groups
        super().__init__(channels, channels, channels * static // groups)
        self.rnn = TimeGRU(channels, channels, groups, static, update_ratio)
        self.attention = TimeAttention(groups, channels, static, window)

    def make_streaming_context(
        self,
        batch_size: int,
        bins: int,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> TimeBlockContext:
        """The state at the start of a stream.

        Arguments
        ---------
        batch_size : int
            Streams.
        bins : int
            Sequences per stream.
        device : torch.device, optional
            Where the state lives.
        dtype : torch.dtype, optional
            Its type.

        Returns
        -------
        TimeBlockContext
            Nothing seen.
        """
        where = (batch_size, bins, device, dtype)
        return TimeBlockContext(
            self.rnn.make_streaming_context(*where),
            self.attention.make_streaming_context(*where),
        )

    def forward_streaming(
        self,
        x: Tensor,
        context: TimeBlockContext,
        is_open: Tensor | None = None,
    ) -> Tensor:
        """Any number of frames, skipping what is closed.

        Arguments
        ---------
        x : Tensor
            ``[B, T, F, C]``.
        context : TimeBlockContext
            Updated in place.
        is_open : Tensor, optional
            Booleans ``[B, T]``; open by default.

        Returns
        -------
        Tensor
            ``[B, T, F, C]``.
        """
        if is_open is None:
            is_open = x.new_ones(x.shape[:2], dtype=torch.bool)
        h = self.rnn.forward_streaming(x, context.rnn, is_open)
        h = self.linear.forward_skipping(F.leaky_relu(h, SLOPE), is_open)
        x = self.norm1(x + h)
        y = self.attention.forward_streaming(x, context.attention, is_open)
        return self.norm2(x + y)
