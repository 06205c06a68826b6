"""What the quality recipe trains and measures on: signals with their scores.

A signal is mixed, degraded and scored once. Its scores are a row of a table,
its features a file, so that a run that was stopped goes on and runs of other
modes find all done.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import Dataset

from speechbrain_dsn.dataio.mixing import MixtureSampler
from speechbrain_dsn.dataio.ovrl import Job, fill_table, mixture_key
from speechbrain_dsn.dataio.tables import replacing
from speechbrain_dsn.errors import InputError
from speechbrain_dsn.lobes.models.quality import TARGETS
from speechbrain_dsn.lobes.predictor import QualityPredictor
from speechbrain_dsn.metrics import DNSMOS, evaluate_pair, require_metrics
from speechbrain_dsn.training.data import FolderData
from speechbrain_dsn.training.degradation import NOISY, Degradations
from speechbrain_dsn.training.labelled import (
    Example,
    LabelledClips,
    LabelledSignals,
)

__all__ = ["QualityData"]

SPLITS = ("train", "valid", "test")

logger = logging.getLogger(__name__)


class _Rendered(NamedTuple):
    """A mixture that waits for its scores."""

    noisy: np.ndarray
    clean: np.ndarray
    kind: str
    features: Path


class QualityData(FolderData):
    """Mixtures of two folders, and what enhancers make of them, with scores.

    Of the training clips a share goes through an enhancer, drawn for each.
    Every fixed mixture of valid and test is there twice: as it is, and
    through one.

    Arguments
    ---------
    data_folder, out_folder, sampler, batch_size, batches_per_epoch
        See `FolderData`. Runs that share the ``out_folder`` share its labels.
    predictor : QualityPredictor
        Makes the features; clips are as long as its segments.
    targets : sequence of str
        Which scores are learned; all four are computed.
    clips : int
        How many clips to train on.
    enhancers : sequence of (str, float)
        See `Degradations`.
    noisy_share : float
        See `Degradations`.
    seed : int
        Of the degradations and the order of the clips.
    workers : int
        Threads that label.
    """

    def __init__(
        self,
        data_folder: str | Path,
        out_folder: str | Path,
        sampler: Callable[..., MixtureSampler],
        batch_size: int,
        batches_per_epoch: int,
        predictor: QualityPredictor,
        targets: Sequence[str] = TARGETS,
        clips: int = 6000,
        enhancers: Sequence[tuple[str, float | None]] = (),
        noisy_share: float = 0.5,
        seed: int = 0,
        workers: int = 1,
    ) -> None:
        super().__init__(
            data_folder, out_folder, sampler, batch_size, batches_per_epoch
        )
        self.predictor, self.targets = predictor, tuple(targets)
        self.clips, self.workers, self.seed = clips, workers, seed
        self.enhancers, self.noisy_share = enhancers, noisy_share

    def prepare(self) -> None:
        """Finds the files and labels what has no labels yet, on rank 0."""
        require_metrics(TARGETS)
        self.degradations = Degradations(
            self.enhancers, self.noisy_share, self.seed
        )
        super().prepare()
        self.examples = {split: self.label(split) for split in SPLITS}

    def _score(self) -> None:
        if self.sampler.length != self.predictor.segment:
            rate = self.sampler.sample_rate
            raise InputError(
                f"clip_seconds is {self.sampler.length / rate:g}, expected "
                f"{self.predictor.segment / rate:g}, the predictor's segment"
            )
        for split in SPLITS:
            self.label(split)

    def label(self, split: str) -> list[Example]:
        """Scores what its table does not hold yet.

        Arguments
        ---------
        split : str
            ``train``, ``valid`` or ``test``.

        Returns
        -------
        list of Example
            Those with all targets.

        Raises
        ------
        InputError
            If none has.
        """
        jobs, kinds, files = [], {}, {}
        for name, kind, key, load in self._plan(split):
            content = (key, self.degradations.key(kind))
            content += self.predictor.feature_settings
            digest = hashlib.sha256(repr(content).encode()).hexdigest()[:16]
            file = self.out / "features" / f"{split}-{name}-{digest}.npy"
            kinds[name], files[name] = kind, file
            jobs.append(Job(name, digest, partial(_render, load, kind, file)))
        found = fill_table(
            jobs,
            self.out / f"labels_{split}.csv",
            TARGETS,
            self._make_score,
            self.workers,
        )
        examples = [
            Example(
                name,
                kinds[name],
                files[name],
                dict(zip(TARGETS, values, strict=True)),
            )
            for name, values in found.items()
        ]
        kept = [
            example
            for example in examples
            if np.isfinite([example.labels[x] for x in self.targets]).all()
        ]
        if not kept:
            raise InputError(
                f"{split}: expected signals with scores, found none among "
                f"{len(examples)}"
            )
        return kept

    def _plan(self, split: str) -> list[tuple[str, str, str, Callable]]:
        """Name, degradation, key and ``() -> (noisy, clean)`` of each."""
        draw = self.degradations.draw
        if split == "train":
            key, clip = self.sampler.fingerprint(), self.sampler.clip
            names = map(str, range(self.clips))
            return [
                (name, draw(name), f"{key} {name}", partial(clip, int(name)))
                for name in names
            ]
        plan = []
        for mixture in getattr(self.files, split)():
            key, kind = mixture_key(mixture), draw(mixture.name, enhanced=True)
            plan.append((mixture.name, NOISY, key, mixture.render))
            if kind != NOISY:
                name = f"{mixture.name}-enhanced"
                plan.append((name, kind, key, mixture.render))
        return plan

    def _make_score(self) -> Callable[[_Rendered], list[float]]:
        """Writes features, gives labels; both are made in one go."""
        # Long signals are scored at two places, as in `dnsmos_ovrl`.
        dnsmos, rate = DNSMOS(max_segments=2), self.predictor.sample_rate
        (self.out / "features").mkdir(parents=True, exist_ok=True)

        def score(signal: _Rendered) -> list[float]:
            heard = self.degradations.apply(signal.kind, signal.noisy)
            self._write_features(signal.features, heard)
            scores = evaluate_pair(signal.clean, heard, rate, TARGETS, dnsmos)
            for name, value in scores.items():
                if value.reason is not None:
                    logger.warning(
                        "%s has no %s: %s",
                        signal.features.stem,
                        name,
                        value.reason,
                    )
            return [scores[name].value for name in TARGETS]

        return score

    @torch.inference_mode()
    def _write_features(self, path: Path, heard: np.ndarray) -> None:
        parts = self.predictor.segments(torch.from_numpy(heard))
        features = self.predictor.features(parts).half().numpy()
        with replacing(path) as part, open(part, "wb") as file:
            np.save(file, features)

    def train(self, counter: Any) -> Dataset:
        """Batches of training clips.

        Arguments
        ---------
        counter : object
            Its ``current`` is the epoch, from 1.

        Returns
        -------
        Dataset
            Of :class:`QualityBatch`.
        """
        return LabelledClips(
            counter,
            self.examples["train"],
            self.targets,
            self.batches["batch_size"],
            self.batches["batches"],
            self.seed,
        )

    def valid(self) -> LabelledSignals:
        """Signals to choose by, one to a batch."""
        return LabelledSignals(self.examples["valid"], self.targets)

    def test(self) -> LabelledSignals:
        """Signals to report, one to a batch."""
        return LabelledSignals(self.examples["test"], self.targets)


def _render(load: Callable, kind: str, features: Path) -> _Rendered:
    return _Rendered(*load()[:2], kind, features)
