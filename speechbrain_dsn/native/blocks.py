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

from speechbrain_dsn.native.calls import Layer, expect, operator
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
    x, past, level, first, first_bias, second, second_bias, widths, strides, **_
) -> int:
    steps = [x.size(2)]
    for stride in strides:
        steps.append(steps[-1] // stride)
    reads = [
        one[0].numel() + len(two)
        for one, two in zip(first, second, strict=True)
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
        2 * one.size(2) + two[0].numel()
        for one, two in zip(first, second, strict=True)
    ]
    return _flops(level, widths, reads, steps[:-1])


_encode_flops._get_raw = _decode_flops._get_raw = True


@operator(
    "(Tensor x, Tensor[] past, Tensor level, Tensor[] first, "
    "Tensor[] first_bias, Tensor[] second, Tensor[] second_bias, "
    "int[] widths, int[] strides) -> Tensor[]",
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
        Of the widest: ``[inner, kernel, C]``, ``[inner]``, ``[2 * out,
        inner]`` and ``[2 * out]``.
    widths : list of int
        Inner channels of each level of the first block, then of the next.
    strides : list of int
        Input steps per output step.

    Returns
    -------
    list of Tensor
        Of each block ``[B, T, steps / stride, out]``.
    """
    batch, frames, steps, channels = x.shape
    chain, made = Chain(x, level, widths, len(strides)), []
    for i, stride in enumerate(strides):
        inner, kernel, _ = first[i].shape
        expect(
            x=((steps % stride, channels), (0, first[i].size(2))),
            past=(past[i].shape, (batch, kernel - stride, channels)),
            second=(second[i].shape, (len(second_bias[i]), inner)),
        )
        width, outputs = chain.widths[i], len(second_bias[i]) // 2
        weight, bias = first[i].view(1, inner, -1), first_bias[i].view(1, -1)
        one = Layer(bias, weight, outputs=width)
        weight, bias = second[i].view(2, -1, inner), second_bias[i].view(2, -1)
        two = Layer(bias, weight, inputs=width)
        # The window of the first row: the past, and a place for its own.
        window = x.new_empty(batch, kernel * channels)
        window[:, : (kernel - stride) * channels] = past[i].flatten(1)
        steps //= stride
        made.append(x.new_empty(batch, frames, steps, outputs))
        chain.add(one, two, window, made[-1], steps, stride * channels)
        channels = outputs
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
        Of the widest: ``[2, inner, C]``, ``[2, inner]``, ``[inner, kernel,
        out]`` and ``[out]``.
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
        (_, stride, outputs), (_, inner, _) = past[i].shape, first[i].shape
        expect(
            x=((channels,), first[i].shape[2:]),
            past=((len(past[i]), outputs), (batch, len(second_bias[i]))),
            second=(second[i].shape, (inner, 2 * stride, outputs)),
        )
        beside = None
        if skip:
            expect(skip=(skip[i].shape, (batch, frames, steps, channels)))
            beside = skip[i].contiguous()
        width, size = chain.widths[i], stride * outputs
        one = Layer(first_bias[i], first[i], outputs=width)
        # A block of the output is what two rows add to it, the late one first.
        own, late = second[i].view(inner, 2, 1, size).permute(1, 2, 3, 0)
        bias = second_bias[i].expand(stride, -1).reshape(1, -1)
        two = Layer(bias, late, own, inputs=width)
        owed.append(past[i].clone(memory_format=torch.contiguous_format))
        # What lies between blocks is kept for one turn only.
        kept = (batch, frames) if i == len(rectified) - 1 else (1, TURN)
        y = x.new_empty(*kept, steps * stride, outputs)
        chain.add(one, two, owed[-1], y, steps, channels, beside, follows)
        channels, steps = outputs, steps * stride
    chain.run("dsn_decode")
    return y, owed
