"""Slimmable DEMUCS (Miccini et al., arXiv 2507.04879) without its router.

Upsampling, strided encoders, a grouped GRU, decoders with added skip
connections, downsampling. Only what lies inside a block is slimmed, so that
each frame may have a width of its own. What the paper leaves open is a
choice of ours: all of it is causal; one GRU layer of four groups; both
resamplers span 48 samples; there is no ReLU behind the last decoder; frames
are divided by a level that is followed, and multiplied by it again. With
these sizes a sample costs 2,048 + 53,760 v MACs at the utilization factor v;
the published rows lie on 2,224 + 53,760 v, the net with its router, of which
the sizes are ours as well, costs 2,226 + 53,760 v.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from speechbrain_dsn.cost import CostReport
from speechbrain_dsn.nnet.chain import run_blocks
from speechbrain_dsn.nnet.level import (
    LevelContext,
    follow_level,
    make_level_context,
)
from speechbrain_dsn.nnet.resampling import (
    Downsampler,
    ResampleContext,
    Upsampler,
)
from speechbrain_dsn.nnet.slimmable import SlimmableDecoder, SlimmableEncoder
from speechbrain_dsn.nnet.time_gru import GRUContext, TimeGRU
from speechbrain_dsn.nnet.widths import SlimmableContext


@dataclass
class DemucsContext:
    """State of a batch of streams.

    Arguments
    ---------
    level : LevelContext
        Of the normalization.
    up, down : ResampleContext
        Of the resamplers.
    encoders, decoders : tuple of SlimmableContext
        In the order of the signal path.
    memory : GRUContext
        Of the bottleneck.
    policy : object, optional
        Of the router.
    """

    level: LevelContext
    up: ResampleContext
    encoders: tuple[SlimmableContext, ...]
    memory: GRUContext
    decoders: tuple[SlimmableContext, ...]
    down: ResampleContext
    policy: object | None = None


class SlimmableDemucs(nn.Module):
    """Frames of a waveform in, enhanced frames out, late by `delay` samples.

    Arguments
    ---------
    hidden : int
        Channels after the first encoder; each further one doubles them.
    depth : int
        Encoders, and decoders.
    kernel_size : int
        Of the convolutions, one or two strides.
    stride : int
        Of the convolutions.
    resample : int
        Factor by which the net's rate exceeds the signal's.
    taps : int
        Length of both resampling filters in samples of the signal, a multiple
        of 16, and the delay that they cause.
    groups : int
        Of the GRU.
    utilizations : sequence of float
        Widths that a frame may have, ascending in (0, 1]. With one only it
        is a static net of that width.
    sample_rate : int
        In Hz, for reports.

    Example
    -------
    >>> net = SlimmableDemucs()
    >>> net.hop, net.delay
    (256, 48)
    >>> net(torch.randn(1, 5, 256)).shape
    torch.Size([1, 5, 256])
    >>> cost = net.report().cost
    >>> [round((cost.fixed + gated) / 256) for gated in cost.gated]
    [8768, 15488, 28928, 55808]
    """

    def __init__(
        self,
        hidden: int = 32,
        depth: int = 5,
        kernel_size: int = 8,
        stride: int = 4,
        resample: int = 4,
        taps: int = 48,
        groups: int = 4,
        utilizations: Sequence[float] = (0.125, 0.25, 0.5, 1.0),
        sample_rate: int = 16000,
    ) -> None:
        super().__init__()
        if depth < 1 or stride**depth % resample:
            raise ValueError(
                f"{depth} layers of stride {stride} do not fit a resampling "
                f"by {resample}"
            )
        if stride**depth > 2**16 or hidden * 2 ** (depth - 1) > 2**12:
            raise ValueError(
                f"a frame of {stride**depth} samples after resampling and a "
                f"bottleneck of {hidden * 2 ** (depth - 1)} channels, expected "
                "at most 65536 and 4096"
            )
        self.hop, self.delay = stride**depth // resample, taps
        if taps > self.hop:
            raise ValueError(
                f"{taps} taps, expected at most a frame of {self.hop} samples"
            )
        self.frame_rate, self.stride = sample_rate / self.hop, stride
        sizes = [1, *(hidden * 2**layer for layer in range(depth))]
        blocks = (kernel_size, stride, utilizations)
        self.up = Upsampler(resample, taps)
        self.encoders = nn.ModuleList(
            SlimmableEncoder(sizes[i + 1], sizes[i], *blocks)
            for i in range(depth)
        )
        self.memory = TimeGRU(sizes[-1], sizes[-1], groups)
        self.decoders = nn.ModuleList(
            SlimmableDecoder(sizes[i], sizes[i + 1], *blocks, activation=i > 0)
            for i in reversed(range(depth))
        )
        self.down = Downsampler(resample, taps)

    @property
    def utilizations(self) -> tuple[float, ...]:
        """Widths that a frame may have."""
        return self.encoders[0].utilizations

    @property
    def level_arguments(self) -> list[dict[str, list[float]]]:
        """What tells a net that has one of the widths only from this one."""
        return [{"utilizations": [width]} for width in self.utilizations]

    def reset_parameters(self) -> None:
        """Draws all weights anew."""
        for layer in (*self.encoders, self.memory, *self.decoders):
            layer.reset_parameters()

    def forward(self, frames: Tensor, gate: Tensor | None = None) -> Tensor:
        """Computes the widest and masks, for training.

        Arguments
        ---------
        frames : Tensor
            ``[B, T, hop]``.
        gate : Tensor, optional
            Choice among widths ``[B, T, J]``, soft or one-hot; the widest by
            default.

        Returns
        -------
        Tensor
            ``[B, T, hop]``.
        """
        level = make_level_context(len(frames), frames.device, frames.dtype)
        frames, scale = self._normalize(frames, level)
        x, skips = self.up(frames.unsqueeze(-1)), []
        for encoder in self.encoders:
            x = encoder(x, gate)
            skips.append(x)
        x = self.memory(x)
        for decoder in self.decoders:
            x = decoder(x + skips.pop(), gate)
        return self.down(x).squeeze(-1) * scale

    def every_level(self, frames: Tensor) -> Tensor:
        """What `forward` returns with all frames at one width, for each
        width, at the cost of their sum.

        Arguments
        ---------
        frames : Tensor
            ``[B, T, hop]``.

        Returns
        -------
        Tensor
            ``[J, B, T, hop]``.
        """
        level = torch.zeros(
            frames.shape[:2], dtype=torch.long, device=frames.device
        )
        return torch.stack(
            [
                SlimmableDemucs.forward_skipping(self, frames, level + width)
                for width in range(len(self.utilizations))
            ]
        )

    def _normalize(
        self, frames: Tensor, context: LevelContext
    ) -> tuple[Tensor, Tensor]:
        """Frames at a level around 1, and what undoes it ``[B, T, hop]``.

        The output is late: its first samples belong to the frame before.
        """
        level, before = follow_level(frames, context)
        scale = level.repeat(1, 1, self.hop)
        scale[..., : self.delay] = before
        return frames / level, scale

    def forward_skipping(self, frames: Tensor, level: Tensor) -> Tensor:
        """Runs each frame at its own width; differentiable in all but it.

        Arguments
        ---------
        frames : Tensor
            ``[B, T, hop]``.
        level : Tensor
            Index of the width of each frame ``[B, T]``.

        Returns
        -------
        Tensor
            ``[B, T, hop]``.
        """
        context = SlimmableDemucs.make_streaming_context(
            self, len(frames), frames.device, frames.dtype
        )
        return SlimmableDemucs.forward_streaming(self, frames, context, level)

    def make_streaming_context(
        self,
        batch_size: int,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> DemucsContext:
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
        DemucsContext
            Silence.
        """
        like = (batch_size, device, dtype)
        encoders, decoders = (
            tuple(block.make_streaming_context(*like) for block in blocks)
            for blocks in (self.encoders, self.decoders)
        )
        return DemucsContext(
            make_level_context(*like),
            self.up.make_streaming_context(*like),
            encoders,
            self.memory.make_streaming_context(batch_size, 1, device, dtype),
            decoders,
            self.down.make_streaming_context(*like),
        )

    def forward_streaming(
        self,
        frames: Tensor,
        context: DemucsContext,
        level: Tensor | None = None,
    ) -> Tensor:
        """Any number of frames, each at its own width.

        Arguments
        ---------
        frames : Tensor
            ``[B, T, hop]``.
        context : DemucsContext
            Updated in place.
        level : Tensor, optional
            Index of the width of each frame ``[B, T]``; the widest by
            default.

        Returns
        -------
        Tensor
            ``[B, T, hop]``.
        """
        frames, scale = self._normalize(frames, context.level)
        x = self.up.forward_streaming(frames.unsqueeze(-1), context.up)
        skips = run_blocks(self.encoders, x, context.encoders, level)
        x = self.memory.forward_streaming(skips[-1], context.memory)
        x = run_blocks(self.decoders, x, context.decoders, level, skips[::-1])[
            -1
        ]
        x = self.down.forward_streaming(x, context.down)
        return x.squeeze(-1) * scale

    def slice_to(self, level: int) -> SlimmableDemucs:
        """A static net of one width, with its own copy of the weights.

        Arguments
        ---------
        level : int
            Index of the width.

        Returns
        -------
        SlimmableDemucs
            Needs no gate.
        """
        first = self.encoders[0]
        dense = SlimmableDemucs(
            first.out_channels,
            len(self.encoders),
            first.kernel_size,
            first.stride,
            self.up.ratio,
            self.up.taps,
            self.memory.groups,
            (self.utilizations[level],),
            round(self.frame_rate * self.hop),
        ).to(self.memory.weight_ih)
        for name in ("encoders", "decoders"):
            for block, own in zip(
                getattr(dense, name), getattr(self, name), strict=True
            ):
                block.load_state_dict(own.slice_to(level).state_dict())
        dense.memory.load_state_dict(self.memory.state_dict())
        return dense.train(self.training)

    def report(self) -> CostReport:
        """Cost of one frame, layer by layer.

        Returns
        -------
        CostReport
            In the order of the signal path.
        """
        steps = self.hop * self.up.ratio
        layers = {"up": self.up.macs(self.hop)}
        for number, encoder in enumerate(self.encoders, 1):
            layers[f"encoder{number}"] = encoder.macs(steps)
            steps //= self.stride
        layers["memory"] = self.memory.macs(1)
        for number, decoder in zip(
            range(len(self.decoders), 0, -1), self.decoders, strict=True
        ):
            layers[f"decoder{number}"] = decoder.macs(steps)
            steps *= self.stride
        layers["down"] = self.down.macs(steps)
        return CostReport(layers, self.frame_rate)
