"""The kernels as operators of torch.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from speechbrain_dsn.native.library import library

LANES = 8  # of a vector in kernels.c
# Rows from which on a call pays, and products up to which it is the faster.
FEWEST_ROWS, LARGEST = 128, 128 * 128

# What torch's counter of operations is to be told, as its `custom_mapping`.
# Not registered there: to import it makes torch speak of Triton.
FORMULAS: dict[Any, Callable[..., int]] = {}
_PLAIN = (Tensor, torch.nn.Parameter)
_DEFINED = torch.library.Library("speechbrain_dsn", "DEF")


class _Rows(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p),
        *(
            (name, ctypes.c_int64)
            for name in ("items", "rows", "item", "stride", "inputs")
        ),
    ]


def runs(*tensors: Tensor) -> bool:
    """Whether the kernels can compute with these.

    Arguments
    ---------
    *tensors : Tensor
        Operands.

    Returns
    -------
    bool
        Never while gradients are recorded.
    """
    return (
        not torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cpu")
        and all(
            type(x) in _PLAIN  # no subclass without memory of its own
            and x.dtype == torch.float32
            and x.device.type == "cpu"
            for x in tensors
        )
        and library() is not None
    )


def fits(x: Tensor, rows: int, inputs: int, outputs: int) -> bool:
    """Whether a layer is one that the kernels know, and are faster at.

    Arguments
    ---------
    x : Tensor
        What the layer reads.
    rows : int
        Rows that it is applied to.
    inputs : int
        Numbers that it reads of each.
    outputs : int
        And makes; of a gated layer the gated ones.

    Returns
    -------
    bool
        See :func:`runs`.
    """
    return rows >= FEWEST_ROWS and inputs * outputs <= LARGEST and runs(x)


def _operator(signature: str, flops: Callable[..., int]) -> Callable:
    """Makes a function an operator, with its count of operations."""

    def decorate(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
        name = function.__name__
        _DEFINED.define(f"{name}{signature} -> Tensor")
        _DEFINED.impl(name, function, "CPU")
        packet = getattr(torch.ops.speechbrain_dsn, name)
        FORMULAS[packet] = flops

        def call(*args) -> Tensor:
            return packet.default(*args)

        call.__doc__, call.__name__ = function.__doc__, name
        return call

    return decorate


def _gru_flops(projected, weight, *_, **__) -> int:
    length, groups, rows, sequences = projected
    return 2 * length * sequences * groups * rows * weight[2]


@_operator(
    "(Tensor projected, Tensor weight, Tensor bias, Tensor start)", _gru_flops
)
def gru_steps(
    projected: Tensor, weight: Tensor, bias: Tensor, start: Tensor
) -> Tensor:
    """:func:`speechbrain_dsn.nnet.scan.gru_steps` for units in eights.

    Arguments
    ---------
    projected : Tensor
        ``W_ih x + b_ih`` as ``[L, G, 3 * H, N]``.
    weight : Tensor
        ``[G, 3 * H, H]``.
    bias : Tensor
        ``[G, 3 * H]``.
    start : Tensor
        State before the first step ``[G, H, N]``.

    Returns
    -------
    Tensor
        The state after each step ``[L, G, H, N]``.
    """
    length, groups, _, sequences = projected.shape
    units = weight.size(2)
    drive = projected.permute(1, 3, 0, 2).contiguous()
    weight, bias = weight.contiguous(), bias.contiguous()
    start = start.transpose(1, 2).contiguous()
    buffer = drive.new_empty(3 * units)
    out = drive.new_empty(groups, sequences, length, units)
    library().dsn_gru_steps(
        *map(_pointer, (drive, weight, bias, start, buffer, out)),
        *map(ctypes.c_int64, (groups, sequences, length, units)),
    )
    return out.permute(2, 0, 3, 1)


def _layer_flops(x, weight, *_, **__) -> int:
    rows = 1
    for size in x[:-1]:
        rows *= size
    outputs = 1
    for size in weight[:-1]:
        outputs *= size
    return 2 * rows * outputs * weight[-1]


@_operator("(Tensor x, Tensor weight, Tensor? bias)", _layer_flops)
def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """``W x + b``.

    Arguments
    ---------
    x : Tensor
        ``[N, rows, in]``; rows may overlap.
    weight : Tensor
        ``[out, in]``.
    bias : Tensor or None
        ``[out]``.

    Returns
    -------
    Tensor
        ``[N, rows, out]``.
    """
    y = x.new_empty(*x.shape[:-1], len(weight))
    _run("dsn_linear", x, _packed([weight], [bias]), y, len(weight))
    return y


@_operator("(Tensor x, Tensor weight, Tensor? bias)", _layer_flops)
def gated_linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """:func:`speechbrain_dsn.nnet.gated.gated_linear`.

    Arguments
    ---------
    x : Tensor
        ``[N, rows, in]``; rows may overlap.
    weight : Tensor
        Values and gates ``[2, out, in]``.
    bias : Tensor or None
        ``[2, out]``.

    Returns
    -------
    Tensor
        ``[N, rows, out]``.
    """
    outputs = weight.size(1)
    y = x.new_empty(*x.shape[:-1], outputs)
    biases = (None, None) if bias is None else bias
    _run("dsn_gated_linear", x, _packed(weight, biases), y, outputs)
    return y


@_operator("(Tensor x, Tensor weight, Tensor bias)", _layer_flops)
def linear_overlap(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """A transposed convolution whose kernel is two strides.

    Arguments
    ---------
    x : Tensor
        ``[N, rows, in]``.
    weight : Tensor
        What a row adds to its own block and to the next ``[2, out, in]``.
    bias : Tensor
        Of a block ``[out]``.

    Returns
    -------
    Tensor
        ``[N, rows + 1, out]``.
    """
    # A block of the output is what two rows add to it: a window of both.
    both = torch.cat([weight[1], weight[0]], 1)
    x = F.pad(x, (0, 0, 1, 1))
    windows = x.flatten(1).unfold(1, both.size(1), x.size(2))
    y = x.new_empty(len(x), windows.size(1), len(bias))
    _run("dsn_linear", windows, _packed([both], [bias]), y, len(bias))
    return y


def _run(name: str, x: Tensor, packed: Tensor, y: Tensor, size: int) -> None:
    """Rows of ``x`` whose numbers lie side by side through a layer."""
    if x.stride(2) != 1:
        x = x.contiguous()
    rows = _Rows(x.data_ptr(), *x.shape[:2], *x.stride()[:2], x.size(2))
    getattr(library(), name)(
        ctypes.byref(rows),
        _pointer(packed),
        _pointer(y),
        ctypes.c_int64(size),
    )


def _packed(weights, biases) -> Tensor:
    """Weights ``[out, in]`` with their biases, `LANES` outputs at a time:
    ``[chunks, 1 + in, len(weights), LANES]``."""
    parts = []
    for weight, bias in zip(weights, biases, strict=True):
        if bias is None:
            bias = weight.new_zeros(len(weight))
        part = torch.cat([bias.unsqueeze(1), weight], 1)
        part = F.pad(part, (0, 0, 0, -len(part) % LANES))
        parts.append(part.view(-1, LANES, part.size(1)).transpose(1, 2))
    return torch.stack(parts, 2).contiguous()


def _pointer(x: Tensor) -> ctypes.c_void_p:
    return ctypes.c_void_p(x.data_ptr())
