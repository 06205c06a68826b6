"""Strided convolutions of sequences whose channels come last.

With a kernel of one or two strides, neighbouring samples can be folded into
channels: the convolution then has stride 1 and a kernel of one or two
blocks, reads its input where it lies, and oneDNN runs it several times faster
than the matrix product of copied windows.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from speechbrain_dsn import native


def conv_steps(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: int
) -> Tensor:
    """A convolution without padding.

    Arguments
    ---------
    x : Tensor
        ``[N, steps, C]``, steps a multiple of the stride.
    weight : Tensor
        ``[out, kernel, C]``, kernel a multiple of the stride.
    bias : Tensor or None
        ``[out]``.
    stride : int
        Input steps per output step.

    Returns
    -------
    Tensor
        ``[N, (steps - kernel) / stride + 1, out]``.

    Example
    -------
    >>> import torch
    >>> conv_steps(torch.ones(1, 12, 2), torch.ones(3, 8, 2), None, 4).shape
    torch.Size([1, 2, 3])
    """
    batch, steps, channels = x.shape
    out, kernel, _ = weight.shape
    if steps == kernel:  # one window is one row
        return F.linear(x.reshape(batch, 1, -1), weight.flatten(1), bias)
    rows = (steps - kernel) // stride + 1
    if native.fits(x, batch * rows, kernel * channels * out):
        sizes = (kernel * channels, stride * channels)
        windows = x.flatten(1).unfold(1, *sizes)
        return native.linear(windows, weight.flatten(1), bias)
    x = x.reshape(batch, steps // stride, stride * channels)
    weight = weight.reshape(out, kernel // stride, stride * channels)
    return _last(F.conv2d(_first(x), _first(weight), bias))


def conv_transpose_steps(
    x: Tensor, weight: Tensor, bias: Tensor, stride: int
) -> Tensor:
    """A transposed convolution that keeps both ends.

    Arguments
    ---------
    x : Tensor
        ``[N, steps, C]``.
    weight : Tensor
        ``[C, kernel, out]``, kernel a multiple of the stride.
    bias : Tensor
        ``[out]``.
    stride : int
        Output steps per input step.

    Returns
    -------
    Tensor
        ``[N, (steps - 1) * stride + kernel, out]``.

    Example
    -------
    >>> import torch
    >>> weight, bias = torch.ones(2, 8, 3), torch.zeros(3)
    >>> conv_transpose_steps(torch.ones(1, 5, 2), weight, bias, 4).shape
    torch.Size([1, 24, 3])
    """
    batch, steps, channels = x.shape
    _, kernel, out = weight.shape
    if steps == 1:
        y = F.linear(x, weight.flatten(1).t(), bias.repeat(kernel))
        return y.view(batch, kernel, out)
    weight = weight.reshape(channels, kernel // stride, stride * out)
    y = F.conv_transpose2d(_first(x), _first(weight), bias.repeat(stride))
    return _last(y).reshape(batch, -1, out)


def _first(x: Tensor) -> Tensor:
    """``[N, steps, C]`` as an image ``[N, C, 1, steps]``."""
    return x.transpose(1, 2).unsqueeze(2)


def _last(x: Tensor) -> Tensor:
    """And back."""
    return x.squeeze(2).transpose(1, 2)
