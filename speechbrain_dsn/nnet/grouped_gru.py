"""Weights of grouped GRUs.

They are kept as ``[directions, groups, ...]``, so that all groups run in one
batched product (:mod:`speechbrain_dsn.nnet.scan`).

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class GroupedGRU(nn.Module):
    """Weights of ``directions x groups`` GRUs of equal size."""

    def __init__(
        self,
        hidden_size: int,
        input_size: int,
        groups: int,
        static_groups: int | None,
        directions: int,
    ) -> None:
        super().__init__()
        if input_size % groups or hidden_size % groups:
            raise ValueError(
                f"{groups} groups do not divide input {input_size} and "
                f"hidden {hidden_size}"
            )
        self.groups, self.directions = groups, directions
        self.static_groups = groups if static_groups is None else static_groups
        if not 0 < self.static_groups <= groups:
            raise ValueError(
                f"static_groups must be 1..{groups}, got {static_groups}"
            )
        self.inputs, self.hidden = input_size // groups, hidden_size // groups
        rows = 3 * self.hidden
        lead = (directions, groups, rows)
        self.weight_ih = nn.Parameter(torch.empty(*lead, self.inputs))
        self.weight_hh = nn.Parameter(torch.empty(*lead, self.hidden))
        self.bias_ih = nn.Parameter(torch.empty(lead))
        self.bias_hh = nn.Parameter(torch.empty(lead))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws the weights as ``torch.nn.GRU`` does."""
        bound = self.hidden**-0.5
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    def _weights(self, direction: int, groups: int) -> tuple[Tensor, ...]:
        return (
            self.weight_ih[direction, :groups],
            self.weight_hh[direction, :groups],
            self.bias_ih[direction, :groups],
            self.bias_hh[direction, :groups],
        )

    def _group_macs(self) -> tuple[int, int]:
        """Input-to-hidden and hidden-to-hidden MACs of one group's step."""
        rows = 3 * self.hidden * self.directions
        return rows * self.inputs, rows * self.hidden

    def _dense(self, groups: int) -> nn.ModuleList:
        """``torch.nn.GRU`` modules with copies of the leading groups."""
        dense = nn.ModuleList()
        for group in range(groups):
            gru = nn.GRU(
                self.inputs,
                self.hidden,
                batch_first=True,
                bidirectional=self.directions == 2,
            ).to(self.weight_ih)
            for direction in range(self.directions):
                suffix = "l0_reverse" if direction else "l0"
                for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
                    source = getattr(self, name)[direction, group]
                    getattr(gru, f"{name}_{suffix}").data.copy_(source)
            dense.append(gru)
        return dense
