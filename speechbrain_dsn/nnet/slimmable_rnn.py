"""An LSTM or GRU over the steps of a chunk, of any width.

The recurrent block of SpeechBrain's dual-path networks, slimmed (sizes and
rules are ours). A width runs the leading units of each layer and direction,
by the rows that each gate has for them; what it does not run is zero. State
begins at zero in every chunk, so chunks of different widths do not meet.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from speechbrain.lobes.models.dual_path import SBRNNBlock
from torch import Tensor
from torch.nn import functional as F

from speechbrain_dsn.cost import MacCount
from speechbrain_dsn.nnet.chunks import ChunkLayer, slim_sizes

# Rows per unit, and the function that runs all layers.
RNNS = {"LSTM": (4, torch.lstm), "GRU": (3, torch.gru)}


class SlimmableRNN(ChunkLayer, SBRNNBlock):
    """Recurrent layers that run each chunk at a width of its own.

    At the widest it computes what SpeechBrain's ``SBRNNBlock`` computes, and
    its weights are those. Units of a recurrence cannot be masked from
    outside, so a soft choice mixes the outputs of all widths: ``y = sum_k
    p_k f_k(x)``.

    Arguments
    ---------
    input_size : int
        Channels ``N``.
    hidden_channels : int
        Units per direction at the utilization factor 1.
    num_layers : int
        Layers.
    rnn_type : str
        ``LSTM`` or ``GRU``.
    dropout : float
        Dropout rate between layers.
    bidirectional : bool
        Whether there are two directions.
    utilizations : sequence of float
        Widths as shares of the units, ascending in (0, 1]. With one only it
        is a static net of that width.

    Example
    -------
    >>> layer = SlimmableRNN(64, 100, 1)
    >>> choice = torch.eye(4)[torch.randint(4, (2, 10))]
    >>> layer(torch.randn(2, 10, 100, 64), choice).shape
    torch.Size([2, 10, 100, 200])
    """

    def __init__(
        self,
        input_size: int,
        hidden_channels: int,
        num_layers: int,
        rnn_type: str = "LSTM",
        dropout: float = 0,
        bidirectional: bool = True,
        utilizations: Sequence[float] = (0.125, 0.25, 0.5, 1.0),
    ) -> None:
        if rnn_type not in RNNS:
            raise ValueError(
                f"rnn_type: expected one of {', '.join(RNNS)}, got {rnn_type!r}"
            )
        ladder, widths = slim_sizes(hidden_channels, utilizations)
        options = (num_layers, rnn_type, dropout, bidirectional)
        super().__init__(input_size, widths[-1], *options)
        self.utilizations, self.widths = ladder, widths
        self.rnn_type, self.directions = rnn_type, 1 + bidirectional
        self.in_channels = input_size
        self.out_channels = self.directions * widths[-1]

    def reset_parameters(self) -> None:
        """Draws all weights anew, as ``torch.nn.LSTM`` and ``GRU`` do."""
        self.mdl.rnn.reset_parameters()

    def forward(self, x: Tensor, gate: Tensor | None = None) -> Tensor:
        """Runs all widths and mixes them, for training.

        Arguments
        ---------
        x : Tensor
            ``[B', L, N]`` or ``[B, S, L, N]``.
        gate : Tensor, optional
            Choice among widths ``[B', J]`` or ``[B, S, J]``, soft or one-hot;
            the widest by default.

        Returns
        -------
        Tensor
            ``[..., L, directions * units]``.
        """
        rows = x.flatten(0, -3)
        if gate is None:
            y = self.branch(rows, self.top)
        else:
            shares = gate.to(x.dtype).flatten(0, -2).unbind(-1)
            y = sum(
                share[:, None, None] * self.branch(rows, level)
                for level, share in enumerate(shares)
            )
        return y.view(*x.shape[:-1], -1)

    def branch(self, x: Tensor, level: int) -> Tensor:
        """Runs one width.

        Arguments
        ---------
        x : Tensor
            ``[M, L, N]``.
        level : int
            Index of the width.

        Returns
        -------
        Tensor
            ``[M, L, directions * units]``, zero where this width has no unit.
        """
        rnn, width = self.mdl.rnn, self.widths[level]
        weights = [self._cut(name, width) for name in rnn._flat_weights_names]
        state = x.new_zeros(rnn.num_layers * self.directions, len(x), width)
        long = self.rnn_type == "LSTM"
        y, *_ = RNNS[self.rnn_type][1](
            x,
            (state, state) if long else state,
            weights,
            True,
            rnn.num_layers,
            float(rnn.dropout),
            self.training,
            self.directions == 2,
            True,
        )
        missing = self.widths[-1] - width
        if not missing:
            return y
        y = y.unflatten(-1, (self.directions, width))
        return F.pad(y, (0, missing)).flatten(-2)

    def _cut(self, name: str, width: int) -> Tensor:
        """What a width reads of a weight: ``weight_hh_l0_reverse``, say."""
        weight = getattr(self.mdl.rnn, name)
        if width == self.widths[-1]:
            return weight
        weight = weight.unflatten(0, (RNNS[self.rnn_type][0], -1))[:, :width]
        if name.startswith("weight_hh"):
            weight = weight[..., :width]
        elif name.startswith("weight_ih") and "_l0" not in name:
            weight = weight.unflatten(-1, (self.directions, -1))
            weight = weight[..., :width].flatten(-2)
        return weight.flatten(0, 1).contiguous()

    def slice_to(self, level: int) -> SBRNNBlock:
        """SpeechBrain's block with the units of one width, copied.

        Arguments
        ---------
        level : int
            Index of the width.

        Returns
        -------
        SBRNNBlock
            Returns ``[M, L, directions * width]``: what the units of this
            width give, forward and backward, without the zeros.
        """
        rnn = self.mdl.rnn
        dense = SBRNNBlock(
            rnn.input_size,
            self.widths[level],
            rnn.num_layers,
            self.rnn_type,
            rnn.dropout,
            self.directions == 2,
        ).to(rnn.weight_ih_l0)
        with torch.no_grad():
            for name in rnn._flat_weights_names:
                cut = self._cut(name, self.widths[level])
                getattr(dense.mdl.rnn, name).copy_(cut)
        return dense.train(self.training)

    def macs(self, steps: int) -> MacCount:
        """Cost of one chunk.

        Arguments
        ---------
        steps : int
            Steps per chunk ``L``.

        Returns
        -------
        MacCount
            One gate per width.
        """
        rnn, rows = self.mdl.rnn, RNNS[self.rnn_type][0]
        return self._declare(
            [
                steps
                * self.directions
                * rows
                * width
                * (
                    rnn.input_size
                    + (rnn.num_layers - 1) * self.directions * width
                    + rnn.num_layers * width
                )
                for width in self.widths
            ]
        )
