"""What the separation recipes train and measure on.

As in :mod:`speechbrain_dsn.training.data`: ``prepare()`` finds the files,
``train(counter)`` and ``valid()`` give data sets of
:class:`~speechbrain_dsn.dataio.speakers.SpeakerBatch`, and ``test()`` the
mixtures of the results table.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from speechbrain.utils.distributed import run_on_main
from torch.utils.data import Dataset

from speechbrain_dsn.dataio.audio import collect_audio
from speechbrain_dsn.dataio.fixed_speakers import SEPARATION
from speechbrain_dsn.dataio.folders import PreparedFolders, prepare_folders
from speechbrain_dsn.dataio.resample import resample
from speechbrain_dsn.dataio.separation import MixtureFiles, read_mixtures
from speechbrain_dsn.dataio.speakers import SpeakerBatch, TwoSpeakerSampler
from speechbrain_dsn.errors import InputError
from speechbrain_dsn.inference.mixtures import (
    Mixture,
    fixed_mixtures,
    prepared_mixtures,
)
from speechbrain_dsn.training.data import TrainingClips
from speechbrain_dsn.training.pairs import RandomCrops


class WholeMixtures(Dataset):
    """Mixtures as batches of one.

    Arguments
    ---------
    mixtures : sequence of Mixture
        A list of valid.
    sample_rate : int
        In Hz.
    """

    def __init__(self, mixtures: Sequence[Mixture], sample_rate: int) -> None:
        self.mixtures, self.sample_rate = mixtures, sample_rate

    def __len__(self) -> int:
        return len(self.mixtures)

    def __getitem__(self, index: int) -> SpeakerBatch:
        mixture = self.mixtures[index]
        wav, sources = mixture.load(self.sample_rate)
        overlap = np.nan if mixture.overlap is None else mixture.overlap
        return SpeakerBatch(
            torch.from_numpy(wav)[None],
            torch.from_numpy(sources)[None],
            torch.tensor([overlap]),
        )


class SpeakerCrops(RandomCrops):
    """Batches of random stretches of mixtures, perturbed in speed.

    Arguments
    ---------
    speeds : sequence of int
        Speeds in percent; 100 leaves a source as it is. Every source gets its
        own, and they are mixed anew.
    same_speed : bool
        One speed for a mixture and its sources: where the mixture is more
        than their sum with noise, as in a room.
    **crops
        Arguments of :class:`~speechbrain_dsn.training.pairs.RandomCrops`.
    """

    def __init__(
        self, speeds: Sequence[int], same_speed: bool, **crops
    ) -> None:
        super().__init__(**crops)
        if not speeds or min(speeds) < 1:
            raise InputError(f"speeds: expected percents, got {speeds}")
        self.speeds, self.same_speed = tuple(speeds), same_speed

    def _load(
        self, utterance: MixtureFiles, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        mixture, sources = utterance.load(self.sample_rate)
        count = 1 if self.same_speed else sources.shape[1]
        speeds = rng.choice(self.speeds, count)
        if (speeds == 100).all():
            return mixture, sources
        if self.same_speed:
            both = np.column_stack((mixture, sources))
            both = _at_speed(both, int(speeds[0]))
            return both[:, 0], both[:, 1:]
        rest = mixture - sources.sum(1)
        voices = [
            _at_speed(voice, int(speed))
            for voice, speed in zip(sources.T, speeds, strict=True)
        ]
        length = min(map(len, [rest, *voices]))
        sources = np.stack([voice[:length] for voice in voices], axis=1)
        return rest[:length] + sources.sum(1), sources

    def _batch(
        self, clips: list[tuple], chosen: list[MixtureFiles]
    ) -> SpeakerBatch:
        mixtures, sources = (
            torch.from_numpy(np.stack(wavs).astype(np.float32))
            for wavs in zip(*clips, strict=True)
        )
        return SpeakerBatch(
            mixtures, sources, torch.full((len(clips),), torch.nan)
        )


def _at_speed(samples: np.ndarray, percent: int) -> np.ndarray:
    """By the polyphase filters, as if recorded at another rate."""
    return resample(samples, percent, 100)


class SpeakerFolders:
    """A folder of speakers, and perhaps one of noise, mixed on the fly.

    Arguments
    ---------
    data_folder : path
        Holds ``speech/`` (a folder per speaker) and perhaps ``noise/``,
        ``rir/``, ``manifest.csv``, ``separate_valid.csv`` and
        ``separate_test.csv``.
    out_folder : path
        Where lists are written.
    sampler : callable
        ``(speech, noise, rirs) -> TwoSpeakerSampler``.
    batch_size : int
        Clips in a batch.
    batches_per_epoch : int
        Length of an epoch.
    sample_rate : int
        In Hz.
    noisy : bool
        Whether valid and test hold the noise of their lists.
    """

    def __init__(
        self,
        data_folder: str | Path,
        out_folder: str | Path,
        sampler: Callable[..., TwoSpeakerSampler],
        batch_size: int,
        batches_per_epoch: int,
        sample_rate: int = 8000,
        noisy: bool = False,
    ) -> None:
        self.root, self.out = Path(data_folder), Path(out_folder)
        self.make_sampler = sampler
        self.batches = {"batch_size": batch_size, "batches": batches_per_epoch}
        self.sample_rate, self.noisy = sample_rate, noisy

    def prepare(self) -> None:
        """Finds the files and writes the lists, on rank 0 first."""
        if not self.root.is_dir():
            raise InputError(
                f"data_folder: expected a folder, found no {self.root}"
            )
        run_on_main(self._find)
        self.files = files = self._find()
        self.sampler = self.make_sampler(files.speech, files.noise, files.rirs)

    def _find(self) -> PreparedFolders:
        noise, rir = (
            folder if folder.is_dir() else None
            for folder in (self.root / "noise", self.root / "rir")
        )
        lists = {
            f"{split}_list": path
            for split in ("valid", "test")
            if (path := self.root / f"separate_{split}.csv").is_file()
        }
        speech = self.root / "speech"
        return prepare_folders(
            speech, noise, self.out, rir, form=SEPARATION, **lists
        )

    def train(self, counter: Any) -> Dataset:
        """Batches of training clips.

        Arguments
        ---------
        counter : object
            Its ``current`` is the epoch, from 1.

        Returns
        -------
        Dataset
            Of :class:`SpeakerBatch`.
        """
        return TrainingClips(counter, self.sampler, **self.batches)

    def valid(self) -> WholeMixtures:
        """The mixtures to choose by."""
        mixtures = fixed_mixtures(self.files.valid(), self.noisy)
        return WholeMixtures(mixtures, self.sample_rate)

    def test(self) -> list[Mixture]:
        """The mixtures to report."""
        return fixed_mixtures(self.files.test(), self.noisy)


class SeparationCorpus:
    """A corpus of prepared mixtures; training may mix its speakers anew.

    Arguments
    ---------
    data_folder : path
        The corpus.
    out_folder : path
        Where lists are kept; recipes that share it prepare once.
    prepare : callable
        Out of :mod:`speechbrain_dsn.dataio.separation`, with its options.
    seed : int
        Of order, offsets and speeds.
    clip_seconds : float
        Length of a training clip.
    batch_size : int
        Clips in a batch.
    batches_per_epoch : int
        Length of an epoch.
    num_spks : int
        Speakers in a mixture.
    sample_rate : int
        In Hz.
    speeds : sequence of int
        See :class:`SpeakerCrops`.
    same_speed : bool
        See :class:`SpeakerCrops`.
    dynamic_mixing : path, optional
        A folder with one folder of utterances per speaker: mixtures are then
        made on the fly, see `sampler`.
    sampler : callable, optional
        ``(speech, noise) -> TwoSpeakerSampler``, for dynamic mixing; the
        noise is that of the training list, where it has any.
    valid_mixtures : int, optional
        How many mixtures are measured after each epoch; all by default.
    """

    def __init__(
        self,
        data_folder: str | Path,
        out_folder: str | Path,
        prepare: Callable[..., dict[str, Path]],
        seed: int,
        clip_seconds: float,
        batch_size: int,
        batches_per_epoch: int,
        num_spks: int = 2,
        sample_rate: int = 8000,
        speeds: Sequence[int] = (95, 100, 105),
        same_speed: bool = False,
        dynamic_mixing: str | Path | None = None,
        sampler: Callable[..., TwoSpeakerSampler] | None = None,
        valid_mixtures: int | None = None,
    ) -> None:
        self.prepare_lists = prepare
        self.preparation = {
            "data_folder": data_folder,
            "save_folder": out_folder,
            "num_spks": num_spks,
            "sample_rate": sample_rate,
        }
        self.batches = {"batch_size": batch_size, "batches": batches_per_epoch}
        self.crops = {"seed": seed, "clip_seconds": clip_seconds}
        self.crops |= {"speeds": speeds, "same_speed": same_speed}
        self.sample_rate, self.valid_mixtures = sample_rate, valid_mixtures
        self.voices, self.make_sampler = dynamic_mixing, sampler
        if self.voices and num_spks != 2:
            raise InputError(
                f"dynamic_mixing: expected 2 speakers, got {num_spks}"
            )

    def prepare(self) -> None:
        """Writes the lists on rank 0, and reads them on all."""
        run_on_main(self.prepare_lists, kwargs=self.preparation)
        lists = self.prepare_lists(**self.preparation)
        self.mixtures = {
            split: read_mixtures(path) for split, path in lists.items()
        }
        if self.voices:
            # The first one decodes; the others find its cache.
            run_on_main(self._mix, post_func=self._mix)

    def _mix(self) -> None:
        speech = speaker_files(self.voices)
        noise = [mixture.noise for mixture in self.mixtures["train"]]
        noise = [(str(path), "noise") for path in noise if path]
        self.sampler = self.make_sampler(speech, noise)

    def train(self, counter: Any) -> Dataset:
        """Batches of training clips.

        Arguments
        ---------
        counter : object
            Its ``current`` is the epoch, from 1.

        Returns
        -------
        Dataset
            Of :class:`SpeakerBatch`.
        """
        if self.voices:
            return TrainingClips(counter, self.sampler, **self.batches)
        return SpeakerCrops(
            utterances=self.mixtures["train"],
            counter=counter,
            sample_rate=self.sample_rate,
            **self.batches,
            **self.crops,
        )

    def valid(self) -> WholeMixtures:
        """The mixtures to choose by, spread over all of them."""
        found = self.mixtures["valid"]
        count = min(self.valid_mixtures or len(found), len(found))
        places = [place * len(found) // count for place in range(count)]
        chosen = prepared_mixtures([found[place] for place in places])
        return WholeMixtures(chosen, self.sample_rate)

    def test(self) -> list[Mixture]:
        """The mixtures to report."""
        return prepared_mixtures(self.mixtures["test"])


def speaker_files(folder: str | Path) -> list[tuple[str, str]]:
    """Audio files with their speakers: the folders right below.

    Arguments
    ---------
    folder : path
        Such as ``wsj0/si_tr_s`` or ``LibriSpeech/train-clean-360``.

    Returns
    -------
    list of (path, speaker)
        Sorted.

    Raises
    ------
    InputError
        There is no such folder, or no audio in it.
    """
    root = Path(folder).expanduser().absolute()
    if not root.is_dir():
        raise InputError(
            f"dynamic_mixing: expected a folder with one folder per speaker, "
            f"found no {root}"
        )
    return [
        (str(path), path.relative_to(root).parts[0])
        for path in collect_audio([root])
    ]
