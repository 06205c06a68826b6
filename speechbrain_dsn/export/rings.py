"""The rings in which the time attention keeps its past, and their clock.

Keys and values lie in rings of ``window`` slots, in which each frame
overwrites the one that has just left the window; the order of keys does not
matter. Everything that depends on how many frames there were comes out of
small tables: a lookup is one operator.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import numpy as np

from speechbrain_dsn.export.graph import Graph

UNSEEN = np.float32(-1e9)  # added to the score of an empty slot
RINGS = ("keys", "values", "dynamic_keys", "dynamic_values")
State = dict[str, tuple[tuple[int, ...], str]]


def ring_states(
    bins: int, static: int, dynamic: int, window: int, size: int, gated: bool
) -> State:
    """What the time attention of one stream remembers.

    Arguments
    ---------
    bins : int
        Sequences.
    static : int
        Heads that every frame runs.
    dynamic : int
        The others.
    window : int
        Frames that the attention sees.
    size : int
        Of a head.
    gated : bool
        Whether frames may be closed.

    Returns
    -------
    dict
        Shape and type by name: the rings ``[1, F heads, window, D]``,
        ``frames``, which counts up to twice the window and then falls back by
        one window, and ``opened``, which slots were open ``[1, window]``.
    """
    states: State = {"frames": ((1,), "int64")}
    for name in RINGS:
        heads = dynamic if "dynamic" in name else static
        if heads:
            states[name] = ((1, bins * heads, window, size), "float32")
    if dynamic and gated:
        states["opened"] = ((1, window), "float32")
    return states


def turn(
    graph: Graph, window: int, state: dict[str, str], gate: str | None
) -> dict[str, str]:
    """Adds one tick of the clock.

    Arguments
    ---------
    graph : Graph
        Where to.
    window : int
        Slots of a ring.
    state : dict
        Names of the states; ``frames`` and ``opened`` are replaced.
    gate : str or None
        Whether this frame is open ``[B, 1]``.

    Returns
    -------
    dict
        ``slot`` that this frame writes ``[B, 1]``, ``seen``, what to add to
        the scores of slots, and ``opened``, 1 or 0 ``[B, window]``.
    """
    count = np.arange(2 * window)
    later = np.append(count[1:], window)
    filled = np.arange(window) <= count[:, None]
    frames = state["frames"]
    past = {
        "slot": graph("Gather", count[:, None] % window, frames),
        "seen": graph(
            "Gather", np.where(filled, np.float32(0), UNSEEN), frames
        ),
    }
    state["frames"] = graph("Gather", later, frames)
    if "opened" in state:
        past["opened"] = state["opened"] = graph(
            "ScatterElements",
            state["opened"],
            past["slot"],
            graph("Cast", gate, to=1),
            axis=1,
        )
    return past


def write_index(graph: Graph, past: dict[str, str], rows: int) -> str:
    """Where ScatterND writes into a ring of so many rows.

    Arguments
    ---------
    graph : Graph
        Where to.
    past : dict
        ``slot`` of each stream, and ``stream``, its number, where there are
        several.
    rows : int
        Bins times heads.

    Returns
    -------
    str
        ``[B, rows, 1, 3]`` of stream, row, slot.
    """
    index = np.zeros((1, rows, 1, 3), np.int64)
    index[0, :, 0, 1] = np.arange(rows)
    slot = past["slot"]
    if not graph.single:
        slot = graph.reshape(slot, -1, 1, 1, 1)
    index = graph("Add", index, graph("Mul", slot, np.array([0, 0, 1])))
    if graph.single:
        return index
    stream = graph("Mul", past["stream"], np.array([1, 0, 0]))
    return graph("Add", index, stream)


def write_indices(
    graph: Graph, past: dict[str, str], states: State
) -> dict[str, str]:
    """`write_index` of each ring of keys, which is that of its values."""
    rows = {n: s[1] for n, (s, _) in states.items() if n.endswith("keys")}
    made = {n: write_index(graph, past, n) for n in set(rows.values())}
    return {f"{name}_index": made[n] for name, n in rows.items()}
