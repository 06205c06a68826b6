"""What a metric gives, and the one policy for signals it cannot judge.

A `Measure` is one computation that yields one or more named metrics (three
DNSMOS scores come out of one network). It never fails on a bad signal: it
gives NaN together with the reason, so that averages can say over how many
files they run. Silence, for one, would otherwise enter them as a PESQ of -7,
a STOI of 0 or an SI-SDR of -94 dB. A wrong sampling rate or unequal lengths
are mistakes of the caller and raise.

Authors
 * The speechbrain_dsn developers 2026
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from speechbrain_dsn.errors import InputError

__all__ = ["Measure", "Score", "Unmeasurable"]

# Below the last bit of 24-bit audio, once the mean is removed, is silence.
SILENCE = 2.0**-24


class Score(NamedTuple):
    """A metric's value, or NaN and the reason why there is none.

    Arguments
    ---------
    value : float
        Finite, or NaN.
    reason : str or None
        None exactly if the value is finite.
    """

    value: float
    reason: str | None = None


class Unmeasurable(Exception):
    """Raised by a computation that meets a signal it has no value for."""


@dataclass(frozen=True)
class Measure:
    """A computation of metrics, guarded against bad signals.

    Calling it gives one `Score` per name. The checks, in this order: empty or
    too short, NaN or Inf, silence, samples out of range, and at the end a
    value that is not finite.

    Arguments
    ---------
    names : tuple[str, ...]
        What it yields, in the order of ``compute``.
    compute : Callable
        ``(reference [T], estimate [T], sample_rate)`` to one float per name
        (a bare float for one name); may raise `Unmeasurable`.
    needs_reference : bool
        If False, the reference is ignored and may be None.
    sample_rates : tuple[int, ...]
        The only rates that it is defined for, in Hz; any if there is none.
    min_seconds : float
        Shortest signal that it is defined for.
    max_peak : float
        Largest magnitude of a sample that it is defined for.
    require : Callable, optional
        Raises an `InputError` if a package is missing; for asking before
        long work starts.

    Example
    -------
    >>> power = Measure(("power",), lambda r, e, rate: np.mean(e**2), False)
    >>> power(None, np.array([0.5, -0.5]), 16000)
    {'power': Score(value=0.25, reason=None)}
    >>> power(None, np.zeros(100), 16000)["power"].reason
    'silent estimate'
    """

    names: tuple[str, ...]
    compute: Callable[[np.ndarray | None, np.ndarray, int], ArrayLike]
    needs_reference: bool = True
    sample_rates: tuple[int, ...] = ()
    min_seconds: float = 0.0
    max_peak: float = math.inf
    require: Callable[[], object] = lambda: None

    def __call__(
        self,
        reference: np.ndarray | None,
        estimate: np.ndarray,
        sample_rate: int,
    ) -> dict[str, Score]:
        """Compute the metrics, or say why they cannot be.

        Arguments
        ---------
        reference : np.ndarray or None
            Clean signal ``[T]``, floats.
        estimate : np.ndarray
            Signal to be judged ``[T]``, floats.
        sample_rate : int
            Of both, in Hz.

        Returns
        -------
        dict[str, Score]
            One for each of ``names``.

        Raises
        ------
        InputError
            If the rate, the dimensions, the type or the lengths are wrong.
        """
        if self.sample_rates and sample_rate not in self.sample_rates:
            defined = " or ".join(map(str, self.sample_rates))
            raise InputError(
                f"{self.names[0]} is defined at {defined} Hz, found "
                f"{sample_rate} Hz: resample the signals first"
            )
        signals = {"estimate": _checked(estimate, "estimate", self.names[0])}
        if self.needs_reference:
            signals["reference"] = _checked(
                reference, "reference", self.names[0]
            )
            if len(signals["reference"]) != len(signals["estimate"]):
                raise InputError(
                    f"{self.names[0]}: reference of "
                    f"{len(signals['reference'])} and estimate of "
                    f"{len(signals['estimate'])} samples: expected equal "
                    "lengths"
                )
        reason = self._objection(signals, sample_rate)
        if reason is not None:
            return dict.fromkeys(self.names, Score(math.nan, reason))
        try:
            values = self.compute(
                signals.get("reference"), signals["estimate"], sample_rate
            )
        except Unmeasurable as error:
            return dict.fromkeys(self.names, Score(math.nan, str(error)))
        return {
            name: _finite(float(value))
            for name, value in zip(
                self.names, np.atleast_1d(values), strict=True
            )
        }

    def _objection(
        self, signals: dict[str, np.ndarray], sample_rate: int
    ) -> str | None:
        """Find the first reason not to measure these signals."""
        length = len(signals["estimate"])
        if length == 0 or length < self.min_seconds * sample_rate:
            return (
                f"too short: {length} samples, {length / sample_rate:.3f} s"
                f" (at least {self.min_seconds} s)"
            )
        for name, signal in signals.items():
            if not np.isfinite(signal).all():
                return f"NaN or Inf in the {name}"
        for name, signal in signals.items():
            if np.abs(signal - signal.mean()).max() < SILENCE:
                return f"silent {name}"
        peak = np.abs(signals["estimate"]).max()
        if peak > self.max_peak:
            return (
                f"estimate peaks at {peak:.3f}, out of "
                f"[-{self.max_peak}, {self.max_peak}]"
            )
        return None


def _checked(signal: np.ndarray | None, name: str, metric: str) -> np.ndarray:
    """Refuse what is no signal; give it in double precision."""
    if signal is None:
        raise InputError(f"{metric} needs a {name}: found None")
    signal = np.asarray(signal)
    if signal.ndim != 1 or not np.issubdtype(signal.dtype, np.floating):
        raise InputError(
            f"{metric}: {name} of shape {signal.shape} and type "
            f"{signal.dtype}: expected floats [T]"
        )
    return signal.astype(np.float64)


def _finite(value: float) -> Score:
    if math.isfinite(value):
        return Score(value)
    return Score(math.nan, f"the value is {value}")
