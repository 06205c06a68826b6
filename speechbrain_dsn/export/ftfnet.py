"""One frame of FTF-Net or MGT-DSN as a graph.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import numpy as np

from speechbrain_dsn.export.attention import (
    frequency_attention,
    output_bias,
    time_attention,
)
from speechbrain_dsn.export.buckets import gated_frames, numbers
from speechbrain_dsn.export.graph import Graph, weight
from speechbrain_dsn.export.layers import (
    by_direction,
    convolution,
    frequency_gru,
    layer_norm,
    leading,
    leaky,
    linear,
    time_gru,
    to_planes,
    to_rows,
)
from speechbrain_dsn.export.policy import frame_policy
from speechbrain_dsn.export.rings import (
    RINGS,
    ring_states,
    turn,
    write_indices,
)
from speechbrain_dsn.gating import FramePolicy
from speechbrain_dsn.lobes.models.ftfnet import ChannelScale, FTFNet
from speechbrain_dsn.nnet.blocks import FrequencyBlock, TimeBlock


class FTFNetGraph:
    """Writes a lobe into a graph.

    Arguments
    ---------
    net : FTFNet
        Or a :class:`DynamicFTFNet`.
    """

    def __init__(self, net: FTFNet) -> None:
        self.net = net
        self.policy: FramePolicy | None = getattr(net, "policy", None)
        self.bins = net.bins[3]
        self.channels = net.conv3.out_channels
        self.part = net.conv3.static_channels

    def states(self) -> dict[str, tuple[tuple[int, ...], str]]:
        """What one stream remembers.

        Returns
        -------
        dict
            Shape and type by name; all start as zeros. Several streams are
            several times as long on the leading axis.
        """
        net, f = self.net, self.net.bins
        shapes = {
            name: ((1, getattr(net, name).in_channels, 1, bins), "float32")
            for name, bins in (
                ("conv1", f[0]),
                ("conv2", f[1]),
                ("conv3", f[2]),
                ("deconv2", f[3]),
                ("deconv3", f[2]),
                ("deconv4", f[1]),
            )
        }
        rnn, attention = net.time.rnn, net.time.attention
        shapes["rnn"] = ((f[3], rnn.groups * rnn.hidden), "float32")
        shapes |= ring_states(
            f[3],
            attention.static_heads,
            attention.nhead - attention.static_heads,
            attention.window,
            attention.head_size,
            self.policy is not None,
        )
        if self.policy is not None and self.policy.memory is not None:
            shapes["policy"] = ((1, 1, self.policy.memory.hidden), "float32")
        return shapes

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
            Mask ``[B, 1, 1, bins]`` and logits ``[B, 1]`` or None.
        """
        e1, e2 = self._stem(graph, magnitude, state)
        window = graph("Concat", state["conv3"], e2, axis=1)
        state["conv3"] = e2
        if self.policy is None:
            logits = None
            past = state | self._clock(graph, state, None)
            x, new = self.body(graph, window, past, True)
        else:
            logits = frame_policy(graph, self.policy, e2, state)
            gate = graph("Greater", graph("Add", logits, bias), np.float32(0))
            past = state | self._clock(graph, state, gate)
            if graph.single:
                x, new = self._one(graph, gate, window, past)
            else:
                x, new = gated_frames(self, graph, gate, window, past)
        if not graph.single:
            for name in [name for name in RINGS if name in new]:
                index = past[name.replace("values", "keys") + "_index"]
                new[name] = graph("ScatterND", state[name], index, new[name])
        state |= new
        return self._head(graph, x, e1, e2, state), logits

    def _stem(
        self, graph: Graph, magnitude: str, state: dict[str, str]
    ) -> tuple[str, str]:
        x = graph("Concat", state["conv1"], magnitude, axis=1)
        e1 = leaky(graph, convolution(graph, self.net.conv1, x))
        x = graph("Concat", state["conv2"], e1, axis=1)
        e2 = leaky(graph, convolution(graph, self.net.conv2, x))
        state |= {"conv1": magnitude, "conv2": e1}
        return e1, e2

    def _clock(
        self, graph: Graph, state: dict[str, str], gate: str | None
    ) -> dict[str, str]:
        """Which slot of the rings is written, and which may be read."""
        past = turn(graph, self.net.time.attention.window, state, gate)
        if not graph.single:
            past["stream"] = numbers(graph, state["frames"])
        return past | write_indices(graph, past, self.states())

    def _one(
        self, graph: Graph, gate: str, window: str, past: dict[str, str]
    ) -> tuple[str, dict[str, str]]:
        """The body of one stream, behind one ``If``."""
        branches, names = [], []
        for is_open in (True, False):
            inner = Graph(graph)
            x, new = self.body(inner, window, past, is_open)
            names = names or list(new)
            values = [new.get(name, past[name]) for name in names]
            branches.append((inner, [x, *values]))
        x, *values = graph.choose(gate, branches)
        return x, dict(zip(names, values, strict=True))

    def body(
        self, graph: Graph, window: str, past: dict[str, str], is_open: bool
    ) -> tuple[str, dict[str, str]]:
        """From two frames of the stem to the output of the first transposed
        convolution, and what changed of the state.

        Arguments
        ---------
        graph : Graph
            Where to; a branch.
        window : str
            Past and present output of the stem ``[B, 2 C, 1, F]``.
        past : dict
            Names of the states, and what the clock of the rings gives.
        is_open : bool
            Which branch.

        Returns
        -------
        tuple
            ``[B, C', 1, F']``, and names of new states.
        """
        net, whole = self.net, self.channels
        part = whole if is_open else self.part
        e3 = leaky(graph, convolution(graph, net.conv3, window, is_open))
        e3 = to_rows(graph, e3, part)
        # What each block adds to carries the bias of its first sum.
        first, second, third = (
            weight(block.linear.bias)
            for block in (net.freq1, net.time, net.freq2)
        )
        norm = net.norm.slice_to(is_open)
        x = active = layer_norm(graph, e3, norm, first[:part])
        if not is_open:  # the closed channels are zero
            first[:part] = 0
            x = linear(graph, x, np.eye(whole)[:, :part], first)
        x = self._frequency(graph, net.freq1, x, active, is_open, second)
        active = leading(graph, x, part, whole)
        x, new = self._time(graph, x, active, past, is_open, third)
        active = leading(graph, x, part, whole)
        # The skip connection's shift is part of the last norm.
        shift = weight(net.skip2.bias)
        x = self._frequency(graph, net.freq2, x, active, is_open, shift)
        x = linear(graph, e3, np.diag(weight(net.skip2.weight))[:, :part], x)
        x = new["deconv2"] = to_planes(graph, x, self.bins, whole)
        inputs = net.deconv2.in_channels
        read = inputs if is_open else net.deconv2.static_inputs
        frames = (leading(graph, y, read, inputs) for y in (past["deconv2"], x))
        x = graph("Concat", *frames, axis=1)
        x = leaky(graph, convolution(graph, net.deconv2, x, is_open))
        return x, new

    def _frequency(
        self,
        graph: Graph,
        block: FrequencyBlock,
        x: str,
        active: str,
        is_open: bool,
        shift: np.ndarray,
    ) -> str:
        """Rows of the residual path, and those of them that the GRU reads, to
        all rows, shifted."""
        rnn = block.rnn
        carried = weight(block.linear.bias)
        carried = carried[: self.channels if is_open else self.part]
        h = frequency_gru(graph, rnn, active, self.bins, is_open, carried)
        matrix = weight(block.linear.slice_to(is_open).weight)
        x = linear(graph, leaky(graph, h), by_direction(matrix, rnn), x)
        carried = output_bias(block.attention, is_open)
        x = layer_norm(graph, x, block.norm1.slice_to(True), carried)
        x = frequency_attention(graph, block.attention, x, self.bins, is_open)
        return layer_norm(graph, x, block.norm2.slice_to(True), shift)

    def _time(
        self,
        graph: Graph,
        x: str,
        active: str,
        past: dict[str, str],
        is_open: bool,
        shift: np.ndarray,
    ) -> tuple[str, dict[str, str]]:
        """Rows of the residual path, and those of them that the GRU reads, to
        all rows, shifted, and what changed of the state."""
        block: TimeBlock = self.net.time
        matrix, carried = weight(block.linear.weight), weight(block.linear.bias)
        if not is_open:
            matrix[:, block.linear.static_inputs :] = 0
            carried = carried[: self.part]
        hidden = past["rnn"]
        hidden = time_gru(graph, block.rnn, active, hidden, is_open, carried)
        x = linear(graph, leaky(graph, hidden), matrix, x)
        carried = output_bias(block.attention, is_open)
        x = layer_norm(graph, x, block.norm1.slice_to(True), carried)
        x, new = time_attention(
            graph, block.attention, x, self.bins, past, is_open
        )
        new["rnn"] = hidden
        return layer_norm(graph, x, block.norm2.slice_to(True), shift), new

    def _head(
        self, graph: Graph, x: str, e1: str, e2: str, state: dict[str, str]
    ) -> str:
        """The decoder after its first layer, which every frame runs."""
        net = self.net
        x = graph("Add", x, _scaled(graph, net.skip3, e2, net.bins[2]))
        window = graph("Concat", state["deconv3"], x, axis=1)
        state["deconv3"] = x
        x = leaky(graph, convolution(graph, net.deconv3, window))
        x = graph("Add", x, _scaled(graph, net.skip4, e1, net.bins[1]))
        window = graph("Concat", state["deconv4"], x, axis=1)
        state["deconv4"] = x
        return graph("Relu", convolution(graph, net.deconv4, window))


def _scaled(graph: Graph, skip: ChannelScale, planes: str, bins: int) -> str:
    # Of full size: one factor per channel is turned into a convolution by
    # onnxruntime, which takes three times as long.
    factor, shift = (
        np.repeat(weight(x)[None, :, None, None], bins, 3)
        for x in (skip.weight, skip.bias)
    )
    return graph("Add", graph("Mul", planes, factor), shift)
