"""Lobes, front ends and shipped models that the battery is run on."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from hypothesis import strategies as st
from subjects import Table, frames
from subjects_layers import ByItem, chunked, run_dense_rnn
from torch import nn
from torch.nn import functional as F

from speechbrain_dsn.cost import MacCount
from speechbrain_dsn.lobes.enhancer import SpectralEnhancer
from speechbrain_dsn.lobes.models.conv_fsenet import (
    ConvFSENet,
    DynamicConvFSENet,
)
from speechbrain_dsn.lobes.models.conv_fsenet.static import FSENetBlock
from speechbrain_dsn.lobes.models.demucs import RoutedDemucs, SlimmableDemucs
from speechbrain_dsn.lobes.models.dual_path import (
    DualPathSeparator,
    SlimmableRNNBlock,
    SlimmableTransformerBlock,
)
from speechbrain_dsn.lobes.models.ftfnet import DynamicFTFNet, FTFNet
from speechbrain_dsn.lobes.models.ftfnet.masks import (
    DynamicFTFNetMask,
    FTFNetMask,
)
from speechbrain_dsn.lobes.models.ftfnet.static import ChannelScale
from speechbrain_dsn.lobes.models.nsnet2 import DynamicNsNet2, NsNet2
from speechbrain_dsn.lobes.models.quality import QualityNet
from speechbrain_dsn.lobes.predictor import QualityPredictor
from speechbrain_dsn.lobes.separator import Separator
from speechbrain_dsn.lobes.waveform import WaveformEnhancer
from speechbrain_dsn.pretrained import available, load_model
from speechbrain_dsn.pretrained.table import LOBES as NETS

LOBES = Table()
NO_FFT = {"check_bfloat16": "torch has no FFT of bfloat16"}
POSITIVE = torch.rand


def of(name, options):
    """A factory of a lobe by its name in the package's table."""
    return lambda: NETS[name].build(**options)


# -- FTF-Net and MGT-DSN ------------------------------------------------------

FTFNET = {"channels": (2, 3, 8), "window": 4, "bins": 31}
shapes = {"bins": st.integers(23, 34), "window": st.integers(1, 6)}


def unseen(net):
    """MACs of products that no counter sees: of skip connections, and of the
    diagonal GRU of a router."""
    if isinstance(net, WaveformEnhancer):
        return 3 * net.lobe.policy.memory.hidden_size
    layers = net.report().layers.items()
    return sum(cost.open for name, cost in layers if name.startswith("skip"))


@LOBES.row(FTFNet, name="lobe ftfnet", can="gated streams costs", **shapes)
def ftfnet(lobe="ftfnet", **options):
    factory = of(lobe, FTFNET | options)
    return {
        "factory": factory,
        "example": frames(options["bins"], draw=POSITIVE),
        "time": 7,
        "warm_up": options["window"],
        "unseen_macs": unseen(factory()),
    }


@LOBES.row(
    DynamicFTFNet,
    name="lobe dynamic_ftfnet",
    can="gated streams costs decides",
    **shapes,
    static_groups=st.integers(1, 3),
    policy_memory=st.booleans(),
    straight_through=st.booleans(),
)
def dynamic_ftfnet(**options):
    return ftfnet("dynamic_ftfnet", policy_hidden=3, **options)


@LOBES.row(ChannelScale, can="costs")
def channel_scale():
    return {
        "factory": lambda: ChannelScale(5),
        "example": frames(3, 5),
        "unseen_macs": ChannelScale(5).macs(3).open,
    }


@LOBES.row(FTFNetMask, can="decides")
def ftfnet_mask(mask=FTFNetMask):
    return {
        "factory": lambda: mask(**FTFNET),
        "example": frames(FTFNET["bins"], draw=POSITIVE),
    }


@LOBES.row(DynamicFTFNetMask, can="decides")
def dynamic_ftfnet_mask():
    return ftfnet_mask(DynamicFTFNetMask)


# -- slimmable DEMUCS ---------------------------------------------------------

DEMUCS = {"hidden": 4, "depth": 3, "taps": 16, "groups": 2}  # hop 16
DEMUCS["utilizations"] = (0.5, 0.75, 1.0)
ROUTER = {"router_channels": 8, "router_kernel": 16, "router_stride": 8}
ALL = "gated skips streams slices costs"


@LOBES.row(SlimmableDemucs, name="lobe demucs", can=ALL)
def demucs():
    return {"factory": of("demucs", DEMUCS), "example": frames(16)}


@LOBES.row(RoutedDemucs, name="lobe slim_demucs", can=f"{ALL} decides")
def slim_demucs():
    return {
        "factory": of("slim_demucs", DEMUCS | ROUTER),
        "example": frames(16),
        "unseen_macs": 24,
    }


# -- Conv-FSENet and DynCP ----------------------------------------------------

# Rows of 64 bytes: a matrix product rounds by where its rows begin, and the
# battery wants the same bits of frames that lie elsewhere.
FSENET = {"bins": 8, "channels": 6, "inner_channels": 8}
FSENET |= {"stacks": 1, "blocks": 2}
directions = {"cases": [{"causal": True}], "causal": st.just(False)}


@LOBES.row(
    ConvFSENet, name="lobe conv_fsenet", can="streams costs", **directions
)
def conv_fsenet(causal, lobe="conv_fsenet"):
    return {
        "factory": of(lobe, FSENET | {"causal": causal}),
        "example": frames(8, draw=POSITIVE),
        "look_ahead": 0 if causal else 3,
    }


@LOBES.row(
    DynamicConvFSENet,
    name="lobe dyncp",
    can="gated skips streams costs decides",
    **directions,
)
def dyncp(causal):
    return conv_fsenet(causal, "dyncp")


@LOBES.row(FSENetBlock, can="gated skips streams costs", **directions)
def fsenet_block(causal):
    options = {"dilation": 2, "group": 2, "causal": causal}
    return {
        "factory": lambda: FSENetBlock(6, 8, **options),
        "example": frames(6),
        "look_ahead": 0 if causal else 2,
    }


# -- nsNet2 -------------------------------------------------------------------

NSNET2 = {"bins": 9, "units": (6, 5, 4, 7, 8)}
splits = st.sampled_from(["none", "parallel", "serial"])
ladders = st.sets(st.integers(1, 5), min_size=2).map(sorted)


@LOBES.row(NsNet2, name="lobe nsnet2", can=ALL, exits=ladders, split=splits)
def nsnet2(lobe="nsnet2", **options):
    return {
        "factory": of(lobe, NSNET2 | options),
        "example": frames(9, draw=POSITIVE),
    }


@LOBES.row(
    DynamicNsNet2,
    name="lobe dynamic_nsnet2",
    can=f"{ALL} decides",
    exits=ladders,
    split=splits,
    update_ratio=st.sampled_from([0.4, 1.0]),
)
def dynamic_nsnet2(**options):
    return nsnet2("dynamic_nsnet2", **options)


# -- dual-path separation -----------------------------------------------------

DUAL_PATH = {"channels": 8, "chunk_size": 10, "num_layers": 1}
DUAL_PATH |= {"intra_layers": 1, "nhead": 2, "intra_ffn": 16, "inter_ffn": 8}
DUAL_PATH["utilizations"] = (0.25, 0.5, 1.0)
OFFLINE = "gated slices costs decides"


@LOBES.row(SlimmableTransformerBlock, can="gated skips slices costs decides")
def transformer_block():
    sizes = {"dropout": 0.0, "norm_before": True}
    return chunked(lambda: SlimmableTransformerBlock(1, 8, 4, 16, **sizes))


@LOBES.row(
    SlimmableRNNBlock,
    can="gated skips slices costs decides",
    kind=st.sampled_from(["GRU", "LSTM"]),
)
def rnn_block(kind):
    options = chunked(lambda: SlimmableRNNBlock(8, 5, 2, rnn_type=kind))
    return options | {"run_dense": run_dense_rnn}


class Mixtures(ByItem):
    """Each frame is a whole mixture, that runs at one width throughout."""

    def macs(self):
        """Of what runs once per chunk, and of what runs once per step."""
        lobe, total = self.net.lobe, MacCount(0)
        chunks, advance = lobe.frames(SAMPLES), lobe.masknet.K // 2
        for name, cost in lobe.report(SAMPLES).layers.items():
            once = name.startswith(("gate", "intra", "inter", "spread"))
            total += cost * (chunks if once else lobe.steps(SAMPLES) // advance)
        return total if lobe.dynamic else MacCount(total.open)

    def forward(self, x):
        estimates, _ = self.net(x.flatten(0, 1))
        return estimates.flatten(1).unflatten(0, x.shape[:2])


class GatedMixtures(Mixtures):
    def forward(self, x, gate=None):
        if gate is not None:
            gate = gate.flatten(0, 1)[:, None]
            gate = gate.expand(-1, self.net.frames(SAMPLES), -1)
        estimates, decision = self.net(x.flatten(0, 1), gate=gate)
        return estimates.flatten(1).unflatten(0, x.shape[:2]), decision

    def slice_to(self, level):
        return Mixtures(Separator(self.net.lobe.slice_to(level)))


SAMPLES = 88  # ten steps: a whole number of advances


@LOBES.row(DualPathSeparator, name="lobe dual_path", can="costs")
def dual_path(lobe="dual_path", wrap=Mixtures, **options):
    return {
        "factory": lambda: wrap(Separator(of(lobe, DUAL_PATH)())),
        "example": frames(SAMPLES),
    }


@LOBES.row(
    DualPathSeparator, Separator, name="lobe slim_dual_path", can=OFFLINE
)
def slim_dual_path():
    return dual_path("slim_dual_path", GatedMixtures)


# -- quality ------------------------------------------------------------------


class Segments(ByItem):
    """Each frame is a whole segment."""

    def report(self):
        return self.net.report()


QUALITY = {"channels": (2, 3, 3, 4), "hidden": 5}


@LOBES.row(QualityNet, name="lobe quality_net", can="costs")
def quality_net():
    options = QUALITY | {"bands": 9, "segment": 10}
    return {
        "factory": lambda: Segments(of("quality_net", options)()),
        "example": frames(10, 9),
    }


def quiet(*shape, **of):
    """Of about the level that log-mel frames are centred at."""
    return 0.02 * torch.randn(*shape, **of)


@LOBES.row(QualityPredictor, can="")
def quality_predictor():
    front = {"n_fft": 64, "hop": 32, "bands": 9, "segment_seconds": 0.05}

    def factory():
        predictor = QualityPredictor(nn.Identity(), **front)
        arguments = predictor.lobe_arguments | QUALITY
        predictor.lobe = QualityNet(**arguments)
        return ByItem(predictor)

    return {
        "factory": factory,
        "example": frames(800, draw=quiet),
        "expected_failures": NO_FFT,
    }


# -- whole models -------------------------------------------------------------


@dataclass
class HopsContext:
    enhancer: Any
    samples: int = 0


class InHops(nn.Module):
    """An enhancer on ``[B, T, hop]``, late as it streams."""

    def __init__(self, enhancer):
        super().__init__()
        self.enhancer = enhancer

    def make_streaming_context(self, *where, **options):
        context = self.enhancer.make_streaming_context(*where, **options)
        return HopsContext(context)

    def report(self):
        return self.enhancer.report()

    def run(self, x, **decide):
        y, decision = self.enhancer(x.flatten(1), **decide)
        late = F.pad(y, (self.enhancer.delay, 0))[:, : y.size(1)]
        return late.view_as(x), decision

    def forward(self, x):
        return self.run(x)[0]

    def stream(self, x, context, **decide):
        y, decision = self.enhancer.forward_streaming(
            x.flatten(1), context.enhancer, **decide
        )
        place = context.samples + torch.arange(y.size(1))
        context.samples += y.size(1)
        # Nothing before the signal.
        return (y * (place >= self.enhancer.delay)).view_as(x), decision

    def forward_streaming(self, x, context):
        return self.stream(x, context)[0]


class DecidingInHops(InHops):
    def forward(self, x, gate=None, bias=0.0):
        time = x.size(1)
        # Frames of the delayed end, which is cut off here.
        more = self.enhancer.frames(x[0].numel()) - time
        if gate is not None:
            gate = torch.cat([gate, gate[:, -1:].expand_as(gate[:, :more])], 1)
        y, decision = self.run(x, gate=gate, bias=bias)
        return y, replace(
            decision,
            values=decision.values[:, :time],
            logits=decision.logits[:, :time],
        )

    def forward_streaming(self, x, context, gate=None, bias=0.0):
        return self.stream(x, context, gate=gate, bias=bias)


def model(factory, **options):
    """What the battery needs to know about an enhancer."""

    def in_hops():
        enhancer = factory()
        return (DecidingInHops if enhancer.dynamic else InHops)(enhancer)

    return {
        "factory": in_hops,
        "example": frames(factory().hop),
        "time": 7,
        **options,
    }


@LOBES.row(SpectralEnhancer, can="gated streams costs decides")
def spectral_enhancer():
    def factory():
        lobe = DynamicFTFNet(**FTFNET | {"bins": 33})
        return SpectralEnhancer(lobe, n_fft=64, hop=32)

    return model(
        factory,
        warm_up=FTFNET["window"],
        unseen_macs=unseen(factory()),
        expected_failures=NO_FFT,
    )


@LOBES.row(WaveformEnhancer, can="gated streams costs decides")
def waveform_enhancer():
    return model(
        lambda: WaveformEnhancer(RoutedDemucs(**DEMUCS | ROUTER)),
        unseen_macs=24,
    )


# By model, beside those of all.
QUIET_UNITS = {
    "check_closed_is_untouched": "static units that learn in "
    "open frames only, of this input, are taken for dynamic ones"
}
KNOWN = {"dyncp": QUIET_UNITS, "slim-demucs": QUIET_UNITS}


def shipped(name):
    def make():
        net = load_model(name).enhancer
        fold = isinstance(net.lobe, FTFNet)
        waveform = isinstance(net, WaveformEnhancer)
        return model(
            lambda: load_model(name).enhancer,
            perturb=0.0,
            warm_up=net.lobe.time.attention.window if fold else 0,
            unseen_macs=unseen(net),
            expected_failures=({} if waveform else NO_FFT)
            | {"check_reset_parameters": "loaded weights are no start"}
            | KNOWN.get(name, {}),
        )

    can = "streams costs"
    if load_model(name).enhancer.dynamic:
        can = f"gated {can} decides"
    LOBES.row(name=f"shipped {name}", can=can)(make)


# Not of quality, whose net has no gate, stream or choice, nor of separation:
# their small relatives are above, and differences by each input take hours.
SHIPPED = [
    name
    for name in available()
    if load_model(name).config.kind == "enhancement"
]
for each in SHIPPED:
    shipped(each)
