"""The router of slimmable DEMUCS: one width per frame from the waveform.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speechbrain_dsn.cost import MacCount
from speechbrain_dsn.nnet.diagonal import DiagonalGRU, DiagonalGRUContext
from speechbrain_dsn.nnet.empty import takes_empty_chunks
from speechbrain_dsn.nnet.linear import DynamicLinear
from speechbrain_dsn.nnet.strided import conv_steps


@dataclass
class RouterContext:
    """State of a batch of streams.

    Arguments
    ---------
    past : Tensor
        Last samples ``[B, kernel - stride]``.
    memory : DiagonalGRUContext
        State of the GRU.
    """

    past: Tensor
    memory: DiagonalGRUContext


class WaveformRouter(nn.Module):
    """Conv1d -> ReLU -> diagonal GRU -> 1x1 conv: a logit per width.

    The chain of arXiv 2507.04879, on the waveform before anything else is
    done to it. Ours: all sizes; that the rectified filter outputs are
    averaged over a frame before the GRU, so that it steps once per decision;
    and their logarithm, which spreads quiet and loud passages evenly.

    Arguments
    ---------
    widths : int
        Widths to choose from.
    hop : int
        Samples per frame.
    channels : int
        Filters, and units of the GRU.
    kernel_size : int
        Samples per filter, a multiple of the stride.
    stride : int
        Samples between its positions; divides the hop.

    Example
    -------
    >>> router = WaveformRouter(4, hop=256)
    >>> router(torch.randn(2, 10, 256)).shape
    torch.Size([2, 10, 4])
    >>> router.macs()
    MacCount(fixed=45504, gated=())
    """

    def __init__(
        self,
        widths: int,
        hop: int,
        channels: int = 64,
        kernel_size: int = 64,
        stride: int = 32,
    ) -> None:
        super().__init__()
        if hop % stride or kernel_size < stride or kernel_size % stride:
            raise ValueError(
                f"stride {stride} must divide a frame of {hop} samples and "
                f"the kernel of {kernel_size}"
            )
        self.hop, self.kernel_size, self.stride = hop, kernel_size, stride
        self.conv = DynamicLinear(channels, kernel_size)
        self.memory = DiagonalGRU(channels, channels)
        self.head = DynamicLinear(widths, channels, initial_bias=0.0)

    def reset_parameters(self) -> None:
        """Draws all weights anew."""
        for layer in (self.conv, self.memory, self.head):
            layer.reset_parameters()

    def forward(self, frames: Tensor) -> Tensor:
        """Logits of whole signals.

        Arguments
        ---------
        frames : Tensor
            ``[B, T, hop]``.

        Returns
        -------
        Tensor
            ``[B, T, widths]``, the largest one wins.
        """
        context = self.make_streaming_context(
            len(frames), frames.device, frames.dtype
        )
        return self.forward_streaming(frames, context)

    def make_streaming_context(
        self,
        batch_size: int,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> RouterContext:
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
        RouterContext
            Silence.
        """
        shape = (batch_size, self.kernel_size - self.stride)
        return RouterContext(
            torch.zeros(shape, device=device, dtype=dtype),
            self.memory.make_streaming_context(batch_size, device, dtype),
        )

    @takes_empty_chunks
    def forward_streaming(
        self, frames: Tensor, context: RouterContext
    ) -> Tensor:
        """Logits of any number of frames.

        Arguments
        ---------
        frames : Tensor
            ``[B, T, hop]``.
        context : RouterContext
            Updated in place.

        Returns
        -------
        Tensor
            ``[B, T, widths]``.
        """
        x = torch.cat([context.past, frames.flatten(1)], 1)
        context.past = x[:, frames[0].numel() :].clone()
        bands = conv_steps(
            x.unsqueeze(-1),
            self.conv.weight.unsqueeze(-1),
            self.conv.bias,
            self.stride,
        )
        bands = F.relu(bands).unflatten(1, (frames.size(1), -1))
        level = (bands.mean(2) + 1e-3).log()
        return self.head(self.memory.forward_streaming(level, context.memory))

    def macs(self) -> MacCount:
        """Cost of one frame.

        Returns
        -------
        MacCount
            Fixed: every frame is looked at.
        """
        parts = (
            self.conv.macs(self.hop // self.stride),
            self.memory.macs(),
            self.head.macs(),
        )
        return MacCount(sum(part.open for part in parts))
