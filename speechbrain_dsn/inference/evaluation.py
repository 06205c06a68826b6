"""How good a model is on pairs of clean and noisy signals, at which cost.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from speechbrain_dsn.cost import Decision, MacMeter
from speechbrain_dsn.dataio.audio import write_audio
from speechbrain_dsn.errors import InputError
from speechbrain_dsn.inference.blocks import BLOCK_SECONDS
from speechbrain_dsn.inference.file_scores import FileScores, Scores
from speechbrain_dsn.inference.judged import JudgedBudget, open_stream
from speechbrain_dsn.inference.memory import trimmed
from speechbrain_dsn.inference.pairs import (
    Pair,
    folder_pairs,
    list_pairs,
    mixture_pairs,
)
from speechbrain_dsn.inference.scores import Evaluation
from speechbrain_dsn.metrics import (
    Job,
    Score,
    evaluate_many,
    require_metrics,
)
from speechbrain_dsn.pretrained import LoadedModel

__all__ = [
    "DEFAULT_METRICS",
    "Evaluation",
    "FileScores",
    "Pair",
    "evaluate_pairs",
    "folder_pairs",
    "list_pairs",
    "mixture_pairs",
]

DEFAULT_METRICS = ("pesq", "si_sdr", "estoi", "dnsmos_ovrl")


def evaluate_pairs(
    model: LoadedModel,
    pairs: Sequence[Pair],
    metrics: Iterable[str] = DEFAULT_METRICS,
    budget: float | JudgedBudget | None = None,
    workers: int = 1,
    noisy: Mapping[str, Scores] | None = None,
    device: torch.device | str | None = None,
    progress: bool = True,
) -> Evaluation:
    """Enhances and scores pairs; a bad one is noted, the rest goes on.

    The skipping path enhances, so activation and MACs are those executed.
    Where noisy or enhanced signal exceed full scale, both and the reference
    are scaled down together: DNSMOS is not defined there.

    Arguments
    ---------
    model : LoadedModel
        What to evaluate.
    pairs : sequence of Pair
        Each under a name of its own.
    metrics : iterable of str
        Keys of `speechbrain_dsn.metrics.METRICS`.
    budget : float or JudgedBudget, optional
        Wanted mean activation in 0..1, or what sets it; the model's default
        without it.
    workers : int
        Processes that score; more than one needs the calling script to have
        the usual ``if __name__ == "__main__":``.
    noisy : mapping, optional
        Scores of the inputs from an earlier `Evaluation`, by name.
    device : torch.device, optional
        Where the model is.
    progress : bool
        Whether to show bars on stderr.

    Returns
    -------
    Evaluation
        Scores of each pair, and their sums.

    Raises
    ------
    InputError
        If a metric is unknown or not installed, or the budget not possible:
        before any work starts.
    """
    model.expect("enhancement")
    metrics = list(metrics)
    require_metrics(metrics)
    judged = isinstance(budget, JudgedBudget)
    with tempfile.TemporaryDirectory(prefix="speechbrain_dsn_") as folder:
        run = _Run(model, budget, device, Path(folder))
        bar = tqdm(pairs, "enhance", unit="file", disable=not progress)
        for pair in trimmed(bar):
            run.add(pair)
        scores = run.score(metrics, workers, noisy, progress)
    files = [
        FileScores(**measured, noisy=before, enhanced=after)
        for measured, (before, after) in zip(run.measured, scores, strict=True)
    ]
    return Evaluation(
        f"{model.config.name}, judged" if judged else model.config.name,
        budget.mean if judged else budget,
        run.meter.activation,
        run.meter.macs_per_second,
        run.spent / run.seconds if run.seconds else math.nan,
        files,
    )


class _Run:
    """Enhanced signals on disk, so that memory does not grow with them."""

    def __init__(self, model, budget, device, folder: Path) -> None:
        self.folder, self.rate = folder, model.config.sample_rate
        self._open = partial(open_stream, model, 1, budget, device)
        self.meter = MacMeter(self._open().cost)
        self.measured: list[dict[str, Any]] = []
        self.spent = self.seconds = 0.0

    def add(self, pair: Pair) -> None:
        """Enhances one pair and notes what that took."""
        row = {"name": pair.name, "snr_db": pair.snr_db, "error": None}
        try:
            noisy, clean = pair.load(self.rate)
            if len(noisy) != len(clean):
                raise InputError(
                    f"{pair.name}: noisy has {len(noisy)} samples, clean "
                    f"{len(clean)}: expected equal lengths"
                )
            begin = time.perf_counter()
            enhanced, decision = self._enhance(noisy)
            self.spent += time.perf_counter() - begin
            number = len(self.measured)
            self._keep(number, noisy=noisy, clean=clean, enhanced=enhanced)
        except InputError as error:
            row |= {"error": str(error), "seconds": 0.0}
            row |= {"activation": math.nan, "macs_per_second": math.nan}
        else:
            self.meter.update(decision)
            row |= self.meter.per_item[-1]
            row["seconds"] = len(noisy) / self.rate
            self.seconds += row["seconds"]
        self.measured.append(row)

    def _enhance(self, noisy: np.ndarray) -> tuple[np.ndarray, Decision]:
        stream, wav = self._open(), torch.from_numpy(noisy)[None].float()
        blocks = wav.split(round(BLOCK_SECONDS * self.rate), 1)
        parts = [*map(stream.push, blocks), stream.flush()]
        return torch.cat(parts, 1)[0].cpu().numpy(), stream.decision()

    def _keep(self, number: int, **signals: np.ndarray) -> None:
        peak = max(float(np.abs(x).max()) for x in signals.values())
        for kind, samples in signals.items():
            path = self.folder / f"{number}_{kind}.wav"
            samples = samples / max(1.0, peak)
            write_audio(path, samples, self.rate, "FLOAT")

    def score(
        self,
        metrics: list[str],
        workers: int,
        noisy: Mapping[str, Scores] | None,
        progress: bool,
    ) -> list[tuple[Scores, Scores]]:
        """Scores of input and output of each pair."""
        known = noisy or {}
        jobs: dict[tuple[int, str], Job] = {}
        for number, row in enumerate(self.measured):
            if row["error"]:
                continue
            for kind in ("noisy", "enhanced"):
                have = known.get(row["name"], {}) if kind == "noisy" else {}
                if not set(metrics) <= set(have):
                    jobs[number, kind] = Job(
                        self.folder / f"{number}_{kind}.wav",
                        self.folder / f"{number}_clean.wav",
                    )
        rows = evaluate_many(
            list(jobs.values()), metrics, workers, self.rate, progress=progress
        )
        done = dict(zip(jobs, rows, strict=True))
        result = []
        for number, row in enumerate(self.measured):
            bad = dict.fromkeys(metrics, Score(math.nan, row["error"]))
            if row["error"]:
                result.append((bad, bad))
                continue
            before = done.get((number, "noisy"))
            if before is None:
                before = {name: known[row["name"]][name] for name in metrics}
            result.append((before, done[number, "enhanced"]))
        return result
