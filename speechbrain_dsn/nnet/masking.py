"""Gates on channels, and rows bucketed by decision.

A dynamic layer splits its channels: the leading ones are static and always
computed, the others are gated. Two functions hold everything that the
layers share: :func:`mask_channels` for training, where all is computed, and
:func:`bucketed` for inference, where only what is open runs.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def expand_gate(gate: Tensor, x: Tensor) -> Tensor:
    """Gives a gate the rank of what it multiplies.

    Arguments
    ---------
    gate : Tensor
        ``[B, T]``, the leading axes of ``x``.
    x : Tensor
        ``[B, T, ..., C]``.

    Returns
    -------
    Tensor
        ``[B, T, 1, ..., 1]``.

    Example
    -------
    >>> expand_gate(torch.ones(2, 3), torch.ones(2, 3, 5, 8)).shape
    torch.Size([2, 3, 1, 1])
    """
    if gate.shape != x.shape[: gate.dim()]:
        raise ValueError(
            f"gate {tuple(gate.shape)} does not match the leading axes of "
            f"input {tuple(x.shape)}"
        )
    return gate.view(*gate.shape, *[1] * (x.dim() - gate.dim())).to(x.dtype)


def mask_channels(x: Tensor, gate: Tensor | None, static: int) -> Tensor:
    """Multiplies all but the leading channels by a gate.

    Arguments
    ---------
    x : Tensor
        ``[B, T, ..., C]``.
    gate : Tensor or None
        ``[B, T]`` in 0..1; ``None`` means open.
    static : int
        How many leading channels stay as they are.

    Returns
    -------
    Tensor
        Like ``x``.

    Example
    -------
    >>> mask_channels(torch.ones(1, 1, 4), torch.zeros(1, 1), 3)
    tensor([[[1., 1., 1., 0.]]])
    """
    if gate is None or static >= x.size(-1):
        return x
    gate = expand_gate(gate, x)
    channel = torch.arange(x.size(-1), device=x.device)
    return x * torch.where(channel < static, torch.ones_like(gate), gate)


def bucketed(
    branch: Callable[[Tensor, bool], Tensor],
    x: Tensor,
    is_open: Tensor,
    channels: int,
) -> Tensor:
    """Runs each row through the branch that it was given, and only that.

    Arguments
    ---------
    branch : callable
        ``branch(rows [N, ..., C], is_open)``; the closed branch may return
        fewer channels, its leading ones.
    x : Tensor
        ``[B, T, ..., C]``.
    is_open : Tensor
        Booleans ``[B, T]``.
    channels : int
        Width of the result; what was not computed is zero.

    Returns
    -------
    Tensor
        ``[B, T, ..., channels]``.

    Example
    -------
    >>> gate = torch.tensor([[True, False]])
    >>> x = torch.ones(1, 2, 2)
    >>> bucketed(lambda r, o: r if o else r[..., :1], x, gate, 2)
    tensor([[[1., 1.],
             [1., 0.]]])
    """
    lead = is_open.shape
    rows, flat = x.flatten(0, is_open.dim() - 1), is_open.flatten()
    if bool(flat.all()):
        return branch(rows, True).unflatten(0, lead)
    result = None
    for state in (False, True):
        index = (flat == state).nonzero().squeeze(1)
        if not len(index):
            continue
        part = branch(rows.index_select(0, index), state)
        if result is None:
            result = part.new_zeros(len(rows), *part.shape[1:-1], channels)
        result[..., : part.size(-1)].index_copy_(0, index, part)
    return result.unflatten(0, lead)
