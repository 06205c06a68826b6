"""From a budget to a bias on the logits.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from speechbrain_dsn.errors import InputError


@dataclass(frozen=True)
class Calibration:
    """Which bias gives which mean activation on a calibration set.

    Arguments
    ---------
    budgets : tuple of float
        Mean activations, ascending from 0 to 1.
    biases : tuple of float
        The bias for each, ascending.

    Example
    -------
    >>> calibration = Calibration.from_logits([-2.0, -1.0, 1.0, 2.0], steps=4)
    >>> calibration.bias(0.5)
    0.0
    >>> calibration.bias(1.0) > 2
    True
    """

    budgets: tuple[float, ...]
    biases: tuple[float, ...]

    def __post_init__(self) -> None:
        """Refuses tables that are not a monotone map of 0..1."""
        budgets, biases = np.array(self.budgets), np.array(self.biases)
        if (
            len(budgets) < 2
            or budgets.shape != biases.shape
            or not np.isfinite(budgets).all()
            or not np.isfinite(biases).all()
            or (np.diff(budgets) <= 0).any()
            or (np.diff(biases) < 0).any()
            or (budgets[0], budgets[-1]) != (0.0, 1.0)
        ):
            raise InputError(
                "a calibration holds as many biases as budgets, both finite "
                "and ascending, budgets from 0 to 1"
            )

    @classmethod
    def from_logits(
        cls,
        logits: Sequence[float] | np.ndarray,
        steps: int = 100,
        levels: Sequence[float] | None = None,
    ) -> Calibration:
        """The table of a set of frames, by quantiles of their logits.

        Arguments
        ---------
        logits : sequence of float
            What the policy said in every frame, without bias: one number
            each, or of a choice among widths ``[N, J]``. Choose it on valid,
            never on test.
        steps : int
            Steps of the table between 0 and 1.
        levels : sequence of float, optional
            Activations of the widths.

        Returns
        -------
        Calibration
            At budget ``b``, the mean activation of these frames is ``b``, or
            as close as the levels allow.

        Example
        -------
        >>> logits = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
        >>> table = Calibration.from_logits(logits, 4, (0.0, 0.5, 1.0))
        >>> table.bias(0.25), table.bias(0.75)
        (-0.5, 1.5)
        """
        logits = np.asarray(logits, dtype=np.float64)
        if not logits.size or not np.isfinite(logits).all():
            raise InputError(
                f"calibration needs finite logits, got {logits.size} values"
            )
        budgets = np.linspace(0, 1, steps + 1)
        if levels is None:
            biases = 0.0 - np.quantile(logits, 1 - budgets)
        else:
            at, rise = _steps_up(logits, np.asarray(levels, np.float64))
            reached = levels[0] + np.append(0, rise.cumsum() / len(logits))
            # Between two steps any bias will do: the middle is the safest.
            middle = (np.append(at[0], at) + np.append(at, at[-1])) / 2
            biases = np.interp(budgets, reached, middle)
        # The ends hold for every input, not only for this set.
        biases[0], biases[-1] = biases[0] - 1e4, biases[-1] + 1e4
        return cls(tuple(budgets.tolist()), tuple(biases.tolist()))

    @classmethod
    def from_curve(
        cls,
        biases: Sequence[float],
        activations: Sequence[float],
        steps: int = 100,
    ) -> Calibration:
        """The table of a network that was run with several biases.

        Where a gate looks at what other gates have left, its logit depends on
        the bias, and quantiles of logits do not tell what a bias gives.

        Arguments
        ---------
        biases : sequence of float
            Ascending, at least two.
        activations : sequence of float
            The mean that each gave on valid.
        steps : int
            Steps of the table between 0 and 1.

        Returns
        -------
        Calibration
            Between two biases, by interpolation.

        Example
        -------
        >>> Calibration.from_curve([-1.0, 3.0], [0.25, 0.75]).bias(0.5)
        1.0
        """
        biases = np.asarray(biases, np.float64)
        # More bias opens more, but for a few gates.
        reached = np.maximum.accumulate(np.asarray(activations, np.float64))
        keep = np.diff(reached, prepend=-1.0) > 0
        budgets = np.linspace(0, 1, steps + 1)
        table = np.interp(budgets, reached[keep], biases[keep])
        table[0], table[-1] = biases[0] - 1e4, biases[-1] + 1e4
        return cls(tuple(budgets.tolist()), tuple(table.tolist()))

    def bias(self, budget: float) -> float:
        """The bias for a budget.

        Arguments
        ---------
        budget : float
            Wanted mean activation in 0..1.

        Returns
        -------
        float
            To be added to the logits.
        """
        if not 0 <= budget <= 1:
            raise InputError(f"a budget lies in 0..1, got {budget}")
        last = len(self.budgets) - 2
        inner = slice(1, last + 1) if last > 1 else slice(None)
        if budget in (0.0, 1.0):
            return self.biases[0 if budget == 0 else -1]
        return float(np.interp(budget, self.budgets[inner], self.biases[inner]))


def budget_bias(
    name: str,
    dynamic: bool,
    calibration: Calibration | None,
    default: float | None,
    budget: float | None = None,
) -> float:
    """The bias that a model runs with, or a line that says why it cannot.

    Arguments
    ---------
    name : str
        Of the model, for messages.
    dynamic : bool
        Whether it decides.
    calibration : Calibration or None
        From budgets to biases.
    default : float or None
        The budget where none is asked for.
    budget : float, optional
        Wanted mean activation.

    Returns
    -------
    float
        To be added to the logits; 0 without any budget.

    Raises
    ------
    InputError
        If the budget is out of range, or the model has none.

    Example
    -------
    >>> table = Calibration((0.0, 0.5, 1.0), (-9.0, 2.0, 9.0))
    >>> budget_bias("tiny", True, table, None, 0.5)
    2.0
    """
    if budget is not None:
        if not 0 <= budget <= 1:
            raise InputError(
                f"budget {budget:g}: expected a number from 0 to 1"
            )
        if not dynamic:
            raise InputError(
                f"model {name} is static, all of it always runs: expected a "
                "dynamic model where a budget is given"
            )
        if calibration is None:
            raise InputError(
                f"model {name} has no calibration: expected one where a "
                "budget is given"
            )
    budget = default if budget is None else budget
    if budget is None or calibration is None:
        return 0.0
    return calibration.bias(budget)


def _steps_up(
    logits: np.ndarray, levels: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Where frames change to a wider level as the bias ``b`` rises.

    A frame takes the highest of the lines ``logit_j + b level_j``; from level
    ``i`` it goes on to the line that it meets first.

    Returns the biases, ascending, and by how much the level rises at each.
    """
    here = np.zeros(len(logits), int)
    at, rise = [], []
    frames = np.arange(len(logits))
    with np.errstate(divide="ignore", invalid="ignore"):
        for _ in range(len(levels) - 1):
            lost = logits[frames, here][:, None] - logits
            gained = levels - levels[here][:, None]
            meet = np.where(gained > 0, lost / gained, np.inf)
            # Of lines that meet in one point, the steepest.
            first = meet.min(1)
            last = len(levels) - 1 - meet[:, ::-1].argmin(1)
            moving = np.isfinite(first)
            at.append(first[moving])
            rise.append((levels[last] - levels[here])[moving])
            here = np.where(moving, last, here)
    at, rise = np.concatenate(at), np.concatenate(rise)
    order = np.argsort(at, kind="stable")
    return at[order], rise[order]
