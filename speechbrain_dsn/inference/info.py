"""What a stream has to know of its model, and what is known of a stream.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from speechbrain_dsn.cost import MacCount
from speechbrain_dsn.gating import Calibration, budget_bias
from speechbrain_dsn.gating.budget import open_gates
from speechbrain_dsn.pretrained import LoadedModel

__all__ = ["StreamInfo", "Usage"]


@dataclass(frozen=True)
class StreamInfo:
    """What a stream has to know of its model.

    Arguments
    ---------
    name : str
        Of the model.
    sample_rate : int
        In Hz.
    hop : int
        Samples that a stream advances by.
    delay : int
        Samples by which the output of a hop lags behind its input.
    frame_rate : float
        Hops per second.
    dynamic : bool
        Whether the model decides.
    cost : MacCount
        MACs of one frame.
    calibration : Calibration, optional
        From budgets to biases.
    default_budget : float, optional
        Used where none is asked for.
    """

    name: str
    sample_rate: int
    hop: int
    delay: int
    frame_rate: float
    dynamic: bool
    cost: MacCount
    calibration: Calibration | None = None
    default_budget: float | None = None

    @classmethod
    def of(cls, model: LoadedModel) -> StreamInfo:
        """The facts of a loaded model.

        Arguments
        ---------
        model : LoadedModel
            Any.

        Returns
        -------
        StreamInfo
            Its own.

        Raises
        ------
        InputError
            If the model does not stream.
        """
        model.expect("enhancement")
        config, enhancer = model.config, model.enhancer
        return cls(
            config.name,
            config.sample_rate,
            enhancer.hop,
            enhancer.delay,
            enhancer.report().frame_rate,
            enhancer.dynamic,
            enhancer.cost,
            config.calibration,
            config.default_budget,
        )

    def bias(self, budget: float | None = None) -> float:
        """What is added to the logits.

        Arguments
        ---------
        budget : float, optional
            Wanted mean activation in 0..1; the model's default without it.

        Returns
        -------
        float
            0 for a model that does not decide or has no default.

        Raises
        ------
        InputError
            If the budget is out of range, or the model has none.
        """
        return budget_bias(
            self.name,
            self.dynamic,
            self.calibration,
            self.default_budget,
            budget,
        )

    @property
    def logits(self) -> int:
        """Logits per frame: one of a gate, and of a static model."""
        return max(1, len(self.cost.gated))

    @property
    def shares(self) -> tuple[float, ...]:
        """What each gate adds to the activation; a static model counts as
        one that is always open."""
        return self.cost.shares or (1.0,)

    def gates(
        self, logits: np.ndarray, biases: np.ndarray | float
    ) -> np.ndarray:
        """Which gates were open.

        Arguments
        ---------
        logits : np.ndarray
            Of a lane ``[n, K]``.
        biases : np.ndarray or float
            That it was given ``[n]``.

        Returns
        -------
        np.ndarray
            Booleans ``[n, K]``.
        """
        return open_gates(logits, self.cost, biases)

    def macs_per_second(self, activation: float) -> float:
        """MACs per second of audio at a mean activation."""
        return self.cost.at_activation(activation) * self.frame_rate


class Usage:
    """How often each gate was open.

    Arguments
    ---------
    shares : sequence of float
        What each adds to the activation of a frame.

    Example
    -------
    >>> usage = Usage((0.25, 0.5, 1.0))
    >>> usage.add(np.eye(3)[[0, 2, 1, 1]] > 0)
    >>> usage.frames, usage.opened, usage.activation
    (4, 2.25, 0.5625)
    """

    def __init__(self, shares: Sequence[float]) -> None:
        self._shares = np.asarray(shares, np.float64)
        self.counts = np.zeros(len(shares), np.int64)
        self.frames = 0

    def add(self, gates: np.ndarray) -> None:
        """Adds frames.

        Arguments
        ---------
        gates : np.ndarray
            Booleans ``[n, K]``.
        """
        self.counts += gates.sum(0)
        self.frames += len(gates)

    @property
    def opened(self) -> float:
        """Sum of their activations; of a gate, how many were open."""
        return float(self.counts @ self._shares)

    @property
    def activation(self) -> float:
        """Mean activation of all frames so far."""
        return self.opened / self.frames if self.frames else 0.0

    def arrays(self) -> np.ndarray:
        """All counts, to be given to `load`."""
        return np.append(self.counts, self.frames)

    def load(self, counts: np.ndarray) -> None:
        """Goes on from what `arrays` gave.

        Arguments
        ---------
        counts : np.ndarray
            Of as many gates.
        """
        self.counts, self.frames = counts[:-1].copy(), int(counts[-1])
