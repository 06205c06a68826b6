"""Self-attention over the bins of a frame, with static and dynamic heads.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from speechbrain_dsn.cost import MacCount
from speechbrain_dsn.nnet.masking import bucketed, mask_channels
from speechbrain_dsn.nnet.self_attention import SelfAttention


class FrequencyAttention(SelfAttention):
    """Self-attention over the bins of one frame.

    MGT-DSN (arXiv 2510.11395): half of the heads are static. No state
    crosses frames, so a closed frame leaves out the dynamic heads.

    Arguments
    ---------
    nhead : int
        Heads.
    d_model : int
        Channels.
    static_heads : int, optional
        Leading heads that run in every frame, all by default.

    Example
    -------
    >>> import torch
    >>> mha = FrequencyAttention(4, 64, static_heads=2)
    >>> mha(torch.randn(2, 10, 31, 64), torch.ones(2, 10)).shape
    torch.Size([2, 10, 31, 64])
    """

    def forward(self, x: Tensor, gate: Tensor | None = None) -> Tensor:
        """Computes all heads and masks, for training.

        Arguments
        ---------
        x : Tensor
            ``[B, T, F, C]``.
        gate : Tensor, optional
            ``[B, T]`` in 0..1, soft or hard; open by default.

        Returns
        -------
        Tensor
            ``[B, T, F, C]``.
        """
        qkv = self._project(mask_channels(x, gate, self.static_size), True)
        heads = self._attend(qkv.flatten(0, 1)).unflatten(0, x.shape[:2])
        return self.out(heads, gate)

    def branch(self, x: Tensor, is_open: bool) -> Tensor:
        """Runs all heads, or the static ones.

        Arguments
        ---------
        x : Tensor
            ``[N, F, C]``, one row per frame; the closed branch reads leading
            channels only.
        is_open : bool
            Which branch.

        Returns
        -------
        Tensor
            ``[N, F, C]``, or the static channels when closed.
        """
        heads = self._attend(self._project(x, is_open))
        return self.out.branch(heads, is_open)

    def _attend(self, qkv: Tensor) -> Tensor:
        """``[N, F, 3, C]`` to ``[N, F, C]``."""
        qkv = qkv.unflatten(-1, (-1, self.head_size)).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.unbind(0)
        y = F.scaled_dot_product_attention(q, k, v)
        return y.transpose(1, 2).flatten(2)

    def forward_skipping(self, x: Tensor, is_open: Tensor) -> Tensor:
        """Runs each frame through its own branch.

        Arguments
        ---------
        x : Tensor
            ``[B, T, F, C]``.
        is_open : Tensor
            Booleans ``[B, T]``.

        Returns
        -------
        Tensor
            ``[B, T, F, C]``.
        """
        return bucketed(self.branch, x, is_open, self.d_model)

    def macs(self, bins: int) -> MacCount:
        """Cost of one frame.

        Arguments
        ---------
        bins : int
            Queries, and keys of each.

        Returns
        -------
        MacCount
            Static heads fixed, the rest gated.
        """
        return self._macs(bins) * bins
