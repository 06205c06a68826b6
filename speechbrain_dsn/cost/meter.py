"""From decisions and declared costs to MACs per second of audio.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import torch
from torch import Tensor

from speechbrain_dsn.cost.decision import Decision
from speechbrain_dsn.cost.macs import MacCount


def macs_per_second(decision: Decision, cost: MacCount) -> Tensor:
    """MACs per second of audio of each item, as decided.

    Arguments
    ---------
    decision : Decision
        The gates of the batch.
    cost : MacCount
        The cost of one frame of the network.

    Returns
    -------
    Tensor
        ``[B]``, differentiable in the gates.

    Example
    -------
    >>> gates = torch.tensor([[[1.0], [0.0]]])
    >>> macs_per_second(Decision(gates, 10.0), MacCount(100, (60,)))
    tensor([1300.])
    """
    usage = decision.usage()
    gated = usage.new_tensor(cost.gated or (0,) * usage.size(1))
    if len(gated) != usage.size(1):
        raise ValueError(
            f"the cost has {len(gated)} gates, the decision {usage.size(1)}"
        )
    return (cost.fixed + usage @ gated) * decision.frame_rate


def activation(decision: Decision, cost: MacCount) -> Tensor:
    """Mean activation of each item: the share of what gates can add.

    Arguments
    ---------
    decision : Decision
        The gates of the batch.
    cost : MacCount
        The cost of one frame of the network.

    Returns
    -------
    Tensor
        ``[B]`` in 0..1, differentiable in the gates.

    Example
    -------
    >>> widths = MacCount(0, (25, 50, 100), one_hot=True)
    >>> chosen = torch.tensor([[[1.0, 0, 0], [0, 0, 1.0]]])
    >>> activation(Decision(chosen, 10.0), widths)
    tensor([0.6250])
    """
    usage = decision.usage()
    return usage @ usage.new_tensor(_shares(cost, usage.size(1)))


def _shares(cost: MacCount, gates: int) -> tuple[float, ...]:
    """Of a static network too: what it notes counts as one gate."""
    return cost.shares or (1 / gates,) * gates


class MacMeter:
    """Adds up decisions over a data set.

    Arguments
    ---------
    cost : MacCount
        The cost of one frame of the network that decides.

    Example
    -------
    >>> meter = MacMeter(MacCount(100, (60,)))
    >>> meter.update(Decision(torch.ones(2, 5, 1), 10.0))
    >>> meter.activation, meter.macs_per_second
    (1.0, 1600.0)
    """

    def __init__(self, cost: MacCount) -> None:
        self.cost = cost
        self.reset()

    def reset(self) -> None:
        """Forgets what was added."""
        self._open = torch.zeros(max(1, len(self.cost.gated))).double()
        self._frames = 0.0
        self._seconds = 0.0
        self.per_item: list[dict[str, float]] = []

    def update(self, decision: Decision) -> None:
        """Adds a batch.

        Arguments
        ---------
        decision : Decision
            Its gates count as they are: pass ``decision.hard()`` where only
            executed branches should count.
        """
        mask = decision.mask().double()
        frames = mask.sum((1, 2))
        self._open += (decision.values.double() * mask).sum((0, 1)).cpu()
        self._frames += float(frames.sum())
        self._seconds += float(frames.sum()) / decision.frame_rate
        rates = macs_per_second(decision, self.cost)
        usage = activation(decision, self.cost)
        for rate, use in zip(rates.tolist(), usage.tolist(), strict=True):
            self.per_item.append({"macs_per_second": rate, "activation": use})

    @property
    def usage(self) -> list[float]:
        """Mean of each gate over all valid frames."""
        return (self._open / max(self._frames, 1.0)).tolist()

    @property
    def widths(self) -> list[float]:
        """How often each width of a choice was taken, over all choices."""
        usage, groups = self.usage, self.cost.groups
        count = len(usage) // groups
        return [sum(usage[width::count]) / groups for width in range(count)]

    @property
    def activation(self) -> float:
        """Mean over frames of what the gates add, in 0..1."""
        usage = self.usage
        shares = _shares(self.cost, len(usage))
        return float(sum(u * s for u, s in zip(usage, shares, strict=True)))

    @property
    def macs_per_second(self) -> float:
        """MACs per second of audio over all valid frames."""
        if not self._frames:
            return 0.0
        gates = self.usage if self.cost.gated else []
        return self.cost.at(gates) * self._frames / self._seconds
