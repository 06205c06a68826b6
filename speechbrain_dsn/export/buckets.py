"""Many streams in one run: bucketed by decision inside the graph.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from speechbrain_dsn.export.graph import Graph
from speechbrain_dsn.export.rings import RINGS, write_indices

if TYPE_CHECKING:
    from speechbrain_dsn.export.ftfnet import FTFNetGraph


def bucketed(
    graph: Graph,
    chosen: Sequence[str],
    stream: str,
    shapes: Sequence[tuple[int, ...]],
    run: Callable[[Graph, str, int], Sequence[str]],
) -> list[str]:
    """Adds branches that many streams take, each for its streams together,
    then back in order. What nobody takes does not run.

    Arguments
    ---------
    graph : Graph
        Where to.
    chosen : sequence of str
        For each branch, which streams take it: booleans ``[B]``.
    stream : str
        What `numbers` gives.
    shapes : sequence of tuple of int
        Of each value that a branch hands out, per stream.
    run : callable
        ``run(graph, rows, number)`` adds a branch for the streams of these
        numbers ``[N]``, and names what it hands out ``[N, ...]``.

    Returns
    -------
    list of str
        What branches hand out, for all streams ``[B, ...]``.
    """
    rows, parts = [], []
    for number, streams in enumerate(chosen):
        rows.append(graph.reshape(graph("NonZero", streams), -1))
        some = graph("Greater", graph("Size", rows[-1]), np.array(0))
        inner, empty = Graph(graph), Graph(graph)
        values = run(inner, rows[-1], number)
        none = [
            empty.constant(np.zeros((0, *shape), np.float32))
            for shape in shapes
        ]
        parts.append(graph.choose(some, [(inner, values), (empty, none)]))
    order = graph("Concat", *rows, axis=0)
    # order[back] is 0, 1, 2, ...
    back = graph.reshape(stream, -1)
    back = graph("ScatterElements", order, order, back)
    return [
        graph("Gather", graph("Concat", *values, axis=0), back)
        for values in zip(*parts, strict=True)
    ]


def gated_frames(
    lobe: FTFNetGraph,
    graph: Graph,
    gate: str,
    window: str,
    past: dict[str, str],
) -> tuple[str, dict[str, str]]:
    """Adds the bodies of many streams: open ones together, closed ones
    together.

    Arguments
    ---------
    lobe : FTFNetGraph
        Whose body.
    graph : Graph
        Where to.
    gate : str
        Which streams are open ``[B, 1]``.
    window : str
        Past and present output of the stem ``[B, 2 C, 1, F]``.
    past : dict
        Names of the states, and what the clock of the rings gives.

    Returns
    -------
    tuple
        What the body gives, for all streams.
    """
    whole = past | {"window": window}
    whole["rnn"] = graph.reshape(past["rnn"], -1, *lobe.states()["rnn"][0])
    gate = graph.reshape(gate, -1)
    shapes = _handed_out(lobe)
    values = bucketed(
        graph,
        (graph("Not", gate), gate),
        past["stream"],
        list(shapes.values()),
        lambda inner, rows, is_open: _bucket(
            lobe, inner, rows, whole, bool(is_open)
        ),
    )
    merged = dict(zip(shapes, values, strict=True))
    merged["rnn"] = graph.reshape(merged["rnn"], -1, lobe.states()["rnn"][0][1])
    return merged.pop("output"), merged


def _handed_out(lobe: FTFNetGraph) -> dict[str, tuple[int, ...]]:
    """What a bucket hands out, and its shape per stream."""
    states, deconv = lobe.states(), lobe.net.deconv2
    shapes = {
        "output": (deconv.out_channels, 1, lobe.net.bins[2]),
        "deconv2": states["deconv2"][0][1:],
        "rnn": states["rnn"][0],
    }
    for name in RINGS:
        if name in states:
            _, rows, _, size = states[name][0]
            shapes[name] = (rows, 1, size)
    return shapes


def _bucket(
    lobe: FTFNetGraph,
    graph: Graph,
    rows: str,
    whole: dict[str, str],
    is_open: bool,
) -> list[str]:
    """The body of some of the streams."""
    wanted = ["window", "rnn", "deconv2", "slot", "seen"]
    wanted += [name for name in RINGS if name in whole]
    if is_open and "opened" in whole:
        wanted.append("opened")
    past = {name: graph("Gather", whole[name], rows) for name in wanted}
    past["rnn"] = graph.reshape(past["rnn"], -1, lobe.states()["rnn"][0][1])
    past["stream"] = numbers(graph, rows)
    past |= write_indices(graph, past, lobe.states())
    x, new = lobe.body(graph, past.pop("window"), past, is_open)
    new["output"] = x
    new["rnn"] = graph.reshape(new["rnn"], -1, *lobe.states()["rnn"][0])
    out = []
    for name, shape in _handed_out(lobe).items():
        if name not in new:  # what a closed frame leaves in a ring
            size = graph("Shape", rows)
            size = graph("Concat", size, np.array(shape), axis=0)
            new[name] = graph("ConstantOfShape", size)
        out.append(new[name])
    return out


def numbers(graph: Graph, x: str) -> str:
    """0, 1, 2, ... for the streams of ``x [B, ...]``: ``[B, 1, 1, 1]``."""
    count = graph("Squeeze", graph("Shape", x, start=0, end=1))
    numbers = graph("Range", np.array(0), count, np.array(1))
    return graph.reshape(numbers, -1, 1, 1, 1)
