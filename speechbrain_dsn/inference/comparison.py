"""Evaluations side by side: paired differences, and the static frontier.

Two systems that heard the same files differ by less than either mean is
uncertain, so differences are taken file by file before they are averaged.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from speechbrain_dsn.errors import InputError
from speechbrain_dsn.inference.scores import Evaluation
from speechbrain_dsn.inference.separation_scores import SeparationEvaluation
from speechbrain_dsn.metrics import Score, Summary, bootstrap, summarize

__all__ = [
    "above_frontier",
    "macs_saved",
    "paired_difference",
    "read_evaluations",
]


def read_evaluations(path: str | Path) -> list[Evaluation]:
    """What ``evaluate --json`` or a recipe wrote.

    Arguments
    ---------
    path : path
        JSON: one evaluation or a list of them, of enhancers or separators.

    Returns
    -------
    list of Evaluation
        In the order of the file; of separators, `SeparationEvaluation`.

    Raises
    ------
    InputError
        If it is no such file.
    """
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
        rows = found if isinstance(found, list) else [found]
        return [_kind(row).from_dict(row) for row in rows]
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    except (
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        RecursionError,
    ) as error:
        raise InputError(
            f"{path}: expected the JSON of `speechbrain-dsn evaluate`, found "
            f"something else ({type(error).__name__}: {error})"
        ) from error


def _kind(row: Mapping[str, Any]) -> type[Evaluation]:
    """Only a separator's evaluation tells the levels of its widths."""
    return SeparationEvaluation if "levels" in row else Evaluation


def paired_difference(
    one: Evaluation, other: Evaluation, metric: str
) -> Summary:
    """Mean of ``one - other`` over files, with its interval.

    Arguments
    ---------
    one, other : Evaluation
        Of the same files.
    metric : str
        Its name.

    Returns
    -------
    Summary
        In the unit of the metric.

    Raises
    ------
    InputError
        If the files or the metrics are not the same.
    """
    return _mean(_scores(one, metric) - _scores(other, metric, like=one))


def above_frontier(
    one: Evaluation, statics: Sequence[Evaluation], metric: str
) -> Summary:
    """How far a system lies above static ones at equal MACs as executed.

    Between two static systems the frontier is what their mixture would
    score: linear in MACs, file by file.

    Arguments
    ---------
    one : Evaluation
        Such as of a routed net.
    statics : sequence of Evaluation
        At least two, of the same files.
    metric : str
        Its name.

    Returns
    -------
    Summary
        Mean of the paired differences; without a value outside the range of
        MACs that the static systems span.

    Raises
    ------
    InputError
        If the files or the metrics are not the same.
    """
    statics = sorted(statics, key=lambda row: row.macs_per_second)
    own = _scores(one, metric)
    for low, high in zip(statics, statics[1:], strict=False):
        if low.macs_per_second <= one.macs_per_second <= high.macs_per_second:
            span = high.macs_per_second - low.macs_per_second
            share = (one.macs_per_second - low.macs_per_second) / max(span, 1)
            below, above = (_scores(s, metric, like=one) for s in (low, high))
            return _mean(own - (1 - share) * below - share * above)
    return _mean(np.full(len(own), math.nan))


def macs_saved(
    target: Evaluation, rows: Sequence[Evaluation], metric: str
) -> Summary:
    """MACs that a family of systems saves at the quality of another one.

    Arguments
    ---------
    target : Evaluation
        Whose mean quality is to be reached.
    rows : sequence of Evaluation
        The family, such as a routed net at several budgets; what lies
        between two of them is taken as linear.
    metric : str
        Its name, of one that rises with quality.

    Returns
    -------
    Summary
        ``1 - MACs of the family / MACs of the target``; with no value where
        the family stays below that quality.

    Raises
    ------
    InputError
        If the files or the metrics are not the same.
    """
    rows = sorted(rows, key=lambda row: row.macs_per_second)
    macs = [row.macs_per_second for row in rows]
    scores = np.stack([_scores(row, metric, like=target) for row in rows])
    wanted = _scores(target, metric)
    kept = ~np.isnan(scores).any(0) & ~np.isnan(wanted)
    scores, wanted = scores[:, kept], wanted[kept]

    def saved(pick: np.ndarray) -> float:
        means = scores[:, pick].mean(1)
        needed = _first_reach(macs, means, wanted[pick].mean())
        return 1 - needed / target.macs_per_second

    count = int(kept.sum())
    value = saved(np.arange(count)) if count else math.nan
    low, high = bootstrap(0 if math.isnan(value) else count, saved)
    return Summary(value, low, high, count, len(kept))


def _first_reach(
    macs: Sequence[float], means: np.ndarray, wanted: float
) -> float:
    """Least cost at which a piecewise linear curve reaches a value."""
    if means[0] >= wanted:
        return macs[0]
    for place in range(1, len(macs)):
        if means[place] >= wanted:
            rise = means[place] - means[place - 1]
            share = (wanted - means[place - 1]) / rise
            return macs[place - 1] + share * (macs[place] - macs[place - 1])
    return math.nan


def _scores(
    row: Evaluation, metric: str, like: Evaluation | None = None
) -> np.ndarray:
    """Enhanced score of each file ``[N]``, in the order of ``like``."""
    by_name = {file.name: file.enhanced for file in row.files}
    names = [file.name for file in (like or row).files]
    if set(names) != set(by_name):
        raise InputError(
            f"{row.label} heard {len(by_name)} files, {like.label} "
            f"{len(names)}, {len(set(names) & set(by_name))} of them the "
            "same: expected the same files"
        )
    try:
        return np.array([by_name[name][metric].value for name in names])
    except KeyError:
        raise InputError(
            f"{row.label} has no {metric}: expected one of "
            f"{', '.join(row.metrics)}"
        ) from None


def _mean(values: np.ndarray) -> Summary:
    return summarize([{"mean": Score(value)} for value in values])["mean"]
