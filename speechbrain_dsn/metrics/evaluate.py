"""Metrics by name: for one pair of signals, and for many files at once.

Authors
 * The speechbrain_dsn developers 2026
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType

import numpy as np
from tqdm import tqdm

from speechbrain_dsn.dataio.audio import read_audio
from speechbrain_dsn.errors import InputError
from speechbrain_dsn.metrics.composite import COMPOSITE
from speechbrain_dsn.metrics.dnsmos import DNSMOS
from speechbrain_dsn.metrics.intrusive import (
    ESTOI,
    PESQ,
    PESQ_NB,
    SI_SDR,
    STOI,
)
from speechbrain_dsn.metrics.pool import map_in_processes
from speechbrain_dsn.metrics.score import Measure, Score

__all__ = [
    "METRICS",
    "Job",
    "Metric",
    "evaluate_many",
    "evaluate_pair",
    "require_metrics",
]

Signal = str | Path | np.ndarray


@dataclass(frozen=True)
class Metric:
    """What a reader of a table must know of a metric.

    Calling it scores one pair: ``METRICS["pesq"](clean, estimate, 16000)``.

    Arguments
    ---------
    name : str
        Key in tables and files.
    title : str
        For people.
    low : float
        Lower end of its scale.
    high : float
        Upper end of its scale.
    needs_reference : bool
        Whether a clean signal is needed.
    unit : str
        Empty for opinion scores and ratios.
    higher_is_better : bool
        So far, of every metric here.
    """

    name: str
    title: str
    low: float
    high: float
    needs_reference: bool = True
    unit: str = ""
    higher_is_better: bool = True

    def __call__(
        self,
        reference: np.ndarray | None,
        estimate: np.ndarray,
        sample_rate: int,
    ) -> Score:
        """Score one pair; see `evaluate_pair`."""
        scores = evaluate_pair(reference, estimate, sample_rate, [self.name])
        return scores[self.name]


METRICS = MappingProxyType(
    {
        metric.name: metric
        for metric in (
            Metric("pesq", "PESQ-WB", 1.04, 4.64),
            Metric("pesq_nb", "PESQ-NB", 1.02, 4.55),
            Metric("stoi", "STOI", 0, 1),
            Metric("estoi", "ESTOI", 0, 1),
            Metric("si_sdr", "SI-SDR", -math.inf, math.inf, unit="dB"),
            Metric("csig", "CSIG", 1, 5),
            Metric("cbak", "CBAK", 1, 5),
            Metric("covl", "COVL", 1, 5),
            Metric("dnsmos_sig", "DNSMOS SIG", 1, 5, needs_reference=False),
            Metric("dnsmos_bak", "DNSMOS BAK", 1, 5, needs_reference=False),
            Metric("dnsmos_ovrl", "DNSMOS OVRL", 1, 5, needs_reference=False),
            Metric("dnsmos_p808", "DNSMOS P.808", 1, 5, needs_reference=False),
        )
    }
)


def evaluate_pair(
    reference: np.ndarray | None,
    estimate: np.ndarray,
    sample_rate: int,
    names: Iterable[str],
    dnsmos: DNSMOS | None = None,
) -> dict[str, Score]:
    """Score one signal; computations that metrics share are done once.

    Arguments
    ---------
    reference : np.ndarray or None
        Clean signal ``[T]``; None if no metric needs it.
    estimate : np.ndarray
        Noisy or enhanced signal ``[T]``.
    sample_rate : int
        Of both, in Hz.
    names : Iterable[str]
        Keys of `METRICS`.
    dnsmos : DNSMOS, optional
        To reuse loaded networks, or with settings other than the published.

    Returns
    -------
    dict[str, Score]
        In the order of ``names``; NaN with a reason for bad signals.

    Raises
    ------
    InputError
        If a name is unknown, a package is missing, or rate, type or lengths
        are wrong.

    Example
    -------
    >>> clean = np.random.default_rng(0).standard_normal(16000)
    >>> scores = evaluate_pair(clean, clean + 0.1, 16000, ["si_sdr"])
    >>> scores["si_sdr"].reason
    'the estimate is the reference, up to its scale'
    """
    names, scores = list(names), {}
    for measure in _measures(names, dnsmos or DNSMOS()):
        scores |= measure(reference, estimate, sample_rate)
    return {name: scores[name] for name in names}


def require_metrics(names: Iterable[str]) -> None:
    """Check, before long work starts, that these metrics can be computed.

    Arguments
    ---------
    names : Iterable[str]
        Keys of `METRICS`.

    Raises
    ------
    InputError
        If a name is unknown or a package is missing.
    """
    for measure in _measures(names, DNSMOS()):
        measure.require()


@dataclass(frozen=True)
class Job:
    """One estimate to be scored.

    Arguments
    ---------
    estimate : str, Path or np.ndarray
        Audio file, or signal ``[T]``.
    reference : str, Path or np.ndarray, optional
        Its clean counterpart.
    """

    estimate: Signal
    reference: Signal | None = None


def evaluate_many(
    jobs: Sequence[Job],
    names: Iterable[str],
    workers: int = 1,
    sample_rate: int = 16000,
    dnsmos: DNSMOS | None = None,
    progress: bool = True,
) -> list[dict[str, Score]]:
    """Score many files; a bad one gets NaN and its reason, the rest go on.

    Worker processes are started afresh (spawned), so the calling script
    needs the usual ``if __name__ == "__main__":``. None of them outlives an
    interrupt or the death of the caller.

    Arguments
    ---------
    jobs : Sequence[Job]
        Files are resampled to ``sample_rate`` and their channels averaged;
        arrays are taken to be at ``sample_rate``.
    names : Iterable[str]
        Keys of `METRICS`.
    workers : int
        Processes; 1 works in this one.
    sample_rate : int
        In Hz.
    dnsmos : DNSMOS, optional
        With settings other than the published.
    progress : bool
        Whether to show a bar on stderr.

    Returns
    -------
    list[dict[str, Score]]
        In the order of ``jobs``.

    Raises
    ------
    InputError
        If a name is unknown, a package is missing or ``workers`` is below 1:
        before any file is read.
    """
    names = list(names)
    require_metrics(names)
    if workers < 1:
        raise InputError(f"{workers} workers: expected at least 1")
    score = partial(
        _score_job, names=names, sample_rate=sample_rate, dnsmos=dnsmos
    )
    if workers == 1:
        results = enumerate(map(score, jobs))
    else:
        results = map_in_processes(score, jobs, workers)
    rows: list[dict[str, Score]] = [{} for _ in jobs]
    with tqdm(total=len(jobs), unit="file", disable=not progress) as bar:
        for index, row in results:
            if isinstance(row, Exception):
                row = _no_scores(names, "the process that scored it died")
            rows[index] = row
            bar.update()
    return rows


def _measures(names: Iterable[str], dnsmos: DNSMOS) -> list[Measure]:
    """List the computations that yield the metrics asked for."""
    names = set(names)
    if unknown := names - METRICS.keys():
        raise InputError(
            f"unknown metric {', '.join(sorted(unknown))}: expected some of "
            f"{', '.join(METRICS)}"
        )
    known = (PESQ, PESQ_NB, STOI, ESTOI, SI_SDR, COMPOSITE)
    known = (*known, dnsmos.p835, dnsmos.p808)
    return [measure for measure in known if names & set(measure.names)]


def _score_job(
    job: Job, names: list[str], sample_rate: int, dnsmos: DNSMOS | None
) -> dict[str, Score]:
    """Score one job; whatever is wrong with its files is the reason."""
    try:
        reference, estimate = (
            _load(signal, sample_rate)
            for signal in (job.reference, job.estimate)
        )
        return evaluate_pair(reference, estimate, sample_rate, names, dnsmos)
    except InputError as error:
        return _no_scores(names, str(error))


def _load(signal: Signal | None, sample_rate: int) -> np.ndarray | None:
    if isinstance(signal, str | Path):
        return read_audio(signal, sample_rate, mono=True)[0][:, 0]
    return signal


def _no_scores(names: list[str], reason: str) -> dict[str, Score]:
    return dict.fromkeys(names, Score(math.nan, reason))
