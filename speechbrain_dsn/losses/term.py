"""Signal losses in a weighted sum.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Term:
    """One of the losses that a recipe adds up.

    Arguments
    ---------
    loss : callable
        ``(estimate [B, samples], target [B, samples]) -> [B]``.
    weight : float
        Its factor in the sum.
    first_epoch : int
        The epoch (from 1) in which it joins.

    Raises
    ------
    ValueError
        If the weight is negative.

    Example
    -------
    >>> from speechbrain_dsn.losses import negative_si_sdr
    >>> term = Term(negative_si_sdr, weight=0.02, first_epoch=11)
    >>> term.joins(10), term.joins(11)
    (False, True)
    """

    loss: Callable[[Tensor, Tensor], Tensor]
    weight: float = 1.0
    first_epoch: int = 1

    def __post_init__(self) -> None:
        """Refuses a loss that would be maximised."""
        if self.weight < 0:
            raise ValueError(f"weight is 0 or more, got {self.weight}")

    def joins(self, epoch: int) -> bool:
        """Whether the term counts in an epoch.

        Arguments
        ---------
        epoch : int
            From 1.

        Returns
        -------
        bool
            False for a weight of 0.
        """
        return self.weight > 0 and epoch >= self.first_epoch
