"""What the choices of a router are expected to cost in quality.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from speechbrain_dsn.cost import Decision
from speechbrain_dsn.losses.levels import LevelTeacher
from speechbrain_dsn.losses.routing import RoutingPrice


class ExpectedDistortion(LevelTeacher):
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
        super().__init__(weight, price, joint)
        self.hop, self.delay = hop, delay

    def errors(self, estimates: Tensor, clean: Tensor) -> Tensor:
        """Energy of the distortion of each frame, as a share of that of the
        wanted part, see :class:`LevelTeacher`.

        As SI-SDR does it, the clean signal is scaled to the part of it that
        an estimate has, here that of the dearest level.
        """
        energy = clean.square().sum(1).clamp_min(1e-8)
        scale = (estimates[-1] * clean).sum(1) / energy
        wanted = scale.unsqueeze(1) * clean
        missing = -(clean.size(1) + self.delay) % self.hop
        distortion = F.pad(estimates - wanted, (self.delay, missing))
        frames = distortion.unflatten(2, (-1, self.hop)).square().sum(3)
        energy = wanted.square().sum(1).clamp_min(1e-8)
        return (frames / energy.unsqueeze(1)).permute(1, 2, 0)

    def taught(self, decision: Decision, errors: Tensor) -> Tensor:
        """The expected distortion in dB, see :class:`LevelTeacher`."""
        chances = decision.logits.float().softmax(-1)
        chosen = (chances * errors).sum(2)
        total = (chosen * decision.mask().squeeze(-1)).sum(1)
        return 10 * (total + 1e-8).log10().mean()
