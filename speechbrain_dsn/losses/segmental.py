"""The signal-dependent complexity loss of separation.

The separation DSN (arXiv 2507.06179) weighs compute by the reconstruction
error of each segment, quality standing for difficulty. Its formula is not
known; what follows is ours, and so are its constants.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

from itertools import permutations

import torch
from torch import Tensor
from torch.nn import functional as F

from speechbrain_dsn.cost import Decision, MacCount, activation
from speechbrain_dsn.losses.routing import batch_balance
from speechbrain_dsn.losses.waveform import negative_si_sdr

# A segment counts as no quieter than this share of its mixture's mean power,
# so that leaving silence silent is a success.
QUIET = 0.01


def in_best_order(estimates: Tensor, targets: Tensor) -> Tensor:
    """Estimates in the order of the targets: that of best mean SI-SDR.

    Arguments
    ---------
    estimates : Tensor
        ``[B, samples, C]``.
    targets : Tensor
        ``[B, samples, C]``.

    Returns
    -------
    Tensor
        ``[B, samples, C]``.

    Example
    -------
    >>> targets = torch.randn(2, 100, 3)
    >>> bool((in_best_order(targets[..., [2, 0, 1]], targets) == targets).all())
    True
    """
    batch, samples, count = targets.shape
    pairs = [
        x.transpose(1, 2).unsqueeze(axis).expand(-1, count, count, -1)
        for x, axis in ((estimates, 1), (targets, 2))
    ]
    # [B, target, estimate]
    loss = negative_si_sdr(*(pair.flatten(0, 2) for pair in pairs))
    loss = loss.view(batch, count, count)
    orders = torch.tensor(list(permutations(range(count)))).to(loss.device)
    index = torch.arange(count, device=loss.device)
    best = orders[loss[:, index, orders].mean(-1).argmin(1)]
    return estimates.gather(2, best.unsqueeze(1).expand(-1, samples, -1))


def segmental_si_sdr(
    estimates: Tensor, targets: Tensor, chunks: int, hop: float | None = None
) -> Tensor:
    """How well each chunk of a mixture is separated, all speakers together.

    ``10 log10 (sum_c |a_c s_c|^2 / sum_c |e_c - a_c s_c|^2)`` over the
    samples of a chunk, with the factors ``a_c`` that suit it best. A target
    that is silent in a chunk wants its estimate silent; where all are, the
    upper sum is taken as 1 % of its mean over the mixture.

    Arguments
    ---------
    estimates : Tensor
        ``[B, samples, C]`` in any order.
    targets : Tensor
        ``[B, samples, C]``.
    chunks : int
        Chunks ``S``; each is two hops long and centred on a multiple of the
        hop.
    hop : float, optional
        Samples. By default ``samples / (S - 2)``: what
        ``Dual_Path_Model`` cuts has half a chunk of silence in front and
        about as much behind it, so that a chunk may be taken for its
        neighbour.

    Returns
    -------
    Tensor
        ``[B, S]`` in dB.

    Example
    -------
    >>> targets = torch.randn(1, 800, 2)
    >>> noise = torch.zeros(1, 800, 2)
    >>> noise[:, 400:] = torch.randn(1, 400, 2)
    >>> quality = segmental_si_sdr(targets + noise, targets, 9, 100)
    >>> bool(quality[0, 1] > 60), bool(quality[0, 7] < 10)
    (True, True)
    """
    estimates = in_best_order(estimates, targets)
    hop = hop or max(1.0, targets.size(1) / max(1, chunks - 2))
    place = torch.arange(targets.size(1), device=targets.device)
    block = (place / hop).long().clamp_max(chunks - 2)

    def energy(a: Tensor, b: Tensor) -> Tensor:
        """Of the two blocks that a chunk covers, ``[B, S, C]``."""
        # The error is a small difference of large sums.
        sums = a.new_zeros(
            len(a), max(1, chunks - 1), a.size(2), dtype=torch.float64
        )
        sums = sums.index_add(1, block.clamp_min(0), (a * b).double())
        sums = F.pad(sums, (0, 0, 1, 1))
        return (sums[:, :-1] + sums[:, 1:])[:, :chunks]

    cross, power = energy(estimates, targets), energy(targets, targets)
    signal = cross.square() / power.clamp_min(1e-30)
    error = (energy(estimates, estimates) - signal).clamp_min(0).sum(-1)
    signal = signal.sum(-1)
    usual = signal.mean(1, keepdim=True)
    signal = torch.maximum(signal, QUIET * usual)
    floor = 1e-6 * usual + 1e-30
    quality = 10 * ((signal + floor) / (error + floor)).log10()
    return quality.to(targets.dtype)


class SignalDependentPrice:
    """MACs of each segment, dearer the better that is separated already.

    A chunk pays ``sigmoid((q - enough) / softness)`` times its activation,
    ``q`` being its segmental SI-SDR. The weight is detached: no estimate gets
    worse to be cheaper. So easy chunks, silent ones and those of a single
    speaker are pushed to small widths, and hard ones keep what they have.
    With a target above 0 nothing is paid while the batch uses less.

    Arguments
    ---------
    enough : float
        Segmental SI-SDR in dB from which on a chunk is to save.
    softness : float
        How many dB that takes.
    hop : float, optional
        Samples by which chunks advance, see :func:`segmental_si_sdr`.
    balance : float
        Weight of the load balance of
        :class:`~speechbrain_dsn.losses.RoutingPrice`.

    Example
    -------
    >>> cost = MacCount(0, (25, 100), one_hot=True)
    >>> wide = torch.tensor([0.0, 1.0]).expand(1, 9, 2)
    >>> sources = torch.randn(1, 800, 2)
    >>> rough = sources + torch.randn(1, 800, 2)
    >>> price = SignalDependentPrice(hop=100)
    >>> decision, target = Decision(wide, 20.0), torch.zeros(1)
    >>> paid = [
    ...     price(decision, cost, target, estimates, sources).item()
    ...     for estimates in (sources, rough)
    ... ]
    >>> paid[0] > 0.9, paid[1] < 0.2
    (True, True)
    """

    needs_signals = True

    def __init__(
        self,
        enough: float = 10.0,
        softness: float = 3.0,
        hop: float | None = None,
        balance: float = 0.0,
    ) -> None:
        if softness <= 0:
            raise ValueError(f"softness: expected dB above 0, got {softness:g}")
        self.enough, self.softness = enough, softness
        self.hop, self.balance = hop, balance

    def weight(self, estimates: Tensor, targets: Tensor, chunks: int) -> Tensor:
        """What the chunks of each item pay for a MAC.

        Arguments
        ---------
        estimates : Tensor
            ``[B, samples, C]``.
        targets : Tensor
            ``[B, samples, C]``.
        chunks : int
            Chunks ``S``.

        Returns
        -------
        Tensor
            ``[B, S]`` in 0..1, without gradient.
        """
        with torch.no_grad():
            signals = (estimates.float(), targets.float())
            quality = segmental_si_sdr(*signals, chunks, self.hop)
            return torch.sigmoid((quality - self.enough) / self.softness)

    def __call__(
        self,
        decision: Decision,
        cost: MacCount,
        target: Tensor,
        estimates: Tensor,
        targets: Tensor,
    ) -> Tensor:
        """What these choices cost.

        Arguments
        ---------
        decision : Decision
            ``[B, S, K]``, with gradient.
        cost : MacCount
            One chunk of the network.
        target : Tensor
            Mean activation that is free ``[B]``; 0 for none.
        estimates : Tensor
            ``[B, samples, C]``.
        targets : Tensor
            Sources ``[B, samples, C]``.

        Returns
        -------
        Tensor
            ``[B]``.
        """
        mask = decision.mask().squeeze(-1)
        used = decision.values @ decision.values.new_tensor(cost.shares)
        weight = self.weight(estimates, targets, used.size(1))
        price = (weight * used * mask).sum(1) / mask.sum(1).clamp_min(1)
        above = activation(decision, cost).detach().mean() > target.mean()
        return price * above + self.balance * batch_balance(decision, cost)
