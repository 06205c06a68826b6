"""What decides on a frame, as operators.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from speechbrain_dsn.export.graph import Graph, weight
from speechbrain_dsn.export.layers import (
    gru_weights,
    layer_norm,
    leaky,
    linear,
)
from speechbrain_dsn.export.recurrent import diagonal_gru
from speechbrain_dsn.export.slimmable import windows
from speechbrain_dsn.gating import (
    FramePolicy,
    SpectrumRouter,
    WaveformRouter,
)
from speechbrain_dsn.gating.spectrum import QUIET
from speechbrain_dsn.nnet import TimeGRU


def frame_policy(
    graph: Graph, policy: FramePolicy, features: str, state: dict[str, str]
) -> str:
    """Adds a policy.

    Arguments
    ---------
    graph : Graph
        Where to.
    policy : FramePolicy
        The policy.
    features : str
        ``[B, C, 1, F]``.
    state : dict
        Names of the states; ``policy``, its memory, is replaced.

    Returns
    -------
    str
        Logits ``[B, 1]``.
    """
    axis = np.array([3])
    mean = graph("ReduceMean", features, axis)
    power = graph("Sub", features, mean)
    power = graph("ReduceMean", graph("Mul", power, power), axis)
    deviation = graph("Sqrt", graph("Add", power, 1e-8))
    channels = len(policy.norm.weight)
    x = graph("Concat", mean, deviation, axis=1)
    x = graph.reshape(x, -1, channels)
    # log(sum / n) = log(sum) - log(n), the latter in the bias.
    level = graph("ReduceL1", x, np.array([1]))
    level = graph("Log", graph("Max", level, 1e-4 * channels))
    x = layer_norm(graph, x, policy.norm.slice_to(True))
    x = graph("Concat", x, level, axis=1)
    matrix, shift = weight(policy.dense.weight), weight(policy.dense.bias)
    shift -= matrix[:, -1] * np.log(channels)
    x = leaky(graph, linear(graph, x, matrix, shift))
    if policy.memory is not None:
        x = _remembered(graph, policy.memory, x, state)
    return linear(graph, x, weight(policy.head.weight), policy.head.bias)


def waveform_router(
    graph: Graph, router: WaveformRouter, samples: str, state: dict[str, str]
) -> str:
    """Adds a router.

    Arguments
    ---------
    graph : Graph
        Where to.
    router : WaveformRouter
        The router.
    samples : str
        ``[B, hop]``.
    state : dict
        Names of the states; ``router``, its last samples, and ``policy``, its
        memory, are replaced.

    Returns
    -------
    str
        Logits ``[B, J]``.
    """
    stride, conv = router.stride, router.conv
    count, blocks = router.hop // stride, router.kernel_size // stride
    rows = windows(graph, samples, state, "router", (count, stride, blocks))
    bands = graph("Relu", linear(graph, rows, weight(conv.weight), conv.bias))
    bands = graph.reshape(bands, -1, count, router.memory.input_size)
    level = graph("ReduceMean", bands, np.array([1]), keepdims=0)
    level = graph("Log", graph("Add", level, 1e-3))
    memory = diagonal_gru(graph, router.memory, level, state["policy"])
    state["policy"] = memory
    memory = graph.reshape(memory, -1, router.memory.hidden_size)
    return linear(graph, memory, weight(router.head.weight), router.head.bias)


def spectrum_router(
    graph: Graph, router: SpectrumRouter, rows: str, state: dict[str, str]
) -> str:
    """Adds a router on magnitudes.

    Arguments
    ---------
    graph : Graph
        Where to.
    router : SpectrumRouter
        The router.
    rows : str
        ``[B, bins]``.
    state : dict
        Names of the states; ``policy``, its memory, is replaced.

    Returns
    -------
    str
        Logits ``[B, J]``.
    """
    level = graph("ReduceMean", rows, np.array([1]))
    level = graph("Log", graph("Max", level, QUIET))
    x = layer_norm(graph, rows, router.norm.slice_to(True))
    x = graph("Concat", x, level, axis=1)
    x = leaky(
        graph, linear(graph, x, weight(router.dense.weight), router.dense.bias)
    )
    x = _remembered(graph, router.memory, x, state)
    return linear(graph, x, weight(router.head.weight), router.head.bias)


def chosen_level(
    graph: Graph, logits: str, bias: str, levels: Sequence[float]
) -> str:
    """Adds a router's choice: ``argmax_j (logit_j + bias level_j)``.

    Arguments
    ---------
    graph : Graph
        Where to.
    logits : str
        ``[B, J]``.
    bias : str
        The compute knob ``[B, 1]``.
    levels : sequence of float
        Activation of each choice.

    Returns
    -------
    str
        Index of the choice ``[B]``.
    """
    pull = graph("Mul", bias, np.array(levels, np.float32))
    favour = graph("Add", logits, pull)
    return graph("ArgMax", favour, axis=1, keepdims=0)


def _remembered(
    graph: Graph, memory: TimeGRU, x: str, state: dict[str, str]
) -> str:
    """One step of the memory over rows ``[B, H]``."""
    size, past = memory.hidden, state["policy"]
    if not graph.single:
        past = graph.reshape(past, 1, -1, size)
    _, x = graph(
        "GRU",
        graph.reshape(x, 1, -1, size),
        *gru_weights(memory, 1, 1),
        None,
        past,
        results=2,
        hidden_size=size,
        linear_before_reset=1,
    )
    state["policy"] = x
    if not graph.single:
        state["policy"] = graph.reshape(x, -1, 1, size)
    return graph.reshape(x, -1, size)
