"""The networks that a model folder may name, with what their arguments may be.

A new system is one more entry of :data:`LOBES`: a name that is not here
cannot be loaded.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import NamedTuple

from torch import nn

from speechbrain_dsn.lobes.enhancer import SpectralEnhancer
from speechbrain_dsn.lobes.models.conv_fsenet import (
    ConvFSENet,
    DynamicConvFSENet,
)
from speechbrain_dsn.lobes.models.demucs import RoutedDemucs, SlimmableDemucs
from speechbrain_dsn.lobes.models.dual_path import DualPathSeparator
from speechbrain_dsn.lobes.models.ftfnet import DynamicFTFNet, FTFNet
from speechbrain_dsn.lobes.models.nsnet2 import DynamicNsNet2, NsNet2
from speechbrain_dsn.lobes.models.quality import (
    MODES,
    POOLINGS,
    TARGETS,
    QualityNet,
)
from speechbrain_dsn.lobes.predictor import QualityPredictor
from speechbrain_dsn.lobes.separator import Separator
from speechbrain_dsn.lobes.waveform import WaveformEnhancer
from speechbrain_dsn.pretrained.arguments import Flag, Number, OneOf, Whole

__all__ = ["FRONT_ENDS", "LOBES", "Entry"]


class Entry(NamedTuple):
    """A network that a model folder may name.

    Arguments
    ---------
    build : callable
        The class.
    arguments : mapping
        Its keyword arguments and what they accept.
    front_end : str
        What a lobe works in.
    decides : bool
        Whether a lobe chooses its gates.
    static : str, optional
        The lobe that one of its choices is, cut out.
    choices : str
        What it chooses among.
    kind : str
        What it is for.
    """

    build: Callable[..., nn.Module]
    arguments: Mapping[str, Whole | Number | Flag | OneOf]
    front_end: str = "spectral"
    decides: bool = False
    static: str | None = None
    choices: str = "widths"
    kind: str = "enhancement"


_RATIO = Number(0.001, 1)  # of a D-GRU
_FTFNET = {
    "channels": Whole(1, 256, count=3),
    "groups": Whole(1, 64),
    "window": Whole(1, 1024),
    "update_ratio": _RATIO,
}
_DEMUCS = {
    "hidden": Whole(1, 256),
    "depth": Whole(1, 8),
    "kernel_size": Whole(2, 32),
    "stride": Whole(2, 16),
    "resample": Whole(2, 8),
    "taps": Whole(16, 512),
    "groups": Whole(1, 64),
    "utilizations": Number(0.01, 1, most=16),
}
_CONV_FSENET = {
    "channels": Whole(1, 512),
    "inner_channels": Whole(1, 1024),
    "kernel_size": Whole(1, 15),
    "stacks": Whole(1, 4),
    "blocks": Whole(1, 6),
    "group": Whole(1, 512),
}
_NSNET2 = {
    "exits": Whole(1, 5, most=5),
    "split": OneOf(("none", "parallel", "serial")),
    "units": Whole(1, 4096, count=5),
    "update_ratio": _RATIO,
}
_DUAL_PATH = {
    "num_spks": Whole(2, 5),
    "channels": Whole(2, 1024),
    "kernel_size": Whole(2, 64),
    "chunk_size": Whole(2, 2500),
    "num_layers": Whole(1, 16),
    "intra_layers": Whole(1, 16),
    "inter_layers": Whole(1, 16),
    "nhead": Whole(1, 64),
    "inter_nhead": Whole(1, 64),
    "intra_ffn": Whole(1, 8192),
    "inter_ffn": Whole(1, 8192),
    "utilizations": Number(0.01, 1, most=16),
    "slim_attention": Flag(),
}
_CHOICE = {"temperature": Number(0.01, 100), "straight_through": Flag()}
# Bins and frame rate of a lobe are not arguments, they follow from the front
# end.
LOBES = MappingProxyType(
    {
        "ftfnet": Entry(FTFNet, _FTFNET),
        "dynamic_ftfnet": Entry(
            DynamicFTFNet,
            {
                **_FTFNET,
                "static_groups": Whole(0, 64),
                "policy_hidden": Whole(1, 1024),
                "policy_memory": Flag(),
                **_CHOICE,
            },
            decides=True,
        ),
        "demucs": Entry(SlimmableDemucs, _DEMUCS, "waveform"),
        "slim_demucs": Entry(
            RoutedDemucs,
            {
                **_DEMUCS,
                "router_channels": Whole(1, 1024),
                "router_kernel": Whole(1, 4096),
                "router_stride": Whole(1, 2048),
                **_CHOICE,
            },
            "waveform",
            decides=True,
            static="demucs",
        ),
        "nsnet2": Entry(NsNet2, _NSNET2),
        "dynamic_nsnet2": Entry(
            DynamicNsNet2,
            {**_NSNET2, "router_hidden": Whole(1, 1024), **_CHOICE},
            decides=True,
            static="nsnet2",
            choices="exits",
        ),
        "conv_fsenet": Entry(ConvFSENet, _CONV_FSENET),
        "dyncp": Entry(
            DynamicConvFSENet,
            {
                **_CONV_FSENET,
                "policy_hidden": Whole(1, 1024),
                "policy_window": Whole(1, 64),
                "slope": Number(0.01, 1000),
            },
            decides=True,
        ),
        "dual_path": Entry(
            partial(DualPathSeparator, gated=False),
            _DUAL_PATH,
            "mixture",
            kind="separation",
        ),
        "slim_dual_path": Entry(
            DualPathSeparator,
            {**_DUAL_PATH, **_CHOICE},
            "mixture",
            decides=True,
            static="dual_path",
            kind="separation",
        ),
        "quality_net": Entry(
            QualityNet,
            {
                "mode": OneOf(tuple(MODES)),
                "targets": OneOf(TARGETS, most=len(TARGETS)),
                "channels": Whole(1, 512, count=4),
                "hidden": Whole(1, 1024),
                "dropout": Number(0, 0.9),
                "pooling": OneOf(POOLINGS),
            },
            "mel",
            kind="quality",
        ),
    }
)
FRONT_ENDS = MappingProxyType(
    {
        "spectral": Entry(
            SpectralEnhancer,
            {
                "n_fft": Whole(16, 2048),
                "hop": Whole(8, 2048),
                "compression": Number(0.1, 1),
                "strength": Number(0.1, 4),
            },
        ),
        "waveform": Entry(WaveformEnhancer, {}, "waveform"),
        "mixture": Entry(Separator, {}, "mixture", kind="separation"),
        "mel": Entry(
            QualityPredictor,
            {
                "n_fft": Whole(64, 4096),
                "hop": Whole(16, 4096),
                "bands": Whole(8, 256),
                "segment_seconds": Number(0.25, 60),
            },
            "mel",
            kind="quality",
        ),
    }
)
