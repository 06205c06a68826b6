"""Two layers at once, each frame at a width of its own, as operators of torch.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from speechbrain_dsn.native.calls import LANES, Layer, expect, operator
from speechbrain_dsn.native.library import library

TILE = 64  # of rows, as in blocks.c


class _Width(ctypes.Structure):
    _fields_ = [(name, Layer) for name in ("first", "second", "late")]


class _Frames(ctypes.Structure):
    _fields_ = [
        *(
            (name, ctypes.c_void_p)
            for name in ("level", "x", "beside", "head", "y", "carried")
        ),
        *(
            (name, ctypes.c_int64)
            for name in ("items", "frames", "rows", "stride")
        ),
        ("head_size", ctypes.c_int64),
        ("carried_size", ctypes.c_int64),
    ]


def _flops(level: Tensor, widths, per_channel: int, steps: int) -> int:
    """Of frames of ``steps`` positions of each inner channel."""
    frames = torch.bincount(level.flatten(), minlength=len(widths)).tolist()
    inner = sum(n * width for n, width in zip(frames, widths, strict=True))
    return 2 * inner * steps * per_channel


def _encode_flops(
    x, past, level, first, first_bias, second, second_bias, widths, stride, **_
) -> int:
    steps = x.size(2) // stride
    reads = first[0].numel() + len(second)
    return _flops(level, widths, reads, steps)


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
    reads = 2 * first.size(2) + second[0].numel()
    return _flops(level, widths, reads, x.size(2))


_encode_flops._get_raw = _decode_flops._get_raw = True


def _packed(
    level: Tensor, widths: list[int], layers: Callable[[int], Sequence[Layer]]
) -> tuple[ctypes.Array, list]:
    """The layers of the widths that are used, and what keeps them alive."""
    packed, alive = (_Width * len(widths))(), []
    for index in set(level.flatten().tolist()):
        if index < 0:
            raise IndexError(f"level {index}: expected none below 0")
        own = layers(widths[index])
        packed[index] = _Width(*own)
        alive.append(own)
    return packed, alive


@operator(
    "(Tensor x, Tensor past, Tensor level, Tensor first, Tensor first_bias, "
    "Tensor second, Tensor second_bias, int[] widths, int stride) -> Tensor",
    _encode_flops,
)
def encode(
    x: Tensor,
    past: Tensor,
    level: Tensor,
    first: Tensor,
    first_bias: Tensor,
    second: Tensor,
    second_bias: Tensor,
    widths: list[int],
    stride: int,
) -> Tensor:
    """:class:`speechbrain_dsn.nnet.slimmable.SlimmableEncoder`.

    Arguments
    ---------
    x : Tensor
        ``[B, T, steps, C]``.
    past : Tensor
        ``[B, kernel - stride, C]``.
    level : Tensor
        Index of the width of each frame ``[B, T]``.
    first, first_bias, second, second_bias : Tensor
        Of the widest: ``[inner, kernel, C]``, ``[inner]``, ``[2 * out,
        inner]`` and ``[2 * out]``.
    widths : list of int
        Inner channels of each level.
    stride : int
        Input steps per output step.

    Returns
    -------
    Tensor
        ``[B, T, steps / stride, out]``.
    """
    batch, frames, steps, channels = x.shape
    inner, kernel, _ = first.shape
    expect(
        x=((steps % stride, channels), (0, first.size(2))),
        past=(past.shape, (batch, kernel - stride, channels)),
        level=(level.shape, (batch, frames)),
        second=(second.shape, (len(second_bias), inner)),
    )
    x, level = x.contiguous(), level.long().contiguous()
    first, first_bias = first.flatten(1).unsqueeze(0), first_bias.unsqueeze(0)
    second, second_bias = second.unflatten(0, (2, -1)), second_bias.view(2, -1)

    def layers(width: int) -> tuple[Layer, Layer]:
        return (
            Layer(first_bias[:, :width], first[:, :width]),
            Layer(second_bias, second[:, :, :width]),
        )

    packed, _alive = _packed(level, widths, layers)
    # The first frame of each item reads the past, all others what precedes
    # them in memory.
    head = torch.cat([past, x[:, 0]], 1)
    y = x.new_empty(batch, frames, steps // stride, second.size(1))
    buffer = x.new_empty(TILE * max(widths))
    pointers = (level.data_ptr(), x.data_ptr(), None, head.data_ptr())
    sizes = (batch, frames, steps // stride, stride * channels)
    call = _Frames(*pointers, y.data_ptr(), None, *sizes, head.stride(0), 0)
    library().dsn_encode(ctypes.byref(call), packed, buffer.data_ptr())
    return y


@operator(
    "(Tensor x, Tensor? skip, Tensor past, Tensor level, Tensor first, "
    "Tensor first_bias, Tensor second, Tensor second_bias, int[] widths, "
    "bool rectified) -> (Tensor, Tensor)",
    _decode_flops,
)
def decode(
    x: Tensor,
    skip: Tensor | None,
    past: Tensor,
    level: Tensor,
    first: Tensor,
    first_bias: Tensor,
    second: Tensor,
    second_bias: Tensor,
    widths: list[int],
    rectified: bool,
) -> tuple[Tensor, Tensor]:
    """:class:`speechbrain_dsn.nnet.slimmable.SlimmableDecoder` with a kernel
    of two strides.

    Arguments
    ---------
    x : Tensor
        ``[B, T, steps, C]``.
    skip : Tensor or None
        Added to it.
    past : Tensor
        What earlier frames add to the first output steps ``[B, stride,
        out]``.
    level : Tensor
        Index of the width of each frame ``[B, T]``.
    first, first_bias, second, second_bias : Tensor
        Of the widest: ``[2, inner, C]``, ``[2, inner]``, ``[inner, kernel,
        out]`` and ``[out]``.
    widths : list of int
        Inner channels of each level.
    rectified : bool
        Whether a ReLU follows.

    Returns
    -------
    y : Tensor
        ``[B, T, steps * stride, out]``.
    past : Tensor
        What these frames add to the next one.
    """
    (batch, frames, steps, channels), (_, stride, outputs) = x.shape, past.shape
    inner = first.size(1)
    expect(
        x=(x.shape[3:], first.shape[2:]),
        past=((len(past), outputs), (batch, len(second_bias))),
        level=(level.shape, (batch, frames)),
        second=(second.shape, (inner, 2 * stride, outputs)),
    )
    x, level = x.contiguous(), level.long().contiguous()
    if skip is not None:
        expect(skip=(skip.shape, x.shape))
    skip = None if skip is None else skip.contiguous()
    # A block of the output is what two rows add to it: a window of both.
    size = stride * outputs
    taps = second.unflatten(1, (2, stride)).flatten(2).permute(1, 2, 0)
    bias = second_bias.expand(stride, -1).reshape(1, -1)

    def layers(width: int) -> tuple[Layer, Layer, Layer]:
        own, late = taps[:1, :, :width], taps[1:, :, :width]
        return (
            Layer(first_bias[:, :width], first[:, :width]),
            Layer(bias, late, own),
            Layer(None, late),
        )

    packed, _alive = _packed(level, widths, layers)
    carried = F.pad(past.flatten(1), (0, -size % LANES)).contiguous()
    y = x.new_empty(batch, frames, steps * stride, outputs)
    buffer = x.new_empty(TILE * channels + (1 + TILE) * max(widths))
    call = _Frames(
        *(level.data_ptr(), x.data_ptr()),
        *(None if skip is None else skip.data_ptr(), None),
        *(y.data_ptr(), carried.data_ptr()),
        *(batch, frames, steps, channels, 0, carried.stride(0)),
    )
    library().dsn_decode(
        ctypes.byref(call), packed, buffer.data_ptr(), rectified
    )
    return y, carried[:, :size].reshape(past.shape)
