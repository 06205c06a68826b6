"""What the enhancement recipes train and measure on.

A data source finds its files in ``prepare()``; ``train(counter)`` and
``valid()`` give data sets of :class:`~speechbrain_dsn.dataio.mixing.Batch`,
and ``test()`` the pairs of the results table.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from speechbrain.utils.distributed import run_on_main
from torch import Tensor
from torch.utils.data import Dataset

from speechbrain_dsn.dataio.fixed import FixedMixture
from speechbrain_dsn.dataio.folders import PreparedFolders, prepare_folders
from speechbrain_dsn.dataio.mixing import Batch, MixtureSampler
from speechbrain_dsn.dataio.ovrl import annotate_ovrl, ovrl_of_clips
from speechbrain_dsn.errors import InputError
from speechbrain_dsn.inference.judged import Judge
from speechbrain_dsn.inference.pairs import Pair, mixture_pairs

# Clips on which a judge tells how good the training data is on average.
JUDGED_CLIPS = 400


class EnhancementData(Protocol):
    """Where an enhancement recipe gets its signals from."""

    def prepare(self) -> None:
        """Finds files, writes lists, scores inputs; on rank 0 first."""

    def train(self, counter: Any) -> Dataset:
        """Batches of the epoch that ``counter.current`` names."""

    def valid(self) -> Dataset:
        """Batches of one, to choose by."""

    def test(self) -> list[Pair]:
        """Pairs to report."""

    def train_ovrl(self) -> np.ndarray | None:
        """Scores of the training inputs, if the recipe uses them."""


class FixedMixtures(Dataset):
    """Fixed mixtures as batches of one.

    Arguments
    ---------
    mixtures : sequence of FixedMixture
        A list of valid or test.
    ovrl : dict, optional
        DNSMOS OVRL of each noisy signal by the mixture's name.
    """

    def __init__(
        self,
        mixtures: Sequence[FixedMixture],
        ovrl: dict[str, float] | None = None,
    ) -> None:
        self.mixtures, self.ovrl = mixtures, ovrl

    def __len__(self) -> int:
        return len(self.mixtures)

    def __getitem__(self, index: int) -> Batch:
        mixture = self.mixtures[index]
        noisy, clean = (torch.from_numpy(x)[None] for x in mixture.render())
        snr = torch.tensor([float(mixture.snr_db)])
        if self.ovrl is None:
            return Batch(noisy, clean, snr)
        score = torch.tensor([self.ovrl[mixture.name]])
        return Batch(noisy, clean, snr, score)


class TrainingClips(Dataset):
    """Batches of clips: every epoch another stretch of the endless stream.

    From the epoch ``scored_from`` on, the first ``scored_clips`` clips come
    again and again instead, since an endless stream of new ones could not be
    scored by DNSMOS in time. For a ``DataLoader`` with ``batch_size=None``:
    its workers mix while the net trains.

    Arguments
    ---------
    counter : object
        Its ``current`` is the epoch, from 1.
    sampler : MixtureSampler
        Makes the clips.
    batch_size : int
        Clips in a batch.
    batches : int
        Length of an epoch.
    scored_from : int, optional
        First epoch with scored clips.
    scored_clips : int
        How many clips are scored.
    ovrl : sequence of float, optional
        Their scores, where they are used. A clip without a score (NaN)
        counts as the mean one.
    judge : callable, optional
        Scores the clips of a batch ``[B, T]`` as they come, from
        ``scored_from`` on; then none has to come again.

    Raises
    ------
    InputError
        If the scored clips do not fill a batch.
    """

    def __init__(
        self,
        counter: Any,
        sampler: MixtureSampler,
        batch_size: int,
        batches: int,
        scored_from: int | None = None,
        scored_clips: int = 0,
        ovrl: Sequence[float] | None = None,
        judge: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        if scored_from is not None and scored_clips < batch_size:
            raise InputError(
                f"scored_clips: expected at least one batch of "
                f"{batch_size}, found {scored_clips}"
            )
        self.counter, self.sampler = counter, sampler
        self.batch_size, self.batches = batch_size, batches
        self.judge = judge
        self.scored_from, self.scored_clips = scored_from, scored_clips
        self.scores = None
        if ovrl is not None:
            scores = torch.as_tensor(ovrl, dtype=torch.float32)
            self.scores = torch.where(scores.isnan(), scores.nanmean(), scores)

    def __len__(self) -> int:
        return self.batches

    def __getitem__(self, index: int) -> Batch:
        if not 0 <= index < self.batches:
            raise IndexError(f"batch {index} of {self.batches}")
        epoch = self.counter.current
        number, size = (epoch - 1) * self.batches + index, self.batch_size
        if self.scored_from is None or epoch < self.scored_from:
            return self.sampler.batch(number, size)
        if self.judge is not None:
            batch = self.sampler.batch(number, size)
            return batch._replace(ovrl=self.judge(batch.noisy))
        number %= self.scored_clips // size
        batch = self.sampler.batch(number, size)
        if self.scores is None:
            return batch
        scores = self.scores[number * size : (number + 1) * size]
        return batch._replace(ovrl=scores)


class FolderData:
    """A folder of speech and a folder of noise, mixed on the fly.

    Arguments
    ---------
    data_folder : path
        Holds ``speech/`` and ``noise/``, and perhaps ``rir/``,
        ``manifest.csv`` and fixed lists.
    out_folder : path
        Where lists and scores are kept.
    sampler : callable
        ``(speech, noise, rirs) -> MixtureSampler``.
    batch_size : int
        Clips per batch.
    batches_per_epoch : int
        Length of an epoch.
    scored_from : int, optional
        First epoch that draws from the scored clips.
    scored_clips : int
        How many clips are scored.
    guided : bool
        Whether training reads the scores; if not, they are not computed, and
        the clips are the same.
    judge : str, optional
        A quality predictor, by name or folder, that scores the training clips
        in place of DNSMOS. It is quick enough for an endless stream, so that
        none has to come again.
    """

    def __init__(
        self,
        data_folder: str | Path,
        out_folder: str | Path,
        sampler: Callable[..., MixtureSampler],
        batch_size: int,
        batches_per_epoch: int,
        scored_from: int | None = None,
        scored_clips: int = 0,
        guided: bool = False,
        judge: str | None = None,
    ) -> None:
        self.root, self.out = Path(data_folder), Path(out_folder)
        self.make_sampler = sampler
        self.guided = guided
        self.judge = Judge.from_pretrained(judge) if judge and guided else None
        self.batches = {
            "scored_from": scored_from,
            "scored_clips": scored_clips,
            "batch_size": batch_size,
            "batches": batches_per_epoch,
        }

    def prepare(self) -> None:
        """Finds the files and scores what has to be scored, on rank 0."""
        if not self.root.is_dir():
            raise InputError(
                f"data_folder: expected a folder, found no {self.root}"
            )
        run_on_main(self._find)
        self.files = self._find()
        files = self.files
        self.sampler = self.make_sampler(files.speech, files.noise, files.rirs)
        run_on_main(self._score)

    def _find(self) -> PreparedFolders:
        rir = self.root / "rir"
        return prepare_folders(
            self.root / "speech",
            self.root / "noise",
            self.out,
            rir if rir.is_dir() else None,
        )

    def _score(self) -> None:
        self.train_ovrl()
        self._valid_ovrl()

    def train_ovrl(self) -> np.ndarray | None:
        """Scores of the scored clips, read from their table.

        Returns
        -------
        np.ndarray or None
            ``[scored_clips]``, of a judge the first few; None where training
            does not read them.
        """
        if not self.guided:
            return None
        if self.judge is not None:
            clips = min(self.batches["scored_clips"], JUDGED_CLIPS)
            batches = (self.sampler.batch(n, 1) for n in range(clips))
            return torch.cat([self.judge(x.noisy) for x in batches]).numpy()
        table = self.out / "clips_ovrl.csv"
        return ovrl_of_clips(self.sampler, self.batches["scored_clips"], table)

    def _valid_ovrl(self) -> dict[str, float]:
        return annotate_ovrl(self.files.valid(), self.out / "valid_ovrl.csv")

    def train(self, counter: Any) -> Dataset:
        """Batches of training clips.

        Arguments
        ---------
        counter : object
            Its ``current`` is the epoch, from 1.

        Returns
        -------
        Dataset
            Of :class:`Batch`.
        """
        return TrainingClips(
            counter,
            ovrl=None if self.judge else self.train_ovrl(),
            sampler=self.sampler,
            judge=self.judge,
            **self.batches,
        )

    def valid(self) -> Dataset:
        """The mixtures to choose by, with their scores.

        Returns
        -------
        Dataset
            Of :class:`Batch`.
        """
        return FixedMixtures(self.files.valid(), self._valid_ovrl())

    def test(self) -> list[Pair]:
        """The mixtures to report.

        Returns
        -------
        list of Pair
            Mixed when they are needed.
        """
        return mixture_pairs(self.files.test())
