"""Gates on channels, and rows bucketed by decision.

A dynamic layer splits its channels: the leading ones are static and always
computed, the others are gated; a slimmable layer runs the leading part that
was chosen. Few functions hold everything that the layers share:
:func:`mask_channels` and :func:`mask_widths` for training, where all is
computed, and :func:`bucketed` for inference, where only what is open runs.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

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


def mask_widths(
    x: Tensor, gate: Tensor | None, widths: Sequence[int]
) -> Tensor:
    """Leaves of each frame the leading channels that its width has.

    Arguments
    ---------
    x : Tensor
        ``[B, T, ..., C]``.
    gate : Tensor or None
        Choice among widths ``[B, T, J]``, one-hot or soft; ``None`` means the
        widest.
    widths : sequence of int
        Channels of each width, ascending up to ``C``.

    Returns
    -------
    Tensor
        Like ``x``.

    Example
    -------
    >>> mask_widths(torch.ones(1, 1, 4), torch.tensor([[[0.5, 0.5]]]), (2, 4))
    tensor([[[1.0000, 1.0000, 0.5000, 0.5000]]])
    """
    if gate is None or len(widths) == 1:
        return x
    if gate.shape != (*x.shape[:2], len(widths)):
        raise ValueError(
            f"choice {tuple(gate.shape)} among {len(widths)} widths does not "
            f"match input {tuple(x.shape)}"
        )
    # What a width has beyond the one below it is open in it and all above.
    reach = gate.to(x.dtype).flip(-1).cumsum(-1).flip(-1)
    spans = torch.tensor(widths, device=x.device).diff(
        prepend=torch.zeros(1, dtype=torch.long, device=x.device)
    )
    mask = reach.repeat_interleave(spans, -1)
    return x * mask.view(*mask.shape[:2], *[1] * (x.dim() - 3), mask.size(-1))


def bucketed(
    branch: Callable[..., Tensor],
    x: Tensor,
    level: Tensor,
    channels: int,
    *beside: Tensor,
) -> Tensor:
    """Runs each row through the branch that it was given, and only that.

    Arguments
    ---------
    branch : callable
        ``branch(rows [N, ..., C], level)``, the level a boolean or an index;
        a branch may return fewer channels, its leading ones.
    x : Tensor
        ``[B, T, ..., C]``.
    level : Tensor
        ``[B, T]``, booleans (open or closed) or indices of widths.
    channels : int
        Width of the result; what was not computed is zero.
    *beside : Tensor
        What each row of ``x`` needs besides, ``[B T, ...]``: the branch is
        given that of its rows.

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
    lead = level.shape
    rows, flat = x.flatten(0, level.dim() - 1), level.flatten()
    if not len(flat):
        y = branch(rows, flat.dtype == torch.bool, *beside)
        return y.unflatten(0, lead)
    result = None
    for state in sorted(set(flat.tolist())):
        index = (flat == state).nonzero().squeeze(1)
        alone = len(index) == len(flat)
        given, *more = (
            each if alone else each.index_select(0, index)
            for each in (rows, *beside)
        )
        part = branch(given, state, *more)
        if alone and part.size(-1) == channels:
            return part.unflatten(0, lead)
        if result is None:
            result = part.new_zeros(len(rows), *part.shape[1:-1], channels)
        result[..., : part.size(-1)].index_copy_(0, index, part)
    return result.unflatten(0, lead)
