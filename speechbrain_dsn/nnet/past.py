"""The last frames of a stream, for layers that read a window of them.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class PastContext:
    """What a layer keeps of the frames before.

    Arguments
    ---------
    past : Tensor
        ``[B, frames, C]``, zeros at the start of a stream.
    """

    past: Tensor


def make_past(
    shape: tuple[int, int, int],
    causal: bool = True,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> PastContext:
    """The state at the start of a stream.

    Arguments
    ---------
    shape : tuple of int
        ``[B, frames, C]``.
    causal : bool
        Whether the layer can stream at all.
    device : torch.device, optional
        Where the state lives.
    dtype : torch.dtype, optional
        Its type.

    Returns
    -------
    PastContext
        Silence.

    Raises
    ------
    ValueError
        If the layer reads the future.
    """
    if not causal:
        raise ValueError("a layer that is not causal does not stream")
    return PastContext(torch.zeros(shape, device=device, dtype=dtype))


def with_past(x: Tensor, context: PastContext) -> Tensor:
    """New frames with those before in front, which they replace.

    Arguments
    ---------
    x : Tensor
        ``[B, T, C]``.
    context : PastContext
        Updated in place.

    Returns
    -------
    Tensor
        ``[B, frames + T, C]``.

    Example
    -------
    >>> context = make_past((1, 2, 1))
    >>> with_past(torch.ones(1, 1, 1), context).flatten().tolist()
    [0.0, 0.0, 1.0]
    >>> context.past.flatten().tolist()
    [0.0, 1.0]
    """
    x = torch.cat([context.past, x], 1)
    context.past = x[:, x.size(1) - context.past.size(1) :].clone()
    return x
