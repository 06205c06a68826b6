"""D-GRU: a GRU that updates only the units that want it most.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from speechbrain.nnet.RNN import rnn_init
from torch import Tensor, nn
from torch.nn import functional as F

from speechbrain_dsn.cost import MacCount
from speechbrain_dsn.nnet.selective import selective_scan, selective_steps
from speechbrain_dsn.nnet.shortened import shortened

# Of one layer and direction, with an axis of one group: weight_ih, weight_hh,
# bias_ih, bias_hh.
Weights = tuple[Tensor, Tensor, Tensor, Tensor]
# (x [T, B, C], h0 [B, H], weights, whether backwards) -> [T, B, H]
Run = Callable[[Tensor, Tensor, Weights, bool], Tensor]


@dataclass
class DGRUContext:
    """The state of a :class:`DGRU`.

    Arguments
    ---------
    hidden : Tensor
        ``[layers, B, H]``, zeros at the start of a stream.
    """

    hidden: Tensor


class _Weights(nn.GRU):
    """Weights that are drawn as SpeechBrain's GRU draws them, each time."""

    def __init__(self, re_init: bool, *sizes, **options) -> None:
        self.re_init = re_init  # read by the constructor below
        super().__init__(*sizes, **options)

    def reset_parameters(self) -> None:
        """Draws all weights anew."""
        super().reset_parameters()
        if self.re_init:
            rnn_init(self)


class DGRU(nn.Module):
    """SpeechBrain's GRU with a share of its units updated in each step.

    D-GRU (Cheng et al. 2024, arXiv 2408.12425): the update gate is computed
    in full; the ``update_ratio * hidden_size`` units that it would replace
    most are updated, the others keep their value. No parameter is added,
    those of SpeechBrain's GRU fit. The cost is ``(1 + 2 P) / 3`` of a GRU's,
    exactly if the ratio ``P`` makes a whole number of units. (The paper's
    update gate is 1 where a unit is replaced, that of PyTorch is 0 there.)
    The selection has no gradient, which is our reading.

    Ours is the ``gate``: in a closed frame no unit is updated, nothing is
    read, and the output is the state that was. With ``update_ratio`` 1 that
    is a GRU that skips frames.

    Equality of the ways to run holds up to draws: where the last selected
    unit and the next one differ by a rounding only, any of them may be
    selected.

    Arguments
    ---------
    hidden_size : int
        Units.
    input_shape : tuple, optional
        Shape of an example; of 4 axes the last two are flattened.
    input_size : int, optional
        Input channels, if there is no ``input_shape``.
    num_layers : int
        Layers.
    bias : bool
        Whether there are biases.
    dropout : float
        Between layers, while training.
    re_init : bool
        Orthogonal recurrent weights, as in SpeechBrain.
    bidirectional : bool
        Whether to run backwards too; then it cannot stream.
    update_ratio : float
        Share of the units that a step updates, in (0, 1].

    Example
    -------
    >>> gru = DGRU(hidden_size=8, input_size=4, update_ratio=0.25)
    >>> y, state = gru(torch.randn(2, 10, 4))
    >>> y.shape, state.shape
    (torch.Size([2, 10, 8]), torch.Size([1, 2, 8]))
    >>> (y[:, 1:] != y[:, :-1]).sum(-1).unique()
    tensor([2])
    >>> gru.macs(), DGRU(8, input_size=4, update_ratio=1.0).macs()
    (MacCount(fixed=0, gated=(144,)), MacCount(fixed=0, gated=(288,)))
    """

    def __init__(
        self,
        hidden_size: int,
        input_shape: Sequence[int] | None = None,
        input_size: int | None = None,
        num_layers: int = 1,
        bias: bool = True,
        dropout: float = 0.0,
        re_init: bool = True,
        bidirectional: bool = False,
        update_ratio: float = 0.25,
    ) -> None:
        super().__init__()
        if input_size is None:
            if input_shape is None:
                raise ValueError("expected one of input_shape or input_size")
            input_size = int(torch.tensor(input_shape[2:]).prod())
        self.update_ratio = update_ratio
        self.active = updated_units(hidden_size, update_ratio)
        self.rnn = _Weights(
            re_init,
            input_size,
            hidden_size,
            num_layers,
            bias=bias,
            batch_first=True,
            dropout=dropout,
            bidirectional=bidirectional,
        )

    @property
    def directions(self) -> int:
        """1, or 2 if bidirectional."""
        return 2 if self.rnn.bidirectional else 1

    def forward(
        self,
        x: Tensor,
        hx: Tensor | None = None,
        lengths: Tensor | None = None,
        gate: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Computes everything and masks, for training.

        Arguments
        ---------
        x : Tensor
            ``[B, T, C]``, or ``[B, T, C1, C2]``.
        hx : Tensor, optional
            State before the first frame ``[layers * directions, B, H]``.
        lengths : Tensor, optional
            Share of each item that is no padding ``[B]``: as in SpeechBrain,
            outputs end with the longest item and are zero in padding.
        gate : Tensor, optional
            ``[B, T]`` in 0..1, soft or hard; open by default.

        Returns
        -------
        tuple of Tensor
            Outputs ``[B, T, H * directions]`` and the last state of each
            layer ``[layers * directions, B, H]``.
        """
        x = x.flatten(2)
        valid = None
        if lengths is not None:
            ends = (lengths.to(x.device) * x.size(1)).long()
            x = x[:, : int(ends.max())]
            valid = torch.arange(x.size(1), device=x.device) < ends[:, None]
            gate = valid.to(x.dtype) if gate is None else gate[:, : x.size(1)]
            gate = gate * valid
        time_gate = None if gate is None else gate.to(x.dtype).t()

        def run(x: Tensor, h0: Tensor, weights: Weights, flip: bool) -> Tensor:
            w_ih, w_hh, b_ih, b_hh = weights
            drive = F.linear(x, w_ih[0], b_ih[0]).unsqueeze(1)
            open_ = time_gate
            if flip:
                drive = drive.flip(0)
                open_ = None if open_ is None else open_.flip(0)
            y = selective_scan(drive, w_hh, b_hh, h0[None], open_, self.active)
            return y[:, 0]

        y, state = self._layers(x, hx, run)
        return (y if valid is None else y * valid.unsqueeze(-1)), state

    def forward_skipping(
        self, x: Tensor, is_open: Tensor, hx: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Runs open frames, and in each the selected units.

        Arguments
        ---------
        x : Tensor
            ``[B, T, C]``.
        is_open : Tensor
            Booleans ``[B, T]``.
        hx : Tensor, optional
            State before the first frame.

        Returns
        -------
        tuple of Tensor
            As of ``forward`` for this gate.
        """
        x = x.flatten(2)
        if self.active == self.rnn.hidden_size:
            return shortened(self.rnn, x, is_open, self._start(x, hx))
        runs = is_open.t()

        def run(x: Tensor, h0: Tensor, weights: Weights, flip: bool) -> Tensor:
            steps, open_ = x[:, None], runs
            if flip:
                steps, open_ = steps.flip(0), open_.flip(0)
            reads = open_.unsqueeze(1)
            return selective_steps(
                steps, weights, h0[None], self.active, open_, reads
            )[:, 0]

        return self._layers(x, hx, run)

    def make_streaming_context(
        self,
        batch_size: int,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> DGRUContext:
        """The state at the start of a stream.

        Arguments
        ---------
        batch_size : int
            Streams.
        device : torch.device, optional
            Where the state lives.
        dtype : torch.dtype, optional
            Its type.

        Returns
        -------
        DGRUContext
            Zeros.
        """
        if self.rnn.bidirectional:
            raise ValueError("a bidirectional GRU cannot stream")
        shape = (self.rnn.num_layers, batch_size, self.rnn.hidden_size)
        return DGRUContext(torch.zeros(shape, device=device, dtype=dtype))

    def forward_streaming(
        self, x: Tensor, context: DGRUContext, is_open: Tensor | None = None
    ) -> Tensor:
        """Any number of frames; closed ones leave the state as it is.

        Arguments
        ---------
        x : Tensor
            ``[B, T, C]``.
        context : DGRUContext
            Updated in place.
        is_open : Tensor, optional
            Booleans ``[B, T]``; open by default.

        Returns
        -------
        Tensor
            ``[B, T, H]``.
        """
        if is_open is None:
            is_open = x.new_ones(x.shape[:2], dtype=torch.bool)
        # A copy: how a product is rounded depends on where its input lies.
        y, context.hidden = self.forward_skipping(
            x.clone(), is_open, context.hidden
        )
        return y

    def macs(self) -> MacCount:
        """Cost of one frame.

        Returns
        -------
        MacCount
            The update gate in full, and two rows per updated unit.
        """
        size = self.rnn.hidden_size
        rows = (size + 2 * self.active) * self.directions
        inputs = [self.rnn.input_size]
        inputs += [size * self.directions] * (self.rnn.num_layers - 1)
        return MacCount(0, (sum(rows * (each + size) for each in inputs),))

    def extra_repr(self) -> str:
        """Sizes for ``print``."""
        return f"{self.active} of {self.rnn.hidden_size} units per step"

    def _start(self, x: Tensor, hx: Tensor | None) -> Tensor:
        if hx is not None:
            return hx
        layers = self.rnn.num_layers * self.directions
        return x.new_zeros(layers, len(x), self.rnn.hidden_size)

    def _layers(
        self, x: Tensor, hx: Tensor | None, run: Run
    ) -> tuple[Tensor, Tensor]:
        """All layers and directions; ``run`` has time in front, and gives a
        reversed sequence back as it ran."""
        hx, last = self._start(x, hx), []
        x = x.transpose(0, 1)
        for layer in range(self.rnn.num_layers):
            sides = []
            for flip in (False, True)[: self.directions]:
                h0 = hx[layer * self.directions + flip]
                y = run(x, h0, self._weights(layer, flip), flip)
                last.append(y[-1].clone() if len(y) else h0)
                sides.append(y.flip(0) if flip else y)
            x = sides[0] if len(sides) == 1 else torch.cat(sides, -1)
            if layer + 1 < self.rnn.num_layers:
                x = F.dropout(x, self.rnn.dropout, self.training)
        return x.transpose(0, 1), torch.stack(last)

    def _weights(self, layer: int, reverse: bool) -> Weights:
        suffix = f"_l{layer}" + "_reverse" * reverse
        names = ["weight_ih", "weight_hh"]
        found = [getattr(self.rnn, name + suffix) for name in names]
        if self.rnn.bias:
            names = ("bias_ih", "bias_hh")
            found += [getattr(self.rnn, name + suffix) for name in names]
        else:
            found += [found[0].new_zeros(len(found[0]))] * 2
        return tuple(x.unsqueeze(0) for x in found)


def updated_units(units: int, ratio: float) -> int:
    """How many units a step of a D-GRU updates.

    Arguments
    ---------
    units : int
        Of the layer, or of each group.
    ratio : float
        Wanted share.

    Returns
    -------
    int
        The nearest number, at least 1.

    Raises
    ------
    ValueError
        Unless the ratio lies in (0, 1].

    Example
    -------
    >>> updated_units(400, 0.25), updated_units(3, 0.1)
    (100, 1)
    """
    if not 0 < ratio <= 1:
        raise ValueError(f"update_ratio lies in (0, 1], got {ratio}")
    return max(1, round(ratio * units))
