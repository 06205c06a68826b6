"""Chunks of no frames, in every layer that streams.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from typing import Any

from torch import Tensor


def takes_empty_chunks(
    step: Callable[..., Tensor],
) -> Callable[..., Tensor]:
    """Lets ``forward_streaming`` be given no frames at all.

    Many operators refuse tensors of no elements, and those that do not would
    have to be told what shape comes out. So one frame of zeros runs on a copy
    of the context, and none of its result is handed on.

    Arguments
    ---------
    step : callable
        ``(self, x [B, T, ...], context, gate or is_open or level) -> y [B, T,
        ...]``, the gate optional.

    Returns
    -------
    callable
        The same, for any ``T`` from 0 on.

    Example
    -------
    >>> import torch
    >>> from speechbrain_dsn.nnet import TimeGRU
    >>> gru = TimeGRU(4, 4, groups=1)
    >>> context = gru.make_streaming_context(1, bins=3)
    >>> gru.forward_streaming(torch.randn(1, 0, 3, 4), context).shape
    torch.Size([1, 0, 3, 4])
    """

    @functools.wraps(step)
    def wrapped(self: Any, x: Tensor, context: Any, *gates, **named) -> Tensor:
        if x.size(1):
            return step(self, x, context, *gates, **named)
        gates = [_one_frame(gate) for gate in gates]
        named = {name: _one_frame(gate) for name, gate in named.items()}
        scratch = copy.deepcopy(context)
        return step(self, _one_frame(x), scratch, *gates, **named)[:, :0]

    return wrapped


def _one_frame(x: Tensor | None) -> Tensor | None:
    """Zeros in place of no frames."""
    return None if x is None else x.new_zeros(len(x), 1, *x.shape[2:])
