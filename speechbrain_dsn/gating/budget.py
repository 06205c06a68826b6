"""A mean budget held while streaming.

A bias chosen on a calibration set gives the wanted mean on average over
signals; on one signal it may be anything. Here the bias follows the signal.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np

from speechbrain_dsn.cost import MacCount
from speechbrain_dsn.errors import InputError

__all__ = ["BudgetController", "chosen_levels", "open_gates"]

FORCE = 1e9  # a bias that no logit outweighs


def chosen_levels(
    logits: np.ndarray, levels: Sequence[float], bias: np.ndarray | float = 0.0
) -> np.ndarray:
    """At which level a network runs the frames that have these logits.

    What :func:`~speechbrain_dsn.gating.decided` says, as an index and without
    torch: the largest of ``logits + bias * levels``, the lower level in a
    draw. A single gate is the choice between 0 and its logit.

    Arguments
    ---------
    logits : np.ndarray
        ``[N, K]``, one per level, or of a gate with two levels only one.
        Frames with a NaN take the lowest.
    levels : sequence of float
        Activations that a frame can have, ascending.
    bias : np.ndarray or float
        The run-time compute knob, ``[N]`` or one number.

    Returns
    -------
    np.ndarray
        Indices ``[N]``.

    Example
    -------
    >>> chosen_levels(np.array([[0.5], [-0.5]]), (0.0, 1.0))
    array([1, 0])
    >>> chosen_levels(np.array([[2.0, 1.0, 1.5]]), (0.2, 0.5, 1.0), 1.0)
    array([2])
    """
    # As networks add them: in float32.
    bias = np.asarray(bias, np.float32).reshape(-1, 1)
    lines = _lines(logits, levels) + bias * np.asarray(levels, np.float32)
    unknown = np.isnan(lines).any(1)
    return np.where(unknown, 0, lines.argmax(1))


def open_gates(
    logits: np.ndarray, cost: MacCount, bias: np.ndarray | float = 0.0
) -> np.ndarray:
    """What :func:`~speechbrain_dsn.gating.decided` says, without torch.

    Arguments
    ---------
    logits : np.ndarray
        ``[N, K]``. Frames with a NaN take the lowest level.
    cost : MacCount
        One frame of the network.
    bias : np.ndarray or float
        The run-time compute knob, ``[N]`` or one number.

    Returns
    -------
    np.ndarray
        Booleans ``[N, K]``.

    Example
    -------
    >>> open_gates(np.array([[0.5, -0.5]]), MacCount(0, (1, 1)))
    array([[ True, False]])
    """
    if cost.one_hot:
        levels = chosen_levels(logits, cost.levels, bias)
        return levels[:, None] == np.arange(len(cost.levels))
    bias = np.asarray(bias, np.float32).reshape(-1, 1)
    return np.asarray(logits, np.float32) + bias > 0


def _lines(logits: np.ndarray, levels: Sequence[float]) -> np.ndarray:
    """A logit per level, float32 ``[N, J]``."""
    logits = np.asarray(logits, np.float32)
    if logits.shape[1] == 1:
        logits = np.concatenate((np.zeros_like(logits), logits), 1)
    if logits.shape[1] != len(levels):
        raise ValueError(
            f"{logits.shape[1]} logits per frame, expected {len(levels)}"
        )
    return logits


class BudgetController:
    """Chooses the bias of each frame so that the mean activation stays at a
    target.

    What a budget leaves unspent is its credit: the sum of ``target -
    activation`` over all frames so far. The bias is an offset plus the credit
    times a gain (integral action), in units of how far the logits spread, so
    that the frames which the policy wants most get more; the offset itself
    follows slowly. Where the credit would leave ``-limit .. limit`` the frame
    is forced to its lowest or highest level. Over any ``n`` frames the sum of
    activations therefore differs from ``target * n`` by at most ``2 limit``,
    whatever the logits are; ``limit`` is half of what the tolerance allows in
    one window. No warm-up is needed.

    A gate is open or closed, a choice among widths has more levels; nothing
    else differs. A single frame never costs more than an open one. A ``peak``
    bounds shorter stretches too. All of it is ours.

    Arguments
    ---------
    target : float
        Mean activation to hold, in 0..1; below the lowest level it is that.
    frame_rate : float
        Frames per second.
    tolerance : float
        How far the mean over a window may lie from the target.
    window : float
        Seconds over which it has to hold.
    peak : float, optional
        Largest mean activation over any ``peak_window``, above the target.
    peak_window : float
        In seconds.
    bias : float
        Where the offset starts: what a calibration says.
    levels : sequence of float
        Activations that a frame can have, ascending up to 1.
    shares : sequence of float, optional
        Of several independent gates, what each adds to the activation.

    Example
    -------
    >>> controller = BudgetController(0.5, frame_rate=62.5)
    >>> gates = []
    >>> for logit in np.random.default_rng(0).normal(3, 2, 1000):
    ...     gates.append(logit + controller.bias > 0)
    ...     controller.update(logit)
    >>> bool(abs(np.mean(gates[-625:]) - 0.5) <= 0.05)
    True
    """

    def __init__(
        self,
        target: float,
        frame_rate: float,
        tolerance: float = 0.05,
        window: float = 10.0,
        peak: float | None = None,
        peak_window: float = 1.0,
        bias: float = 0.0,
        levels: Sequence[float] = (0.0, 1.0),
        shares: Sequence[float] | None = None,
    ) -> None:
        if not 0 <= target <= 1:
            raise InputError(
                f"budget {target:g}: expected a number from 0 to 1"
            )
        self.levels = tuple(levels)
        self._shares = None if shares is None else np.asarray(shares)
        self.target = target = max(target, self.levels[0])
        self.limit = tolerance * window * frame_rate / 2
        if self.limit < 1:
            raise InputError(
                f"tolerance {tolerance:g} over {window:g} s at {frame_rate:g} "
                "frames per second: expected at least two frames"
            )
        frames = 1 if peak is None else round(peak_window * frame_rate)
        self._most = 1 if peak is None else peak * frames
        if self._most < min(frames, target * frames + 1):
            raise InputError(
                f"peak {peak:g} over {peak_window:g} s: expected room for one "
                f"frame more than the budget {target:g}"
            )
        self._recent: deque[float] = deque(maxlen=frames - 1)
        # The first level above the target.
        self._above = int(np.searchsorted(self.levels, target, "right"))
        self._rate = 1 / (window * frame_rate)
        self._start = float(bias)
        self.reset()

    @classmethod
    def for_cost(
        cls,
        target: float,
        frame_rate: float,
        cost: MacCount,
        bias: float = 0.0,
        tolerance: float = 0.05,
    ) -> BudgetController:
        """A controller whose tolerance is a share of the MACs.

        Arguments
        ---------
        target : float
            Mean activation to hold.
        frame_rate : float
            Frames per second.
        cost : MacCount
            Of one frame.
        bias : float
            Where the offset starts.
        tolerance : float
            How far MACs per second over any 10 s may lie from those at the
            target, relative to these.

        Returns
        -------
        BudgetController
            With the tolerance of the gate that this comes to.
        """
        span = max(cost.open - cost.fixed, 1)
        macs = cost.at_activation(max(target, cost.levels[0]))
        share = min(tolerance * macs / span, tolerance)
        several = len(cost.gated) > 1 and not cost.one_hot
        return cls(
            target,
            frame_rate,
            share,
            bias=bias,
            levels=cost.levels,
            shares=cost.shares if several else None,
        )

    def reset(self) -> None:
        """Back to the start of a stream."""
        self._credit = 0.0
        self._offset = self._start
        self._mean, self._spread = -self._start, 1.0
        self._frames = 0
        # As if all before had been at the lowest level.
        self._recent.extend([self.levels[0]] * (self._recent.maxlen or 0))

    @property
    def credit(self) -> float:
        """Activation that could have been spent so far and was not, in open
        frames."""
        return self._credit

    @property
    def bias(self) -> float:
        """The knob for the next frame: what its levels are multiplied by
        before they are added to the logits."""
        lowest = self.levels[0]
        if (
            self._credit - (1 - self.target) < -self.limit
            or sum(self._recent) + 1 > self._most + 1e-9
            or self.target == lowest
        ):
            return -FORCE
        if self._credit + self.target - lowest > self.limit or self.target == 1:
            return FORCE
        return self._offset + 2 * self._spread * self._credit / self.limit

    def update(self, logits: np.ndarray | float) -> None:
        """Takes note of the frame that ran with `bias`.

        Arguments
        ---------
        logits : np.ndarray or float
            What the policy said, without bias ``[K]``. With a NaN the frame
            ran at its lowest level.
        """
        row = np.reshape(logits, (1, -1))
        level = self._activation(row)
        self._credit += self.target - level
        self._recent.append(level)
        if not np.isfinite(row).all() or self._above == len(self.levels):
            return
        wish = self._wish(row)
        self._frames += 1
        rate = max(self._rate, 1 / self._frames)
        self._mean += rate * (wish - self._mean)
        self._spread += rate * (abs(wish - self._mean) - self._spread)
        step = 4 * self._rate * self._spread
        self._offset += step * (self.target - level)

    def _activation(self, row: np.ndarray) -> float:
        """That of a frame with these logits."""
        if self._shares is None:
            chosen = chosen_levels(row, self.levels, self.bias)
            return self.levels[int(chosen[0])]
        opened = row[0].astype(np.float32) + np.float32(self.bias) > 0
        return float(self._shares @ opened)

    def _wish(self, row: np.ndarray) -> float:
        """How much a frame wants more than the target: minus the bias at
        which it would get it; of a gate, its logit."""
        if self._shares is not None:
            order = (-row[0]).argsort()
            reached = self._shares[order].cumsum() < self.target
            return float(row[0, order[min(reached.sum(), len(order) - 1)]])
        lines = _lines(row, self.levels)[0].astype(np.float64)
        low, high = np.split(lines, [self._above])
        levels_low, levels_high = np.split(self.levels, [self._above])
        # A level above wins once it is over all that are below.
        rise = levels_high[:, None] - levels_low
        return float(((high[:, None] - low) / rise).min(1).max())

    def arrays(self) -> dict[str, np.ndarray]:
        """A copy of the state, by name."""
        numbers = (
            self._credit,
            self._offset,
            self._mean,
            self._spread,
            self._frames,
        )
        return {
            "numbers": np.array(numbers, np.float64),
            "recent": np.array(self._recent, np.float64),
        }

    def load(self, arrays: dict[str, np.ndarray]) -> None:
        """Goes on from a state that `arrays` gave.

        Arguments
        ---------
        arrays : dict
            By name.
        """
        numbers = arrays["numbers"].tolist()
        self._credit, self._offset, self._mean, self._spread = numbers[:4]
        self._frames = int(numbers[4])
        self._recent.clear()
        self._recent.extend(arrays["recent"].tolist())
