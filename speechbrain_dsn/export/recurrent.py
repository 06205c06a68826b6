"""GRUs of one step that read one row per stream, as operators.

Onnxruntime's own GRU is made for long sequences (see
:func:`~speechbrain_dsn.export.layers.time_gru`).

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import numpy as np

from speechbrain_dsn.export.graph import Graph, weight
from speechbrain_dsn.export.layers import linear
from speechbrain_dsn.nnet import TimeGRU
from speechbrain_dsn.nnet.dgru import DGRU
from speechbrain_dsn.nnet.diagonal import DiagonalGRU


def diagonal_gru(graph: Graph, layer: DiagonalGRU, rows: str, past: str) -> str:
    """Adds one step of a GRU whose units do not see each other.

    Arguments
    ---------
    graph : Graph
        Where to.
    layer : DiagonalGRU
        The layer.
    rows : str
        Input ``[B, C]``.
    past : str
        State ``[B, 1, H]``.

    Returns
    -------
    str
        The next state, which is also the output.
    """
    size = layer.hidden_size
    drive = linear(graph, rows, weight(layer.weight_ih), layer.bias_ih)
    drive = graph.reshape(drive, -1, 3, size)
    bias = np.zeros((3, size))
    bias[2] = weight(layer.bias_hn)
    echo = graph("Add", graph("Mul", past, layer.weight_hh), bias)
    return _gates(graph, drive, echo, past, 1, 1)


def grouped_gru(graph: Graph, layer: TimeGRU, rows: str, past: str) -> str:
    """Adds one step of a GRU in groups, all of which always run.

    One product per gate and group, batched: with few rows the time is that of
    reading the weights, and a block-diagonal matrix has many more.

    Arguments
    ---------
    graph : Graph
        Where to.
    layer : TimeGRU
        The layer; its weights are stored in ``graph`` or, if that is a
        branch, in what it is a branch of.
    rows : str
        Input ``[B, C]``.
    past : str
        State ``[B, H]``.

    Returns
    -------
    str
        The next state, which is also the output.
    """
    size = layer.hidden
    x = _by_group(graph, rows, layer.groups, layer.inputs)
    past = _by_group(graph, past, layer.groups, size)
    drive, echo = (
        graph(
            "Add",
            graph("MatMul", values, graph.shared(matrix.swapaxes(1, 2))),
            graph.shared(bias[:, None]),
        )
        for values, matrix, bias in (
            (x, weight(layer.weight_ih)[0], weight(layer.bias_ih)[0]),
            (past, weight(layer.weight_hh)[0], weight(layer.bias_hh)[0]),
        )
    )
    new = _gates(graph, drive, echo, past, 2, size)
    if not graph.single:
        new = graph("Transpose", new, perm=[1, 0, 2])
    return graph.reshape(new, -1, layer.groups * size)


def dense_gru(graph: Graph, layer: DGRU, rows: str, past: str) -> str:
    """Adds one step of a GRU of one layer, or of the units that a D-GRU
    selects: of the others no row is read.

    Arguments
    ---------
    graph : Graph
        Where to.
    layer : DGRU
        The layer.
    rows : str
        Input ``[B, C]``.
    past : str
        State ``[B, H]``.

    Returns
    -------
    str
        The next state, which is also the output.
    """
    rnn, size = layer.rnn, layer.rnn.hidden_size
    w_ih, w_hh = weight(rnn.weight_ih_l0), weight(rnn.weight_hh_l0)
    b_ih, b_hh = weight(rnn.bias_ih_l0), weight(rnn.bias_hh_l0)
    if layer.active == size:
        drive, echo = (
            graph("Gemm", x, graph.stored(w.T), graph.stored(b))
            for x, w, b in ((rows, w_ih, b_ih), (past, w_hh, b_hh))
        )
        return _gates(graph, drive, echo, past, 1, size)
    keep = slice(size, 2 * size)
    bias = graph.stored(b_ih[keep] + b_hh[keep])
    z = graph("Gemm", rows, graph.stored(w_ih[keep].T), bias)
    z = graph("Gemm", past, graph.stored(w_hh[keep].T), z)
    z, units = graph(
        "TopK",
        z,
        np.array([layer.active]),
        results=2,
        axis=1,
        largest=0,
        sorted=0,
    )

    def selected(w: np.ndarray, b: np.ndarray, x: str) -> str:
        """``[B, A, 1]``: each stream has rows of its own."""
        some = graph("Gather", graph.stored(w), units)
        product = graph("MatMul", some, graph.reshape(x, -1, w.shape[1], 1))
        start = graph("Gather", graph.stored(b[:, None]), units)
        return graph("Add", product, start)

    reset, new = (
        (
            selected(w_ih[part], b_ih[part], rows),
            selected(w_hh[part], b_hh[part], past),
        )
        for part in (slice(size), slice(2 * size, None))
    )
    reset = graph("Sigmoid", graph("Add", *reset))
    new = graph("Tanh", graph("Add", graph("Mul", reset, new[1]), new[0]))
    new = graph.reshape(new, -1, layer.active)
    old = graph("GatherElements", past, units, axis=1)
    change = graph("Mul", graph("Sub", old, new), graph("Sigmoid", z))
    fresh = graph("Add", change, new)
    return graph("ScatterElements", past, units, fresh, axis=1)


def _by_group(graph: Graph, rows: str, groups: int, size: int) -> str:
    """``[B, groups * size]`` to ``[groups, B, size]``."""
    if graph.single:
        return graph.reshape(rows, groups, 1, size)
    x = graph.reshape(rows, -1, groups, size)
    return graph("Transpose", x, perm=[1, 0, 2])


def _gates(
    graph: Graph, drive: str, echo: str, past: str, axis: int, size: int
) -> str:
    """The next state, from what input and state give to r, z and n.

    These lie behind each other on ``axis``, each of the given size.
    """
    parts = np.array([2 * size, size])
    drive, new = graph("Split", drive, parts, results=2, axis=axis)
    echo, old = graph("Split", echo, parts, results=2, axis=axis)
    both = graph("Sigmoid", graph("Add", drive, echo))
    halves = np.array([size, size])
    reset, keep = graph("Split", both, halves, results=2, axis=axis)
    new = graph("Tanh", graph("Add", graph("Mul", reset, old), new))
    change = graph("Mul", graph("Sub", past, new), keep)
    return graph("Add", change, new)
