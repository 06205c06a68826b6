"""What was decided: the gates of every frame.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from speechbrain_dsn.cost.macs import MacCount


@dataclass(frozen=True)
class Decision:
    """Gates of a batch, with what is needed to count them.

    Every system returns one: MGT-DSN one on/off gate per frame (``K = 1``),
    a router a one-hot choice among widths, channel pruning one gate per
    channel.

    Arguments
    ---------
    values : Tensor
        ``[B, T, K]``, each in 0..1.
    frame_rate : float
        Decisions per second.
    lengths : Tensor, optional
        Valid frames per item ``[B]``; all of them by default. Frames beyond
        never count.
    logits : Tensor, optional
        What the policy said before sampling ``[B, T, K]``.
    cost : MacCount, optional
        One frame of what decided, for a reader who does not know it: of a
        block that notes its decisions on a tape.

    Example
    -------
    >>> gates = torch.tensor([[[1.0], [0.0], [1.0], [1.0]]])
    >>> decision = Decision(gates, 62.5, torch.tensor([2]))
    >>> decision.usage()
    tensor([[0.5000]])
    """

    values: Tensor
    frame_rate: float
    lengths: Tensor | None = None
    logits: Tensor | None = None
    cost: MacCount | None = None

    def __post_init__(self) -> None:
        """Refuses shapes that cannot be counted."""
        if self.values.dim() != 3:
            raise ValueError(
                f"Decision.values is [B, T, K], got {tuple(self.values.shape)}"
            )

    def mask(self) -> Tensor:
        """Valid frames as ``[B, T, 1]`` of 0 and 1.

        Returns
        -------
        Tensor
            1 where a frame lies within its item's length.
        """
        batch, time, _ = self.values.shape
        if self.lengths is None:
            return self.values.new_ones(batch, time, 1)
        index = torch.arange(time, device=self.values.device)
        inside = index < self.lengths.to(index.device).unsqueeze(1)
        return inside.unsqueeze(-1).to(self.values.dtype)

    def usage(self) -> Tensor:
        """Mean of each gate over the valid frames of each item.

        Returns
        -------
        Tensor
            ``[B, K]``, differentiable.
        """
        mask = self.mask()
        return (self.values * mask).sum(1) / mask.sum(1).clamp_min(1)

    def hard(self) -> Decision:
        """The same decision with gates of exactly 0 or 1.

        Returns
        -------
        Decision
            Gates above one half are open; logits are kept.
        """
        return replace(self, values=(self.values > 0.5).to(self.values.dtype))


def gates_at(cost: MacCount, activation: Tensor) -> Tensor:
    """Gates that a network of this cost takes, from wanted activations.

    Arguments
    ---------
    cost : MacCount
        The cost of one frame of the network.
    activation : Tensor
        ``[B, T]`` in 0..1.

    Returns
    -------
    Tensor
        The same where a frame has one gate, or several that are to be alike;
        for choices among widths the one-hot choice of the nearest, all of
        them alike, ``[B, T, K]``.

    Example
    -------
    >>> cost = MacCount(0, (25, 50, 100), one_hot=True)
    >>> gates_at(cost, torch.tensor([[0.0, 0.5]]))
    tensor([[[1., 0., 0.],
             [0., 1., 0.]]])
    """
    if not cost.one_hot:
        return activation
    levels = activation.new_tensor(cost.levels)
    nearest = (activation.unsqueeze(-1) - levels).abs().argmin(-1)
    choice = torch.nn.functional.one_hot(nearest, len(levels))
    return choice.to(activation.dtype).repeat(1, 1, cost.groups)
