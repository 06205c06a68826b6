"""Mixtures for the tasks on speech.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from tqdm import tqdm

from speechbrain_dsn.dataio.folders import PreparedFolders, prepare_folders
from speechbrain_dsn.dataio.mixing import MixtureSampler
from speechbrain_dsn.errors import InputError

__all__ = ["Signals"]

FILES = 300  # of a large folder that are read to train on
CLIPS = 8  # of calibration
BATCH = 10  # mixtures that are scored together


@dataclass(frozen=True)
class Signals:
    """A folder of speech and noise.

    Arguments
    ---------
    root : Path
        With ``speech/`` and ``noise/``.
    lists : Path
        Folder where the lists of its files are kept.
    items : int
        Mixtures to search on, of valid, and of test, spread over their
        lists.
    seconds : float
        Longest part of each.
    seed : int
        Of the clips to train and to calibrate on.
    """

    root: Path
    lists: Path
    items: int
    seconds: float
    seed: int

    def batches(self, sample_rate: int) -> dict[str, list]:
        """Mixtures by split.

        Arguments
        ---------
        sample_rate : int
            In Hz.

        Returns
        -------
        dict of str to list
            Of noisy and clean ``[B, samples]``, short ones followed by
            silence; calibration and search are drawn from the files for
            training.
        """
        files = self._files()
        sampler = self._sampler(files, self.seconds, self.seed + 1, sample_rate)
        batch = sampler.batch(0, CLIPS + self.items)
        data = {
            "calibration": _batches(batch.noisy[:CLIPS], batch.clean[:CLIPS]),
            "search": _batches(batch.noisy[CLIPS:], batch.clean[CLIPS:]),
        }
        longest = round(self.seconds * sample_rate)
        for split in ("valid", "test"):
            chosen = _spread(getattr(files, split)(), self.items)
            pairs = [
                [torch.from_numpy(x[:longest]) for x in mix.render(sample_rate)]
                for mix in chosen
            ]
            sides = zip(*pairs, strict=True)
            data[split] = _batches(
                *(pad_sequence(list(side), True) for side in sides)
            )
        return data

    def training(
        self, steps: int, seconds: float, name: str, sample_rate: int = 16000
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Clips to train on, with a progress bar.

        Arguments
        ---------
        steps : int
            Batches.
        seconds : float
            Length of a clip.
        name : str
            Of what is trained.
        sample_rate : int
            In Hz.

        Yields
        ------
        tuple of Tensor
            Noisy and clean ``[8, samples]``.
        """
        sampler = self._sampler(self._files(), seconds, self.seed, sample_rate)
        for number in tqdm(range(steps), f"train {name}", unit="step"):
            batch = sampler.batch(number, 8)
            yield batch.noisy, batch.clean

    def _files(self) -> PreparedFolders:
        if not self.root.is_dir():
            raise InputError(
                f"data_folder: expected a folder, found no {self.root}"
            )
        folders = (self.root / "speech", self.root / "noise")
        return prepare_folders(*folders, self.lists)

    def _sampler(
        self, files: PreparedFolders, seconds: float, seed: int, rate: int
    ) -> MixtureSampler:
        return MixtureSampler(
            _spread(files.speech, FILES),
            _spread(files.noise, FILES),
            seed=seed,
            clip_seconds=seconds,
            sample_rate=rate,
        )


def _batches(noisy: Tensor, clean: Tensor) -> list[tuple[Tensor, Tensor]]:
    return list(zip(noisy.split(BATCH), clean.split(BATCH), strict=True))


def _spread(rows: list, count: int) -> list:
    """So many of them at even distances, or all."""
    count = min(count, len(rows))
    return [rows[place * len(rows) // count] for place in range(count)]
