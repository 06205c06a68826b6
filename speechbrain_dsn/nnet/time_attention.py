"""Causal self-attention over frames, with static and dynamic heads.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from speechbrain_dsn.cost import MacCount
from speechbrain_dsn.nnet.banded import banded_attention
from speechbrain_dsn.nnet.empty import takes_empty_chunks
from speechbrain_dsn.nnet.masking import bucketed, mask_channels
from speechbrain_dsn.nnet.self_attention import SelfAttention


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


class TimeAttention(SelfAttention):
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
