"""The layers of FTF-Net as operators of one frame.

There are two layouts: planes ``[B, C, 1, F]`` for convolutions and rows
``[B F, C]`` for everything else. What a branch does not run is cut from the
weights here, nothing is sliced in the graph.

What is written down is what was fastest on the clock, which is not always
what has the fewest MACs: a block-diagonal product is faster than one product
per group, a zero column cheaper than a slice.

Rows of the residual path carry the bias of the layer that is added to them
next, put there by the normalization before: its product then adds to them in
one operator, and whoever else reads them takes that `shift` out of its own
bias.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import numpy as np
from torch import Tensor, nn

from speechbrain_dsn.export.graph import Graph, weight
from speechbrain_dsn.nnet import (
    DynamicConv2d,
    DynamicConvTranspose2d,
    FrequencyGRU,
    TimeGRU,
)
from speechbrain_dsn.nnet.blocks import SLOPE

SATURATED = 100.0  # the sigmoid of this is 1 in float32


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
    graph: Graph,
    rows: str,
    matrix: np.ndarray,
    to: np.ndarray | Tensor | str,
) -> str:
    """Adds a dense layer with weights ``[C', C]`` to rows ``[N, C]``.

    What the product is added to is a bias ``[C']``, or other rows ``[N, C']``
    that already carry it: a residual connection in the same operator.
    """
    return graph("Gemm", rows, np.ascontiguousarray(matrix.T), to)


def leaky(graph: Graph, x: str) -> str:
    """Adds the activation of FTF-Net."""
    return graph("LeakyRelu", x, alpha=SLOPE)


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
    layer: FrequencyGRU | TimeGRU,
    groups: int,
    read: int,
    shift: np.ndarray | None = None,
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
    shift : np.ndarray, optional
        What was added to that input and is to be left out again
        ``[read * inputs]``.

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
    size = 3 * groups * h
    w, r, b = w.reshape(d, size, -1), r.reshape(d, size, -1), b.reshape(d, -1)
    if shift is not None:
        b[:, :size] -= w @ shift
    return w, r, b


def frequency_gru(
    graph: Graph,
    layer: FrequencyGRU,
    rows: str,
    bins: int,
    is_open: bool,
    shift: np.ndarray,
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
    shift : np.ndarray
        What the rows carry that the layer does not read ``[C]``.

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
        *gru_weights(layer, groups, groups, shift),
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
    graph: Graph,
    layer: TimeGRU,
    rows: str,
    hidden: str,
    is_open: bool,
    shift: np.ndarray,
) -> str:
    """Adds one step of a GRU over time, a sequence per bin.

    Closed, the dynamic groups run on without input. Onnxruntime's GRU is
    made for long sequences: for one step these operators take two thirds of
    its time. A D-GRU is computed in full and masked: with a few units per
    bin, gathering rows takes longer than multiplying by them.

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
    shift : np.ndarray
        What the rows carry that the layer does not read ``[C]``.

    Returns
    -------
    str
        The next state, which is also the output.
    """
    size = layer.groups * layer.hidden
    read = layer.groups if is_open else layer.static_groups
    w, r, b = (x[0] for x in gru_weights(layer, layer.groups, read, shift))
    b_ih, b_hh = np.split(b, 2)
    gates = linear(
        graph,
        graph("Concat", rows, hidden, axis=1),
        np.concatenate([w, r], 1)[: 2 * size],
        (b_ih + b_hh)[: 2 * size],
    )
    parts = np.array([size, size])
    if layer.active < layer.hidden:
        gates = _without_update(graph, layer, gates)
    z, reset = graph("Split", graph("Sigmoid", gates), parts, results=2, axis=1)
    new = linear(graph, rows, w[2 * size :], b_ih[2 * size :])
    old = linear(graph, hidden, r[2 * size :], b_hh[2 * size :])
    new = graph("Tanh", graph("Add", graph("Mul", reset, old), new))
    change = graph("Mul", graph("Sub", hidden, new), z)
    return graph("Add", change, new)


def _without_update(graph: Graph, layer: TimeGRU, gates: str) -> str:
    """Pre-activations ``z, r [B F, 2 H]`` with a ``z`` of 1 for the units
    that a D-GRU does not select, out of each group the smallest."""
    size, count = layer.hidden, 2 * layer.groups
    # The last of each group that is selected is the threshold; r stays.
    groups = graph.reshape(gates, -1, count, size)
    best = graph(
        "TopK", groups, np.array([layer.active]), results=2, axis=2, largest=0
    )[0]
    last = graph("ReduceMax", best, np.array([2]))
    update = np.arange(count)[:, None] < layer.groups
    frozen = graph("And", graph("Greater", groups, last), update)
    kept = graph("Where", frozen, np.float32(SATURATED), groups)
    return graph.reshape(kept, -1, count * size)
