"""Attention over bins and over the last frames, as operators of one frame.

What they add to is already in their input, with the bias of their output
projection (see :mod:`speechbrain_dsn.export.layers`).

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import math

import numpy as np

from speechbrain_dsn.export.graph import Graph, weight
from speechbrain_dsn.export.layers import linear
from speechbrain_dsn.nnet import FrequencyAttention, TimeAttention


def output_bias(
    layer: FrequencyAttention | TimeAttention, is_open: bool
) -> np.ndarray:
    """What the rows that enter the layer have to carry.

    Arguments
    ---------
    layer : FrequencyAttention or TimeAttention
        The layer.
    is_open : bool
        Which branch.

    Returns
    -------
    np.ndarray
        Bias of the output projection ``[C]``, zero where it is closed.
    """
    bias = weight(layer.out.bias)
    if not is_open:
        bias[layer.static_size :] = 0
    return bias


def _projections(
    layer: FrequencyAttention | TimeAttention,
    first: int,
    last: int,
    is_open: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """Weights of q, k and v of some heads, q scaled: ``[3 * heads * D, C]``,
    zero where the branch does not read, and ``[3 * heads * D]``."""
    part = slice(first * layer.head_size, last * layer.head_size)
    matrix, bias = weight(layer.weight)[:, part], weight(layer.bias)[:, part]
    if not is_open:
        matrix[..., layer.static_size :] = 0
    bias -= matrix @ output_bias(layer, is_open)
    scale = 1 / math.sqrt(layer.head_size)
    matrix[0] *= scale
    bias[0] *= scale
    return matrix.reshape(-1, layer.d_model), bias.reshape(-1)


def frequency_attention(
    graph: Graph,
    layer: FrequencyAttention,
    rows: str,
    bins: int,
    is_open: bool,
) -> str:
    """Adds attention over bins to its input.

    Arguments
    ---------
    graph : Graph
        Where to.
    layer : FrequencyAttention
        The layer.
    rows : str
        All channels ``[B F, C]``, with `output_bias`.
    bins : int
        F.
    is_open : bool
        Which branch.

    Returns
    -------
    str
        The sum ``[B F, C]``.
    """
    heads = layer.nhead if is_open else layer.static_heads
    size = heads * layer.head_size
    matrix, bias = _projections(layer, 0, heads, is_open)
    y = graph(
        "Attention",
        graph.reshape(rows, -1, bins, layer.d_model),
        np.ascontiguousarray(matrix.T),
        bias,
        domain="com.microsoft",
        num_heads=heads,
        qkv_hidden_sizes=[size] * 3,
        scale=1.0,
    )
    return _mixed(graph, layer, graph.reshape(y, -1, size), rows, is_open)


def time_attention(
    graph: Graph,
    layer: TimeAttention,
    rows: str,
    bins: int,
    past: dict[str, str],
    is_open: bool,
) -> tuple[str, dict[str, str]]:
    """Adds attention over the last frames, a sequence per bin, to its input.

    Keys and values lie in rings (:mod:`speechbrain_dsn.export.rings`).
    Dynamic heads have rings of their own: a closed frame neither reads nor
    writes them.

    Arguments
    ---------
    graph : Graph
        Where to.
    layer : TimeAttention
        The layer.
    rows : str
        All channels ``[B F, C]``, with `output_bias`.
    bins : int
        F.
    past : dict
        ``keys``, ``values``, ``dynamic_keys``, ``dynamic_values`` ``[B, F
        heads, window, D]``; ``keys_index`` and ``dynamic_keys_index``, where
        to write this frame; ``seen``, what to add to scores, and ``opened``,
        1 or 0 ``[B, window]``.
    is_open : bool
        Which branch.

    Returns
    -------
    tuple
        The sum ``[B F, C]``, and the rings with this frame, or with a batch
        axis its entries ``[B, F heads, 1, D]``.
    """
    static, size = layer.static_heads, layer.head_size
    parts = [("", 0, static, "seen")]
    if is_open and static < layer.nhead:
        parts.append(("dynamic_", static, layer.nhead, "opened"))
    cut = [_projections(layer, a, b, is_open) for _, a, b, _ in parts]
    matrix, bias = (np.concatenate(x) for x in zip(*cut, strict=True))
    widths = [(last - first) * size for _, first, last, _ in parts]
    qkv = graph(
        "Split",
        linear(graph, rows, matrix, bias),
        np.repeat(widths, 3),
        results=3 * len(parts),
        axis=1,
    )
    heads, new = [], {}
    for number, (part, first, last, visible) in enumerate(parts):
        count, index = bins * (last - first), past[f"{part}keys_index"]
        q, k, v = qkv[3 * number : 3 * number + 3]
        rings = []
        for name, entry in (("keys", k), ("values", v)):
            entry = graph.reshape(entry, -1, count, 1, size)
            rings.append(graph("ScatterND", past[part + name], index, entry))
            new[part + name] = rings[-1] if graph.single else entry
        q = graph.reshape(q, -1, count, size, 1)
        scores = graph("MatMul", rings[0], q)
        scores = graph.reshape(scores, -1, count, 1, layer.window)
        mask = past[visible]
        if part:  # log 0 = -inf: a slot that was closed gets no weight
            mask = graph("Log", mask)
        if not graph.single:
            mask = graph.reshape(mask, -1, 1, 1, layer.window)
        scores = graph("Add", scores, mask)
        y = graph("MatMul", graph("Softmax", scores, axis=-1), rings[1])
        heads.append(graph.reshape(y, -1, widths[number]))
    y = heads[0] if len(heads) == 1 else graph("Concat", *heads, axis=1)
    return _mixed(graph, layer, y, rows, is_open), new


def _mixed(
    graph: Graph,
    layer: FrequencyAttention | TimeAttention,
    heads: str,
    rows: str,
    is_open: bool,
) -> str:
    """The output projection of heads ``[B F, c]``, added to rows."""
    size = layer.d_model if is_open else layer.static_size
    matrix = weight(layer.out.weight)[:, :size]
    matrix[size:] = 0
    return linear(graph, heads, matrix, rows)
