"""What can be converted, and into which module of ours.

A pattern looks at one module and gives the slimmable module that takes its
place, with the same weights; or says why there is none.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

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
from speechbrain_dsn.convert.lobes import demucs, ftfnet, static_transformer
from speechbrain_dsn.convert.pairs import conv_pair, linear_pair
from speechbrain_dsn.convert.replacement import (
    Options,
    Replacement,
    Unsupported,
    load,
)
from speechbrain_dsn.convert.units import recurrent_units
from speechbrain_dsn.lobes.models.demucs import SlimmableDemucs
from speechbrain_dsn.lobes.models.dual_path import (
    SlimmableRNNBlock,
    SlimmableTransformerBlock,
)
from speechbrain_dsn.lobes.models.ftfnet import FTFNet
from speechbrain_dsn.nnet.transformer import SlimmableTransformer

__all__ = ["KINDS", "PATTERNS", "find_pair"]


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
    load(new, block)
    return Replacement(new, tuple(recurrent_units(new, consumer)))


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
