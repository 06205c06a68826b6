"""A grouped GRU over frames, with static and dynamic groups.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from speechbrain_dsn.cost import MacCount
from speechbrain_dsn.nnet.dgru import DGRU, updated_units
from speechbrain_dsn.nnet.empty import takes_empty_chunks
from speechbrain_dsn.nnet.grouped_gru import GroupedGRU
from speechbrain_dsn.nnet.masking import mask_channels
from speechbrain_dsn.nnet.scan import FEW, gru_scan, gru_steps
from speechbrain_dsn.nnet.selective import selective_scan, selective_steps


@dataclass
class GRUContext:
    """The state of a :class:`TimeGRU`.

    Arguments
    ---------
    hidden : Tensor
        ``[G, H, B * F]``, zeros at the start of a stream.
    """

    hidden: Tensor


class TimeGRU(GroupedGRU):
    """Unidirectional grouped GRU over frames, one sequence per bin.

    In a closed frame the dynamic groups get no input, ``a = g W_x x + b_x +
    W_h h + b_h`` for r, z and n, but their hidden state goes on: MGT-DSN
    (arXiv 2510.11395) prunes the input-to-hidden path only, and the state is
    neither frozen nor reset. That both biases stay is our choice.

    With an ``update_ratio`` below 1 each group is a D-GRU (arXiv 2408.12425):
    of the units of each bin it updates those that want it most, and the
    others keep their value, in closed frames too (see
    :class:`~speechbrain_dsn.nnet.dgru.DGRU`).

    Arguments
    ---------
    hidden_size : int
        Units of all groups together.
    input_size : int
        Input channels.
    groups : int
        Groups; group ``k`` reads the ``k``-th part of the channels.
    static_groups : int, optional
        Leading groups whose input is read in every frame, all by default.
    update_ratio : float
        Share of each group's units that a frame updates, in (0, 1].

    Example
    -------
    >>> gru = TimeGRU(64, 64, groups=4, static_groups=2)
    >>> gru(torch.randn(2, 10, 31, 64), torch.ones(2, 10)).shape
    torch.Size([2, 10, 31, 64])
    >>> gru.macs(31)
    MacCount(fixed=142848, gated=(47616,))
    >>> TimeGRU(64, 64, 4, 2, update_ratio=0.25).macs(31)
    MacCount(fixed=71424, gated=(23808,))
    """

    def __init__(
        self,
        hidden_size: int,
        input_size: int,
        groups: int,
        static_groups: int | None = None,
        update_ratio: float = 1.0,
    ) -> None:
        super().__init__(hidden_size, input_size, groups, static_groups, 1)
        self.update_ratio = update_ratio
        self.active = updated_units(self.hidden, update_ratio)

    def forward(self, x: Tensor, gate: Tensor | None = None) -> Tensor:
        """Computes everything and masks the input, for training.

        Arguments
        ---------
        x : Tensor
            ``[B, T, F, C]``.
        gate : Tensor, optional
            ``[B, T]`` in 0..1, soft or hard; open by default.

        Returns
        -------
        Tensor
            ``[B, T, F, hidden_size]``.
        """
        x = mask_channels(x, gate, self.static_groups * self.inputs)
        packed, weights = self._pack(x), self._weights(0, self.groups)
        if self.active == self.hidden:
            return self._unpack(gru_scan(packed, *weights), x)
        w_ih, w_hh, b_ih, b_hh = weights
        projected = torch.matmul(w_ih, packed) + b_ih.unsqueeze(-1)
        start = x.new_zeros(self.groups, packed.size(-1), self.hidden)
        states = selective_scan(
            projected.transpose(2, 3), w_hh, b_hh, start, active=self.active
        )
        return self._unpack(states.transpose(2, 3), x)

    def make_streaming_context(
        self,
        batch_size: int,
        bins: int,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> GRUContext:
        """The state at the start of a stream.

        Arguments
        ---------
        batch_size : int
            Streams.
        bins : int
            Sequences per stream.
        device : torch.device, optional
            Where the state lives.
        dtype : torch.dtype, optional
            Its type.

        Returns
        -------
        GRUContext
            Zeros.
        """
        shape = (self.groups, self.hidden, batch_size * bins)
        return GRUContext(torch.zeros(shape, device=device, dtype=dtype))

    @takes_empty_chunks
    def forward_streaming(
        self, x: Tensor, context: GRUContext, is_open: Tensor | None = None
    ) -> Tensor:
        """Any number of frames; closed ones skip the dynamic input product.

        Arguments
        ---------
        x : Tensor
            ``[B, T, F, C]``.
        context : GRUContext
            Updated in place.
        is_open : Tensor, optional
            Booleans ``[B, T]``; open by default.

        Returns
        -------
        Tensor
            ``[B, T, F, hidden_size]``.
        """
        if is_open is None:
            is_open = x.new_ones(x.shape[:2], dtype=torch.bool)
        if self.active < self.hidden:
            states = self._selected(x, context, is_open)
        elif self.static_groups == self.groups and len(x) * x.size(2) <= FEW:
            weights = self._weights(0, self.groups)
            states = gru_scan(self._pack(x), *weights, context.hidden)
        else:
            projected = self._project(x, is_open)
            _, w_hh, _, b_hh = self._weights(0, self.groups)
            states = gru_steps(projected, w_hh, b_hh, context.hidden)
        context.hidden = states[-1].clone()  # not a view of the output
        return self._unpack(states, x)

    def _selected(
        self, x: Tensor, context: GRUContext, is_open: Tensor
    ) -> Tensor:
        """States ``[T, G, H, B F]`` of groups that are D-GRUs: all of them
        run, dynamic ones read in open frames only."""
        packed = self._pack(x).transpose(2, 3).contiguous()
        rows = is_open.t().repeat_interleave(x.size(2), 1)
        reads = torch.ones_like(packed[..., 0], dtype=torch.bool)
        reads[:, self.static_groups :] = rows.unsqueeze(1)
        states = selective_steps(
            packed,
            self._weights(0, self.groups),
            context.hidden.transpose(1, 2),
            self.active,
            torch.ones_like(rows),
            reads,
        )
        return states.transpose(2, 3)

    def _project(self, x: Tensor, is_open: Tensor) -> Tensor:
        """``W_x x + b_x`` as ``[T, G, 3 H, B F]``, open frames only where
        the group is dynamic."""
        w_ih, b_ih = self.weight_ih[0], self.bias_ih[0].unsqueeze(-1)
        batch, time, bins, _ = x.shape
        packed = self._pack(x)
        static = self.static_groups
        fixed = packed[:, :static]
        # A copy in every case: an expanded bias of one column would be a view
        # of the parameter, and the sums below would change it.
        result = b_ih.repeat(time, 1, 1, batch * bins)
        # One product over all steps; one per step would copy the weights.
        fixed = fixed.permute(1, 2, 0, 3).flatten(2)
        product = torch.bmm(w_ih[:static], fixed).unflatten(2, (time, -1))
        result[:, :static] += product.permute(2, 0, 1, 3)
        if static < self.groups and bool(is_open.any()):
            # Dynamic groups: gather open frames, [open, groups, inputs, F].
            rows = packed[:, static:].unflatten(-1, (batch, bins))
            rows = rows.permute(0, 3, 1, 2, 4)[is_open.t()]
            view = result[:, static:].unflatten(-1, (batch, bins))
            view = view.permute(0, 3, 1, 2, 4)
            view[is_open.t()] += torch.matmul(w_ih[static:], rows)
        return result

    def _pack(self, x: Tensor) -> Tensor:
        """``[B, T, F, C]`` to ``[T, G, inputs, B F]``."""
        batch, time, bins, _ = x.shape
        x = x.view(batch, time, bins, self.groups, self.inputs)
        x = x.permute(1, 3, 4, 0, 2)
        return x.reshape(time, self.groups, self.inputs, batch * bins)

    def _unpack(self, states: Tensor, like: Tensor) -> Tensor:
        """``[T, G, H, B F]`` to ``[B, T, F, G H]``."""
        batch, _, bins, _ = like.shape
        states = states.unflatten(-1, (batch, bins))
        return states.permute(3, 0, 4, 1, 2).flatten(3)

    def slice_to(self, is_open: bool) -> nn.ModuleList:
        """One ``torch.nn.GRU`` per group, or one D-GRU, with copies.

        A closed frame still runs every group, so both branches need all of
        them; closed, the dynamic ones are to be fed zeros.

        Arguments
        ---------
        is_open : bool
            Which branch.

        Returns
        -------
        torch.nn.ModuleList
            GRUs over ``[N, T, inputs]``.
        """
        dense = self._dense(self.groups)
        if not is_open:
            for gru in dense[self.static_groups :]:
                gru.weight_ih_l0.data.zero_()
        if self.active == self.hidden:
            return dense
        selective = nn.ModuleList()
        for gru in dense:
            size = {"input_size": self.inputs}
            layer = DGRU(self.hidden, **size, update_ratio=self.update_ratio)
            selective.append(layer.to(self.weight_ih))
            layer.rnn.load_state_dict(gru.state_dict())
        return selective

    def macs(self, bins: int, masked: bool = False) -> MacCount:
        """Cost of one frame.

        Arguments
        ---------
        bins : int
            Sequences.
        masked : bool
            Whether a D-GRU computes all units and masks; otherwise the update
            gate in full, and two rows per updated unit.

        Returns
        -------
        MacCount
            Gated is the input-to-hidden path of the dynamic groups.
        """
        units = self.hidden if masked else self.active
        rows, size = self.hidden + 2 * units, 3 * self.hidden
        to_hidden, recurrent = (x // size * rows for x in self._group_macs())
        dynamic = self.groups - self.static_groups
        fixed = self.static_groups * to_hidden + self.groups * recurrent
        return MacCount(bins * fixed, (bins * dynamic * to_hidden,))
