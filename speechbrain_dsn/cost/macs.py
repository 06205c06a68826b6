"""The cost of one frame as plain integers.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace


@dataclass(frozen=True)
class MacCount:
    """MACs of one frame, linear in its gates.

    Arguments
    ---------
    fixed : int
        MACs that run in every frame.
    gated : tuple of int
        MACs added by each fully open gate ``k``.
    one_hot : bool
        Whether exactly one gate of a frame is open: a router's choice among
        widths, or how far a frame goes. The cheapest comes first, over the
        whole network; a part of it may be dear in the first choice only.
        Otherwise each gate opens on its own.
    groups : int
        Choices among equally many widths in one frame: of layers that choose
        for themselves, one after the other.

    Example
    -------
    >>> cost = MacCount(100, (60,)) + MacCount(10)
    >>> cost.at([0.5]), cost.closed, cost.open
    (140.0, 110, 170)
    >>> widths = MacCount(100, (15, 30, 60), one_hot=True)
    >>> widths.closed, widths.open, widths.levels
    (115, 160, (0.25, 0.5, 1.0))
    >>> MacCount(0, (10, 30, 20, 40), one_hot=True, groups=2).closed
    30
    """

    fixed: int = 0
    gated: tuple[int, ...] = ()
    one_hot: bool = field(default=False, repr=False)
    groups: int = field(default=1, repr=False)

    def __post_init__(self) -> None:
        """Refuses negative or fractional counts."""
        counts = (self.fixed, *self.gated)
        if any(not isinstance(c, int) or c < 0 for c in counts):
            raise ValueError(f"MACs are integers >= 0, got {counts}")
        if not self.one_hot:
            if self.groups != 1:
                raise ValueError("only choices among widths come in groups")
            return
        if not self.gated or len(self.gated) % self.groups:
            raise ValueError(
                f"{self.groups} choices among as many widths each, got "
                f"{len(self.gated)} gates"
            )

    @property
    def _choices(self) -> list[tuple[int, ...]]:
        """MACs of the widths of each choice."""
        widths = len(self.gated) // self.groups
        starts = range(0, len(self.gated), widths)
        return [self.gated[start : start + widths] for start in starts]

    @property
    def closed(self) -> int:
        """MACs of the cheapest frame: every gate closed, or the first one
        chosen."""
        return self.of_level(0) if self.one_hot else self.fixed

    @property
    def open(self) -> int:
        """MACs of the dearest frame: every gate open, or the last one
        chosen."""
        return (
            self.of_level(-1) if self.one_hot else self.fixed + sum(self.gated)
        )

    @property
    def shares(self) -> tuple[float, ...]:
        """What each gate has of the MACs that gates can add.

        The activation of a frame is ``sum_k gate[k] * shares[k]``, in 0..1:
        of one gate, its value; of a choice among widths, the utilization
        factor; of several gates, their mean weighted by cost.
        """
        span = self.open - self.fixed
        if not span:  # nothing to gain: every gate counts alike
            return (1 / max(len(self.gated), 1),) * len(self.gated)
        return tuple(count / span for count in self.gated)

    @property
    def levels(self) -> tuple[float, ...]:
        """Activations that a single frame can have, ascending, all of its
        choices alike; of several independent gates, the two ends."""
        if not self.one_hot:
            return (0.0, 1.0)
        if any(list(group) != sorted(group) for group in self._choices):
            raise ValueError(
                f"choices come in ascending order of cost, got {self.gated}"
            )
        widths = len(self.gated) // self.groups
        return tuple(sum(self.shares[k::widths]) for k in range(widths))

    def usage_at(self, activation: float) -> tuple[float, ...]:
        """Mean gates at a mean activation.

        Arguments
        ---------
        activation : float
            In 0..1.

        Returns
        -------
        tuple of float
            Each gate open as often as the others; of a choice, the two
            levels around the activation take turns.

        Example
        -------
        >>> MacCount(0, (60, 20)).usage_at(0.5)
        (0.5, 0.5)
        >>> MacCount(0, (25, 50, 100), one_hot=True).usage_at(0.75)
        (0.0, 0.5, 0.5)
        """
        if not self.one_hot:
            return (activation,) * len(self.gated)
        levels = self.levels
        upper = next((k for k, x in enumerate(levels) if x >= activation), -1)
        upper %= len(levels)
        lower = max(upper - 1, 0)
        span = levels[upper] - levels[lower]
        share = (activation - levels[lower]) / span if span else 1.0
        usage = [0.0] * len(levels)
        usage[lower] = 1 - share
        usage[upper] += share
        return tuple(usage) * self.groups

    def at_activation(self, activation: float) -> float:
        """MACs of a frame, or of a mean over frames, at an activation.

        Arguments
        ---------
        activation : float
            In 0..1.

        Returns
        -------
        float
            ``fixed + activation * (open - fixed)``.
        """
        return self.fixed + activation * (self.open - self.fixed)

    def of_level(self, level: int) -> int:
        """MACs of a frame at one of the `levels`.

        Arguments
        ---------
        level : int
            Its index, the same in all choices; a boolean says closed or
            open.

        Returns
        -------
        int
            MACs.
        """
        if self.one_hot:
            return self.fixed + sum(choice[level] for choice in self._choices)
        return self.open if level else self.closed

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

    def behind(self, gates: int) -> MacCount:
        """The cost of a part whose gates come after those of others.

        Arguments
        ---------
        gates : int
            How many gates others have.

        Returns
        -------
        MacCount
            To be added to their cost.

        Example
        -------
        >>> MacCount(1, (2,)) + MacCount(1, (3,)).behind(1)
        MacCount(fixed=2, gated=(2, 3))
        """
        return replace(self, gated=(0,) * gates + self.gated)

    def __add__(self, other: MacCount) -> MacCount:
        """Adds fixed parts and, gate by gate, gated parts."""
        both = any(self.gated) and any(other.gated)
        if both and (self.one_hot, self.groups) != (
            other.one_hot,
            other.groups,
        ):
            raise ValueError("a choice among widths and gates do not add up")
        width = max(len(self.gated), len(other.gated))
        mine = self.gated + (0,) * (width - len(self.gated))
        theirs = other.gated + (0,) * (width - len(other.gated))
        gated = tuple(a + b for a, b in zip(mine, theirs, strict=True))
        one_hot = self.one_hot or other.one_hot
        groups = max(self.groups, other.groups)
        return MacCount(self.fixed + other.fixed, gated, one_hot, groups)

    def __mul__(self, times: int) -> MacCount:
        """The cost of ``times`` positions (bins, repeats) in one frame."""
        return MacCount(
            self.fixed * times,
            tuple(c * times for c in self.gated),
            self.one_hot,
            self.groups,
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
