"""A small network that says how good speech sounds, with binary maps.

After "Binary activation maps" (arXiv 2407.04578): a network in the manner of
DNSMOS, whose convolutions hand on zeros and ones instead of numbers. The maps
are what takes memory in such a network; a bit each, they take a 32nd, and
products with them are sums. Only the repository of the same group was at hand,
not the paper's tables: what of the layout comes from there is said at
:class:`QualityNet`, the 8-bit scheme is in
:mod:`speechbrain_dsn.nnet.binary`.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from types import MappingProxyType
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speechbrain_dsn.cost import CostReport, MacCount
from speechbrain_dsn.nnet.binary import GridConv2d, GridLinear
from speechbrain_dsn.nnet.surrogate import heaviside

__all__ = ["MODES", "POOLINGS", "TARGETS", "LayerMemory", "QualityNet"]

TARGETS = ("pesq", "dnsmos_ovrl", "dnsmos_sig", "dnsmos_bak")
POOLINGS = ("max", "mean")
KERNEL = 3


class Mode(NamedTuple):
    """Whether maps are binary, and the weights of convolutions and head."""

    binary: bool
    convolutions: str
    head: str


# The head is a fifth of the weights and works on numbers: at one bit for the
# convolutions it keeps 8 (ours).
MODES = MappingProxyType(
    {
        "full_precision": Mode(False, "float", "float"),
        "binary": Mode(True, "float", "float"),
        "binary_8bit": Mode(True, "8bit", "8bit"),
        "binary_1bit": Mode(True, "1bit", "8bit"),
    }
)


class LayerMemory(NamedTuple):
    """What a layer takes while it runs, in bytes.

    Arguments
    ---------
    maps : int
        Its output, before pooling.
    weights : int
        Weights, scale and biases.
    """

    maps: int
    weights: int


class QualityNet(nn.Module):
    """Log-mel frames to opinion scores, each from 1 to 5 or so.

    Four 3 x 3 convolutions, each followed by its activation, the first three
    by 2 x 2 max-pooling and dropout, the last by pooling over all that is
    left; three dense layers. The sizes are those of the same group's code
    (fmi-basel/spiking-sqp) and give 45,697 parameters with one target, a count
    that is inferred and not the paper's; so are the ReLUs that stay between
    the dense layers. With binary maps the activation is 1 where its argument
    is positive, else 0, and learns by a surrogate slope. Ours: several targets
    in one net, the start of the last bias in the middle of the scale, that
    padding has no effect, and pooling by the mean. The code pools the last map
    by its maximum, of which binary maps leave a bit per channel: whether it
    was ever on. Their mean says how often.

    Arguments
    ---------
    mode : str
        A key of `MODES`. All have the same parameters, so that one can start
        from another.
    targets : sequence of str
        Out of `TARGETS`: what each output predicts.
    channels : sequence of int
        Of the four convolutions.
    hidden : int
        Width of both hidden dense layers.
    dropout : float
        Probability, while training.
    bands : int
        Mel bands.
    frame_rate : float
        Frames per second.
    segment : int
        Frames of the segment that :meth:`report` and :meth:`memory` are about.
    pooling : str
        Out of `POOLINGS`: what becomes of the last map.

    Example
    -------
    >>> net = QualityNet("binary_8bit").eval()
    >>> sum(p.numel() for p in net.parameters())
    45697
    >>> net(torch.randn(2, 249, 120)).shape
    torch.Size([2, 1])
    >>> net.memory_bytes("full_precision"), net.memory_bytes("binary_8bit")
    (4007428, 166112)
    """

    # The shortest input that three poolings leave something of.
    min_frames = 8

    def __init__(
        self,
        mode: str = "full_precision",
        targets: Sequence[str] = ("pesq",),
        channels: Sequence[int] = (32, 32, 32, 64),
        hidden: int = 64,
        dropout: float = 0.3,
        bands: int = 120,
        frame_rate: float = 50.0,
        segment: int = 249,
        pooling: str = "max",
    ) -> None:
        super().__init__()
        if mode not in MODES:
            raise ValueError(f"mode: expected {', '.join(MODES)}, got {mode!r}")
        if pooling not in POOLINGS:
            raise ValueError(
                f"pooling: expected {' or '.join(POOLINGS)}, got {pooling!r}"
            )
        if not targets or set(targets) - set(TARGETS):
            raise ValueError(
                f"targets: expected some of {', '.join(TARGETS)}, got {targets}"
            )
        if len(set(targets)) < len(targets):
            raise ValueError(f"targets: expected each once, got {targets}")
        if min(bands, segment) < self.min_frames:
            raise ValueError(
                f"expected at least {self.min_frames} bands and frames, got "
                f"{bands} and {segment}"
            )
        self.mode, self.pooling, self.targets = mode, pooling, tuple(targets)
        self.dropout, self.bands = dropout, bands
        self.frame_rate, self.segment = frame_rate, segment
        self.binary, convolutions, head = MODES[mode]
        self.convs = nn.ModuleList(
            GridConv2d(before, after, KERNEL, padding=1, weights=convolutions)
            for before, after in pairwise((1, *channels))
        )
        sizes = (channels[-1], hidden, hidden, len(targets))
        self.dense = nn.ModuleList(
            GridLinear(before, after, weights=head, initial_bias=start)
            for (before, after), start in zip(
                pairwise(sizes), (None, None, 2.5), strict=True
            )
        )

    def forward(self, mel: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Scores signals.

        Arguments
        ---------
        mel : Tensor
            Log-mel frames ``[B, T, bands]``, at least 8, of about zero mean.
        lengths : Tensor, optional
            Valid frames per item ``[B]``, at least 8; what comes after them
            has no effect.

        Returns
        -------
        Tensor
            ``[B, targets]``.

        Raises
        ------
        ValueError
            If an item is too short.
        """
        shortest = mel.size(1) if lengths is None else int(lengths.min())
        if shortest < self.min_frames:
            raise ValueError(
                f"expected at least {self.min_frames} frames, got {shortest}"
            )
        # Channels last in memory: pooling, else half of a training step, is
        # vectorised over them.
        x = _cut(mel.unsqueeze(-1).movedim(-1, 1), lengths)
        last = len(self.convs) - 1
        for place, conv in enumerate(self.convs):
            x = conv(x)
            if place < last:  # pooled first: the same, on a quarter
                x = F.max_pool2d(x, 2)
                lengths = None if lengths is None else lengths // 2
            x = self.activate(x)
            if place < last:
                x = F.dropout(x, self.dropout, training=self.training)
            # Maps are never negative, so zeros do not win a maximum.
            x = _cut(x, lengths)
        x = self.pool(x, lengths)
        for dense in self.dense[:-1]:
            x = F.relu(dense(x))
        return self.dense[-1](x)

    def pool(self, x: Tensor, lengths: Tensor | None) -> Tensor:
        """A map ``[B, C, T, F]``, cut to its lengths, as ``[B, C]``."""
        if self.pooling == "max":
            return x.amax((2, 3))
        frames = x.new_tensor(x.size(2)) if lengths is None else lengths.to(x)
        return x.sum((2, 3)) / (frames * x.size(3)).unsqueeze(-1)

    def activate(self, x: Tensor) -> Tensor:
        """What a convolution hands on: zeros and ones, or a ReLU."""
        return heaviside(x) if self.binary else F.relu(x)

    def _sizes(self, frames: int) -> list[int]:
        """Positions ``T F`` in the map of each convolution."""
        powers = [2**place for place in range(len(self.convs))]
        return [(frames // by) * (self.bands // by) for by in powers]

    def report(self) -> CostReport:
        """MACs of one segment, layer by layer; with binary maps, those of all
        layers but the first are sums.

        Returns
        -------
        CostReport
            Its frame is a whole segment.
        """
        layers = {
            f"conv{place + 1}": MacCount(conv.weight.numel() * size)
            for place, (conv, size) in enumerate(
                zip(self.convs, self._sizes(self.segment), strict=True)
            )
        }
        layers |= {
            f"dense{place + 1}": MacCount(dense.weight.numel())
            for place, dense in enumerate(self.dense)
        }
        return CostReport(layers, self.frame_rate / self.segment)

    def memory(self, mode: str) -> dict[str, LayerMemory]:
        """Memory of each layer for one segment, if it ran in a mode.

        Arguments
        ---------
        mode : str
            A key of `MODES`.

        Returns
        -------
        dict of str to LayerMemory
            By name.
        """
        like = self._in_mode(mode)
        bits = 1 if like.binary else 32
        layers = {}
        sizes = self._sizes(self.segment)
        for place, conv in enumerate(like.convs):
            values = conv.out_channels * sizes[place]
            layers[f"conv{place + 1}"] = LayerMemory(
                -(-values * bits // 8), conv.weight_bytes
            )
        for place, dense in enumerate(like.dense):
            layers[f"dense{place + 1}"] = LayerMemory(
                4 * dense.out_features, dense.weight_bytes
            )
        return layers

    def memory_bytes(self, mode: str) -> int:
        """The largest map and all weights: what inference on one segment
        takes, one layer after the other, beside its input.

        The log-mel input is left out, as it is the same in all modes. So
        counted, 8 bits and binary maps take a 24th of full precision.

        Arguments
        ---------
        mode : str
            A key of `MODES`.

        Returns
        -------
        int
            Bytes.
        """
        layers = self.memory(mode).values()
        return max(layer.maps for layer in layers) + sum(
            layer.weights for layer in layers
        )

    def _in_mode(self, mode: str) -> QualityNet:
        """A net of the same sizes."""
        channels = [conv.out_channels for conv in self.convs]
        hidden = self.dense[0].out_features
        with torch.device("meta"):  # nothing but sizes
            return QualityNet(
                mode, self.targets, channels, hidden, pooling=self.pooling
            )


def _cut(x: Tensor, lengths: Tensor | None) -> Tensor:
    """Zeros in ``[B, C, T, F]`` where an item has ended."""
    if lengths is None:
        return x
    times = torch.arange(x.size(2), device=x.device)
    valid = times < lengths.to(x.device)[:, None]
    return x * valid[:, None, :, None]
