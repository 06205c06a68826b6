"""FTF-Net: the generator of LCT-GAN (Zhao and Madhu, arXiv 2505.21057).

A small U-Net over frequency with frequency-time-frequency blocks in the
middle. Its layers have a static and a dynamic part; without a gate, and by
default, all of it runs.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speechbrain_dsn.cost import CostReport
from speechbrain_dsn.nnet.blocks import (
    SLOPE,
    FrequencyBlock,
    TimeBlock,
    TimeBlockContext,
)
from speechbrain_dsn.nnet.channel_scale import ChannelScale
from speechbrain_dsn.nnet.conv import ConvContext, DynamicConv2d
from speechbrain_dsn.nnet.conv_transpose import DynamicConvTranspose2d
from speechbrain_dsn.nnet.normalization import DynamicLayerNorm
from speechbrain_dsn.nnet.time_gru import GRUContext


@dataclass
class FTFNetContext:
    """State of a batch of streams.

    Arguments
    ---------
    conv1, conv2, conv3, deconv2, deconv3, deconv4 : ConvContext
        Past input frame of each convolution.
    time : TimeBlockContext
        State of the time block.
    policy : GRUContext, optional
        Memory of the policy.
    """

    conv1: ConvContext
    conv2: ConvContext
    conv3: ConvContext
    deconv2: ConvContext
    deconv3: ConvContext
    deconv4: ConvContext
    time: TimeBlockContext
    policy: GRUContext | None = None


class FTFNet(nn.Module):
    """Compressed magnitude in, mask out; causal, one frame at a time.

    135,425 parameters and 4,794,400 MACs per frame at the defaults, 299.7 M
    MAC/s at 62.5 frames per second (arXiv 2505.21057 reports 0.14 M).

    Arguments
    ---------
    bins : int
        Frequency bins of the input, ``n_fft / 2 + 1``.
    channels : tuple of int
        Output channels of the three encoder convolutions.
    groups : int
        GRU groups and attention heads of each block.
    static_groups : int, optional
        Leading groups and heads that every frame runs, all by default; the
        same share of the last convolution's channels is static.
    window : int
        Frames that the time attention sees (65 frames of 16 ms: 1.04 s).
    update_ratio : float
        Share of the units of the time block's GRU that a frame updates; below
        1 it is a D-GRU (arXiv 2408.12425).
    frame_rate : float
        Frames per second, for reports.

    Example
    -------
    >>> net = FTFNet()
    >>> sum(p.numel() for p in net.parameters())
    135425
    >>> net.report().macs_per_second(1.0)
    299650000.0
    >>> net(torch.rand(2, 10, 257)).shape
    torch.Size([2, 10, 257])
    """

    def __init__(
        self,
        bins: int = 257,
        channels: tuple[int, int, int] = (16, 32, 64),
        groups: int = 4,
        static_groups: int | None = None,
        window: int = 65,
        update_ratio: float = 1.0,
        frame_rate: float = 62.5,
    ) -> None:
        super().__init__()
        self.frame_rate = frame_rate
        c1, c2, c3 = channels
        static = groups if static_groups is None else static_groups
        part = c3 * static // groups
        kernel = (2, 3)
        self.conv1 = DynamicConv2d(c1, kernel, 1, 2)
        self.conv2 = DynamicConv2d(c2, kernel, c1, 2)
        self.conv3 = DynamicConv2d(c3, kernel, c2, 2, static_channels=part)
        self.norm = DynamicLayerNorm(c3, static_size=part)
        self.freq1 = FrequencyBlock(c3, groups, static)
        self.time = TimeBlock(c3, groups, static, window, update_ratio)
        self.freq2 = FrequencyBlock(c3, groups, static)
        self.skip2, self.skip3, self.skip4 = map(ChannelScale, (c3, c2, c1))
        # Bins after each convolution; an odd remainder is padded back.
        f = [bins]
        for conv in (self.conv1, self.conv2, self.conv3):
            f.append(conv.output_bins(f[-1]))
        if f[3] < 1:
            raise ValueError(f"{bins} bins are too few for three convolutions")
        self.bins = tuple(f)
        pad = [f[2 - k] - (2 * f[3 - k] + 1) for k in range(3)]
        self.deconv2 = DynamicConvTranspose2d(
            c2, kernel, c3, 2, static_inputs=part, output_padding=pad[0]
        )
        self.deconv3 = DynamicConvTranspose2d(
            c1, kernel, c2, 2, output_padding=pad[1]
        )
        # The mask starts around 1: a final ReLU that starts below zero in
        # every bin would never get a gradient.
        self.deconv4 = DynamicConvTranspose2d(
            1, kernel, c1, 2, output_padding=pad[2], initial_bias=1.0
        )

    def reset_parameters(self) -> None:
        """Draws all weights anew."""
        for child in self.children():
            child.reset_parameters()

    def stem(self, magnitude: Tensor) -> tuple[Tensor, Tensor]:
        """The convolutions that every frame runs.

        Arguments
        ---------
        magnitude : Tensor
            ``[B, T, bins]``.

        Returns
        -------
        tuple of Tensor
            Outputs of the first and second convolution ``[B, T, F, C]``.
        """
        e1 = F.leaky_relu(self.conv1(magnitude.unsqueeze(-1)), SLOPE)
        return e1, F.leaky_relu(self.conv2(e1), SLOPE)

    def body(
        self, e1: Tensor, e2: Tensor, gate: Tensor | None = None
    ) -> Tensor:
        """Everything after the stem, computed in full and masked.

        Arguments
        ---------
        e1 : Tensor
            Output of the first convolution.
        e2 : Tensor
            Output of the second convolution.
        gate : Tensor, optional
            ``[B, T]`` in 0..1; open by default.

        Returns
        -------
        Tensor
            Mask ``[B, T, bins]``, at least 0; it may exceed 1.
        """
        e3 = F.leaky_relu(self.conv3(e2, gate), SLOPE)
        x = self.norm(e3, gate)
        x = self.freq2(self.time(self.freq1(x, gate), gate), gate)
        x = F.leaky_relu(self.deconv2(x + self.skip2(e3), gate), SLOPE)
        x = F.leaky_relu(self.deconv3(x + self.skip3(e2)), SLOPE)
        return F.relu(self.deconv4(x + self.skip4(e1))).squeeze(-1)

    def forward(self, magnitude: Tensor, gate: Tensor | None = None) -> Tensor:
        """Computes everything and masks, for training.

        Arguments
        ---------
        magnitude : Tensor
            Compressed magnitude ``[B, T, bins]``.
        gate : Tensor, optional
            ``[B, T]`` in 0..1; open by default.

        Returns
        -------
        Tensor
            Mask ``[B, T, bins]``.
        """
        return self.body(*self.stem(magnitude), gate)

    def make_streaming_context(
        self,
        batch_size: int,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> FTFNetContext:
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
        FTFNetContext
            Silence.
        """
        f = self.bins
        # Input bins of each stateful layer, in the order of the context.
        sizes = (f[0], f[1], f[2], f[3], f[2], f[1], f[3])
        names = [field.name for field in fields(FTFNetContext)][: len(sizes)]
        states = {
            name: getattr(self, name).make_streaming_context(
                batch_size, bins, device, dtype
            )
            for name, bins in zip(names, sizes, strict=True)
        }
        return FTFNetContext(**states)

    def stem_streaming(
        self, magnitude: Tensor, context: FTFNetContext
    ) -> tuple[Tensor, Tensor]:
        """The stem on any number of frames.

        Arguments
        ---------
        magnitude : Tensor
            ``[B, T, bins]``.
        context : FTFNetContext
            Updated in place.

        Returns
        -------
        tuple of Tensor
            As :meth:`stem`.
        """
        x = magnitude.unsqueeze(-1)
        e1 = self.conv1.forward_streaming(x, context.conv1)
        e1 = F.leaky_relu(e1, SLOPE)
        e2 = self.conv2.forward_streaming(e1, context.conv2)
        return e1, F.leaky_relu(e2, SLOPE)

    def body_streaming(
        self,
        e1: Tensor,
        e2: Tensor,
        context: FTFNetContext,
        is_open: Tensor,
    ) -> Tensor:
        """The body on any number of frames, skipping what is closed.

        Arguments
        ---------
        e1 : Tensor
            Output of the first convolution.
        e2 : Tensor
            Output of the second convolution.
        context : FTFNetContext
            Updated in place.
        is_open : Tensor
            Booleans ``[B, T]``.

        Returns
        -------
        Tensor
            Mask ``[B, T, bins]``.
        """
        e3 = self.conv3.forward_streaming(e2, context.conv3, is_open)
        e3 = F.leaky_relu(e3, SLOPE)
        x = self.norm.forward_skipping(e3, is_open)
        x = self.freq1.forward_skipping(x, is_open)
        x = self.time.forward_streaming(x, context.time, is_open)
        x = self.freq2.forward_skipping(x, is_open) + self.skip2(e3)
        x = self.deconv2.forward_streaming(x, context.deconv2, is_open)
        x = F.leaky_relu(x, SLOPE) + self.skip3(e2)
        x = self.deconv3.forward_streaming(x, context.deconv3)
        x = F.leaky_relu(x, SLOPE) + self.skip4(e1)
        x = self.deconv4.forward_streaming(x, context.deconv4)
        return F.relu(x).squeeze(-1)

    def forward_streaming(
        self,
        magnitude: Tensor,
        context: FTFNetContext,
        is_open: Tensor | None = None,
    ) -> Tensor:
        """Any number of frames, skipping what is closed.

        Arguments
        ---------
        magnitude : Tensor
            ``[B, T, bins]``.
        context : FTFNetContext
            Updated in place.
        is_open : Tensor, optional
            Booleans ``[B, T]``; open by default.

        Returns
        -------
        Tensor
            Mask ``[B, T, bins]``.
        """
        if is_open is None:
            shape = magnitude.shape[:2]
            is_open = magnitude.new_ones(shape, dtype=torch.bool)
        e1, e2 = self.stem_streaming(magnitude, context)
        return self.body_streaming(e1, e2, context, is_open)

    def report(self) -> CostReport:
        """Cost of one frame, layer by layer.

        Returns
        -------
        CostReport
            In the order of the signal path.
        """
        f = self.bins
        return CostReport(
            {
                "conv1": self.conv1.macs(f[0]),
                "conv2": self.conv2.macs(f[1]),
                "conv3": self.conv3.macs(f[2]),
                "freq1": self.freq1.macs(f[3]),
                "time": self.time.macs(f[3]),
                "freq2": self.freq2.macs(f[3]),
                "skip2": self.skip2.macs(f[3]),
                "deconv2": self.deconv2.macs(f[3]),
                "skip3": self.skip3.macs(f[2]),
                "deconv3": self.deconv3.macs(f[2]),
                "skip4": self.skip4.macs(f[1]),
                "deconv4": self.deconv4.macs(f[1]),
            },
            self.frame_rate,
        )
