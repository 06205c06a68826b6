"""Single layers as operators of torch.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import ctypes

from torch import Tensor

from speechbrain_dsn.native.calls import Layer, expect, operator, pack
from speechbrain_dsn.native.library import library


class _Rows(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p),
        *((n, ctypes.c_int64) for n in ("items", "rows", "item", "stride")),
    ]


def _gru_flops(projected, weight, *_, **__) -> int:
    length, groups, rows, sequences = projected
    return 2 * length * sequences * groups * rows * weight[2]


@operator(
    "(Tensor projected, Tensor weight, Tensor bias, Tensor start) -> Tensor",
    _gru_flops,
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
    (length, groups, rows, sequences), units = projected.shape, weight.size(2)
    expect(
        projected=((groups, rows), (len(weight), 3 * units)),
        weight=(weight.shape, (groups, rows, units)),
        bias=(bias.shape, (groups, rows)),
        start=(start.shape, (groups, units, sequences)),
    )
    drive = projected.permute(1, 3, 0, 2).contiguous()
    weight, bias = weight.contiguous(), bias.contiguous()
    start = start.transpose(1, 2).contiguous()
    buffer = drive.new_empty(3 * units)
    out = drive.new_empty(groups, sequences, length, units)
    tensors = (drive, weight, bias, start, buffer, out)
    library().dsn_gru_steps(
        *(x.data_ptr() for x in tensors), groups, sequences, length, units
    )
    return out.permute(2, 0, 3, 1)


def _no_products(*_, **__) -> int:
    """Torch counts matrix products only."""
    return 0


@operator(
    "(Tensor projected, Tensor weight, Tensor bias, Tensor start) -> Tensor",
    _no_products,
)
def diagonal_gru(
    projected: Tensor, weight: Tensor, bias: Tensor, start: Tensor
) -> Tensor:
    """:class:`speechbrain_dsn.nnet.diagonal.DiagonalGRU` for units in eights.

    Arguments
    ---------
    projected : Tensor
        ``W x + b`` as ``[B, T, 3 * H]``.
    weight : Tensor
        ``[3, H]``.
    bias : Tensor
        ``[H]``.
    start : Tensor
        State before the first step ``[B, H]``.

    Returns
    -------
    Tensor
        The state after each step ``[B, T, H]``.
    """
    (batch, steps, rows), units = projected.shape, weight.size(1)
    expect(
        weight=((*weight.shape, 3 * units), (3, units, rows)),
        bias=(bias.shape, (units,)),
        start=(start.shape, (batch, units)),
    )
    out = projected.new_empty(batch, steps, units)
    tensors = [x.contiguous() for x in (projected, weight, bias, start)]
    library().dsn_diagonal_gru(
        *(x.data_ptr() for x in (*tensors, out)), batch, steps, units
    )
    return out


def _layer_flops(x, weight, *_, **__) -> int:
    rows = 1
    for size in x[:-1]:
        rows *= size
    outputs = 1
    for size in weight[:-1]:
        outputs *= size
    return 2 * rows * outputs * weight[-1]


@operator("(Tensor x, Tensor weight, Tensor? bias) -> Tensor", _layer_flops)
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
    bias = None if bias is None else bias.unsqueeze(0)
    _run("dsn_linear", x, pack(bias, weight.unsqueeze(0)), y)
    return y


@operator("(Tensor x, Tensor weight, Tensor? bias) -> Tensor", _layer_flops)
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
    _run("dsn_gated_linear", x, pack(bias, weight), y)
    return y


def _run(
    name: str, x: Tensor, packed: tuple[Tensor, Tensor], y: Tensor
) -> None:
    """Rows of ``x`` whose numbers lie side by side through a layer."""
    layer = Layer(*packed, y.size(2))
    expect(x=(x.shape[2:], (layer.inputs,)))
    if x.stride(2) != 1:
        x = x.contiguous()
    rows = _Rows(x.data_ptr(), *x.shape[:2], *x.stride()[:2])
    references = map(ctypes.byref, (rows, layer))
    getattr(library(), name)(*references, y.data_ptr())
