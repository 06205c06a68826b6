"""Multi-head self-attention with static and dynamic heads.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speechbrain_dsn.cost import MacCount
from speechbrain_dsn.nnet.banded import banded_attention
from speechbrain_dsn.nnet.empty import takes_empty_chunks
from speechbrain_dsn.nnet.linear import DynamicLinear
from speechbrain_dsn.nnet.masking import bucketed, mask_channels


class _SelfAttention(nn.Module):
    """Projections shared by attention over bins and over frames.

    Closed, the projections run from static to static channels only, which
    are those of the static heads.
    """

    def __init__(
        self, nhead: int, d_model: int, static_heads: int | None = None
    ) -> None:
        super().__init__()
        if d_model % nhead:
            raise ValueError(f"{nhead} heads do not divide width {d_model}")
        self.nhead, self.d_model = nhead, d_model
        self.static_heads = nhead if static_heads is None else static_heads
        if not 0 < self.static_heads <= nhead:
            raise ValueError(
                f"static_heads must be 1..{nhead}, got {static_heads}"
            )
        self.head_size = d_model // nhead
        self.static_size = self.static_heads * self.head_size
        self.weight = nn.Parameter(torch.empty(3, d_model, d_model))
        self.bias = nn.Parameter(torch.empty(3, d_model))
        self.out = DynamicLinear(
            d_model,
            d_model,
            self.static_size,
            self.static_size,
            initial_bias=0.0,
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws the weights as ``torch.nn.MultiheadAttention`` does."""
        bound = math.sqrt(6 / (4 * self.d_model))
        nn.init.uniform_(self.weight, -bound, bound)
        nn.init.zeros_(self.bias)
        self.out.reset_parameters()

    def _project(self, x: Tensor, is_open: bool) -> Tensor:
        """``[..., C]`` to q, k, v as ``[..., 3, C]``."""
        size = self.d_model if is_open else self.static_size
        weight = self.weight[:, :size, :size].reshape(3 * size, size)
        bias = self.bias[:, :size].reshape(3 * size)
        return F.linear(x[..., :size], weight, bias).unflatten(-1, (3, size))

    def _macs(self, keys: int) -> MacCount:
        """Cost of one query."""
        static = 3 * self.static_size**2 + 2 * keys * self.static_size
        whole = 3 * self.d_model**2 + 2 * keys * self.d_model
        return MacCount(static, (whole - static,)) + self.out.macs()

    def slice_to(self, is_open: bool) -> nn.MultiheadAttention:
        """A plain multi-head attention of one branch, with its own copy.

        Arguments
        ---------
        is_open : bool
            Which branch.

        Returns
        -------
        torch.nn.MultiheadAttention
            ``batch_first``; over time it needs the window as a mask.
        """
        size = self.d_model if is_open else self.static_size
        heads = size // self.head_size
        dense = nn.MultiheadAttention(size, heads, batch_first=True)
        dense.to(self.weight)
        corner = self.weight[:, :size, :size].reshape(3 * size, size)
        dense.in_proj_weight.data.copy_(corner)
        dense.in_proj_bias.data.copy_(self.bias[:, :size].reshape(-1))
        dense.out_proj.weight.data.copy_(self.out.weight[:size, :size])
        dense.out_proj.bias.data.copy_(self.out.bias[:size])
        return dense


class FrequencyAttention(_SelfAttention):
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


@dataclass
class AttentionContext:
    """Keys and values of the last ``window - 1`` frames of each stream.

    Arguments
    ---------
    past : Tensor
        Keys and values ``[B, window - 1, F, 2, C]``.
    seen : Tensor
        Which of them hold a frame ``[B, window - 1]``.
    is_open : Tensor
        Which of them were open ``[B, window - 1]``.
    """

    past: Tensor
    seen: Tensor
    is_open: Tensor


class TimeAttention(_SelfAttention):
    """Causal self-attention over frames, one sequence per bin.

    Frame ``t`` sees the frames ``t - window + 1 .. t`` (FTF-Net, arXiv
    2505.21057: 65 frames, 1.04 s). Static heads see every frame. Dynamic
    heads run in open frames only, and what a closed frame never computed
    cannot be attended to: their keys are the open frames of the window (our
    choice; with a soft gate a key counts by its gate). A frame always sees
    itself.

    Arguments
    ---------
    nhead : int
        Heads.
    d_model : int
        Channels.
    static_heads : int, optional
        Leading heads that run in every frame, all by default.
    window : int
        Frames that a query sees, itself included.

    Example
    -------
    >>> mha = TimeAttention(4, 64, static_heads=2, window=65)
    >>> mha(torch.randn(2, 10, 31, 64), torch.ones(2, 10)).shape
    torch.Size([2, 10, 31, 64])
    """

    def __init__(
        self,
        nhead: int,
        d_model: int,
        static_heads: int | None = None,
        window: int = 65,
    ) -> None:
        super().__init__(nhead, d_model, static_heads)
        if window < 1:
            raise ValueError(f"window must be at least 1 frame, got {window}")
        self.window = window

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
        q, k, v = self._heads(qkv)
        time = torch.arange(x.size(1), device=x.device).expand(x.shape[:2])
        if gate is None or self.static_heads == self.nhead:
            heads = banded_attention(q, k, v, time, time, self.window)
        else:
            s = self.static_heads
            parts = [t.split([s, self.nhead - s], 2) for t in (q, k, v)]
            static, dynamic = zip(*parts, strict=True)
            heads = torch.cat(
                [
                    banded_attention(*static, time, time, self.window),
                    banded_attention(
                        *dynamic, time, time, self.window, gate.to(x.dtype)
                    ),
                ],
                2,
            )
        return self.out(heads.permute(0, 3, 1, 2, 4).flatten(3), gate)

    def make_streaming_context(
        self,
        batch_size: int,
        bins: int,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> AttentionContext:
        """The state at the start of a stream.

        Arguments
        ---------
        batch_size : int
            Streams.
        bins : int
            Sequences per stream.
        device : torch.device, optional
            Where the state lives.
        dtype : torch.dtype, optional
            Its type.

        Returns
        -------
        AttentionContext
            Nothing seen.
        """
        shape = (batch_size, self.window - 1)
        past = torch.zeros(
            *shape, bins, 2, self.d_model, device=device, dtype=dtype
        )
        unseen = torch.zeros(shape, dtype=torch.bool, device=device)
        return AttentionContext(past, unseen, unseen.clone())

    @takes_empty_chunks
    def forward_streaming(
        self,
        x: Tensor,
        context: AttentionContext,
        is_open: Tensor | None = None,
    ) -> Tensor:
        """Any number of frames, skipping what is closed.

        Arguments
        ---------
        x : Tensor
            ``[B, T, F, C]``.
        context : AttentionContext
            Updated in place.
        is_open : Tensor, optional
            Booleans ``[B, T]``; open by default.

        Returns
        -------
        Tensor
            ``[B, T, F, C]``.
        """
        batch, time = x.shape[:2]
        if is_open is None:
            is_open = x.new_ones((batch, time), dtype=torch.bool)
        qkv = bucketed(self._project, x, is_open, self.d_model)
        kv = torch.cat([context.past, qkv[..., 1:, :]], 1)
        seen = torch.cat([context.seen, torch.ones_like(is_open)], 1)
        opened = torch.cat([context.is_open, is_open], 1)
        keep = self.window - 1
        position = torch.arange(-keep, time, device=x.device).expand(batch, -1)
        q, (k, v) = self._heads(qkv[..., :1, :])[0], self._heads(kv)
        s = self.static_heads
        heads = q.new_zeros(q.shape)
        heads[:, :, :s] = banded_attention(
            q[:, :, :s],
            k[:, :, :s],
            v[:, :, :s],
            position[:, keep:],
            position.masked_fill(~seen, -self.window),
            self.window,
        )
        if s < self.nhead:
            for b in range(batch):
                queries, keys = is_open[b], opened[b]
                if bool(queries.any()):
                    heads[b][:, s:, queries] = banded_attention(
                        q[b : b + 1, :, s:, queries],
                        k[b : b + 1, :, s:, keys],
                        v[b : b + 1, :, s:, keys],
                        position[b : b + 1, keep:][:, queries],
                        position[b : b + 1, keys],
                        self.window,
                    )[0]
        context.past = kv[:, time:]
        context.seen, context.is_open = seen[:, time:], opened[:, time:]
        heads = heads.permute(0, 3, 1, 2, 4).flatten(3)
        return self.out.forward_skipping(heads, is_open)

    def _heads(self, x: Tensor) -> tuple[Tensor, ...]:
        """``[B, T, F, n, C]`` to n tensors ``[B, F, heads, T, head_size]``."""
        x = x.unflatten(-1, (-1, self.head_size))
        return x.permute(3, 0, 2, 4, 1, 5).unbind(0)

    def macs(self, bins: int) -> MacCount:
        """Cost of one frame; the full window counts.

        Arguments
        ---------
        bins : int
            Sequences.

        Returns
        -------
        MacCount
            Static heads fixed, the rest gated.
        """
        return self._macs(self.window) * bins
