"""What layers share that run each chunk of a signal at its own width.

A dual-path network cuts a signal into chunks of ``L`` steps. A chunk is to
these layers what a frame is to others: one decision covers it, and no step of
it sees another chunk. Where SpeechBrain's ``Dual_Path_Model`` hands chunks
over as the items of a batch ``[B', L, N]``, ours may be ``[B, S, L, N]`` too,
with ``S`` chunks per signal.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from torch import Tensor

from speechbrain_dsn.cost import MacCount
from speechbrain_dsn.nnet.masking import bucketed, mask_widths
from speechbrain_dsn.nnet.widths import check_utilizations


class ChunkLayer:
    """A mixin: the ways to run a layer with a ``branch`` per width.

    A subclass has ``utilizations``, ``in_channels`` and
    ``branch(rows [M, L, N], level)``, in ``out_channels`` channels at each
    width.
    """

    utilizations: tuple[float, ...]
    in_channels: int
    out_channels: int
    branch: Callable[[Tensor, int], Tensor]

    @property
    def top(self) -> int:
        """Index of the widest branch."""
        return len(self.utilizations) - 1

    def forward_skipping(self, x: Tensor, level: Tensor) -> Tensor:
        """Runs each chunk at its own width; differentiable in all but it.

        Arguments
        ---------
        x : Tensor
            ``[B', L, N]`` or ``[B, S, L, N]``.
        level : Tensor
            Index of the width of each chunk ``[B']`` or ``[B, S]``.

        Returns
        -------
        Tensor
            Like ``x``, equal to ``forward`` for this choice.
        """
        return bucketed(self.branch, x, level, self.out_channels)

    def _declare(self, gated: Sequence[int]) -> MacCount:
        """Cost of one chunk from that of each width."""
        if len(gated) == 1:
            return MacCount(gated[0])
        return MacCount(0, tuple(gated), one_hot=True)


class MaskedLayer(ChunkLayer):
    """A mixin: one pass with a mask runs all widths.

    A subclass has ``_run(rows [M, L, N], level, gate, **inputs)``, which
    gives ``[M, L', N']``; with a gate the level is the widest.
    """

    _run: Callable[..., Tensor]

    def forward(
        self, x: Tensor, gate: Tensor | None = None, **inputs
    ) -> Tensor:
        """Computes all units and masks, for training.

        Arguments
        ---------
        x : Tensor
            ``[B', L, N]`` or ``[B, S, L, N]``.
        gate : Tensor, optional
            Choice among widths ``[B', J]`` or ``[B, S, J]``, soft or one-hot;
            the widest by default.
        **inputs
            What else the layer takes.

        Returns
        -------
        Tensor
            ``[..., L', N']``.
        """
        if gate is not None:
            gate = gate.flatten(0, -2)
        y = self._run(x.flatten(0, -3), self.top, gate, **inputs)
        return y.unflatten(0, x.shape[:-2])

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
            ``[M, L', N']``.
        """
        return self._run(x, level)


def slim_sizes(
    whole: int, utilizations: Sequence[float]
) -> tuple[tuple[float, ...], tuple[int, ...]]:
    """A checked ladder of widths, and how many units each of them has.

    Arguments
    ---------
    whole : int
        Units at the utilization factor 1.
    utilizations : sequence of float
        Shares of these units, ascending in (0, 1].

    Returns
    -------
    tuple
        Utilization factors, and units ``ceil(u * whole)``.

    Example
    -------
    >>> slim_sizes(8, [0.125, 0.5, 1])
    ((0.125, 0.5, 1.0), (1, 4, 8))
    """
    ladder = check_utilizations(utilizations)
    return ladder, tuple(math.ceil(whole * u) for u in ladder)


def mask_chunks(
    x: Tensor, gate: Tensor | None, widths: Sequence[int]
) -> Tensor:
    """Leaves of each chunk the leading channels that its width has.

    Arguments
    ---------
    x : Tensor
        ``[M, L, C]``.
    gate : Tensor or None
        Choice among widths ``[M, J]``; ``None`` means the widest.
    widths : sequence of int
        Channels of each width, ascending up to ``C``.

    Returns
    -------
    Tensor
        Like ``x``.

    Example
    -------
    >>> import torch
    >>> mask_chunks(torch.ones(1, 1, 4), torch.tensor([[1.0, 0.0]]), (2, 4))
    tensor([[[1., 1., 0., 0.]]])
    """
    if gate is None:
        return x
    return mask_widths(x.unsqueeze(0), gate.unsqueeze(0), widths).squeeze(0)
