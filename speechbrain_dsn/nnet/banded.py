"""Attention inside a causal window, without computing the full square.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

_NOWHERE = -(10**9)


def banded_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    q_position: Tensor,
    k_position: Tensor,
    window: int,
    key_gate: Tensor | None = None,
    block: int = 32,
) -> Tensor:
    """Each query sees the keys of the last ``window`` positions.

    Queries go in blocks; a block reads its own keys and the ``window - 1``
    before them, so the cost is linear in time.

    Arguments
    ---------
    q : Tensor
        ``[B, ..., T, D]``.
    k : Tensor
        ``[B, ..., P + T, D]``: at most ``window - 1`` earlier keys in front,
        the keys of the queries themselves at the end.
    v : Tensor
        Like ``k``.
    q_position : Tensor
        Frame index of each query ``[B, T]``, ascending.
    k_position : Tensor
        Frame index of each key ``[B, P + T]``; a position before every
        window hides a key.
    window : int
        Query ``i`` sees keys at ``i - window + 1 .. i``.
    key_gate : Tensor, optional
        Weight in 0..1 of each key ``[B, P + T]``: 0 hides it, except from
        the query at its own position.
    block : int
        Queries per block.

    Returns
    -------
    Tensor
        ``[B, ..., T, D]``.

    Example
    -------
    >>> x, t = torch.randn(1, 4, 100, 16), torch.arange(100).expand(1, -1)
    >>> banded_attention(x, x, x, t, t, window=65).shape
    torch.Size([1, 4, 100, 16])
    """
    time, past = q.size(-2), k.size(-2) - q.size(-2)
    front = window - 1 - past
    if front < 0:
        raise ValueError(
            f"{past} earlier keys are more than window - 1 = {window - 1}"
        )
    block = min(block, time)
    tail = -time % block
    q = F.pad(q, (0, 0, 0, tail)).unflatten(-2, (-1, block))
    k, v = (
        F.pad(t, (0, 0, front, tail))
        .unfold(-2, window - 1 + block, block)
        .transpose(-1, -2)
        for t in (k, v)
    )
    q_position = F.pad(q_position, (0, tail), value=_NOWHERE)
    q_position = q_position.unflatten(1, (-1, block)).unsqueeze(-1)
    k_position = F.pad(k_position, (front, tail), value=_NOWHERE)
    k_position = k_position.unfold(1, window - 1 + block, block).unsqueeze(-2)
    age = q_position - k_position
    bias = q.new_zeros(age.shape).masked_fill_(
        (age < 0) | (age >= window), -torch.inf
    )
    if key_gate is not None:
        gate = F.pad(key_gate, (front, tail), value=1.0)
        gate = gate.unfold(1, window - 1 + block, block).unsqueeze(-2)
        gate = torch.where(age == 0, 1.0, gate)
        visible = gate > 0
        log_gate = torch.where(visible, gate, 1.0).log()
        bias = bias + torch.where(visible, log_gate, -torch.inf)
    # [B, blocks, queries, keys] against [B, ..., blocks, queries, keys].
    bias = bias.view(len(bias), *[1] * (q.dim() - 4), *bias.shape[1:])
    scores = torch.matmul(q * q.size(-1) ** -0.5, k.transpose(-1, -2))
    y = torch.matmul(torch.softmax(scores + bias, -1), v)
    return y.flatten(-3, -2)[..., :time, :]
