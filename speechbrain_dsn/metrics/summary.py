"""From scores of files to rows of a table: means, intervals, correlations.

Every mean says over how many of how many files it runs, and carries a
percentile bootstrap interval over utterances [1].

[1] B. Efron, R. J. Tibshirani, An Introduction to the Bootstrap, Chapman &
    Hall, 1993, chapter 13.

Authors
 * The speechbrain_dsn developers 2026
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from speechbrain_dsn.errors import InputError
from speechbrain_dsn.metrics.score import Score

__all__ = [
    "MetricTable",
    "Summary",
    "bootstrap",
    "pearson",
    "spearman",
    "summarize",
]

LEVEL = 0.95
RESAMPLES = 2000


@dataclass(frozen=True)
class Summary:
    """A statistic over files, with its interval.

    Arguments
    ---------
    value : float
        The mean (or correlation) over the valid files; NaN without any.
    low : float
        Lower end of the 95 % bootstrap interval; NaN below two files.
    high : float
        Upper end.
    n_valid : int
        Files that gave a value.
    n_total : int
        All files.
    median : float
        Of the valid files.
    reasons : dict[str, int]
        Why the others gave none, with counts.
    """

    value: float
    low: float
    high: float
    n_valid: int
    n_total: int
    median: float = math.nan
    reasons: dict[str, int] = field(default_factory=dict)

    def as_dict(self) -> dict:
        """Give plain values for JSON, where NaN does not exist: None."""
        return {
            key: None if value != value else value
            for key, value in asdict(self).items()
        }

    def __str__(self) -> str:
        interval = f"[{self.low:.2f}, {self.high:.2f}]"
        return f"{self.value:.2f} {interval} {self.n_valid}/{self.n_total}"


def summarize(
    rows: Iterable[Mapping[str, Score]], seed: int = 0
) -> dict[str, Summary]:
    """Sum up the scores of many files, metric by metric.

    Arguments
    ---------
    rows : Iterable[Mapping[str, Score]]
        One per file, as `evaluate_many` gives them.
    seed : int
        Of the bootstrap.

    Returns
    -------
    dict[str, Summary]
        Mean, interval, median and counts of each metric.

    Example
    -------
    >>> rows = [{"pesq": Score(value)} for value in (1.0, 2.0, 3.0)]
    >>> rows.append({"pesq": Score(math.nan, "silent estimate")})
    >>> found = summarize(rows)["pesq"]
    >>> found.value, found.n_valid, found.n_total, found.reasons
    (2.0, 3, 4, {'silent estimate': 1})
    """
    columns: dict[str, list[Score]] = {}
    for row in rows:
        for name, score in row.items():
            columns.setdefault(name, []).append(score)
    summaries = {}
    for name, scores in columns.items():
        valid = np.array(
            [score.value for score in scores if not math.isnan(score.value)]
        )
        low, high = bootstrap(
            len(valid), lambda pick, v=valid: v[pick].mean(), seed
        )
        summaries[name] = Summary(
            value=float(valid.mean()) if len(valid) else math.nan,
            low=low,
            high=high,
            n_valid=len(valid),
            n_total=len(scores),
            median=float(np.median(valid)) if len(valid) else math.nan,
            reasons=dict(
                Counter(
                    score.reason for score in scores if math.isnan(score.value)
                )
            ),
        )
    return summaries


def spearman(x: ArrayLike, y: ArrayLike, seed: int = 0) -> Summary:
    """Compute Spearman's rank correlation, with ties and without NaN pairs.

    Arguments
    ---------
    x : ArrayLike
        ``[N]``, such as the activation of each file.
    y : ArrayLike
        ``[N]``, such as the DNSMOS of its input.
    seed : int
        Of the bootstrap over pairs.

    Returns
    -------
    Summary
        From -1 to 1; NaN with fewer than 3 pairs or a constant side.

    Raises
    ------
    InputError
        If the lengths differ.

    Example
    -------
    >>> spearman([1, 2, 3, math.nan], [9, 4, 1, 0]).value
    -1.0
    """
    from scipy.stats import rankdata

    return _correlate(x, y, lambda pairs: rankdata(pairs, axis=1), seed)


def pearson(x: ArrayLike, y: ArrayLike, seed: int = 0) -> Summary:
    """Compute Pearson's correlation, without NaN pairs.

    Arguments
    ---------
    x : ArrayLike
        ``[N]``, such as predicted scores.
    y : ArrayLike
        ``[N]``, such as true ones.
    seed : int
        Of the bootstrap over pairs.

    Returns
    -------
    Summary
        From -1 to 1; NaN with fewer than 3 pairs or a constant side.

    Raises
    ------
    InputError
        If the lengths differ.

    Example
    -------
    >>> round(pearson([1, 2, 3, math.nan], [0, 0, 3, 9]).value, 3)
    0.866
    """
    return _correlate(x, y, lambda pairs: pairs, seed)


def _correlate(
    x: ArrayLike,
    y: ArrayLike,
    view: Callable[[np.ndarray], np.ndarray],
    seed: int,
) -> Summary:
    """Correlation of what a view makes of the pairs ``[2, N]``."""
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if x.ndim != 1 or x.shape != y.shape:
        raise InputError(
            f"series of shapes {x.shape} and {y.shape}: expected equal [N]"
        )
    kept = ~(np.isnan(x) | np.isnan(y))
    pairs = np.stack((x[kept], y[kept]))

    def correlation(pick: np.ndarray) -> float:
        seen = view(pairs[:, pick])
        if not np.ptp(seen, axis=1).all():
            return math.nan
        seen = seen - seen.mean(axis=1, keepdims=True)
        power = np.sum(seen**2, axis=1)
        return float(np.prod(seen, axis=0).sum() / np.sqrt(power.prod()))

    count = pairs.shape[1]
    value = correlation(np.arange(count)) if count > 2 else math.nan
    defined = not math.isnan(value)
    low, high = bootstrap(count if defined else 0, correlation, seed)
    return Summary(value, low, high, count, len(x))


class MetricTable:
    """Systems by metrics, each cell with interval and counts.

    Arguments
    ---------
    seed : int
        Of the bootstrap, the same for every row.

    Example
    -------
    >>> table = MetricTable()
    >>> table.add("noisy", [{"pesq": Score(1.5)}, {"pesq": Score(1.7)}])
    >>> table.add("enhanced", [{"pesq": Score(2.0)}], {"M MACs/s": "221"})
    >>> print(table.markdown())
    | | pesq | M MACs/s |
    | --- | --- | --- |
    | noisy | 1.60 [1.50, 1.70] 2/2 | |
    | enhanced | 2.00 [nan, nan] 1/1 | 221 |
    """

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self._rows: dict[str, dict[str, Summary | str | float]] = {}

    def add(
        self,
        label: str,
        rows: Iterable[Mapping[str, Score]],
        extra: Mapping[str, str | float] | None = None,
    ) -> None:
        """Add a system.

        Arguments
        ---------
        label : str
            Its name.
        rows : Iterable[Mapping[str, Score]]
            One per file.
        extra : Mapping[str, str or float], optional
            Further columns, such as MACs per second.
        """
        self._rows[label] = {**summarize(rows, self.seed), **(extra or {})}

    def as_dict(self) -> dict[str, dict]:
        """Give plain values for JSON: label to column to cell."""
        return {
            label: {
                name: cell.as_dict() if isinstance(cell, Summary) else cell
                for name, cell in row.items()
            }
            for label, row in self._rows.items()
        }

    def markdown(self) -> str:
        """Draw the table; the columns come in the order of first use."""
        names = list(
            dict.fromkeys(n for row in self._rows.values() for n in row)
        )
        lines = [["", *names], ["---"] * (len(names) + 1)]
        for label, row in self._rows.items():
            lines.append([label, *(str(row.get(name, "")) for name in names)])
        return "\n".join(
            "|" + "|".join(f" {cell} " if cell else " " for cell in line) + "|"
            for line in lines
        )


def bootstrap(
    count: int, statistic: Callable[[np.ndarray], float], seed: int = 0
) -> tuple[float, float]:
    """The interval of a statistic over utterances.

    Arguments
    ---------
    count : int
        Utterances.
    statistic : callable
        Of the indices ``[count]`` that were drawn, with replacement.
    seed : int
        Of the draws.

    Returns
    -------
    tuple of float
        Lower and upper end of the 95 % interval; NaN below two utterances.
    """
    if count < 2:
        return math.nan, math.nan
    values = [statistic(pick) for pick in _picks(count, seed)]
    tail = 50 * (1 - LEVEL)
    low, high = np.nanpercentile(values, [tail, 100 - tail])
    return float(low), float(high)


def _picks(count: int, seed: int) -> Iterator[np.ndarray]:
    generator = np.random.default_rng(seed)
    for _ in range(RESAMPLES):
        yield generator.integers(count, size=count)
