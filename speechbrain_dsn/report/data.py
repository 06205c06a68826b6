"""The numbers that a page draws, as plain values.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from speechbrain_dsn.errors import InputError
from speechbrain_dsn.inference.scores import (
    CONDITION_TITLES,
    Evaluation,
)
from speechbrain_dsn.inference.separation_scores import (
    GAIN,
    SeparationEvaluation,
)
from speechbrain_dsn.metrics import METRICS, MetricTable

__all__ = ["check_rows", "collect", "is_separation", "metric_title"]

DIGITS = 5  # significant ones, more than anybody reads off a chart


def check_rows(rows: Sequence[Evaluation]) -> None:
    """Refuse, before any work, what does not belong on one page.

    Arguments
    ---------
    rows : sequence of Evaluation
        Of one kind, under labels of their own, of the same files.

    Raises
    ------
    InputError
        If they are not, or there is nothing to show.
    """
    if not rows or not all(row.files for row in rows):
        raise InputError("no result with a file in it: expected at least one")
    labels = [row.label for row in rows]
    if len(set(labels)) < len(labels):
        raise InputError(
            f"several results are called the same ({', '.join(labels)}): "
            "expected a name for each"
        )
    if len({is_separation(row) for row in rows}) > 1:
        raise InputError(
            "results of enhancers and of separators: expected one kind on a "
            "page"
        )
    names = [{file.name for file in row.files} for row in rows]
    for row, found in zip(rows, names, strict=True):
        if found != names[0]:
            raise InputError(
                f"{row.label} heard {len(found)} files, {labels[0]} "
                f"{len(names[0])}, {len(found & names[0])} of them the same: "
                "expected the same files"
            )


def is_separation(row: Evaluation) -> bool:
    """Whether a row is of a separator."""
    return isinstance(row, SeparationEvaluation)


def metric_title(name: str) -> str:
    """Metric and unit, for people.

    Arguments
    ---------
    name : str
        Its key.

    Returns
    -------
    str
        The key itself, if nothing else is known.

    Example
    -------
    >>> metric_title("si_sdr"), metric_title("si_sdri")
    ('SI-SDR (dB)', 'SI-SDRi (dB)')
    """
    if name == GAIN:
        return "SI-SDRi (dB)"
    if name not in METRICS:
        return name
    metric = METRICS[name]
    return f"{metric.title} ({metric.unit})" if metric.unit else metric.title


def collect(rows: Sequence[Evaluation]) -> dict[str, Any]:
    """Everything that a page shows of results.

    Arguments
    ---------
    rows : sequence of Evaluation
        See `check_rows`.

    Returns
    -------
    dict
        ``input``: the name and scores of the unprocessed signals;
        ``metrics``: key to title; ``systems``: for each row its name, cost,
        scores, lines of the table, and activation file by file;
        ``conditions``: key to title; ``files``: their names, and what they
        are like.
    """
    table = MetricTable()
    rows[0].add_noisy_to(table)
    ((name, scores),) = table.as_dict().items()
    conditions = rows[0].conditions
    names = list(dict.fromkeys(name for row in rows for name in row.metrics))
    return {
        "input": {"name": name, "scores": _short(scores)},
        "metrics": {name: metric_title(name) for name in names},
        "systems": [_system(row, rows[0]) for row in rows],
        "conditions": {name: CONDITION_TITLES[name] for name in conditions},
        "files": {
            "names": [file.name for file in rows[0].files],
            **_short(conditions),
        },
    }


def _system(row: Evaluation, first: Evaluation) -> dict[str, Any]:
    """One row; its files in the order of the first one's."""
    table = MetricTable()
    row.add_to(table)
    lines = table.as_dict()
    use = {file.name: file.activation for file in row.files}
    return _short(
        {
            "label": row.label,
            "series": row.series,
            "mmacs": row.macs_per_second / 1e6,
            "activation": row.activation,
            "rtf": row.rtf,
            "scores": {name: lines[row.label][name] for name in row.metrics},
            "lines": lines,
            "use": [use[file.name] for file in first.files],
            "widths": _widths(row),
        }
    )


def _widths(row: Evaluation) -> list[list[float]]:
    """Activation of each width of a separator, and how often it ran."""
    if not is_separation(row) or len(row.widths) < 2:
        return []
    return [list(pair) for pair in zip(row.levels, row.widths, strict=False)]


def _short(value: Any) -> Any:
    """With few digits, and None where there is no number."""
    if isinstance(value, dict):
        return {key: _short(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_short(each) for each in value]
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None
    return value
