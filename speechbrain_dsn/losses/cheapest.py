"""What a frame should have chosen.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from speechbrain_dsn.cost import Decision
from speechbrain_dsn.losses.levels import LevelTeacher
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


class CheapestLevel(LevelTeacher):
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
        super().__init__(weight, price, joint=True)
        self.epsilon, self.smooth = epsilon, smooth
        self.distance = MultiResolutionCompressedLoss((2 * hop,))

    def errors(self, estimates: Tensor, clean: Tensor) -> Tensor:
        """The distance around each frame, see :class:`LevelTeacher`."""
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

    def taught(self, decision: Decision, errors: Tensor) -> Tensor:
        """The cross-entropy to the labels, see :class:`LevelTeacher`."""
        logits, inside = decision.logits, decision.mask().squeeze(-1)
        labels = cheapest_within(errors, self.epsilon)
        missed = F.cross_entropy(
            logits.transpose(1, 2), labels, reduction="none"
        )
        return (missed * inside).sum() / inside.sum().clamp_min(1)
