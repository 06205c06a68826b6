"""What a frame should have chosen.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from speechbrain_dsn.cost import Decision, MacCount
from speechbrain_dsn.losses.routing import RoutingPrice
from speechbrain_dsn.losses.spectral import MultiResolutionCompressedLoss


def cheapest_within(errors: Tensor, epsilon: float) -> Tensor:
    """The cheapest level that is nearly as good as the best one.

    Arguments
    ---------
    errors : Tensor
        Of each level, the cheapest first ``[..., J]``, at least 0.
    epsilon : float
        How much larger than the smallest error, relative to it, counts as
        nearly as good.

    Returns
    -------
    Tensor
        Indices ``[...]``.

    Example
    -------
    >>> import torch
    >>> cheapest_within(torch.tensor([[3.0, 1.1, 1.0], [1.0, 1.0, 2.0]]), 0.2)
    tensor([1, 0])
    """
    good = errors <= (1 + epsilon) * errors.amin(-1, keepdim=True)
    return good.byte().argmax(-1)


class CheapestLevel:
    """Teaches a router what all levels together would have told it.

    Each frame is labelled with the cheapest level within epsilon of the best,
    by the compressed spectral distance around it with all frames at this
    level; the router pays the cross-entropy to these labels, and its price.
    For early exits per frame, arXiv 2609.29867 has such labels, a weight of
    0.1 and a cost term; distance, smoothing and epsilon are ours.

    Arguments
    ---------
    epsilon : float
        See :func:`cheapest_within`.
    weight : float
        Of the cross-entropy.
    price : RoutingPrice, optional
        What the choices cost besides; by default nothing does.
    hop : int
        Samples per frame.
    smooth : int
        Frames over which the errors are averaged, odd: labels that change
        from frame to frame cannot be learnt.

    Example
    -------
    >>> import torch
    >>> loss, clean = CheapestLevel(hop=100), torch.randn(2, 1000)
    >>> estimates = torch.stack([0 * clean, clean])
    >>> errors = loss.errors(estimates, clean)
    >>> errors.shape, bool((errors[..., 0] > errors[..., 1]).all())
    (torch.Size([2, 11, 2]), True)
    """

    compares_levels = True
    joint = True  # while the network learns as well, too

    def __init__(
        self,
        epsilon: float = 0.1,
        weight: float = 0.1,
        price: RoutingPrice | None = None,
        hop: int = 256,
        smooth: int = 9,
    ) -> None:
        if epsilon < 0 or weight < 0 or smooth % 2 == 0:
            raise ValueError(
                f"epsilon and weight are 0 or more and smooth is odd, got "
                f"{epsilon}, {weight} and {smooth}"
            )
        self.epsilon, self.weight, self.price = epsilon, weight, price
        self.distance = MultiResolutionCompressedLoss((2 * hop,))
        self.smooth = smooth

    def errors(self, estimates: Tensor, clean: Tensor) -> Tensor:
        """How far off each level is around each frame.

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
        distance = self.distance.to(clean.device)
        targets = clean.expand_as(estimates).flatten(0, 1)
        errors = distance.by_frame(estimates.flatten(0, 1), targets)
        errors = F.avg_pool1d(
            errors.unsqueeze(1),
            self.smooth,
            stride=1,
            padding=self.smooth // 2,
            count_include_pad=False,
        )
        return errors.view(*estimates.shape[:2], -1).permute(1, 2, 0)

    def __call__(
        self,
        decision: Decision,
        cost: MacCount,
        target: Tensor,
        errors: Tensor,
    ) -> Tensor:
        """What these choices cost, and what they should have been.

        Arguments
        ---------
        decision : Decision
            ``[B, T, J]``, with the logits.
        cost : MacCount
            One frame of the network.
        target : Tensor
            Wanted mean activation of each item ``[B]``.
        errors : Tensor
            Of all levels ``[B, T', J]``, ``T'`` at least ``T``.

        Returns
        -------
        Tensor
            A scalar.
        """
        logits, inside = decision.logits, decision.mask().squeeze(-1)
        labels = cheapest_within(errors[:, : logits.size(1)], self.epsilon)
        missed = F.cross_entropy(
            logits.transpose(1, 2), labels, reduction="none"
        )
        mean = (missed * inside).sum() / inside.sum().clamp_min(1)
        loss = self.weight * mean
        if self.price is not None:
            loss = loss + self.price(decision, cost, target)
        return loss
