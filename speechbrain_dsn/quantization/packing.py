"""Codes of any width without gaps between them, and what that takes.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from speechbrain_dsn.nnet.gru_scheme import GRUScheme

__all__ = ["pack", "scheme_bytes", "unpack"]


def pack(codes: np.ndarray, bits: int) -> np.ndarray:
    """Unsigned codes one after the other, least significant bit first.

    Arguments
    ---------
    codes : np.ndarray
        Whole numbers in ``0..2^bits - 1``, any shape.
    bits : int
        Width.

    Returns
    -------
    np.ndarray
        uint8 ``[ceil(size * bits / 8)]``.

    Example
    -------
    >>> pack(np.array([1, 2, 3]), 3).tolist()  # 0b11_010_001, 0b0
    [209, 0]
    """
    codes = np.asarray(codes, dtype=np.uint32).reshape(-1, 1)
    single = (codes >> np.arange(bits, dtype=np.uint32)) & 1
    return np.packbits(single.astype(np.uint8).ravel(), bitorder="little")


def unpack(data: np.ndarray, bits: int, count: int) -> np.ndarray:
    """The codes again.

    Arguments
    ---------
    data : np.ndarray
        From :func:`pack`.
    bits : int
        Width.
    count : int
        How many.

    Returns
    -------
    np.ndarray
        int64 ``[count]``.

    Example
    -------
    >>> unpack(np.array([209, 0], dtype=np.uint8), 3, 3).tolist()
    [1, 2, 3]
    """
    single = np.unpackbits(data, count=count * bits, bitorder="little")
    return single.reshape(count, bits).astype(np.int64) @ (1 << np.arange(bits))


def scheme_bytes(scheme: GRUScheme) -> dict[str, int]:
    """What an integer GRU takes, as it is stored and as the C kernel reads it.

    Each matrix, each vector and each table ends with a whole byte.

    Arguments
    ---------
    scheme : GRUScheme
        Sizes and widths.

    Returns
    -------
    dict of str to int
        Bytes of ``weights``, ``biases``, ``tables``, ``state`` (the old one
        and the new one), ``scales`` (4 per multiplier, and per rescale 1 for
        the shift and 2 for the zero point), and ``total``.

    Example
    -------
    >>> import torch
    >>> from speechbrain_dsn.nnet.gru_scheme import uniform_widths
    >>> from speechbrain_dsn.nnet.quantized import QuantizedGRU, calibrate
    >>> gru = torch.nn.GRU(8, 16)
    >>> ranges = calibrate(gru, [torch.randn(1, 20, 8)])
    >>> scheme_bytes(QuantizedGRU(gru, ranges, uniform_widths(8)).scheme)
    {'weights': 1152, 'biases': 96, 'tables': 768, 'state': 32,
    'scales': 180, 'total': 2228}
    """
    width, groups = scheme.widths, scheme.groups
    rows = groups * scheme.units
    columns = {"i": scheme.inputs, "h": scheme.units}

    def whole(count: int, bits: int) -> int:
        return -(-count * bits // 8)

    parts = dict.fromkeys(("weights", "biases", "tables"), 0)
    for name in width:
        kind, _, place = name.partition("_")
        if kind == "weight":
            count = rows * columns[place[0]]
            parts["weights"] += whole(count, width[name])
        elif kind == "bias":
            parts["biases"] += whole(rows, width[name])
        elif kind == "gate":
            entries = 1 << width[f"sum_{place}"]
            parts["tables"] += whole(entries, width[name])
    parts["state"] = 2 * whole(rows, width["state"])
    parts["scales"] = sum(
        3 + 4 * len(each.multipliers) for each in scheme.rescales.values()
    )
    return parts | {"total": sum(parts.values())}
