"""Noisy and clean files that belong together, as training data.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from speechbrain.utils.distributed import run_on_main
from torch.utils.data import Dataset

from speechbrain_dsn.dataio.mixing import Batch
from speechbrain_dsn.dataio.store import read_mono
from speechbrain_dsn.dataio.voicebank import SPLITS, prepare_voicebank
from speechbrain_dsn.errors import InputError
from speechbrain_dsn.inference.pairs import Pair

RATE = 16000


class Utterance(NamedTuple):
    """A noisy file, its clean one, and DNSMOS OVRL of the noisy one where it
    is known."""

    name: str
    noisy: Path
    clean: Path
    ovrl: float | None = None

    def load(self, sample_rate: int = RATE) -> tuple[np.ndarray, np.ndarray]:
        """Reads both files.

        Arguments
        ---------
        sample_rate : int
            The rate wanted, in Hz.

        Returns
        -------
        tuple of np.ndarray
            Noisy and clean ``[samples]``, float32.
        """
        return read_mono(self.noisy, sample_rate), read_mono(
            self.clean, sample_rate
        )


def read_utterances(path: Path, data_root: str) -> list[Utterance]:
    """Reads a list in the layout of SpeechBrain's annotations.

    Arguments
    ---------
    path : Path
        JSON: name to ``noisy_wav``, ``clean_wav`` and perhaps ``ovrl``.
    data_root : str
        What ``{data_root}`` stands for.

    Returns
    -------
    list of Utterance
        In the order of the list.

    Raises
    ------
    InputError
        The list is empty.
    """
    entries = json.loads(path.read_text("utf-8"))
    if not entries:
        raise InputError(f"{path}: expected pairs of files, found none")
    return [
        Utterance(
            name,
            Path(entry["noisy_wav"].format(data_root=data_root)),
            Path(entry["clean_wav"].format(data_root=data_root)),
            entry.get("ovrl"),
        )
        for name, entry in entries.items()
    ]


def estimate_snr(noisy: np.ndarray, clean: np.ndarray) -> float:
    """Level of the clean signal over that of the difference.

    Arguments
    ---------
    noisy : np.ndarray
        ``[samples]``.
    clean : np.ndarray
        ``[samples]``.

    Returns
    -------
    float
        In dB, within -100 and 100.

    Example
    -------
    >>> clean = np.ones(100)
    >>> round(estimate_snr(1.1 * clean, clean), 6)
    20.0
    """
    signal, noise = (
        float(np.square(x, dtype=np.float64).sum())
        for x in (clean, noisy - clean)
    )
    ratio = max(signal, 1e-300) / max(noise, 1e-300)
    return float(np.clip(10 * np.log10(ratio), -100, 100))


def _batch(
    pairs: Sequence[tuple[np.ndarray, np.ndarray]],
    ovrl: Sequence[float | None],
) -> Batch:
    """Signals of one length, with their SNR and, where all have one, their
    score."""
    noisy, clean = (
        torch.from_numpy(np.stack(signals))
        for signals in zip(*pairs, strict=True)
    )
    snr = torch.tensor([estimate_snr(*pair) for pair in pairs])
    scored = None if None in ovrl else torch.tensor(ovrl)
    return Batch(noisy, clean, snr, scored)


class WholeUtterances(Dataset):
    """Utterances as batches of one.

    Arguments
    ---------
    utterances : sequence of Utterance
        A list of valid.
    """

    def __init__(self, utterances: Sequence[Utterance]) -> None:
        self.utterances = utterances

    def __len__(self) -> int:
        return len(self.utterances)

    def __getitem__(self, index: int) -> Batch:
        utterance = self.utterances[index]
        return _batch([utterance.load()], [utterance.ovrl])


class RandomCrops(Dataset):
    """Batches of random stretches of utterances.

    Every utterance comes once before any comes again, in an order and at
    offsets that depend on the seed and the number of the clip alone: a run
    that was stopped goes on with the clips it would have had, and nets that
    are compared see the same ones. An utterance that is too short is
    repeated. The score of a stretch is that of its utterance.

    Arguments
    ---------
    utterances : sequence of Utterance
        A list of train.
    counter : object
        Its ``current`` is the epoch, from 1.
    seed : int
        With the number of a clip, it fixes the clip.
    clip_seconds : float
        Length of a clip.
    batch_size : int
        Clips per batch.
    batches : int
        Length of an epoch.
    sample_rate : int
        In Hz.
    """

    def __init__(
        self,
        utterances: Sequence[Utterance],
        counter: Any,
        seed: int,
        clip_seconds: float,
        batch_size: int,
        batches: int,
        sample_rate: int = RATE,
    ) -> None:
        self.utterances, self.counter, self.seed = utterances, counter, seed
        self.sample_rate = sample_rate
        self.length = round(clip_seconds * sample_rate)
        self.batch_size, self.batches = batch_size, batches
        if self.length < 1:
            raise InputError(f"clip_seconds: expected > 0, got {clip_seconds}")

    def __len__(self) -> int:
        return self.batches

    def __getitem__(self, index: int) -> Batch:
        if not 0 <= index < self.batches:
            raise IndexError(f"batch {index} of {self.batches}")
        number = (self.counter.current - 1) * self.batches + index
        first = number * self.batch_size
        chosen, clips = [], []
        for item in range(first, first + self.batch_size):
            utterance, clip = self.clip(item)
            chosen.append(utterance)
            clips.append(clip)
        return self._batch(clips, chosen)

    def _batch(self, clips: list, chosen: list[Utterance]) -> Batch:
        return _batch(clips, [utterance.ovrl for utterance in chosen])

    def _load(self, utterance: Utterance, rng: np.random.Generator) -> tuple:
        """Mixture ``[samples]`` and target ``[samples, ...]``."""
        return utterance.load(self.sample_rate)

    def clip(
        self, number: int
    ) -> tuple[Utterance, tuple[np.ndarray, np.ndarray]]:
        """One clip, fixed by the seed and its number.

        Arguments
        ---------
        number : int
            From 0.

        Returns
        -------
        utterance : Utterance
            Where it comes from.
        clip : tuple of np.ndarray
            Noisy and clean ``[samples]``.
        """
        turn, place = divmod(number, len(self.utterances))
        order = np.random.default_rng((self.seed, 0, turn))
        chosen = order.permutation(len(self.utterances))[place]
        utterance = self.utterances[chosen]
        rng = np.random.default_rng((self.seed, 1, number))
        noisy, clean = self._load(utterance, rng)
        if len(noisy) < self.length:
            noisy, clean = (
                np.resize(x, (self.length, *x.shape[1:]))
                for x in (noisy, clean)
            )
        start = rng.integers(len(noisy) - self.length + 1)
        stretch = slice(start, start + self.length)
        return utterance, (noisy[stretch], clean[stretch])


class VoicebankData:
    """VoiceBank+DEMAND (Valentini-Botinhao, 2017) as published.

    Arguments
    ---------
    data_folder : path
        Holds the four folders of the corpus.
    out_folder : path
        Where lists, scores and converted files are kept; recipes that share
        it prepare once.
    seed : int
        Of order and offsets.
    clip_seconds : float
        Length of a training clip.
    batch_size : int
        Clips per batch.
    batches_per_epoch : int
        Length of an epoch.
    train_set : str
        ``28spk`` or ``56spk``.
    valid_speakers : int
        Speakers of the train set that are kept for valid.
    valid_utterances : int, optional
        How many of their utterances are measured after each epoch, spread
        over all of them; all by default.
    ovrl : bool
        Whether noisy files are scored by DNSMOS, once, for a net that
        decides.
    workers : int
        Threads for that.
    """

    def __init__(
        self,
        data_folder: str | Path,
        out_folder: str | Path,
        seed: int,
        clip_seconds: float,
        batch_size: int,
        batches_per_epoch: int,
        train_set: str = "28spk",
        valid_speakers: int = 2,
        valid_utterances: int | None = None,
        ovrl: bool = True,
        workers: int = 1,
    ) -> None:
        self.out, self.ovrl = Path(out_folder), ovrl
        self.valid_utterances = valid_utterances
        self.preparation = {
            "data_folder": data_folder,
            "valid_speaker_count": valid_speakers,
            "ovrl": ovrl,
            "workers": workers,
            "train_set": train_set,
        }
        self.clips = {
            "seed": seed,
            "clip_seconds": clip_seconds,
            "batch_size": batch_size,
            "batches": batches_per_epoch,
        }

    def prepare(self) -> None:
        """Writes the lists on rank 0, and reads them on all."""
        options = {"save_folder": self.out, **self.preparation}
        run_on_main(prepare_voicebank, kwargs=options)
        options["skip_prep"] = True
        root = prepare_voicebank(**options)
        self.utterances = {
            split: read_utterances(self.out / f"{split}.json", root)
            for split in SPLITS
        }

    def train_ovrl(self) -> np.ndarray | None:
        """Scores of the training files.

        Returns
        -------
        np.ndarray or None
            One per utterance; None where they are not scored.
        """
        if not self.ovrl:
            return None
        return np.array([entry.ovrl for entry in self.utterances["train"]])

    def train(self, counter: Any) -> RandomCrops:
        """Batches of training clips.

        Arguments
        ---------
        counter : object
            Its ``current`` is the epoch, from 1.

        Returns
        -------
        RandomCrops
            Of :class:`Batch`.
        """
        return RandomCrops(self.utterances["train"], counter, **self.clips)

    def valid(self) -> WholeUtterances:
        """The utterances to choose by.

        Returns
        -------
        WholeUtterances
            Of :class:`Batch`.
        """
        found = self.utterances["valid"]
        count = min(self.valid_utterances or len(found), len(found))
        places = [place * len(found) // count for place in range(count)]
        return WholeUtterances([found[place] for place in places])

    def test(self) -> list[Pair]:
        """The utterances to report.

        Returns
        -------
        list of Pair
            Read when they are needed.
        """
        return [
            Pair(entry.name, entry.load, estimate_snr(*entry.load()))
            for entry in self.utterances["test"]
        ]
