"""A mean budget held while streaming.

A bias chosen on a calibration set gives the wanted mean on average over
signals; on one signal it may be anything. Here the bias follows the signal.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import math
from collections import deque

import numpy as np

from speechbrain_dsn.cost import MacCount
from speechbrain_dsn.errors import InputError

__all__ = ["BudgetController"]

FORCE = 1e9  # a bias that no logit outweighs


class BudgetController:
    """Chooses the bias of each frame so that the mean gate stays at a target.

    The frames that a budget leaves unspent are its credit: the sum of
    ``target - gate`` over all frames so far. The bias is an offset plus the
    credit times a gain (integral action), in units of how far the logits
    spread, so that the frames which the policy wants most are opened; the
    offset itself follows slowly. Where the credit would leave ``-limit ..
    limit`` the frame is forced shut or open. Over any ``n`` frames the number
    of open ones therefore differs from ``target * n`` by at most ``2 limit``,
    whatever the logits are; ``limit`` is half of what the tolerance allows in
    one window. No warm-up is needed.

    A single frame never costs more than an open one. A ``peak`` bounds
    shorter stretches too. All of it is ours.

    Arguments
    ---------
    target : float
        Mean activation to hold, in 0..1.
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
    ) -> None:
        if not 0 <= target <= 1:
            raise InputError(
                f"budget {target:g}: expected a number from 0 to 1"
            )
        self.target = target
        self.limit = tolerance * window * frame_rate / 2
        if self.limit < 1:
            raise InputError(
                f"tolerance {tolerance:g} over {window:g} s at {frame_rate:g} "
                "frames per second: expected at least two frames"
            )
        frames = 1 if peak is None else round(peak_window * frame_rate)
        self._most = 1 if peak is None else int(peak * frames)
        if self._most < min(frames, target * frames + 1):
            raise InputError(
                f"peak {peak:g} over {peak_window:g} s: expected room for one "
                f"frame more than the budget {target:g}"
            )
        self._recent: deque[bool] = deque(maxlen=frames - 1)
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
        gated = max(sum(cost.gated), 1)
        share = tolerance * (cost.fixed + target * gated) / gated
        return cls(target, frame_rate, min(share, tolerance), bias=bias)

    def reset(self) -> None:
        """Back to the start of a stream."""
        self._credit = 0.0
        self._offset = self._start
        self._mean, self._spread = -self._start, 1.0
        self._frames = 0
        self._recent.clear()

    @property
    def credit(self) -> float:
        """Frames that could have been opened so far and were not."""
        return self._credit

    @property
    def bias(self) -> float:
        """What to add to the next frame's logit."""
        if (
            self._credit - (1 - self.target) < -self.limit
            or sum(self._recent) >= self._most
            or self.target == 0
        ):
            return -FORCE
        if self._credit + self.target > self.limit or self.target == 1:
            return FORCE
        return self._offset + 2 * self._spread * self._credit / self.limit

    def update(self, logit: float) -> None:
        """Takes note of the frame that ran with `bias`.

        Arguments
        ---------
        logit : float
            What the policy said, without bias. NaN counts as closed.
        """
        # As the network adds them: in float32.
        is_open = bool(np.float32(logit) + np.float32(self.bias) > 0)
        self._credit += self.target - is_open
        self._recent.append(is_open)
        if not math.isfinite(logit):
            return
        self._frames += 1
        rate = max(self._rate, 1 / self._frames)
        self._mean += rate * (logit - self._mean)
        self._spread += rate * (abs(logit - self._mean) - self._spread)
        step = 4 * self._rate * self._spread
        self._offset += step * (self.target - is_open)

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
            "recent": np.array(self._recent, np.int64),
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
