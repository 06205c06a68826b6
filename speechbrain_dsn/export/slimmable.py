"""The blocks of slimmable DEMUCS as operators of one frame at one width.

Feature maps are rows ``[B steps, C]``: neighbouring steps lie behind each
other, so a strided convolution is a product of rows of several steps, and a
transposed one a product whose rows are several steps.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import numpy as np

from speechbrain_dsn.export.graph import Graph, weight
from speechbrain_dsn.export.layers import linear
from speechbrain_dsn.nnet.slimmable import SlimmableDecoder, SlimmableEncoder


def encoder_block(
    graph: Graph,
    layer: SlimmableEncoder,
    x: str,
    state: dict[str, str],
    name: str,
    steps: int,
    level: int,
) -> str:
    """Adds conv -> ReLU -> 1x1 -> GLU.

    Arguments
    ---------
    graph : Graph
        Where to.
    layer : SlimmableEncoder
        The layer.
    x : str
        ``stride * steps`` steps per stream, of any shape.
    state : dict
        Names of the states; what the block shares with the next frame is
        replaced.
    name : str
        Of that state.
    steps : int
        Of the output.
    level : int
        Index of the width.

    Returns
    -------
    str
        Rows ``[B steps, C']``.
    """
    width, blocks = layer.widths[level], layer.kernel_size // layer.stride
    size = layer.stride * layer.in_channels
    rows = windows(graph, x, state, name, (steps, size, blocks))
    matrix = weight(layer.first)[:width].reshape(width, -1)
    inner = linear(graph, rows, matrix, weight(layer.first_bias)[:width])
    matrix = weight(layer.second)[:, :width].reshape(2, -1, width)
    bias = weight(layer.second_bias).reshape(2, -1)
    return _glu(graph, graph("Relu", inner), matrix, bias)


def decoder_block(
    graph: Graph,
    layer: SlimmableDecoder,
    rows: str,
    state: dict[str, str],
    name: str,
    steps: int,
    level: int,
) -> str:
    """Adds 1x1 -> GLU -> transposed conv -> ReLU.

    Arguments
    ---------
    graph : Graph
        Where to.
    layer : SlimmableDecoder
        The layer.
    rows : str
        ``[B steps, C]``.
    state : dict
        Names of the states; what the block shares with the next frame is
        replaced.
    name : str
        Of that state.
    steps : int
        Of the input.
    level : int
        Index of the width.

    Returns
    -------
    str
        Rows ``[B steps stride, C']``.
    """
    width, stride = layer.widths[level], layer.stride
    size = stride * layer.out_channels
    first, bias = weight(layer.first), weight(layer.first_bias)
    inner = _glu(graph, rows, first[:, :width], bias[:, :width])
    kernel = weight(layer.second)[:width].reshape(width, -1)
    bias = np.tile(weight(layer.second_bias), stride)
    y = linear(graph, inner, kernel[:, :size].T, bias)
    if layer.kernel_size > stride:
        # The other half of the kernel adds to the next row.
        late = graph("MatMul", inner, kernel[:, size:])
        late, past = graph.reshape(late, -1, steps, size), state[name]
        if steps > 1:
            parts = np.array([steps - 1, 1])
            late, last = graph("Split", late, parts, results=2, axis=1)
            past = graph("Concat", past, late, axis=1)
            late = last
        state[name] = late
        y = graph("Add", y, graph.reshape(past, -1, size))
    if layer.activation:
        y = graph("Relu", y)
    return graph.reshape(y, -1, layer.out_channels)


def _glu(graph: Graph, rows: str, matrix: np.ndarray, bias: np.ndarray) -> str:
    """A layer ``[2, C', C]`` with a gated linear unit. Two products of half
    the size: splitting one takes longer."""
    value, gate = (
        linear(graph, rows, *half) for half in zip(matrix, bias, strict=True)
    )
    return graph("Mul", value, graph("Sigmoid", gate))


def windows(
    graph: Graph,
    x: str,
    state: dict[str, str],
    name: str,
    sizes: tuple[int, int, int],
) -> str:
    """Adds rows of what the positions of a strided kernel read.

    Arguments
    ---------
    graph : Graph
        Where to.
    x : str
        ``count * size`` values per stream, of any shape.
    state : dict
        Names of the states; of several blocks, the last ones are kept ``[B,
        blocks - 1, size]``.
    name : str
        Of that state.
    sizes : tuple of int
        ``count``, the positions; ``size``, values per stride; and ``blocks``,
        strides per kernel.

    Returns
    -------
    str
        A block and those before it in each row ``[B count, blocks * size]``.
    """
    count, size, blocks = sizes
    x = graph.reshape(x, -1, count, size)
    if blocks > 1:
        x = graph("Concat", state[name], x, axis=1)
        ends = (np.array([n]) for n in (count, count + blocks - 1, 1))
        state[name] = graph("Slice", x, *ends)
        if count > 1:
            index = np.arange(count)[:, None] + np.arange(blocks)
            x = graph("Gather", x, index, axis=1)
    return graph.reshape(x, -1, blocks * size)
