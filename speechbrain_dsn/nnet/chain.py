"""Slimmable blocks one behind the other, in one kernel where it pays.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from speechbrain_dsn.nnet.widths import SlimmableBlock, SlimmableContext


def run_blocks(
    blocks: Sequence[SlimmableBlock],
    x: Tensor,
    contexts: Sequence[SlimmableContext],
    level: Tensor | None = None,
    skips: Sequence[Tensor] = (),
) -> list[Tensor]:
    """Runs blocks one behind the other, in one kernel where it pays.

    Arguments
    ---------
    blocks : sequence of SlimmableBlock
        Encoders, or decoders.
    x : Tensor
        ``[B, T, steps, C]``, any number of frames.
    contexts : sequence of SlimmableContext
        Updated in place.
    level : Tensor, optional
        Index of the width of each frame ``[B, T]``; the widest by default.
    skips : sequence of Tensor
        Added to the input of each decoder; or none at all.

    Returns
    -------
    list of Tensor
        The output of each encoder; of decoders the last is the last one's.

    Example
    -------
    >>> from speechbrain_dsn.nnet.slimmable import SlimmableEncoder
    >>> blocks = SlimmableEncoder(4, 1), SlimmableEncoder(8, 4)
    >>> contexts = [block.make_streaming_context(1) for block in blocks]
    >>> x = torch.randn(1, 9, 16, 1)
    >>> [tuple(y.shape) for y in run_blocks(blocks, x, contexts)]
    [(1, 9, 4, 4), (1, 9, 1, 8)]
    """
    made, start = [], 0
    blocks = list(blocks)  # a slice of a ModuleList is built anew
    while start < len(blocks):
        count = _compiled(blocks[start:], x, contexts[start:])
        part = slice(start, start + max(count, 1))
        some, states, beside = blocks[part], contexts[part], skips[part]
        if count:
            made += some[0].chain(some, x, states, level, beside)
        else:
            made.append(some[0].forward_streaming(x, *states, level, *beside))
        x, start = made[-1], part.stop
    return made


def _compiled(
    blocks: Sequence[SlimmableBlock],
    x: Tensor,
    contexts: Sequence[SlimmableContext],
) -> int:
    """How many of the blocks in front one kernel would run."""
    steps = x.size(2)
    for count, block in enumerate(blocks):
        if not block.compiled(x, steps, contexts[count]):
            return count
        steps = block.steps_after(steps)
    return len(blocks)


def arguments(
    blocks: Sequence[SlimmableBlock],
    x: Tensor,
    contexts: Sequence[SlimmableContext],
    level: Tensor | None,
) -> tuple:
    """What the kernels want to know of blocks and of frames.

    Arguments
    ---------
    blocks : sequence of SlimmableBlock
        One behind the other.
    x : Tensor
        Input of the first ``[B, T, ...]``.
    contexts : sequence of SlimmableContext
        Of each block.
    level : Tensor or None
        Index of the width of each frame ``[B, T]``.

    Returns
    -------
    tuple
        The past of each block, the levels, the packed weights and biases of
        all first layers and of all second ones, and all widths.
    """
    top = len(blocks[0].widths) - 1
    if level is None:  # the widest
        level, most = torch.full(x.shape[:2], top), top
    else:
        most = min(int(level.max()), top)
    packed = [
        block.packed(context, block.widths[most])
        for block, context in zip(blocks, contexts, strict=True)
    ]
    return (
        [context.past for context in contexts],
        level,
        *(list(tensors) for tensors in zip(*packed, strict=True)),
        [width for block in blocks for width in block.widths],
    )
