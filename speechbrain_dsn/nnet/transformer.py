"""A transformer over the steps of a chunk, of any width.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from speechbrain_dsn.cost import MacCount
from speechbrain_dsn.nnet.chunks import MaskedLayer, slim_sizes
from speechbrain_dsn.nnet.transformer_layer import (
    ACTIVATIONS,
    EPS,
    SlimmableTransformerLayer,
)
from speechbrain_dsn.nnet.widths import copy_leading


class SlimmableTransformer(MaskedLayer, nn.Module):
    """Transformer layers that run each chunk at a width of its own.

    At the widest it computes what SpeechBrain's ``SBTransformerBlock``
    computes, and it reads a state dict of that. A soft choice among widths
    mixes them within each attention and each feed-forward net, where the
    mixture of outputs is a mask on hidden units: one pass trains all.

    Arguments
    ---------
    num_layers : int
        Layers.
    d_model : int
        Channels ``N``.
    nhead : int
        Heads of the widest attention.
    d_ffn : int
        Hidden units of the widest feed-forward net.
    dropout : float
        Dropout rate.
    activation : str
        ``relu`` or ``gelu``.
    use_positional_encoding : bool
        Whether sinusoids are added to the input.
    norm_before : bool
        Whether norms come before attention and feed-forward net, not after.
    utilizations : sequence of float
        Widths as shares of heads and hidden units, ascending in (0, 1]. With
        one only it is a static net of that width.
    slim_attention : bool
        Whether narrow widths have fewer heads, too, or fewer hidden units
        only.

    Example
    -------
    >>> layer = SlimmableTransformer(1, 64, 8, 256)
    >>> choice = torch.eye(4)[torch.randint(4, (2, 10))]
    >>> layer(torch.randn(2, 10, 100, 64), choice).shape
    torch.Size([2, 10, 100, 64])
    >>> [macs / layer.macs(100).open for macs in layer.macs(100).gated]
    [0.125, 0.25, 0.5, 1.0]
    """

    def __init__(
        self,
        num_layers: int,
        d_model: int,
        nhead: int,
        d_ffn: int = 2048,
        dropout: float = 0.1,
        activation: str = "relu",
        use_positional_encoding: bool = False,
        norm_before: bool = False,
        utilizations: Sequence[float] = (0.125, 0.25, 0.5, 1.0),
        slim_attention: bool = True,
    ) -> None:
        super().__init__()
        if activation not in ACTIVATIONS:
            raise ValueError(
                f"activation: expected one of {', '.join(ACTIVATIONS)}, got "
                f"{activation!r}"
            )
        if d_model % nhead or d_model % 2:
            raise ValueError(
                f"d_model {d_model}: expected an even multiple of {nhead} heads"
            )
        self.utilizations, _ = slim_sizes(d_ffn, utilizations)
        self.in_channels = self.out_channels = d_model
        self.use_positional_encoding = use_positional_encoding
        self.nhead, self.d_ffn, self.slim_attention = (
            nhead,
            d_ffn,
            slim_attention,
        )
        options = (dropout, activation, norm_before)
        self.layers = nn.ModuleList(
            SlimmableTransformerLayer(
                nhead,
                d_model,
                d_ffn,
                *options,
                self.utilizations,
                slim_attention,
            )
            for _ in range(num_layers)
        )
        self.norm = nn.LayerNorm(d_model, eps=EPS)
        self.register_load_state_dict_pre_hook(_rename_speechbrain)

    def reset_parameters(self) -> None:
        """Draws all weights anew."""
        for layer in (*self.layers, self.norm):
            layer.reset_parameters()

    def _run(self, x: Tensor, level: int, gate: Tensor | None = None) -> Tensor:
        if self.use_positional_encoding:
            x = x + sinusoids(*x.shape[1:], device=x.device).to(x.dtype)
        for layer in self.layers:
            x = layer.run(x, level, gate)
        return self.norm(x)

    def slice_to(self, level: int) -> SlimmableTransformer:
        """The same net with one width only, with its own copy of it.

        Arguments
        ---------
        level : int
            Index of the width.

        Returns
        -------
        SlimmableTransformer
            Needs no gate.
        """
        first = self.layers[0]
        dense = SlimmableTransformer(
            len(self.layers),
            self.out_channels,
            self.nhead,
            self.d_ffn,
            first.dropout,
            first.activation,
            self.use_positional_encoding,
            first.norm_before,
            (self.utilizations[level],),
            self.slim_attention,
        ).to(first.in_proj_weight)
        return copy_leading(self, dense)

    def macs(self, steps: int) -> MacCount:
        """Cost of one chunk.

        Arguments
        ---------
        steps : int
            Steps per chunk ``L``.

        Returns
        -------
        MacCount
            One gate per width.
        """
        each = [layer.macs(steps) for layer in self.layers]
        return self._declare(
            [sum(widths) for widths in zip(*each, strict=True)]
        )

    def extra_repr(self) -> str:
        """Sizes for ``print``."""
        first = self.layers[0]
        return f"heads {first.heads}, hidden {first.hidden}"


def sinusoids(
    steps: int, channels: int, device: torch.device | str | None = None
) -> Tensor:
    """The positional encoding of Vaswani et al. 2017 (arXiv 1706.03762).

    Arguments
    ---------
    steps : int
        Positions; SpeechBrain's own table ends at 2,500.
    channels : int
        An even number.
    device : torch.device, optional
        Where they are wanted.

    Returns
    -------
    Tensor
        ``[steps, channels]``, sine and cosine by turns.

    Example
    -------
    >>> sinusoids(2, 2)
    tensor([[0.0000, 1.0000],
            [0.8415, 0.5403]])
    """
    rate = torch.arange(0, channels, 2, device=device).float()
    rate = torch.exp(rate * -(math.log(10000.0) / channels))
    place = torch.arange(steps, device=device).float()
    phase = place.unsqueeze(1) * rate
    return torch.stack([phase.sin(), phase.cos()], -1).flatten(1)


# What differs in the names of SpeechBrain's weights.
_NAMES = {
    "mdl.": "",
    "self_att.att.": "",
    "pos_ffn.ffn.0.": "expand.",
    "pos_ffn.ffn.3.": "contract.",
    "norm.norm.": "norm.",
    "norm1.norm.": "norm1.",
    "norm2.norm.": "norm2.",
}


def _rename_speechbrain(
    module: nn.Module, state: dict, prefix: str, *_
) -> None:
    """Gives the weights of an ``SBTransformerBlock`` the names they have
    here."""
    for key in [key for key in state if key.startswith(prefix + "mdl.")]:
        name = key.removeprefix(prefix)
        for theirs, ours in _NAMES.items():
            name = name.replace(theirs, ours)
        state[prefix + name] = state.pop(key)
    state.pop(f"{prefix}pos_enc.pe", None)
