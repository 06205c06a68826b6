"""Blocks of two layers, one behind the other, as operators of torch.

Each frame has a width of its own. What one block hands to the next does not
leave the cache, and what is between its layers not even the first one.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from speechbrain_dsn.native.calls import LANES, expect, operator
from speechbrain_dsn.native.chain import TURN, Chain, in_groups


def _flops(
    level: Tensor,
    widths: Sequence[int],
    per_channel: Sequence[int],
    steps: Sequence[int],
) -> int:
    """Of frames of so many positions of each inner channel of each block."""
    total, ladders = 0, in_groups(widths, len(steps))
    counts = torch.bincount(level.flatten(), minlength=len(ladders[0]))
    for own, reads, many in zip(ladders, per_channel, steps, strict=True):
        inner = int((counts * torch.tensor(own)).sum())
        total += 2 * inner * many * reads
    return total


def _encode_flops(
    x,
    past,
    level,
    first,
    first_bias,
    second,
    second_bias,
    widths,
    strides,
    outputs,
    **_,
) -> int:
    steps = [x.size(2)]
    for stride in strides:
        steps.append(steps[-1] // stride)
    reads = [
        one.size(1) + 2 * made for one, made in zip(first, outputs, strict=True)
    ]
    return _flops(level, widths, reads, steps[1:])


def _decode_flops(
    x,
    skip,
    past,
    level,
    first,
    first_bias,
    second,
    second_bias,
    widths,
    *_,
    **__,
) -> int:
    steps = [x.size(2)]
    for owed in past:
        steps.append(steps[-1] * owed.size(1))
    reads = [
        2 * one.size(1) + 2 * owed[0].numel()
        for one, owed in zip(first, past, strict=True)
    ]
    return _flops(level, widths, reads, steps[:-1])


_encode_flops._get_raw = _decode_flops._get_raw = True


@operator(
    "(Tensor x, Tensor[] past, Tensor level, Tensor[] first, "
    "Tensor[] first_bias, Tensor[] second, Tensor[] second_bias, "
    "int[] widths, int[] strides, int[] outputs) -> Tensor[]",
    _encode_flops,
)
def encode(
    x: Tensor,
    past: list[Tensor],
    level: Tensor,
    first: list[Tensor],
    first_bias: list[Tensor],
    second: list[Tensor],
    second_bias: list[Tensor],
    widths: list[int],
    strides: list[int],
    outputs: list[int],
) -> list[Tensor]:
    """:class:`speechbrain_dsn.nnet.slimmable.SlimmableEncoder`, one or more.

    Arguments
    ---------
    x : Tensor
        ``[B, T, steps, C]``.
    past : list of Tensor
        Of each block ``[B, kernel - stride, C]``.
    level : Tensor
        Index of the width of each frame ``[B, T]``.
    first, first_bias, second, second_bias : list of Tensor
        Packed, as wide as is needed: of ``kernel * C`` to ``inner`` numbers,
        and of these to values and gates of ``out``.
    widths : list of int
        Inner channels of each level of the first block, then of the next.
    strides : list of int
        Input steps per output step.
    outputs : list of int
        Channels.

    Returns
    -------
    list of Tensor
        Of each block ``[B, T, steps / stride, out]``.
    """
    batch, frames, steps, channels = x.shape
    chain, made = Chain(x, level, widths, len(strides)), []
    for i, (stride, size) in enumerate(zip(strides, outputs, strict=True)):
        one, two = (first[i], first_bias[i]), (second[i], second_bias[i])
        kernel, pitch = past[i].size(1) + stride, two[0].size(1)
        window, chunks = kernel * channels, -(-size // LANES)
        expect(
            x=((steps % stride, channels), (0, past[i].size(2))),
            past=((len(past[i]),), (batch,)),
            first=(one[0].shape, (-(-pitch // LANES), window, LANES)),
            second=(two[0].shape, (chunks, pitch, 2 * LANES)),
        )
        # The window of the first row: the past, and a place for its own.
        state = x.new_empty(batch, window)
        state[:, : window - stride * channels] = past[i].flatten(1)
        steps //= stride
        made.append(x.new_empty(batch, frames, steps, size))
        sizes = steps, stride * channels
        chain.add(one, two, size, pitch, state, made[-1], *sizes)
        channels = size
    chain.run("dsn_encode")
    return made


@operator(
    "(Tensor x, Tensor[] skip, Tensor[] past, Tensor level, Tensor[] first, "
    "Tensor[] first_bias, Tensor[] second, Tensor[] second_bias, "
    "int[] widths, bool[] rectified) -> (Tensor, Tensor[])",
    _decode_flops,
)
def decode(
    x: Tensor,
    skip: list[Tensor],
    past: list[Tensor],
    level: Tensor,
    first: list[Tensor],
    first_bias: list[Tensor],
    second: list[Tensor],
    second_bias: list[Tensor],
    widths: list[int],
    rectified: list[bool],
) -> tuple[Tensor, list[Tensor]]:
    """:class:`speechbrain_dsn.nnet.slimmable.SlimmableDecoder`, one or more,
    with kernels of two strides.

    Arguments
    ---------
    x : Tensor
        ``[B, T, steps, C]``.
    skip : list of Tensor
        Added to what a block is given; or none at all.
    past : list of Tensor
        What earlier frames add to the first output steps of each block ``[B,
        stride, out]``.
    level : Tensor
        Index of the width of each frame ``[B, T]``.
    first, first_bias, second, second_bias : list of Tensor
        Packed, as wide as is needed: of ``C`` to values and gates of
        ``inner`` numbers, and of those of two rows, the late one first, to
        ``stride * out``.
    widths : list of int
        Inner channels of each level of the first block, then of the next.
    rectified : list of bool
        Whether a ReLU follows.

    Returns
    -------
    y : Tensor
        Of the last block ``[B, T, steps * stride, out]``.
    past : list of Tensor
        What these frames add to the next one.
    """
    batch, frames, steps, channels = x.shape
    chain, owed = Chain(x, level, widths, len(rectified)), []
    for i, follows in enumerate(rectified):
        one, two = (first[i], first_bias[i]), (second[i], second_bias[i])
        (_, stride, outputs), pitch = past[i].shape, two[0].size(1) // 2
        size, lanes = stride * outputs, -(-pitch // LANES)
        expect(
            x=((channels,), one[0].shape[1:2]),
            past=((len(past[i]),), (batch,)),
            first=(one[0].shape[::2], (lanes, 2 * LANES)),
            second=(two[0].shape, (-(-size // LANES), 2 * pitch, LANES)),
        )
        beside = None
        if skip:
            expect(skip=(skip[i].shape, (batch, frames, steps, channels)))
            beside = skip[i].contiguous()
        owed.append(past[i].clone(memory_format=torch.contiguous_format))
        # What lies between blocks is kept for one turn only.
        kept = (batch, frames) if i == len(rectified) - 1 else (1, TURN)
        y = x.new_empty(*kept, steps * stride, outputs)
        sizes = steps, channels, beside, follows
        chain.add(one, two, size, pitch, owed[-1], y, *sizes)
        channels, steps = outputs, steps * stride
    chain.run("dsn_decode")
    return y, owed
