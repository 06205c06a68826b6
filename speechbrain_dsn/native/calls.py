"""How the kernels are asked for and called.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from speechbrain_dsn.native.library import library

LANES = 8  # of a vector, as in vectors.h
# Rows from which on a call pays, and products up to which it is the faster.
FEWEST_ROWS, LARGEST, LARGEST_OF_BLOCK = 128, 2**17, 2**20

# What torch's counter of operations is to be told, as its `custom_mapping`.
# Not registered there: to import it makes torch speak of Triton.
FORMULAS: dict[Any, Callable[..., int]] = {}
_PLAIN = (Tensor, torch.nn.Parameter)
_DEFINED = torch.library.Library("speechbrain_dsn", "DEF")


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


def fits(x: Tensor, rows: int, *products: int, largest: int = LARGEST) -> bool:
    """Whether layers are such that the kernels know, and are faster at.

    Arguments
    ---------
    x : Tensor
        What the first layer reads.
    rows : int
        Rows that they are applied to.
    *products : int
        Inputs times outputs of each layer; of a gated one the gated outputs.
    largest : int
        Of the products that are known.

    Returns
    -------
    bool
        See :func:`runs`.
    """
    return rows >= FEWEST_ROWS and max(products) <= largest and runs(x)


def expect(**shapes: tuple[Sequence[int], Sequence[int]]) -> None:
    """Refuses what a kernel would read beyond the end of.

    Arguments
    ---------
    **shapes : pair of sequences of int
        By the name of an argument, its shape and the one that it must have.

    Raises
    ------
    ValueError
        With both.
    """
    for name, (found, wanted) in shapes.items():
        if tuple(found) != tuple(wanted):
            raise ValueError(
                f"{name} is {tuple(found)}, expected {tuple(wanted)}"
            )


def operator(signature: str, flops: Callable[..., int]) -> Callable:
    """Makes a function an operator of torch, with its count of operations.

    Arguments
    ---------
    signature : str
        Of the arguments, as ``torch.library`` wants it.
    flops : callable
        Operations from the shapes of the arguments; from the arguments
        themselves where it has an attribute ``_get_raw``.

    Returns
    -------
    callable
        A decorator.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        name = function.__name__
        _DEFINED.define(name + signature)
        _DEFINED.impl(name, function, "CPU")
        packet = getattr(torch.ops.speechbrain_dsn, name)
        FORMULAS[packet] = flops

        def call(*args) -> Any:
            return packet.default(*args)

        call.__doc__, call.__name__ = function.__doc__, name
        return call

    return decorate


def pack(
    bias: Tensor | None,
    *weights: Tensor,
    outputs: int | None = None,
    inputs: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Weights in the order in which the kernels read them; those of narrower
    layers lead in those of a wide one.

    Arguments
    ---------
    bias : Tensor or None
        ``[halves, out]``: one half, or values and gates.
    *weights : Tensor
        ``[halves, out, in]``, whose inputs lie side by side.
    outputs : int, optional
        The leading ones of each half, all by default.
    inputs : int, optional
        The leading ones of each of the weights, all by default.

    Returns
    -------
    weights : Tensor
        ``[chunks, all inputs, halves * 8]``, eight outputs a chunk.
    biases : Tensor
        ``[chunks, halves * 8]``.

    Raises
    ------
    TypeError
        If these are no float32, or not on a CPU.
    """
    for each in weights if bias is None else (bias, *weights):
        if each.dtype != torch.float32 or each.device.type != "cpu":
            raise TypeError(
                f"weights are {each.dtype} on {each.device}, expected "
                "torch.float32 on a CPU"
            )
    halves, out, each = weights[0].shape
    outputs, each = outputs or out, inputs or each
    chunks, columns = -(-outputs // LANES), len(weights) * each
    row, new = halves * LANES, weights[0].new_zeros
    packed, biases = new(chunks, columns, row), new(chunks, row)
    to, run = packed.data_ptr(), library().dsn_pack
    for weight in weights:
        part = weight.data_ptr(), *weight.stride(), halves, outputs, each
        run(*part, to, columns * row)
        to += 4 * each * row
    if bias is not None:
        part = bias.data_ptr(), *bias.stride(), 0, halves, outputs, 1
        run(*part, biases.data_ptr(), row)
    return packed, biases


class Layer(ctypes.Structure):
    """A layer as the kernels read it.

    Arguments
    ---------
    weights, biases : Tensor
        Of :func:`pack`, to be kept alive.
    outputs : int
        Of each half.
    """

    _fields_ = [
        ("weights", ctypes.c_void_p),
        ("bias", ctypes.c_void_p),
        ("inputs", ctypes.c_int64),
        ("outputs", ctypes.c_int64),
    ]

    def __init__(self, weights: Tensor, biases: Tensor, outputs: int) -> None:
        addresses = weights.data_ptr(), biases.data_ptr()
        super().__init__(*addresses, weights.size(1), outputs)
