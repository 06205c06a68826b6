"""The layers of FTF-Net as operators of one frame.

There are two layouts: planes ``[B, C, 1, F]`` for convolutions and rows
``[B F, C]`` for everything else. What a branch does not run is cut from the
weights here, nothing is sliced in the graph.

What is written down is what was fastest on the clock, which is not always
what has the fewest MACs: a block-diagonal product is faster than one product
per group, a zero column cheaper than a slice.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import math

import numpy as np
from torch import Tensor, nn

from speechbrain_dsn.export.graph import Graph, weight
from speechbrain_dsn.nnet import (
    DynamicConv2d,
    DynamicConvTranspose2d,
    FrequencyAttention,
    FrequencyGRU,
    TimeAttention,
    TimeGRU,
)


def to_rows(graph: Graph, planes: str, channels: int) -> str:
    """``[B, C, 1, F]`` to ``[B F, C]``."""
    x = graph("Transpose", planes, perm=[0, 2, 3, 1])
    return graph.reshape(x, -1, channels)


def to_planes(graph: Graph, rows: str, bins: int, channels: int) -> str:
    """``[B F, C]`` to ``[B, C, 1, F]``."""
    x = graph.reshape(rows, -1, 1, bins, channels)
    return graph("Transpose", x, perm=[0, 3, 1, 2])


def leading(graph: Graph, x: str, size: int, channels: int) -> str:
    """The first ``size`` of the channels on axis 1."""
    if size == channels:
        return x
    return graph("Slice", x, *(np.array([n]) for n in (0, size, 1)))


def added(graph: Graph, rows: str, to: str, matrix: np.ndarray) -> str:
    """``rows [N, c] @ matrix [c, C] + to [N, C]``: widens in the same go."""
    return graph("Gemm", rows, matrix, to)


def convolution(
    graph: Graph,
    layer: DynamicConv2d | DynamicConvTranspose2d,
    window: str,
    is_open: bool = True,
) -> str:
    """Adds a convolution over two frames; the past one enters as further
    channels.

    Arguments
    ---------
    graph : Graph
        Where to.
    layer : DynamicConv2d or DynamicConvTranspose2d
        Kernel of two frames.
    window : str
        Past and present frame of the branch's inputs ``[B, 2 C, 1, F]``.
    is_open : bool
        Which branch.

    Returns
    -------
    str
        ``[B, C', 1, F']``.
    """
    dense = layer.slice_to(is_open)
    kernel = weight(dense.weight)
    arguments = {
        "kernel_shape": [1, layer.kernel_size[1]],
        "strides": [1, layer.stride],
    }
    if isinstance(layer, DynamicConvTranspose2d):
        # [in, out, t, f], where t = 0 is the present frame.
        kernel = kernel[:, :, ::-1].transpose(2, 0, 1, 3)
        kernel = kernel.reshape(-1, *kernel.shape[2:])[:, :, None]
        arguments["output_padding"] = [0, layer.output_padding]
        operator = "ConvTranspose"
    else:
        # [out, in, t, f], where t = 0 is the past frame.
        kernel = kernel.transpose(0, 2, 1, 3)
        kernel = kernel.reshape(len(kernel), -1, 1, kernel.shape[-1])
        operator = "Conv"
    return graph(operator, window, kernel, dense.bias, **arguments)


def linear(
    graph: Graph, rows: str, matrix: np.ndarray, bias: np.ndarray | Tensor
) -> str:
    """Adds a dense layer with weights ``[C', C]`` to rows ``[N, C]``."""
    return graph("Gemm", rows, np.ascontiguousarray(matrix.T), bias)


def layer_norm(
    graph: Graph, rows: str, norm: nn.LayerNorm, shift: np.ndarray | float = 0.0
) -> str:
    """Adds a normalization of rows ``[N, C]``, shifted afterwards.

    Rows have two axes for a reason: where they have three, onnxruntime fuses
    the sum before into an operator that takes three times as long.
    """
    return graph(
        "LayerNormalization",
        rows,
        norm.weight,
        weight(norm.bias) + shift,
        axis=-1,
        epsilon=norm.eps,
    )


def gru_weights(
    layer: FrequencyGRU | TimeGRU, groups: int, read: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The leading groups of a grouped GRU as one block-diagonal GRU.

    Arguments
    ---------
    layer : FrequencyGRU or TimeGRU
        Groups of equal size.
    groups : int
        How many of them run.
    read : int
        How many of these get input.

    Returns
    -------
    tuple of np.ndarray
        W ``[directions, 3 H, read * inputs]``, R ``[directions, 3 H, H]`` and
        B ``[directions, 6 H]`` with gate rows in ONNX's order z, r, n.
    """
    d, h, i = layer.directions, layer.hidden, layer.inputs
    w = np.zeros((d, 3, groups, h, read, i))
    r = np.zeros((d, 3, groups, h, groups, h))
    b = np.zeros((d, 2, 3, groups, h))
    order = [1, 0, 2]  # of torch's r, z, n
    for group in range(groups):
        for target, source in (
            (w[:, :, group, :, group] if group < read else None, "weight_ih"),
            (r[:, :, group, :, group], "weight_hh"),
            (b[:, 0, :, group], "bias_ih"),
            (b[:, 1, :, group], "bias_hh"),
        ):
            if target is not None:
                values = weight(getattr(layer, source))[:, group]
                values = values.reshape(d, 3, *target.shape[2:])
                target[...] = values[:, order]
    size = groups * h
    return (
        w.reshape(d, 3 * size, -1),
        r.reshape(d, 3 * size, -1),
        b.reshape(d, -1),
    )


def frequency_gru(
    graph: Graph, layer: FrequencyGRU, rows: str, bins: int, is_open: bool
) -> str:
    """Adds a bidirectional GRU over bins.

    Arguments
    ---------
    graph : Graph
        Where to.
    layer : FrequencyGRU
        The layer.
    rows : str
        Channels of the branch ``[B F, C]``.
    bins : int
        F.
    is_open : bool
        Which branch.

    Returns
    -------
    str
        ``[B F, 2 H]``: forward, then backward direction of all groups of the
        branch.
    """
    groups = layer.groups if is_open else layer.static_groups
    size, inputs = groups * layer.hidden, groups * layer.inputs
    if graph.single:
        x = graph.reshape(rows, bins, 1, inputs)
    else:
        x = graph.reshape(rows, -1, bins, inputs)
        x = graph("Transpose", x, perm=[1, 0, 2])
    y = graph(
        "GRU",
        x,
        *gru_weights(layer, groups, groups),
        hidden_size=size,
        linear_before_reset=1,
        direction="bidirectional",
    )
    if not graph.single:
        y = graph("Transpose", y, perm=[2, 0, 1, 3])
    return graph.reshape(y, -1, 2 * size)


def by_direction(matrix: np.ndarray, layer: FrequencyGRU) -> np.ndarray:
    """Reorders columns that read a :class:`FrequencyGRU`.

    Arguments
    ---------
    matrix : np.ndarray
        ``[C', 2 H]`` with columns in the order group, direction, unit.
    layer : FrequencyGRU
        Whose output they read.

    Returns
    -------
    np.ndarray
        With columns in the order direction, group, unit.
    """
    groups = matrix.shape[1] // (2 * layer.hidden)
    matrix = matrix.reshape(-1, groups, 2, layer.hidden)
    return matrix.swapaxes(1, 2).reshape(len(matrix), -1)


def time_gru(
    graph: Graph, layer: TimeGRU, rows: str, hidden: str, is_open: bool
) -> str:
    """Adds one step of a GRU over time, a sequence per bin.

    Closed, the dynamic groups run on without input. Onnxruntime's GRU is
    made for long sequences: for one step these operators take two thirds of
    its time.

    Arguments
    ---------
    graph : Graph
        Where to.
    layer : TimeGRU
        The layer.
    rows : str
        Channels of the branch ``[B F, C]``.
    hidden : str
        State ``[B F, H]``.
    is_open : bool
        Which branch.

    Returns
    -------
    str
        The next state, which is also the output.
    """
    size = layer.groups * layer.hidden
    read = layer.groups if is_open else layer.static_groups
    w, r, b = (x[0] for x in gru_weights(layer, layer.groups, read))
    b_ih, b_hh = np.split(b, 2)
    gates = linear(
        graph,
        graph("Concat", rows, hidden, axis=1),
        np.concatenate([w, r], 1)[: 2 * size],
        (b_ih + b_hh)[: 2 * size],
    )
    parts = np.array([size, size])
    z, reset = graph("Split", graph("Sigmoid", gates), parts, results=2, axis=1)
    new = linear(graph, rows, w[2 * size :], b_ih[2 * size :])
    old = linear(graph, hidden, r[2 * size :], b_hh[2 * size :])
    new = graph("Tanh", graph("Add", graph("Mul", reset, old), new))
    change = graph("Mul", graph("Sub", hidden, new), z)
    return graph("Add", change, new)


def projections(
    layer: FrequencyAttention | TimeAttention, first: int, last: int
) -> tuple[np.ndarray, np.ndarray]:
    """Weights of q, k and v of some heads, q scaled.

    Arguments
    ---------
    layer : FrequencyAttention or TimeAttention
        The layer.
    first : int
        First head.
    last : int
        Head after the last one.

    Returns
    -------
    tuple of np.ndarray
        ``[3 * heads * D, C]`` and ``[3 * heads * D]``.
    """
    part = slice(first * layer.head_size, last * layer.head_size)
    matrix, bias = weight(layer.weight)[:, part], weight(layer.bias)[:, part]
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
    """Adds attention over bins.

    Arguments
    ---------
    graph : Graph
        Where to.
    layer : FrequencyAttention
        The layer.
    rows : str
        All channels ``[B F, C]``.
    bins : int
        F.
    is_open : bool
        Which branch.

    Returns
    -------
    str
        ``[B F, C]``, zero in the channels that are closed.
    """
    heads = layer.nhead if is_open else layer.static_heads
    size = heads * layer.head_size
    matrix, bias = projections(layer, 0, heads)
    matrix[:, size:] = 0
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
    return _mixed(graph, layer, graph.reshape(y, -1, size), is_open)


def time_attention(
    graph: Graph,
    layer: TimeAttention,
    rows: str,
    bins: int,
    past: dict[str, str],
    is_open: bool,
) -> tuple[str, dict[str, str]]:
    """Adds attention over the last frames, a sequence per bin.

    Keys and values lie in rings of ``window`` slots, in which each frame
    overwrites the one that has just left the window; the order of keys does
    not matter. Dynamic heads have rings of their own: a closed frame neither
    reads nor writes them.

    Arguments
    ---------
    graph : Graph
        Where to.
    layer : TimeAttention
        The layer.
    rows : str
        All channels ``[B F, C]``.
    bins : int
        F.
    past : dict
        ``keys``, ``values``, ``dynamic_keys``, ``dynamic_values`` ``[B, F
        heads, window, D]``; ``keys_index`` and ``dynamic_keys_index``, where
        to write this frame; ``seen``, what to add to scores, and ``opened``, 1 or 0 ``[B, 1, 1,
        window]``.
    is_open : bool
        Which branch.

    Returns
    -------
    tuple
        ``[B F, C]``, zero in the channels that are closed, and the rings with
        this frame, or with a batch axis its entries ``[B, F heads, 1, D]``.
    """
    static, size = layer.static_heads, layer.head_size
    parts = [("", 0, static, "seen")]
    if is_open and static < layer.nhead:
        parts.append(("dynamic_", static, layer.nhead, "opened"))
    cut = [projections(layer, first, last) for _, first, last, _ in parts]
    matrix, bias = (np.concatenate(x) for x in zip(*cut, strict=True))
    if not is_open:
        matrix[:, layer.static_size :] = 0
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
        scores = graph("Add", scores, mask)
        y = graph("MatMul", graph("Softmax", scores, axis=-1), rings[1])
        heads.append(graph.reshape(y, -1, widths[number]))
    y = heads[0] if len(heads) == 1 else graph("Concat", *heads, axis=1)
    return _mixed(graph, layer, y, is_open), new


def ring_index(graph: Graph, past: dict[str, str], count: int) -> str:
    """Where ScatterND writes: ``[B, count, 1, 3]`` of stream, row, slot."""
    index = np.zeros((1, count, 1, 3), np.int64)
    index[0, :, 0, 1] = np.arange(count)
    index = graph("Add", index, graph("Mul", past["slot"], np.array([0, 0, 1])))
    if graph.single:
        return index
    stream = graph("Mul", past["stream"], np.array([1, 0, 0]))
    return graph("Add", index, stream)


def _mixed(
    graph: Graph,
    layer: FrequencyAttention | TimeAttention,
    rows: str,
    is_open: bool,
) -> str:
    """The output projection of heads ``[B F, c]``, with zeros to C."""
    size = layer.d_model if is_open else layer.static_size
    matrix, bias = weight(layer.out.weight)[:, :size], weight(layer.out.bias)
    matrix[size:], bias[size:] = 0, 0
    return linear(graph, rows, matrix, bias)
