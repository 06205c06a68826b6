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
# Rows from which on a call pays, rows of a frame that is run by itself, and
# products up to which it is the faster.
FEWEST_ROWS, FEWEST_ALONE, LARGEST = 128, 4, 2**17

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


def fits(x: Tensor, rows: int, *products: int, alone: bool = False) -> bool:
    """Whether layers are such that the kernels know, and are faster at.

    Arguments
    ---------
    x : Tensor
        What the first layer reads.
    rows : int
        Rows that they are applied to.
    *products : int
        Inputs times outputs of each layer; of a gated one the gated outputs.
    alone : bool
        Whether a few rows at a time are run, with weights of their own: what
        torch is slow at, too.

    Returns
    -------
    bool
        See :func:`runs`.
    """
    largest = 2 * LARGEST if alone else LARGEST
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


class Layer(ctypes.Structure):
    """A layer as the kernels read it.

    Arguments
    ---------
    bias : Tensor or None
        ``[halves, out]``: one half, or values and gates.
    *weights : Tensor
        ``[halves, out, in]``, whose inputs lie side by side.
    """

    _fields_ = [
        ("weights", ctypes.c_void_p),
        ("inputs", ctypes.c_int64),
        ("outputs", ctypes.c_int64),
    ]

    def __init__(self, bias: Tensor | None, *weights: Tensor) -> None:
        halves, outputs, _ = weights[0].shape
        inputs = sum(weight.size(2) for weight in weights)
        # Values and gates that fit one vector share it.
        lanes = LANES // halves if outputs <= LANES // halves else LANES
        shape = (-(-outputs // lanes), 1 + inputs, halves * lanes)
        self.packed = weights[0].new_zeros(shape)  # kept alive
        super().__init__(self.packed.data_ptr(), inputs, outputs)
        chunk, column, _ = self.packed.stride()
        to, pack, form = self.weights, library().dsn_pack, (chunk, lanes)
        if bias is not None:
            strides = *bias.stride(), 0
            pack(bias.data_ptr(), *strides, halves, outputs, 1, to, *form)
        to += 4 * column
        for weight in weights:
            address, sizes = weight.data_ptr(), weight.shape
            pack(address, *weight.stride(), *sizes, to, *form)
            to += 4 * column * weight.size(2)
