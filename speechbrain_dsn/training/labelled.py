"""Signals with scores as batches of features and labels.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from speechbrain_dsn.errors import InputError

__all__ = ["Example", "LabelledClips", "LabelledSignals", "QualityBatch"]


class Example(NamedTuple):
    """A signal that was scored.

    Arguments
    ---------
    name : str
        Within its split.
    kind : str
        Of its degradation.
    features : Path
        File of its segments ``[S, T, bands]``, float16.
    labels : dict of str to float
        By target; NaN where there is none.
    """

    name: str
    kind: str
    features: Path
    labels: dict[str, float]


class QualityBatch(NamedTuple):
    """Features ``[B, T, bands]`` and labels ``[B, targets]``. In evaluation
    the features are the segments of one signal and ``labels [1, targets]``."""

    features: Tensor
    labels: Tensor


class LabelledSignals(Dataset):
    """Each signal with its labels, cut into segments.

    Arguments
    ---------
    examples : sequence of Example
        What to give.
    targets : sequence of str
        Which labels.
    """

    def __init__(
        self, examples: Sequence[Example], targets: Sequence[str]
    ) -> None:
        self.examples, self.targets = examples, targets

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> QualityBatch:
        example = self.examples[index]
        try:
            features = np.load(example.features)
        except (OSError, ValueError, EOFError) as error:
            raise InputError(
                f"{example.features} cannot be read ({error}): expected the "
                "features of a labelled signal; remove its table to make them "
                "again"
            ) from None
        labels = torch.tensor([[example.labels[x] for x in self.targets]])
        return QualityBatch(torch.from_numpy(features).float(), labels)


class LabelledClips(LabelledSignals):
    """Batches of clips: all of them, in an order that is new every time.

    Arguments
    ---------
    counter : object
        Its ``current`` is the epoch, from 1.
    examples : sequence of Example
        Of one length.
    targets : sequence of str
        Which labels.
    batch_size : int
        Clips in a batch.
    batches : int
        Length of an epoch.
    seed : int
        Of the orders.
    """

    def __init__(
        self,
        counter: Any,
        examples: Sequence[Example],
        targets: Sequence[str],
        batch_size: int,
        batches: int,
        seed: int = 0,
    ) -> None:
        super().__init__(examples, targets)
        self.counter, self.seed = counter, seed
        self.batch_size, self.batches = batch_size, batches

    def __len__(self) -> int:
        return self.batches

    def __getitem__(self, index: int) -> QualityBatch:
        if not 0 <= index < self.batches:
            raise IndexError(f"batch {index} of {self.batches}")
        number = (self.counter.current - 1) * self.batches + index
        first, count = number * self.batch_size, len(self.examples)
        turns, places = divmod(np.arange(first, first + self.batch_size), count)
        orders = {
            turn: np.random.default_rng((self.seed, turn)).permutation(count)
            for turn in set(turns.tolist())
        }
        picks = [orders[turn][x] for turn, x in zip(turns, places, strict=True)]
        clips = [super(LabelledClips, self).__getitem__(i) for i in picks]
        return QualityBatch(*(torch.cat(x) for x in zip(*clips, strict=True)))
