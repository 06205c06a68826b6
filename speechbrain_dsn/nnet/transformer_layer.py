"""Attention and feed-forward net of any width.

Slimming the hidden layer of the feed-forward net is known of the separation
DSN (IEEE SPL 2024, doi 10.1109/LSP.2024.3445304) from third-party code only;
that heads of the attention are slimmed with it, and all sizes, are ours.
Inputs and outputs keep all channels, only what lies inside an attention or a
feed-forward net is cut: so masking equals slicing.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from speechbrain_dsn.nnet.feed_forward import Hidden
from speechbrain_dsn.nnet.heads import Heads

ACTIVATIONS = {"relu": F.relu_, "gelu": F.gelu}
EPS = 1e-6  # of norms, as in SpeechBrain's encoder


class SlimmableTransformerLayer(Heads, Hidden, nn.Module):
    """Attention and a feed-forward net, each with leading parts of any size.

    Arguments
    ---------
    nhead : int
        Heads of the widest attention.
    d_model : int
        Channels.
    d_ffn : int
        Hidden units of the widest feed-forward net.
    dropout : float
        Dropout rate.
    activation : str
        ``relu`` or ``gelu``.
    norm_before : bool
        Whether norms come before attention and feed-forward net, not after.
    utilizations : sequence of float
        Widths as shares of heads and hidden units, ascending in (0, 1].
    slim_attention : bool
        Whether narrow widths have fewer heads, too.
    """

    def __init__(
        self,
        nhead: int,
        d_model: int,
        d_ffn: int,
        dropout: float,
        activation: str,
        norm_before: bool,
        utilizations: Sequence[float],
        slim_attention: bool,
    ) -> None:
        super().__init__()
        self.dropout = dropout
        self.activation, self.norm_before = activation, norm_before
        self._add_heads(nhead, d_model, utilizations, slim_attention)
        self._add_hidden(d_model, d_ffn, d_model, utilizations)
        self.norm1 = nn.LayerNorm(d_model, eps=EPS)
        self.norm2 = nn.LayerNorm(d_model, eps=EPS)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws all weights anew, as SpeechBrain's encoder layer does."""
        self._reset_projections()
        for child in self.children():
            child.reset_parameters()

    def run(self, x: Tensor, level: int, gate: Tensor | None = None) -> Tensor:
        """Runs one width, and masks where a gate says so.

        Arguments
        ---------
        x : Tensor
            ``[M, L, N]``.
        level : int
            Index of the width.
        gate : Tensor, optional
            Choice among widths ``[M, J]``, at the widest level only.

        Returns
        -------
        Tensor
            ``[M, L, N]``.
        """
        activate = ACTIVATIONS[self.activation]
        for sublayer, norm, *more in (
            (self._attend, self.norm1),
            (self._feed, self.norm2, activate),
        ):
            if self.norm_before:
                x = x + self._drop(sublayer(norm(x), level, gate, *more))
            else:
                x = norm(x + self._drop(sublayer(x, level, gate, *more)))
        return x

    def _drop(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.dropout, self.training)

    def macs(self, steps: int) -> tuple[int, ...]:
        """MACs of a chunk at each width.

        Arguments
        ---------
        steps : int
            Steps per chunk.

        Returns
        -------
        tuple of int
            One per width.
        """
        both = (self._attention_macs(steps), self._hidden_macs(steps))
        return tuple(map(sum, zip(*both, strict=True)))
