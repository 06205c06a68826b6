"""What can be converted, and into which module of ours.

A pattern looks at one module and gives the slimmable module that takes its
place, with the same weights; or says why there is none.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from speechbrain.lobes.models.dual_path import SBRNNBlock, SBTransformerBlock
from speechbrain.nnet.attention import (
    MultiheadAttention,
    PositionalwiseFeedForward,
)
from torch import Tensor, nn

from speechbrain_dsn.convert.blocks import (
    AttentionBlock,
    ConvPairBlock,
    FeedForwardBlock,
)
from speechbrain_dsn.convert.pairs import conv_pair, linear_pair
from speechbrain_dsn.convert.units import Units, find_units, recurrent_units
from speechbrain_dsn.lobes.models.demucs import RoutedDemucs, SlimmableDemucs
from speechbrain_dsn.lobes.models.dual_path import (
    SlimmableRNNBlock,
    SlimmableTransformerBlock,
)
from speechbrain_dsn.lobes.models.ftfnet import DynamicFTFNet, FTFNet
from speechbrain_dsn.nnet.transformer import SlimmableTransformer

__all__ = [
    "KINDS",
    "PATTERNS",
    "Options",
    "Replacement",
    "Unsupported",
    "find_pair",
]


class Unsupported(ValueError):
    """Why a module cannot be converted."""


@dataclass(frozen=True)
class Options:
    """What is asked for.

    Arguments
    ---------
    utilizations : tuple of float
        Widths, ascending up to 1.
    gated : bool
        Whether a gate decides.
    """

    utilizations: tuple[float, ...]
    gated: bool

    @property
    def deciding(self) -> dict[str, Any]:
        """Arguments of a block."""
        return {
            "utilizations": self.utilizations,
            "decide": "gate" if self.gated else "random",
        }


@dataclass(frozen=True)
class Replacement:
    """A module, and its units that are to be sorted.

    Arguments
    ---------
    module : torch.nn.Module
        In the place of the original, with its weights.
    units : tuple of Units
        Views of its weights.
    """

    module: nn.Module
    units: tuple[Units, ...]

    @classmethod
    def of(
        cls,
        module: nn.Module,
        original: nn.Module,
        *state: Mapping[str, Tensor],
    ) -> Replacement:
        """Loads the weights of the original, under its names or others.

        Arguments
        ---------
        module : torch.nn.Module
            New.
        original : torch.nn.Module
            Gives the type of the weights and the mode.
        *state : mapping, optional
            Weights by their names in the new module.

        Returns
        -------
        Replacement
            Complete.
        """
        _load(module, original, *state)
        return cls(module, tuple(find_units(module)))


def _load(
    module: nn.Module, original: nn.Module, *state: Mapping[str, Tensor]
) -> None:
    module.to(next(original.parameters()))
    (weights,) = state or (original.state_dict(),)
    left = module.load_state_dict(dict(weights), strict=False)
    # A policy is new, all else is the original's.
    new = [name for name in left.missing_keys if "policy." not in name]
    if new or left.unexpected_keys:
        raise Unsupported(f"unknown weight {(new + left.unexpected_keys)[0]}")
    module.train(original.training)


def transformer_block(
    block: SBTransformerBlock, options: Options, consumer: Tensor | None
) -> Replacement:
    """``SBTransformerBlock``: heads and hidden units of all its layers."""
    first = block.mdl.layers[0]
    _check_attention(first.self_att)
    if not isinstance(first.pos_ffn, PositionalwiseFeedForward):
        raise Unsupported("its feed-forward nets are convolutions")
    if block.mdl.layerdrop_prob or block.mdl.output_hidden_states:
        raise Unsupported("layers are dropped, or their states given out")
    expand, activation, dropout, _ = first.pos_ffn.ffn
    names = {nn.ReLU: "relu", nn.GELU: "gelu"}
    if (
        type(activation) not in names
        or getattr(activation, "approximate", "none") != "none"
    ):
        raise Unsupported(f"its activation is {activation}, not ReLU or GELU")
    new = SlimmableTransformerBlock(
        len(block.mdl.layers),
        expand.in_features,
        first.self_att.att.num_heads,
        expand.out_features,
        dropout=dropout.p,
        activation=names[type(activation)],
        use_positional_encoding=block.use_positional_encoding,
        norm_before=first.normalize_before,
        **options.deciding,
    )
    return Replacement.of(new, block)


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


def _check_attention(module: nn.Module) -> None:
    if type(module) is not MultiheadAttention:
        raise Unsupported(f"its attention is {type(module).__name__}")
    att = module.att
    if not att._qkv_same_embed_dim or att.in_proj_bias is None:
        raise Unsupported("its keys have other sizes, or it has no bias")
    if att.bias_k is not None or att.add_zero_attn:
        raise Unsupported("its attention has keys of its own")


def attention(
    module: MultiheadAttention, options: Options, consumer: Tensor | None
) -> Replacement:
    """Attention of an encoder layer: heads."""
    _check_attention(module)
    att = module.att
    new = AttentionBlock(
        att.num_heads, att.embed_dim, att.dropout, **options.deciding
    )
    return Replacement.of(new, module, att.state_dict())


def feed_forward(
    module: PositionalwiseFeedForward,
    options: Options,
    consumer: Tensor | None,
) -> Replacement:
    """``PositionalwiseFeedForward``: hidden units."""
    pair = linear_pair(list(module.ffn))
    if pair is None:
        raise Unsupported("its activation does not act on each unit alone")
    return pair_of_linears(pair, module, options)


def pair_of_linears(
    pair: tuple[nn.Linear, nn.Module, float, nn.Linear],
    original: nn.Module,
    options: Options,
) -> Replacement:
    """Two dense layers and what is between them: hidden units."""
    expand, activation, dropout, contract = pair
    new = FeedForwardBlock(
        expand.in_features,
        expand.out_features,
        contract.out_features,
        copy.deepcopy(activation),
        dropout,
        bias=(expand.bias is not None, contract.bias is not None),
        **options.deciding,
    )
    return Replacement.of(new, original, _state(expand, contract))


def _state(expand: nn.Module, contract: nn.Module) -> dict[str, Tensor]:
    return {
        f"{name}.{key}": value
        for name, layer in (("expand", expand), ("contract", contract))
        for key, value in layer.state_dict().items()
    }


def rnn_block(
    block: SBRNNBlock, options: Options, consumer: Tensor | None
) -> Replacement:
    """``SBRNNBlock``: units of all layers, where a linear layer follows."""
    rnn = getattr(block.mdl, "rnn", None)
    kinds = {nn.LSTM: "LSTM", nn.GRU: "GRU"}
    if type(rnn) not in kinds or not rnn.batch_first or not rnn.bias:
        raise Unsupported(
            f"its cell is {type(rnn or block.mdl).__name__}, expected an LSTM "
            f"or GRU with biases"
        )
    if rnn.proj_size:
        raise Unsupported("its LSTM projects its outputs")
    if len(getattr(block, "utilizations", (1.0,))) > 1:
        raise Unsupported(f"it has the widths {block.utilizations} already")
    sides = 1 + rnn.bidirectional
    wanted = sides * rnn.hidden_size
    if consumer is None or consumer.size(1) != wanted:
        raise Unsupported(
            "no linear layer that is known follows, so the order of its "
            "outputs is fixed"
        )
    new = SlimmableRNNBlock(
        rnn.input_size,
        rnn.hidden_size,
        rnn.num_layers,
        kinds[type(rnn)],
        rnn.dropout,
        rnn.bidirectional,
        **options.deciding,
    )
    _load(new, block)
    return Replacement(new, tuple(recurrent_units(new, consumer)))


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


Build = Callable[[nn.Module, Options, Tensor | None], Replacement]

# Kind, which modules it looks at, and how. The first that fits counts.
PATTERNS: tuple[tuple[str, type, Build], ...] = (
    ("ftfnet", FTFNet, ftfnet),
    ("demucs", SlimmableDemucs, demucs),
    ("transformer", SBTransformerBlock, transformer_block),
    ("transformer", SlimmableTransformer, static_transformer),
    ("rnn", SBRNNBlock, rnn_block),
    ("attention", MultiheadAttention, attention),
    ("feed_forward", PositionalwiseFeedForward, feed_forward),
)
# Found within sequences, not by the class of a module.
PAIRS = ("linear", "conv_glu")
KINDS = tuple(dict.fromkeys(kind for kind, *_ in PATTERNS)) + PAIRS


def find_pair(
    modules: list[nn.Module], options: Options, kinds: Sequence[str]
) -> tuple[str, Replacement] | None:
    """A pair of layers that a sequence is.

    Arguments
    ---------
    modules : list of torch.nn.Module
        Exactly these.
    options : Options
        What is asked for.
    kinds : sequence of str
        Those that may be found.

    Returns
    -------
    tuple or None
        Kind and replacement.
    """
    if "linear" in kinds and (pair := linear_pair(modules)):
        return "linear", pair_of_linears(pair, modules[0], options)
    if "conv_glu" in kinds and (pair := conv_pair(modules)):
        first, activation, second, glu = pair
        new = ConvPairBlock(
            first,
            second,
            activation=copy.deepcopy(activation),
            glu=glu,
            **options.deciding,
        )
        return "conv_glu", Replacement.of(new, first, _state(first, second))
    return None
