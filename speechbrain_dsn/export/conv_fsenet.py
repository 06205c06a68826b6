"""One frame of Conv-FSENet as a graph.

Channels that are closed are masked, not skipped: for one frame onnxruntime
runs the whole product of a block in less time than it takes to gather a
quarter of its rows.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import numpy as np
from torch import nn

from speechbrain_dsn.export.graph import Graph, weight
from speechbrain_dsn.export.layers import layer_norm, linear
from speechbrain_dsn.gating import ChannelGate
from speechbrain_dsn.lobes.models.conv_fsenet import ConvFSENet, FSENetBlock
from speechbrain_dsn.nnet.dilated import DilatedConv


class FSENetGraph:
    """Writes a lobe into a graph.

    Arguments
    ---------
    net : ConvFSENet
        Causal; or a :class:`DynamicConvFSENet`.
    """

    def __init__(self, net: ConvFSENet) -> None:
        self.net = net
        self.policy: nn.ModuleList | None = getattr(net, "policy", None)
        self.bins, self.channels = (
            net.front.weight.size(axis) for axis in (1, 0)
        )

    def states(self) -> dict[str, tuple[tuple[int, ...], str]]:
        """What one stream remembers.

        Returns
        -------
        dict
            Shape and type by name; all start as zeros.
        """
        shapes = {}
        for k, block in enumerate(self.net.blocks):
            conv = block.conv
            shapes[f"conv{k}"] = (1, conv.reach, len(conv.weight))
        for k, gate in enumerate(self.policy or ()):
            size = len(gate.squeeze.weight)
            shapes[f"gate{k}"] = (1, gate.window - 1, size)
        return {k: (s, "float32") for k, s in shapes.items() if s[1]}

    def step(
        self,
        graph: Graph,
        magnitude: str,
        state: dict[str, str],
        bias: str | None,
    ) -> tuple[str, str | None]:
        """Adds one frame.

        Arguments
        ---------
        graph : Graph
            Where to.
        magnitude : str
            ``[B, 1, 1, bins]``.
        state : dict
            Names of the states, replaced by those of the next ones.
        bias : str or None
            Added to the logits ``[B, 1]``; None for a lobe that never
            decides.

        Returns
        -------
        tuple
            Mask ``[B, 1, 1, bins]`` and logits ``[B, K]`` or None.
        """
        net, logits = self.net, []
        x = graph.reshape(magnitude, -1, self.bins)
        x = linear(graph, x, weight(net.front.weight), net.front.bias)
        x = graph("Relu", x)
        for k, block in enumerate(net.blocks):
            inner = _inner(graph, block, x, state, f"conv{k}")
            matrix = weight(block.project.weight)
            if self.policy is None:
                x = linear(graph, inner, matrix, x)
                continue
            logit = _logits(graph, self.policy[k], x, state, f"gate{k}")
            logits.append(logit)
            gate = graph("Greater", graph("Add", logit, bias), np.float32(0))
            gate = graph("Cast", gate, to=1)
            if (group := block.project.group) > 1:
                rows = np.arange(self.channels) // group
                gate = graph("Gather", gate, rows, axis=1)
            y = graph("MatMul", inner, np.ascontiguousarray(matrix.T))
            x = graph("Add", x, graph("Mul", y, gate))
        x = linear(graph, x, weight(net.back.weight), net.back.bias)
        mask = graph.reshape(graph("Sigmoid", x), -1, 1, 1, self.bins)
        if not logits:
            return mask, None
        return mask, graph("Concat", *logits, axis=1)


def _inner(
    graph: Graph, block: FSENetBlock, x: str, state: dict[str, str], name: str
) -> str:
    """What the last convolution of a block reads ``[B, C]``."""
    x = linear(graph, x, weight(block.expand.weight), block.expand.bias)
    x = layer_norm(graph, _prelu(graph, block.activation1, x), block.norm1)
    x = _dilated(graph, block.conv, x, state, name)
    return layer_norm(graph, _prelu(graph, block.activation2, x), block.norm2)


def _prelu(graph: Graph, activation: nn.PReLU, x: str) -> str:
    return graph("LeakyRelu", x, alpha=activation.weight.item())


def _dilated(
    graph: Graph, conv: DilatedConv, x: str, state: dict[str, str], name: str
) -> str:
    """A depth-wise convolution of rows ``[B, C]`` and those before."""
    window = _window(graph, x, conv.reach, len(conv.weight), state, name)
    if conv.dilation > 1:
        read = np.arange(0, conv.reach + 1, conv.dilation)
        window = graph("Gather", window, read, axis=1)
    taps = weight(conv.weight)[:, 0, 0].T
    x = graph("Mul", window, np.ascontiguousarray(taps))
    return graph("ReduceSum", x, np.array([1]), keepdims=0)


def _logits(
    graph: Graph, gate: ChannelGate, x: str, state: dict[str, str], name: str
) -> str:
    """``[B, C]`` to ``[B, gates]``."""
    matrix = weight(gate.squeeze.weight)
    x = graph("MatMul", x, np.ascontiguousarray(matrix.T))
    window = _window(graph, x, gate.window - 1, len(matrix), state, name)
    x = graph("ReduceMean", window, np.array([1]), keepdims=0)
    x = graph("Relu", graph("Add", x, gate.squeeze.bias))
    return linear(graph, x, weight(gate.expand.weight), gate.expand.bias)


def _window(
    graph: Graph,
    x: str,
    past: int,
    size: int,
    state: dict[str, str],
    name: str,
) -> str:
    """A row ``[B, size]`` behind those before it, ``[B, past + 1, size]``."""
    x = graph.reshape(x, -1, 1, size)
    if not past:
        return x
    x = graph("Concat", state[name], x, axis=1)
    ends = (np.array([n]) for n in (1, past + 1, 1))
    state[name] = graph("Slice", x, *ends)
    return x
