"""One frame of nsNet2 as a graph.

One ``If`` per exit: what all frames that come this far run lies in front of
it, the mask of this exit on its one side, and all that lies deeper on the
other.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import numpy as np

from speechbrain_dsn.export.buckets import bucketed, numbers
from speechbrain_dsn.export.graph import Graph, weight
from speechbrain_dsn.export.policy import chosen_level, spectrum_router
from speechbrain_dsn.export.recurrent import dense_gru
from speechbrain_dsn.gating import SpectrumRouter
from speechbrain_dsn.lobes.models.nsnet2 import NsNet2
from speechbrain_dsn.lobes.models.nsnet2.stages import RecurrentStage
from speechbrain_dsn.nnet.linear import DynamicLinear

State = dict[str, tuple[tuple[int, ...], str]]


class NsNet2Graph:
    """Writes a lobe into a graph.

    Arguments
    ---------
    net : NsNet2
        Or a :class:`DynamicNsNet2`.
    """

    def __init__(self, net: NsNet2) -> None:
        self.net = net
        self.policy: SpectrumRouter | None = getattr(net, "policy", None)
        self.layers = net.layers()
        if self.policy is None:  # no frame ends before the last exit
            last = f"branch{net.exits[-1]}"
            self.layers = {
                name: layer
                for name, layer in self.layers.items()
                if name.startswith("stage") or name == last
            }

    def states(self) -> State:
        """What one stream remembers.

        Returns
        -------
        dict
            Shape and type by name; all start as zeros. Several streams are
            several times as long on the leading axis.
        """
        shapes = {
            name: (1, layer.layer.rnn.hidden_size)
            for name, layer in self.layers.items()
            if isinstance(layer, RecurrentStage)
        }
        if self.policy is not None:
            shapes["policy"] = (1, 1, self.policy.memory.hidden)
        return {name: (shape, "float32") for name, shape in shapes.items()}

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
            The compute knob ``[B, 1]``, for a lobe that decides.

        Returns
        -------
        tuple
            Mask ``[B, 1, 1, bins]`` and logits ``[B, J]`` or None.
        """
        net, bins = self.net, self.net.bins
        x, logits = graph.reshape(magnitude, -1, bins), None
        past = {k: state[k] for k in self.states() if k != "policy"}
        last = len(net.exits) - 1
        if self.policy is None:
            mask, new = self._body(graph, x, past, last)
        else:
            logits = spectrum_router(graph, self.policy, x, state)
            level = chosen_level(graph, logits, bias, net.levels)
            if graph.single:
                mask, new = self._onwards(graph, level, 0, 0, x, past)
            else:
                mask, new = self._buckets(graph, level, x, past)
        state |= new
        return graph.reshape(mask, -1, 1, 1, bins), logits

    def _onwards(
        self,
        graph: Graph,
        level: str,
        place: int,
        done: int,
        x: str,
        past: dict[str, str],
    ) -> tuple[str, dict[str, str]]:
        """Of a frame that ends at the exit of this place or later, all that
        is left when ``done`` stages have run."""
        depth, new = self.net.depths[place], dict(past)
        x = self._stages(graph, x, new, done, depth)
        if place == len(self.net.exits) - 1:
            return self._exit(graph, x, new, place), new
        branches = []
        for goes_on in (True, False):
            inner, after = Graph(graph), dict(new)
            if goes_on:
                mask, after = self._onwards(
                    inner, level, place + 1, depth, x, after
                )
            else:
                mask = self._exit(inner, x, after, place)
            branches.append((inner, [mask, *after.values()]))
        beyond = graph("Greater", level, np.array(place))
        mask, *values = graph.choose(beyond, branches)
        return mask, dict(zip(new, values, strict=True))

    def _buckets(
        self, graph: Graph, level: str, x: str, past: dict[str, str]
    ) -> tuple[str, dict[str, str]]:
        """The bodies of many streams, those of equal exits together."""
        whole = past | {"": x}

        def run(inner: Graph, rows: str, place: int) -> list[str]:
            some = {k: inner("Gather", v, rows) for k, v in whole.items()}
            mask, new = self._body(inner, some.pop(""), some, place)
            return [mask, *new.values()]

        places, states = range(len(self.net.exits)), self.states()
        values = bucketed(
            graph,
            [graph("Equal", level, np.array(place)) for place in places],
            numbers(graph, x),
            [(self.net.bins,), *(states[name][0][1:] for name in past)],
            run,
        )
        return values[0], dict(zip(past, values[1:], strict=True))

    def _body(
        self, graph: Graph, x: str, past: dict[str, str], place: int
    ) -> tuple[str, dict[str, str]]:
        """All that a frame of one exit runs."""
        new = dict(past)
        x = self._stages(graph, x, new, 0, self.net.depths[place])
        return self._exit(graph, x, new, place), new

    def _stages(
        self, graph: Graph, x: str, state: dict[str, str], done: int, depth: int
    ) -> str:
        """Stages ``done + 1`` to ``depth``."""
        for number in range(done + 1, depth + 1):
            x = self._layer(graph, f"stage{number}", x, state)
        return x

    def _exit(
        self, graph: Graph, x: str, state: dict[str, str], place: int
    ) -> str:
        """The mask of an exit ``[B, bins]``."""
        exit = self.net.exits[place]
        if f"branch{exit}" in self.layers:
            x = self._layer(graph, f"branch{exit}", x, state)
        return graph("Sigmoid", _dense(graph, self.net.heads[f"{exit}"], x))

    def _layer(
        self, graph: Graph, name: str, x: str, state: dict[str, str]
    ) -> str:
        stage = self.layers[name]
        if isinstance(stage, RecurrentStage):
            x = state[name] = dense_gru(graph, stage.layer, x, state[name])
            return x
        x = _dense(graph, stage.layer, x)
        return graph("Relu", x) if stage.relu else x


def _dense(graph: Graph, layer: DynamicLinear, x: str) -> str:
    """A dense layer whose weights several branches may share."""
    matrix, bias = weight(layer.weight).T, weight(layer.bias)
    return graph("Gemm", x, graph.stored(matrix), graph.stored(bias))
