"""What the choices of a router are expected to cost in quality.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from speechbrain_dsn.cost import Decision, MacCount
from speechbrain_dsn.losses.routing import RoutingPrice


class ExpectedDistortion:
    """Teaches a router what its choices do to the SI-SDR, without sampling.

    All levels are run. Where a frame's choice changes hardly anything but
    this frame, the distortion of a clip is the sum over its frames of what
    each has at its level, and its expectation for choices ``p``, the softmax
    of the logits, is ``sum_t sum_j p_j(t) e_j(t)``. The router pays this in
    dB, and the price of the choices that it made. Choices drawn by Gumbel
    noise tell of one level each, in a sum over all frames; here every frame
    hears what every level would have given it.

    The term is ours: slimmable DEMUCS (arXiv 2507.04879) has a stage in which
    the router is trained first, and does not say by what.

    Arguments
    ---------
    weight : float
        Of the distortion, per dB.
    price : RoutingPrice, optional
        What the choices cost besides; by default nothing does.
    hop : int
        Samples per frame.
    delay : int
        Samples by which the output of the network lags behind its input.
    joint : bool
        Whether the router is taught so while the network learns as well, too.
        Running all levels doubles the time of a step; by default the router
        hears of quality through the signal loss then, and pays the price.

    Example
    -------
    >>> import torch
    >>> loss, clean = ExpectedDistortion(hop=100), torch.randn(2, 1000)
    >>> errors = loss.errors(torch.stack([0.5 + clean, clean]), clean)
    >>> errors.shape, bool((errors[..., 0] > errors[..., 1]).all())
    (torch.Size([2, 10, 2]), True)
    """

    compares_levels = True

    def __init__(
        self,
        weight: float = 1.0,
        price: RoutingPrice | None = None,
        hop: int = 256,
        delay: int = 0,
        joint: bool = False,
    ) -> None:
        if weight < 0 or hop < 1 or delay < 0:
            raise ValueError(
                f"weight and delay are 0 or more and hop at least 1, got "
                f"{weight}, {delay} and {hop}"
            )
        self.weight, self.price = weight, price
        self.hop, self.delay, self.joint = hop, delay, joint

    def errors(self, estimates: Tensor, clean: Tensor) -> Tensor:
        """Energy of the distortion of each frame at each level.

        As SI-SDR does it, the clean signal is scaled to the part of it that
        an estimate has, here that of the dearest level.

        Arguments
        ---------
        estimates : Tensor
            With all frames at one level ``[J, B, samples]``.
        clean : Tensor
            ``[B, samples]``.

        Returns
        -------
        Tensor
            Shares of the energy of the wanted part, ``[B, T, J]``.
        """
        energy = clean.square().sum(1).clamp_min(1e-8)
        scale = (estimates[-1] * clean).sum(1) / energy
        wanted = scale.unsqueeze(1) * clean
        missing = -(clean.size(1) + self.delay) % self.hop
        distortion = F.pad(estimates - wanted, (self.delay, missing))
        frames = distortion.unflatten(2, (-1, self.hop)).square().sum(3)
        energy = wanted.square().sum(1).clamp_min(1e-8)
        return (frames / energy.unsqueeze(1)).permute(1, 2, 0)

    def __call__(
        self,
        decision: Decision,
        cost: MacCount,
        target: Tensor,
        errors: Tensor | None = None,
    ) -> Tensor:
        """What these choices are expected to cost.

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
        price = self.price or _free
        if errors is None:
            return price(decision, cost, target)
        chances = decision.logits.float().softmax(-1)
        chosen = (chances * errors[:, : chances.size(1)]).sum(2)
        total = (chosen * decision.mask().squeeze(-1)).sum(1)
        loss = self.weight * 10 * (total + 1e-8).log10().mean()
        return loss + price(decision, cost, target)


def _free(decision: Decision, *_) -> Tensor:
    """No price."""
    return 0 * decision.values.sum()
