"""DNSMOS OVRL of noisy inputs, computed once and kept in a table.

Metric-guided training asks how good each noisy input is. The network that
tells costs about 0.2 s of one core per 9 s segment, so every score is written
to a table as soon as it is known: an interrupted run goes on where it was.

Authors
 * The speechbrain_dsn developers 2026
"""

import hashlib
import logging
import math
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from speechbrain_dsn.dataio.fixed import FixedMixture
from speechbrain_dsn.dataio.mixing import MixtureSampler
from speechbrain_dsn.dataio.tables import append_row, read_csv, write_csv
from speechbrain_dsn.errors import InputError

Scorer = Callable[[np.ndarray, int], float]

logger = logging.getLogger(__name__)


class Job(NamedTuple):
    """A signal to score.

    Arguments
    ---------
    name : str
        Its `id` in the table.
    key : str
        Changes when the signal does: the table's score is then redone.
    load : callable
        Gives the signal, `[T]`, or whatever the scorer takes.
    """

    name: str
    key: str
    load: Callable[[], Any]


def dnsmos_ovrl(max_segments: int | None = 2) -> Scorer:
    """The scorer used where none is given.

    Arguments
    ---------
    max_segments : int, optional
        Segments of 9 s that are scored in a signal (None: all of them).

    Returns
    -------
    callable
        `(signal [T], sample rate) -> OVRL` (1 to 5). It raises `InputError`
        where a signal has no score.
    """
    from speechbrain_dsn.metrics.dnsmos import DNSMOS

    dnsmos = DNSMOS(max_segments=max_segments)

    def score(signal: np.ndarray, sample_rate: int) -> float:
        # The models expect full scale at 1; mixtures may go beyond.
        signal = signal / max(1.0, float(np.abs(signal).max()))
        names = ["dnsmos_ovrl"]
        value, reason = dnsmos(signal, sample_rate, names)["dnsmos_ovrl"]
        if reason is not None:
            raise InputError(reason)
        return value

    return score


def score_once(
    jobs: Iterable[Job],
    table: os.PathLike,
    workers: int = 1,
    score: Scorer | None = None,
    sample_rate: int = 16000,
    progress: bool = True,
) -> dict[str, float]:
    """Scores what the table does not hold yet.

    Arguments
    ---------
    jobs : iterable of Job
        The signals.
    table : path
        CSV with the columns `id, ovrl, key`; grows by a row (synced to disk)
        per score.
    workers : int
        Threads; onnxruntime runs without Python's lock.
    score : callable, optional
        By default `dnsmos_ovrl()`.
    sample_rate : int
        Of the signals, in Hz.
    progress : bool
        Show a progress bar on stderr.

    Returns
    -------
    dict
        Name -> score; NaN for a signal that could not be read or scored
        (reported, and tried again the next time).

    Example
    -------
    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> jobs = [Job("a", "v1", lambda: np.ones(3))]
    >>> table = folder.name + "/ovrl.csv"
    >>> score_once(jobs, table, score=lambda x, rate: x.sum(), progress=False)
    {'a': 3.0}
    >>> score_once(jobs, table, score=None, progress=False)
    {'a': 3.0}
    """

    def make_score() -> Callable[[np.ndarray], list[float]]:
        scorer = score or dnsmos_ovrl()
        return lambda signal: [scorer(signal, sample_rate)]

    found = fill_table(jobs, table, ("ovrl",), make_score, workers, progress)
    return {name: value for name, (value,) in found.items()}


def fill_table(
    jobs: Iterable[Job],
    table: os.PathLike,
    columns: Sequence[str],
    make_score: Callable[[], Callable[[Any], Sequence[float]]],
    workers: int = 1,
    progress: bool = True,
) -> dict[str, tuple[float, ...]]:
    """Scores what a table of any columns does not hold yet.

    Arguments
    ---------
    jobs : iterable of Job
        What to score.
    table : path
        CSV with the columns `id, ..., key`; grows by a row (synced to disk)
        per job.
    columns : sequence of str
        Between `id` and `key`.
    make_score : callable
        Gives the scorer, once, and only if there is work: what a job loads ->
        a number per column. It raises `InputError` where there is none.
    workers : int
        Threads.
    progress : bool
        Show a progress bar on stderr.

    Returns
    -------
    dict
        Name -> scores; NaN for a job that failed (reported, and tried again
        the next time).
    """
    jobs, table = list(jobs), Path(table)
    title = ", ".join(columns).upper()
    known = _read_scores(table, columns)
    due = [job for job in jobs if (job.name, job.key) not in known]
    score, failed = make_score() if due else None, 0

    def run(job: Job) -> tuple[float, ...]:
        return tuple(map(float, score(job.load())))

    pool = ThreadPoolExecutor(max(1, workers))
    try:
        running = {pool.submit(run, job): job for job in due}
        for done in tqdm(
            as_completed(running), title, len(due), disable=not progress
        ):
            job = running[done]
            try:
                values = done.result()
            except InputError as error:
                failed += 1
                logger.warning("no %s of %s: %s", title, job.name, error)
                continue
            known[job.name, job.key] = values
            cells = [f"{value:.4f}" for value in values]
            append_row(table, (job.name, *cells, job.key))
    finally:
        pool.shutdown(cancel_futures=True)
    if failed:
        logger.warning("no %s of %d of %d signals", title, failed, len(jobs))
    none = (math.nan,) * len(columns)
    return {job.name: known.get((job.name, job.key), none) for job in jobs}


def _read_scores(
    table: Path, columns: Sequence[str]
) -> dict[tuple[str, str], tuple[float, ...]]:
    """The complete rows; makes the table if there is none."""
    # The key comes last: a line that a crash cut short has none, and is redone.
    fields = ("id", *columns, "key")
    if not table.exists():
        write_csv(table, fields, [])
    known = {}
    for row in read_csv(table, fields):
        try:
            values = tuple(float(row[column]) for column in columns)
        except (TypeError, ValueError):
            logger.warning("%s: skipped row %s", table, row["id"])
        else:
            known[row["id"], row["key"]] = values
    return known


def annotate_ovrl(
    mixtures: Sequence[FixedMixture],
    table: os.PathLike,
    workers: int = 1,
    score: Scorer | None = None,
    sample_rate: int = 16000,
    progress: bool = True,
) -> dict[str, float]:
    """OVRL of the noisy side of fixed mixtures.

    Arguments
    ---------
    mixtures : sequence of FixedMixture
        As `load_fixed_list` gives them.
    table, workers, score, sample_rate, progress
        See `score_once`.

    Returns
    -------
    dict
        Name of the mixture -> score.
    """

    def job(mixture: FixedMixture) -> Job:
        key = mixture_key(mixture)
        return Job(mixture.name, key, lambda: mixture.render(sample_rate)[0])

    jobs = [job(mixture) for mixture in mixtures]
    return score_once(jobs, table, workers, score, sample_rate, progress)


def mixture_key(mixture: FixedMixture) -> str:
    """A name for what a mixture sounds like.

    Arguments
    ---------
    mixture : FixedMixture
        Its files are known by name.

    Returns
    -------
    str
        Hexadecimal; it stays when the corpus moves to another folder.
    """
    files = mixture.speech.parts[-3:], mixture.noise.parts[-3:]
    numbers = mixture.noise_offset, mixture.snr_db, mixture.level_dbfs
    key = hashlib.sha256(repr((files, numbers)).encode()).hexdigest()
    return key[:16]


def ovrl_of_clips(
    sampler: MixtureSampler,
    count: int,
    table: os.PathLike,
    workers: int = 1,
    score: Scorer | None = None,
    progress: bool = True,
) -> np.ndarray:
    """OVRL of a sampler's first clips, for training on: these
    clips then come again and again, since an endless stream of new ones
    could not be scored in time.

    Arguments
    ---------
    sampler : MixtureSampler
        Makes the clips.
    count : int
        How many are scored.
    table, workers, score, progress
        See `score_once`; by default one 9 s segment is scored, since a clip
        is shorter and only repeats in it.

    Returns
    -------
    np.ndarray
        `[count]`.
    """
    score = score or dnsmos_ovrl(max_segments=1)
    key = sampler.fingerprint()

    def job(number: int) -> Job:
        return Job(str(number), key, lambda: sampler.clip(number)[0])

    scores = score_once(
        map(job, range(count)),
        table,
        workers,
        score,
        sampler.sample_rate,
        progress,
    )
    return np.array([scores[str(number)] for number in range(count)])
