"""A grouped GRU over the bins of a frame, with static and dynamic groups.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from speechbrain_dsn.cost import MacCount
from speechbrain_dsn.nnet.grouped_gru import GroupedGRU
from speechbrain_dsn.nnet.masking import bucketed, mask_channels
from speechbrain_dsn.nnet.scan import gru_scan


class FrequencyGRU(GroupedGRU):
    """Bidirectional grouped GRU over the bins of one frame.

    No state crosses frames, so a closed frame leaves out the dynamic groups
    altogether (MGT-DSN, arXiv 2510.11395: of the four groups of FTF-Net two
    are static). Output channels are ordered group by group, forward then
    backward direction within each, so those of the static groups lead.

    Arguments
    ---------
    hidden_size : int
        Units of all groups together, per direction.
    input_size : int
        Input channels.
    groups : int
        Groups; group ``k`` reads the ``k``-th part of the channels.
    static_groups : int, optional
        Leading groups that run in every frame, all by default.

    Example
    -------
    >>> gru = FrequencyGRU(64, 64, groups=4, static_groups=2)
    >>> gru(torch.randn(2, 10, 31, 64), torch.ones(2, 10)).shape
    torch.Size([2, 10, 31, 128])
    >>> gru.macs(31)
    MacCount(fixed=190464, gated=(190464,))
    """

    def __init__(
        self,
        hidden_size: int,
        input_size: int,
        groups: int,
        static_groups: int | None = None,
    ) -> None:
        super().__init__(hidden_size, input_size, groups, static_groups, 2)

    @property
    def static_channels(self) -> int:
        """Leading output channels that a closed frame computes."""
        return 2 * self.hidden * self.static_groups

    def forward(self, x: Tensor, gate: Tensor | None = None) -> Tensor:
        """Computes all groups and masks, for training.

        Arguments
        ---------
        x : Tensor
            ``[B, T, F, C]``.
        gate : Tensor, optional
            ``[B, T]`` in 0..1, soft or hard; open by default.

        Returns
        -------
        Tensor
            ``[B, T, F, 2 * hidden_size]``.
        """
        y = self.branch(x.flatten(0, 1), True).unflatten(0, x.shape[:2])
        return mask_channels(y, gate, self.static_channels)

    def branch(self, x: Tensor, is_open: bool) -> Tensor:
        """Runs all groups, or the static ones.

        Arguments
        ---------
        x : Tensor
            ``[N, F, C]``, one row per frame; the closed branch reads leading
            channels only.
        is_open : bool
            Which branch.

        Returns
        -------
        Tensor
            ``[N, F, 2 * hidden_size]``, or the static channels when closed.
        """
        groups = self.groups if is_open else self.static_groups
        n, bins, _ = x.shape
        x = x[..., : groups * self.inputs].view(n, bins, groups, self.inputs)
        x = x.permute(1, 2, 3, 0).contiguous()
        sides = [
            gru_scan(x, *self._weights(direction, groups), None, direction == 1)
            for direction in range(2)
        ]
        return torch.stack(sides, 2).permute(4, 0, 1, 2, 3).flatten(2)

    def forward_skipping(self, x: Tensor, is_open: Tensor) -> Tensor:
        """Runs each frame through its own branch.

        Arguments
        ---------
        x : Tensor
            ``[B, T, F, C]``.
        is_open : Tensor
            Booleans ``[B, T]``.

        Returns
        -------
        Tensor
            ``[B, T, F, 2 * hidden_size]``.
        """
        channels = 2 * self.hidden * self.groups
        return bucketed(self.branch, x, is_open, channels)

    def slice_to(self, is_open: bool) -> nn.ModuleList:
        """One ``torch.nn.GRU`` per group of the branch, with copies.

        Arguments
        ---------
        is_open : bool
            Which branch.

        Returns
        -------
        torch.nn.ModuleList
            Bidirectional GRUs over ``[N, F, inputs]``.
        """
        return self._dense(self.groups if is_open else self.static_groups)

    def macs(self, bins: int) -> MacCount:
        """Cost of one frame.

        Arguments
        ---------
        bins : int
            Steps per frame.

        Returns
        -------
        MacCount
            Static groups fixed, dynamic groups gated.
        """
        group = bins * sum(self._group_macs())
        dynamic = self.groups - self.static_groups
        return MacCount(group * self.static_groups, (group * dynamic,))
