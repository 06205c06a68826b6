"""One frame of slimmable DEMUCS as a graph.

Every width has a branch of its own, with its weights already cut. What all
frames run lies outside: the router, both resamplers, and the level.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import numpy as np

from speechbrain_dsn.export.buckets import bucketed, numbers
from speechbrain_dsn.export.graph import Graph, weight
from speechbrain_dsn.export.policy import chosen_level, waveform_router
from speechbrain_dsn.export.recurrent import grouped_gru
from speechbrain_dsn.export.slimmable import (
    decoder_block,
    encoder_block,
    windows,
)
from speechbrain_dsn.gating import WaveformRouter
from speechbrain_dsn.lobes.models.demucs import SlimmableDemucs
from speechbrain_dsn.nnet.level import FLOOR, RELEASE
from speechbrain_dsn.nnet.resampling import Downsampler, Upsampler

State = dict[str, tuple[tuple[int, ...], str]]


class DemucsGraph:
    """Writes a lobe into a graph.

    Arguments
    ---------
    net : SlimmableDemucs
        Or a :class:`RoutedDemucs`.
    """

    def __init__(self, net: SlimmableDemucs) -> None:
        self.net = net
        self.policy: WaveformRouter | None = getattr(net, "policy", None)
        self.encoders = {f"encoder{k}": x for k, x in enumerate(net.encoders)}
        self.decoders = {f"decoder{k}": x for k, x in enumerate(net.decoders)}
        self.steps = net.hop * net.up.ratio  # at the net's rate

    def states(self) -> State:
        """What one stream remembers.

        Returns
        -------
        dict
            Shape and type by name; all start as zeros. Several streams are
            several times as long on the leading axis.
        """
        net, policy = self.net, self.policy
        shapes = {"level": (1, 1)}
        for name, layer in (("up", net.up), ("down", net.down)):
            shapes[name] = (1, _blocks(layer) - 1, layer.size_in)
        shapes |= {k: (1, 1, n) for k, n in self._overlaps().items()}
        shapes["rnn"] = (1, net.memory.groups * net.memory.hidden)
        if policy is not None:
            past = policy.kernel_size // policy.stride - 1
            if past:
                shapes["router"] = (1, past, policy.stride)
            shapes["policy"] = (1, 1, policy.memory.hidden_size)
        return {name: (shape, "float32") for name, shape in shapes.items()}

    def _overlaps(self) -> dict[str, int]:
        """Values that a frame of each block shares with the next one."""
        sizes = {k: x.in_channels for k, x in self.encoders.items()}
        sizes |= {k: x.out_channels for k, x in self.decoders.items()}
        first, stride = self.net.encoders[0], self.net.stride
        if first.kernel_size == stride:
            return {}
        return {name: stride * channels for name, channels in sizes.items()}

    def step(
        self,
        graph: Graph,
        samples: str,
        state: dict[str, str],
        bias: str | None,
    ) -> tuple[str, str | None]:
        """Adds one frame.

        Arguments
        ---------
        graph : Graph
            Where to.
        samples : str
            ``[B, hop]``.
        state : dict
            Names of the states, replaced by those of the next ones.
        bias : str or None
            The compute knob ``[B, 1]``, for a lobe that decides.

        Returns
        -------
        tuple
            Samples ``[B, hop]``, late by the delay, and logits ``[B, J]`` or
            None.
        """
        level, scale = self._level(graph, samples, state)
        x, net = graph("Div", samples, level), self.net
        x = _resampled(graph, net.up, x, state, "up", net.hop)
        past = {k: state[k] for k in (*self._overlaps(), "rnn")}
        if self.policy is None:
            logits = None
            top = len(net.utilizations) - 1
            x, new = self._body(graph, x, past, top)
        else:
            logits = waveform_router(graph, self.policy, samples, state)
            width = chosen_level(graph, logits, bias, net.levels)
            if graph.single:
                last = len(net.levels) - 1
                x, new = self._branches(graph, width, (0, last), x, past)
            else:
                x, new = self._buckets(graph, width, x, past)
        state |= new
        x = _resampled(graph, net.down, x, state, "down", self.steps)
        x = graph.reshape(x, -1, net.hop)
        return graph("Mul", x, scale), logits

    def _level(
        self, graph: Graph, samples: str, state: dict[str, str]
    ) -> tuple[str, str]:
        """What frames are divided by ``[B, 1]``, and what undoes it ``[B,
        hop]``."""
        hop = self.net.hop
        power = graph("ReduceSumSquare", samples, np.array([1]))
        power = graph("Add", graph("Mul", power, 1 / hop), FLOOR)
        before = graph("Max", state["level"], FLOOR)  # of zeros, the floor
        power = graph("Max", power, graph("Mul", before, RELEASE))
        state["level"] = power
        level, before = graph("Sqrt", power), graph("Sqrt", before)
        late = np.arange(hop)[None] < self.net.delay
        return level, graph("Where", late, before, level)

    def _branches(
        self,
        graph: Graph,
        width: str,
        span: tuple[int, int],
        x: str,
        past: dict[str, str],
    ) -> tuple[str, dict[str, str]]:
        """The body at one of a span of widths, half of them behind each side
        of an ``If``."""
        first, last = span
        if first == last:
            return self._body(graph, x, past, first)
        middle = (first + last) // 2
        branches = []
        for part in ((middle + 1, last), (first, middle)):
            inner = Graph(graph)
            y, new = self._branches(inner, width, part, x, past)
            branches.append((inner, [y, *new.values()]))
        above = graph("Greater", width, np.array([middle]))
        y, *values = graph.choose(above, branches)
        return y, dict(zip(new, values, strict=True))

    def _buckets(
        self, graph: Graph, width: str, x: str, past: dict[str, str]
    ) -> tuple[str, dict[str, str]]:
        """The bodies of many streams, those of equal width together."""
        whole = past | {"": graph.reshape(x, -1, self.steps)}

        def run(inner: Graph, rows: str, level: int) -> list[str]:
            some = {k: inner("Gather", v, rows) for k, v in whole.items()}
            y, new = self._body(inner, some.pop(""), some, level)
            return [inner.reshape(y, -1, self.steps), *new.values()]

        levels = range(len(self.net.utilizations))
        states = self.states()
        values = bucketed(
            graph,
            [graph("Equal", width, np.array(level)) for level in levels],
            numbers(graph, past["rnn"]),
            [(self.steps,), *(states[name][0][1:] for name in past)],
            run,
        )
        return values[0], dict(zip(past, values[1:], strict=True))

    def _body(
        self, graph: Graph, x: str, past: dict[str, str], level: int
    ) -> tuple[str, dict[str, str]]:
        """Encoders, memory and decoders at one width: ``steps`` samples per
        stream to as many, and all states in the order of ``past``."""
        new, skips, steps = dict(past), [], self.steps
        for name, encoder in self.encoders.items():
            steps //= self.net.stride
            x = encoder_block(graph, encoder, x, new, name, steps, level)
            skips.append(x)
        x = new["rnn"] = grouped_gru(graph, self.net.memory, x, past["rnn"])
        for name, decoder in self.decoders.items():
            x = graph("Add", x, skips.pop())
            x = decoder_block(graph, decoder, x, new, name, steps, level)
            steps *= self.net.stride
        return x, new


def _blocks(layer: Upsampler | Downsampler) -> int:
    """Steps of input that one step of output reads."""
    return layer.matrix.shape[1] // layer.size_in


def _resampled(
    graph: Graph,
    layer: Upsampler | Downsampler,
    x: str,
    state: dict[str, str],
    name: str,
    length: int,
) -> str:
    """A frame of that length, rows ``[B length / size_in, size_out]``."""
    sizes = (length // layer.size_in, layer.size_in, _blocks(layer))
    rows = windows(graph, x, state, name, sizes)
    return graph("MatMul", rows, weight(layer.matrix).T)
