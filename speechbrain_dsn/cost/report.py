"""Where the MACs are: a table per layer.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from speechbrain_dsn.cost.macs import MacCount, total


@dataclass(frozen=True)
class CostReport:
    """Costs of the named layers of a network.

    Arguments
    ---------
    layers : mapping of str to MacCount
        One frame of each layer.
    frame_rate : float
        Frames per second.

    Example
    -------
    >>> report = CostReport({"a": MacCount(100), "b": MacCount(0, (60,))}, 10)
    >>> report.macs_per_second(0.5)
    1300.0
    >>> print(report.table([0.5]))
    layer       M MAC/s  share    closed      open
    a             0.001  76.9%     0.001     0.001
    b             0.000  23.1%     0.000     0.001
    total         0.001 100.0%     0.001     0.002
    """

    layers: Mapping[str, MacCount]
    frame_rate: float

    @property
    def cost(self) -> MacCount:
        """The whole network, one frame."""
        return total(self.layers.values())

    def macs_per_second(self, activation: float) -> float:
        """MACs per second of audio at a mean activation.

        Arguments
        ---------
        activation : float
            In 0..1.

        Returns
        -------
        float
            MACs per second.
        """
        return self.cost.at_activation(activation) * self.frame_rate

    def table(self, gates: list[float]) -> str:
        """The report as text.

        Arguments
        ---------
        gates : list of float
            Mean of each gate.

        Returns
        -------
        str
            One line per layer in M MAC/s, with its share of the total.
        """
        scale = self.frame_rate / 1e6
        rows = [*self.layers.items(), ("total", self.cost)]
        whole = max(self.cost.at(gates), 1)
        width = max(len(name) for name, _ in rows)
        lines = [
            f"{'layer':<{width}}  {'M MAC/s':>11}  share    closed      open"
        ]
        for name, cost in rows:
            used = cost.at(gates[: len(cost.gated)])
            lines.append(
                f"{name:<{width}}  {used * scale:>11.3f} "
                f"{used / whole:>6.1%} {cost.closed * scale:>9.3f} "
                f"{cost.open * scale:>9.3f}"
            )
        return "\n".join(lines)
