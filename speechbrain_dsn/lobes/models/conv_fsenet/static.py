"""Conv-FSENet: the backbone of DynCP (arXiv 2412.17121).

Pointwise convolutions around stacks of depth-wise dilated blocks, a mask on
the magnitude. Sizes and layers are those of a co-author's code (512 / 256, 3
stacks of 3 blocks, 128 and 256 channels, kernel 3). Ours: normalization over
the channels of each frame, so that the net is causal and streams; no dropout;
and a mask that starts near one.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speechbrain_dsn.cost import CostReport, MacCount
from speechbrain_dsn.nnet.dilated import DilatedConv
from speechbrain_dsn.nnet.linear import DynamicLinear
from speechbrain_dsn.nnet.past import PastContext
from speechbrain_dsn.nnet.pruning import PrunedLinear


@dataclass
class FSENetContext:
    """State of a batch of streams.

    Arguments
    ---------
    blocks : tuple of PastContext
        Past frames of each depth-wise convolution.
    policy : tuple of PastContext, optional
        Past frames of each gate.
    """

    blocks: tuple[PastContext, ...]
    policy: tuple[PastContext, ...] | None = None


class FSENetBlock(nn.Module):
    """1x1 -> PReLU -> norm -> depth-wise -> PReLU -> norm -> 1x1, residual.

    A gate closes output channels of the last convolution: of these, only the
    residual is left.

    Arguments
    ---------
    channels : int
        Of the residual path.
    inner_channels : int
        Of the depth-wise convolution.
    kernel_size : int
        In frames.
    dilation : int
        Between the frames that it reads.
    group : int
        Channels per gate.
    causal : bool
        Whether no future frame is read.

    Example
    -------
    >>> block = FSENetBlock(128, 256, dilation=2)
    >>> block(torch.randn(1, 5, 128), torch.zeros(1, 5, 128)).shape
    torch.Size([1, 5, 128])
    >>> block.macs().closed, block.macs().open
    (33536, 66304)
    """

    def __init__(
        self,
        channels: int,
        inner_channels: int,
        kernel_size: int = 3,
        dilation: int = 1,
        group: int = 1,
        causal: bool = True,
    ) -> None:
        super().__init__()
        self.causal = causal
        self.expand = DynamicLinear(inner_channels, channels)
        self.activation1 = nn.PReLU()
        self.norm1 = nn.LayerNorm(inner_channels)
        self.conv = DilatedConv(inner_channels, kernel_size, dilation, causal)
        self.activation2 = nn.PReLU()
        self.norm2 = nn.LayerNorm(inner_channels)
        self.project = PrunedLinear(channels, inner_channels, group)

    def reset_parameters(self) -> None:
        """Draws all weights anew."""
        for child in self.children():
            child.reset_parameters()

    def _inner(self, x: Tensor, context: PastContext | None = None) -> Tensor:
        """What the last convolution reads."""
        x = self.norm1(self.activation1(self.expand(x)))
        if context is None:
            x = self.conv(x)
        else:
            x = self.conv.forward_streaming(x, context)
        return self.norm2(self.activation2(x))

    def forward(self, x: Tensor, gate: Tensor | None = None) -> Tensor:
        """Computes everything and masks, for training.

        Arguments
        ---------
        x : Tensor
            ``[B, T, C]``.
        gate : Tensor, optional
            ``[B, T, C / group]`` in 0..1; open by default.

        Returns
        -------
        Tensor
            ``[B, T, C]``.
        """
        return x + self.project(self._inner(x), gate)

    def forward_skipping(self, x: Tensor, is_open: Tensor) -> Tensor:
        """Computes the channels that are open.

        Arguments
        ---------
        x : Tensor
            ``[B, T, C]``.
        is_open : Tensor
            Booleans ``[B, T, C / group]``.

        Returns
        -------
        Tensor
            ``[B, T, C]``.
        """
        return x + self.project.forward_skipping(self._inner(x), is_open)

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
        return self.conv.make_streaming_context(batch_size, device, dtype)

    def forward_streaming(
        self, x: Tensor, context: PastContext, is_open: Tensor | None = None
    ) -> Tensor:
        """Any number of frames, only the channels that are open.

        Arguments
        ---------
        x : Tensor
            ``[B, T, C]``.
        context : PastContext
            Updated in place.
        is_open : Tensor, optional
            Booleans ``[B, T, C / group]``; open by default.

        Returns
        -------
        Tensor
            ``[B, T, C]``.
        """
        inner = self._inner(x, context)
        if is_open is None:
            return x + self.project(inner)
        return x + self.project.forward_skipping(inner, is_open)

    def macs(self) -> MacCount:
        """Cost of one frame.

        Returns
        -------
        MacCount
            The last convolution is gated.
        """
        fixed = self.expand.macs().open + self.conv.macs().open
        return self.project.macs() + MacCount(fixed)


class ConvFSENet(nn.Module):
    """Magnitude in, mask out.

    662,528 MACs per frame at the defaults, 41.4 M MAC/s at 62.5 frames per
    second, and 42 frames of history.

    Arguments
    ---------
    bins : int
        Frequency bins of the input, ``n_fft / 2 + 1``.
    channels : int
        Of the residual path.
    inner_channels : int
        Of the depth-wise convolutions.
    kernel_size : int
        In frames.
    stacks : int
        Repetitions of the dilations.
    blocks : int
        Blocks of a stack, with dilations 1, 2, 4, and so on.
    group : int
        Channels per gate, for nets that have gates.
    causal : bool
        Whether no future frame is read. Only then the net streams.
    frame_rate : float
        Frames per second, for reports.

    Example
    -------
    >>> net = ConvFSENet()
    >>> sum(p.numel() for p in net.parameters())
    674451
    >>> net.report().macs_per_second(1.0)
    41408000.0
    >>> net(torch.rand(2, 10, 257)).shape
    torch.Size([2, 10, 257])
    """

    def __init__(
        self,
        bins: int = 257,
        channels: int = 128,
        inner_channels: int = 256,
        kernel_size: int = 3,
        stacks: int = 3,
        blocks: int = 3,
        group: int = 1,
        causal: bool = True,
        frame_rate: float = 62.5,
    ) -> None:
        super().__init__()
        reach = stacks * (2**blocks - 1) * (kernel_size - 1)
        if reach > 2**12:
            raise ValueError(
                f"{stacks} stacks of {blocks} blocks read {reach} frames, "
                "expected at most 4096"
            )
        self.frame_rate, self.causal = frame_rate, causal
        self.front = DynamicLinear(channels, bins)
        self.blocks = nn.ModuleList(
            FSENetBlock(
                channels, inner_channels, kernel_size, 2**k, group, causal
            )
            for _ in range(stacks)
            for k in range(blocks)
        )
        self.back = DynamicLinear(bins, channels, initial_bias=2.0)

    @property
    def look_ahead(self) -> int:
        """Frames of the future that an output frame reads."""
        if self.causal:
            return 0
        return sum(block.conv.reach // 2 for block in self.blocks)

    def reset_parameters(self) -> None:
        """Draws all weights anew."""
        for layer in (self.front, *self.blocks, self.back):
            layer.reset_parameters()

    def forward(self, magnitude: Tensor) -> Tensor:
        """Whole sequences.

        Arguments
        ---------
        magnitude : Tensor
            ``[B, T, bins]``, compressed or not.

        Returns
        -------
        Tensor
            Mask ``[B, T, bins]`` in 0..1.
        """
        x = F.relu(self.front(magnitude))
        for block in self.blocks:
            x = block(x)
        return torch.sigmoid(self.back(x))

    def make_streaming_context(
        self,
        batch_size: int,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> FSENetContext:
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
        FSENetContext
            Silence.

        Raises
        ------
        ValueError
            If the net is not causal.
        """
        where = (batch_size, device, dtype)
        return FSENetContext(
            tuple(block.make_streaming_context(*where) for block in self.blocks)
        )

    def forward_streaming(
        self, magnitude: Tensor, context: FSENetContext
    ) -> Tensor:
        """Any number of frames.

        Arguments
        ---------
        magnitude : Tensor
            ``[B, T, bins]``.
        context : FSENetContext
            Updated in place.

        Returns
        -------
        Tensor
            Mask ``[B, T, bins]``.
        """
        x = F.relu(self.front(magnitude))
        for block, past in zip(self.blocks, context.blocks, strict=True):
            x = block.forward_streaming(x, past)
        return torch.sigmoid(self.back(x))

    def report(self) -> CostReport:
        """Cost of one frame, layer by layer; all of it always runs.

        Returns
        -------
        CostReport
            In the order of the signal path.
        """
        layers = {
            "front": self.front,
            **{f"block{k}": block for k, block in enumerate(self.blocks)},
            "back": self.back,
        }
        return CostReport(
            {k: MacCount(layer.macs().open) for k, layer in layers.items()},
            self.frame_rate,
        )
