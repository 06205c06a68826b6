"""Our own nets of one width.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import math

from torch import Tensor

from speechbrain_dsn.convert.replacement import (
    Options,
    Replacement,
    Unsupported,
)
from speechbrain_dsn.lobes.models.demucs import RoutedDemucs, SlimmableDemucs
from speechbrain_dsn.lobes.models.dual_path import SlimmableTransformerBlock
from speechbrain_dsn.lobes.models.ftfnet import DynamicFTFNet, FTFNet
from speechbrain_dsn.nnet.transformer import SlimmableTransformer

__all__ = ["demucs", "ftfnet", "static_transformer"]


def static_transformer(
    block: SlimmableTransformer, options: Options, consumer: Tensor | None
) -> Replacement:
    """Our transformer of one width, such as that of a static separator."""
    if block.utilizations != (1.0,):
        raise Unsupported(f"it has the widths {block.utilizations} already")
    first = block.layers[0]
    new = SlimmableTransformerBlock(
        len(block.layers),
        block.out_channels,
        block.nhead,
        block.d_ffn,
        dropout=first.dropout,
        activation=first.activation,
        use_positional_encoding=block.use_positional_encoding,
        norm_before=first.norm_before,
        slim_attention=block.slim_attention,
        **options.deciding,
    )
    return Replacement.of(new, block)


def ftfnet(
    net: FTFNet, options: Options, consumer: Tensor | None
) -> Replacement:
    """FTF-Net: groups of channels and heads, open or closed."""
    if type(net) is not FTFNet:
        raise Unsupported("it has a gate already")
    if not options.gated:
        raise Unsupported("it has no widths, only a gate: expected gated=True")
    groups = net.freq1.rnn.groups
    share = max((u for u in options.utilizations if u < 1), default=0.5)
    new = DynamicFTFNet(
        static_groups=math.ceil(groups * share),
        bins=net.bins[0],
        channels=tuple(
            conv.out_channels for conv in (net.conv1, net.conv2, net.conv3)
        ),
        groups=groups,
        window=net.time.attention.window,
        update_ratio=net.time.rnn.update_ratio,
        frame_rate=net.frame_rate,
    )
    return Replacement.of(new, net)


def demucs(
    net: SlimmableDemucs, options: Options, consumer: Tensor | None
) -> Replacement:
    """DEMUCS of one width: inner channels of its blocks."""
    if net.utilizations != (1.0,):
        raise Unsupported(f"it has the widths {net.utilizations} already")
    first = net.encoders[0]
    new = (RoutedDemucs if options.gated else SlimmableDemucs)(
        hidden=first.out_channels,
        depth=len(net.encoders),
        kernel_size=first.kernel_size,
        stride=net.stride,
        resample=net.up.ratio,
        taps=net.delay,
        groups=net.memory.groups,
        utilizations=options.utilizations,
        sample_rate=round(net.frame_rate * net.hop),
    )
    return Replacement.of(new, net)
