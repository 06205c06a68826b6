"""How well a model separates mixtures, at which cost.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from speechbrain_dsn.dataio.activity import speaker_activity
from speechbrain_dsn.dataio.audio import write_audio
from speechbrain_dsn.errors import InputError
from speechbrain_dsn.inference.file_scores import Scores
from speechbrain_dsn.inference.memory import trimmed
from speechbrain_dsn.inference.mixtures import Mixture
from speechbrain_dsn.inference.separation_scores import (
    MixtureScores,
    SeparationEvaluation,
)
from speechbrain_dsn.inference.stitching import (
    BLOCK_SECONDS,
    StitchedSeparation,
)
from speechbrain_dsn.metrics import Job, Score, evaluate_many, require_metrics
from speechbrain_dsn.pretrained import LoadedModel

__all__ = ["default_metrics", "evaluate_mixtures", "match_sources"]


def default_metrics(sample_rate: int) -> tuple[str, ...]:
    """What is measured where nothing else is asked for.

    Arguments
    ---------
    sample_rate : int
        Of the model, in Hz.

    Returns
    -------
    tuple of str
        SI-SDR, and PESQ in the band of the model.
    """
    return ("si_sdr", "pesq" if sample_rate == 16000 else "pesq_nb")


def match_sources(sources: np.ndarray, estimates: np.ndarray) -> list[int]:
    """Which estimate is which source, by the best mean SI-SDR.

    Arguments
    ---------
    sources : np.ndarray
        ``[T, S]``.
    estimates : np.ndarray
        ``[T, S]``.

    Returns
    -------
    list of int
        For each source, its estimate.

    Example
    -------
    >>> sources = np.random.default_rng(0).normal(size=(100, 3))
    >>> match_sources(sources, sources[:, [2, 0, 1]])
    [1, 2, 0]
    """
    unit = []
    for wavs in (sources, estimates):
        wavs = wavs.astype(np.float64) - wavs.mean(0, dtype=np.float64)
        unit.append(wavs / np.linalg.norm(wavs, axis=0).clip(1e-12))
    shared = np.square(unit[0].T @ unit[1]).clip(1e-12, 1 - 1e-12)
    quality = np.log10(shared / (1 - shared))
    count = len(quality)
    return list(
        max(
            permutations(range(count)),
            key=lambda order: quality[np.arange(count), order].sum(),
        )
    )


def evaluate_mixtures(
    model: LoadedModel,
    mixtures: Sequence[Mixture],
    metrics: Iterable[str] | None = None,
    budget: float | None = None,
    workers: int = 1,
    known: Mapping[str, list[Scores]] | None = None,
    device: torch.device | str | None = None,
    progress: bool = True,
) -> SeparationEvaluation:
    """Separates and scores mixtures; a bad one is noted, the rest goes on.

    Estimates are given to the sources that they are nearest to, by the mean
    SI-SDR over the whole mixture. Chunks run at the widths they choose, so
    activation and MACs are those executed.

    Arguments
    ---------
    model : LoadedModel
        A separator.
    mixtures : sequence of Mixture
        Each under a name of its own.
    metrics : iterable of str, optional
        Keys of `speechbrain_dsn.metrics.METRICS`; `default_metrics`, if not
        given. With ``si_sdr`` its improvement is there too, ``si_sdri``.
    budget : float, optional
        Wanted mean activation in 0..1; the model's default without it.
    workers : int
        Processes that score.
    known : mapping, optional
        Scores of the mixtures from an earlier `SeparationEvaluation`.
    device : torch.device, optional
        Where the model is.
    progress : bool
        Whether to show bars on stderr.

    Returns
    -------
    SeparationEvaluation
        Scores of each source and mixture, and their sums.

    Raises
    ------
    InputError
        If a metric is unknown or not installed, the model of another kind,
        or the budget not possible: before any work starts.
    """
    model.expect("separation")
    rate = model.config.sample_rate
    metrics = list(metrics or default_metrics(rate))
    require_metrics(metrics)
    decide = model.decide(budget)
    with tempfile.TemporaryDirectory(prefix="speechbrain_dsn_") as folder:
        run = _Run(model, decide, device, Path(folder))
        bar = tqdm(mixtures, "separate", unit="file", disable=not progress)
        for mixture in trimmed(bar):
            run.add(mixture)
        scores = run.score(metrics, workers, known or {}, progress)
    files = [
        MixtureScores.of(measured, before, after, metrics)
        for measured, (before, after) in zip(run.measured, scores, strict=True)
    ]
    return SeparationEvaluation(
        model.config.name,
        budget,
        run.opened / run.chunks if run.chunks else math.nan,
        run.macs / run.seconds if run.seconds else math.nan,
        run.spent / run.seconds if run.seconds else math.nan,
        files,
        levels=model.enhancer.cost.levels,
    )


class _Run:
    """Separated signals on disk, so that memory does not grow with them."""

    def __init__(self, model, decide, device, folder: Path) -> None:
        self.separator, self.rate = model.enhancer, model.config.sample_rate
        self.decide, self.device, self.folder = decide, device, folder
        self.measured: list[dict[str, Any]] = []
        self.spent = self.seconds = self.macs = self.opened = 0.0
        self.chunks = 0

    def add(self, mixture: Mixture) -> None:
        """Separates one mixture and notes what that took."""
        row = {"name": mixture.name, "overlap": mixture.overlap, "error": None}
        try:
            wav, sources = mixture.load(self.rate)
            if sources.shape != (len(wav), self.separator.num_spks):
                raise InputError(
                    f"{mixture.name}: sources are {list(sources.shape)}, "
                    f"expected {[len(wav), self.separator.num_spks]}"
                )
            begin = time.perf_counter()
            estimates, stream = self._separate(wav)
            self.spent += time.perf_counter() - begin
            order = match_sources(sources, estimates)
            number = len(self.measured)
            self._keep(number, wav[:, None], sources, estimates[:, order])
        except InputError as error:
            row |= {"error": str(error), "seconds": 0.0, "sources": 0}
            row |= {"activation": math.nan, "macs_per_second": math.nan}
            row |= {"widths": [], "by_speakers": {}}
        else:
            seconds = len(wav) / self.rate
            row |= {"seconds": seconds, "sources": sources.shape[1]}
            row |= self._usage(stream, sources)
            self.seconds += seconds
            self.macs += stream.macs
        self.measured.append(row)

    def _separate(
        self, wav: np.ndarray
    ) -> tuple[np.ndarray, StitchedSeparation]:
        stream = StitchedSeparation(self.separator, 1, self.decide, self.device)
        wavs = torch.from_numpy(wav)[None]
        blocks = wavs.split(round(BLOCK_SECONDS * self.rate), 1)
        parts = [*map(stream.push, blocks), stream.flush()]
        return torch.cat(parts, 1)[0].cpu().numpy(), stream

    def _usage(
        self, stream: StitchedSeparation, sources: np.ndarray
    ) -> dict[str, Any]:
        """What was chosen, and how that follows the number of speakers."""
        times, gates = (x.numpy() for x in stream.widths())
        cost, gates = self.separator.cost, gates[0]
        shares = np.array(cost.shares or (1.0,))
        use = gates @ shares
        window = 2 * self.separator.hop / self.rate
        active = speaker_activity(sources, self.rate, times, window).sum(1)
        self.opened += use.sum()
        self.chunks += len(use)
        return {
            "activation": float(use.mean()),
            "macs_per_second": stream.macs_per_second,
            "widths": stream.meter.widths,
            "by_speakers": {
                str(count): [int(at.sum()), float(use[at].mean())]
                for count in range(sources.shape[1] + 1)
                if (at := active == count).any()
            },
        }

    def _keep(self, number: int, *signals: np.ndarray) -> None:
        peak = max(1.0, *(float(np.abs(x).max()) for x in signals))
        kinds = ("mixture", "source", "estimate")
        for kind, wavs in zip(kinds, signals, strict=True):
            for place, wav in enumerate(wavs.T):
                path = self._path(number, kind, place)
                write_audio(path, wav / peak, self.rate, "FLOAT")

    def _path(self, number: int, kind: str, place: int = 0) -> Path:
        return self.folder / f"{number}_{kind}{place}.wav"

    def score(
        self,
        metrics: list[str],
        workers: int,
        known: Mapping[str, list[Scores]],
        progress: bool,
    ) -> list[tuple[list[Scores], list[Scores]]]:
        """Scores of the mixture and of the estimate, for each source."""
        jobs: dict[tuple[int, str, int], Job] = {}
        for number, row in enumerate(self.measured):
            for place in range(row["sources"]):
                target = self._path(number, "source", place)
                if row["name"] not in known:
                    mixture = self._path(number, "mixture")
                    jobs[number, "before", place] = Job(mixture, target)
                estimate = self._path(number, "estimate", place)
                jobs[number, "after", place] = Job(estimate, target)
        rows = evaluate_many(
            list(jobs.values()), metrics, workers, self.rate, progress=progress
        )
        done = dict(zip(jobs, rows, strict=True))
        result = []
        for number, row in enumerate(self.measured):
            if row["error"]:
                bad = [dict.fromkeys(metrics, Score(math.nan, row["error"]))]
                result.append((bad, bad))
                continue
            places = range(row["sources"])
            before = known.get(row["name"]) or [
                done[number, "before", place] for place in places
            ]
            after = [done[number, "after", place] for place in places]
            result.append((before, after))
        return result
