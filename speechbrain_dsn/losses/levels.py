"""What all levels of a choice together tell a router.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

from torch import Tensor

from speechbrain_dsn.cost import Decision, MacCount
from speechbrain_dsn.losses.routing import RoutingPrice


class LevelTeacher:
    """Base of losses that know how far off each level is in each frame.

    Arguments
    ---------
    weight : float
        Of :meth:`taught`.
    price : RoutingPrice, optional
        What the choices cost besides; by default nothing does.
    joint : bool
        Whether the router is taught so while the network learns as well, too,
        and not only while it learns alone.
    """

    def __init__(
        self, weight: float, price: RoutingPrice | None, joint: bool
    ) -> None:
        self.weight, self.price, self.joint = weight, price, joint

    def errors(self, estimates: Tensor, clean: Tensor) -> Tensor:
        """How far off each level is in each frame.

        Arguments
        ---------
        estimates : Tensor
            With all frames at one level ``[J, B, samples]``.
        clean : Tensor
            ``[B, samples]``.

        Returns
        -------
        Tensor
            ``[B, T, J]``.
        """
        raise NotImplementedError

    def taught(self, decision: Decision, errors: Tensor) -> Tensor:
        """What the router pays for its logits.

        Arguments
        ---------
        decision : Decision
            ``[B, T, J]``, with the logits.
        errors : Tensor
            Of all levels ``[B, T, J]``.

        Returns
        -------
        Tensor
            A scalar.
        """
        raise NotImplementedError

    def __call__(
        self,
        decision: Decision,
        cost: MacCount,
        target: Tensor,
        errors: Tensor | None = None,
    ) -> Tensor:
        """What these choices cost, and what all levels say of them.

        Arguments
        ---------
        decision : Decision
            ``[B, T, J]``, with the logits.
        cost : MacCount
            One frame of the network.
        target : Tensor
            Wanted mean activation of each item ``[B]``.
        errors : Tensor, optional
            Of all levels ``[B, T', J]``, ``T'`` at least ``T``. Without them
            only the price counts.

        Returns
        -------
        Tensor
            A scalar.
        """
        loss = 0 * decision.values.sum()
        if errors is not None:
            errors = errors[:, : decision.logits.size(1)]
            loss = loss + self.weight * self.taught(decision, errors)
        if self.price is not None:
            loss = loss + self.price(decision, cost, target)
        return loss
