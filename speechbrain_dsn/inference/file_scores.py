"""What an evaluation found out about one file, also as JSON.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from speechbrain_dsn.metrics import Score

__all__ = ["FileScores", "Scores", "number", "plain", "scores_of"]

Scores = dict[str, Score]


@dataclass(frozen=True)
class FileScores:
    """One line of an evaluation.

    Arguments
    ---------
    name : str
        Of the pair.
    seconds : float
        Duration.
    activation : float
        Mean gate; 1 for a static model.
    macs_per_second : float
        As executed.
    noisy : dict of str to Score
        Of the input.
    enhanced : dict of str to Score
        Of the output.
    snr_db : float, optional
        Of the input, where it is known.
    error : str, optional
        What was wrong with the files; nothing could be measured then.
    """

    name: str
    seconds: float
    activation: float
    macs_per_second: float
    noisy: Scores
    enhanced: Scores
    snr_db: float | None = None
    error: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; None where there is no value."""
        return {
            "name": self.name,
            "seconds": self.seconds,
            "snr_db": self.snr_db,
            "activation": plain(self.activation),
            "macs_per_second": plain(self.macs_per_second),
            "metrics": {
                name: {
                    "noisy": plain(self.noisy[name].value),
                    "enhanced": plain(score.value),
                    "reason": score.reason or self.noisy[name].reason,
                }
                for name, score in self.enhanced.items()
            },
            "error": self.error,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> FileScores:
        """What `as_dict` gave, again."""
        return cls(**cls._fields(values), snr_db=values["snr_db"])

    @staticmethod
    def _fields(values: Mapping[str, Any]) -> dict[str, Any]:
        """What `as_dict` of every kind of file holds."""
        return {
            "name": str(values["name"]),
            "seconds": number(values["seconds"]),
            "activation": number(values["activation"]),
            "macs_per_second": number(values["macs_per_second"]),
            "noisy": scores_of(values["metrics"], "noisy"),
            "enhanced": scores_of(values["metrics"], "enhanced"),
            "error": values["error"],
        }


def plain(value: float) -> float | None:
    """None for NaN, which JSON does not know."""
    return None if math.isnan(value) else value


def number(value: float | None) -> float:
    """NaN for None: what `plain` made, again."""
    if value is None:
        return math.nan
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"expected a number, found {value!r}")
    return value


def scores_of(metrics: Mapping[str, Mapping[str, Any]], side: str) -> Scores:
    """One side of the scores in JSON.

    Arguments
    ---------
    metrics : mapping
        Metric to its values by side, and the ``reason`` where one is missing.
    side : str
        Such as ``enhanced``.

    Returns
    -------
    Scores
        With the reason where there is no value.
    """
    found = {}
    for name, values in metrics.items():
        value = number(values[side])
        reason = values["reason"] if math.isnan(value) else None
        found[name] = Score(value, reason)
    return found
