"""The cost of one frame as plain integers.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class MacCount:
    """MACs of one frame, linear in its gates.

    Arguments
    ---------
    fixed : int
        MACs that run in every frame.
    gated : tuple of int
        MACs added by each fully open gate ``k``.

    Example
    -------
    >>> cost = MacCount(100, (60,)) + MacCount(10)
    >>> cost.at([0.5]), cost.closed, cost.open
    (140.0, 110, 170)
    """

    fixed: int = 0
    gated: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        """Refuses negative or fractional counts."""
        counts = (self.fixed, *self.gated)
        if any(not isinstance(c, int) or c < 0 for c in counts):
            raise ValueError(f"MACs are integers >= 0, got {counts}")

    @property
    def closed(self) -> int:
        """MACs with every gate closed."""
        return self.fixed

    @property
    def open(self) -> int:
        """MACs with every gate open."""
        return self.fixed + sum(self.gated)

    def at(self, gates: Sequence[float]) -> float:
        """MACs of a frame with these gate values.

        Arguments
        ---------
        gates : sequence of float
            One value per gate, each in 0..1.

        Returns
        -------
        float
            ``fixed + sum_k gates[k] * gated[k]``.
        """
        if self.gated and len(gates) != len(self.gated):
            raise ValueError(
                f"expected {len(self.gated)} gates, got {len(gates)}"
            )
        return self.fixed + sum(
            g * c for g, c in zip(gates, self.gated, strict=False)
        )

    def __add__(self, other: MacCount) -> MacCount:
        """Adds fixed parts and, gate by gate, gated parts."""
        width = max(len(self.gated), len(other.gated))
        mine = self.gated + (0,) * (width - len(self.gated))
        theirs = other.gated + (0,) * (width - len(other.gated))
        gated = tuple(a + b for a, b in zip(mine, theirs, strict=True))
        return MacCount(self.fixed + other.fixed, gated)

    def __mul__(self, times: int) -> MacCount:
        """The cost of ``times`` positions (bins, repeats) in one frame."""
        return MacCount(
            self.fixed * times, tuple(c * times for c in self.gated)
        )

    __rmul__ = __mul__


def total(counts: Iterable[MacCount]) -> MacCount:
    """The sum of several counts.

    Arguments
    ---------
    counts : iterable of MacCount
        Costs that share their gates.

    Returns
    -------
    MacCount
        Their sum.

    Example
    -------
    >>> total([MacCount(1, (2,)), MacCount(3)])
    MacCount(fixed=4, gated=(2,))
    """
    result = MacCount()
    for count in counts:
        result = result + count
    return result
