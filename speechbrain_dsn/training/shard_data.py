"""Training from shards: a corpus of any size, read in order, on any number of
ranks.

Which clip a rank gets at which step of which epoch follows from the seed, the
number of clips in a shard and the number of ranks: nothing is indexed, ranks
need not talk, and a run goes on in mid epoch by asking for the next batch.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import Dataset

from speechbrain_dsn.dataio.mixing import Batch
from speechbrain_dsn.dataio.shards import Clip, Raw, ShardFolder
from speechbrain_dsn.errors import InputError
from speechbrain_dsn.inference.file_scores import plain
from speechbrain_dsn.inference.pairs import Pair

RATE = 16000


class Deal(NamedTuple):
    """How the clips of an epoch are dealt: each to one rank, and to all ranks
    equally many batches, so that none waits for another at the end.

    A rank owns one stretch of the epoch, and reads it at ``lanes`` places in
    turn. A process that loads every `n`-th batch, where `n` divides the lanes,
    thus meets whole stretches, and no shard is read by two of them (but those
    that lie across a border).

    Arguments
    ---------
    clips : int
        In the epoch.
    ranks : int
        Processes that train.
    batch_size : int
        Clips in a batch, at most; but with 1, where the ranks do not divide
        the clips, a batch of some ranks has 2.
    lanes : int
        Places.

    Example
    -------
    >>> deal = Deal(clips=7, ranks=2, batch_size=2, lanes=1)
    >>> [[list(deal.batch(t, r)) for t in range(deal.steps)] for r in (0, 1)]
    [[[0], [1, 2]], [[3, 4], [5, 6]]]
    """

    clips: int
    ranks: int
    batch_size: int
    lanes: int

    @property
    def steps(self) -> int:
        """Batches of each rank."""
        most = math.ceil(self.clips / self.ranks)
        return min(math.ceil(most / self.batch_size), self.clips // self.ranks)

    def lane(self, step: int) -> int:
        """Of a batch."""
        return step % self.lanes

    def batch(self, step: int, rank: int) -> range:
        """Places in the epoch of the clips of a batch."""
        turn, lane = divmod(step, self.lanes)
        whole, rest = divmod(self.steps, self.lanes)
        number = turn + lane * whole + min(lane, rest)
        begin, end = (
            self.clips * border // self.ranks for border in (rank, rank + 1)
        )
        return range(
            begin + (end - begin) * number // self.steps,
            begin + (end - begin) * (number + 1) // self.steps,
        )


class ShardBatches(Dataset):
    """The training batches of all ranks; those of a rank are every
    ``ranks``-th, as ``DistributedSampler`` deals them unshuffled.

    An epoch takes the shards in an order of its own, and the clips of each
    shard too. A process keeps one shard per lane in memory, undecoded.

    Arguments
    ---------
    shards : ShardFolder
        All equally full.
    counter : object
        Its ``current`` is the epoch, from 1.
    batch_size : int
        Clips in a batch of a rank, see `Deal`.
    seed : int
        With the epoch, it fixes the order.
    ranks : int
        Processes that train.
    lanes : int
        See `Deal`.

    Raises
    ------
    InputError
        The shards are not equally full, or there are fewer clips than ranks.
    """

    def __init__(
        self,
        shards: ShardFolder,
        counter: Any,
        batch_size: int,
        seed: int,
        ranks: int = 1,
        lanes: int = 4,
    ) -> None:
        if len(set(shards.clips)) != 1:
            raise InputError(
                f"{shards.folder}: expected shards that are equally full, "
                f"found {min(shards.clips, default=0)} to "
                f"{max(shards.clips, default=0)} clips"
            )
        clips = sum(shards.clips)
        if clips < ranks or min(batch_size, lanes) < 1:
            raise InputError(
                f"{shards.folder}: expected a clip or more for each of {ranks} "
                f"rank(s), batch_size and lanes of 1 or more, found {clips} "
                f"clips, {batch_size} and {lanes}"
            )
        self.shards, self.counter, self.seed = shards, counter, seed
        self.deal = Deal(clips, ranks, batch_size, lanes)
        self._open: dict[int, tuple[tuple[int, int], list[Raw]]] = {}

    def __len__(self) -> int:
        return self.deal.steps * self.deal.ranks

    def __getitem__(self, index: int) -> Batch:
        if not 0 <= index < len(self):
            raise IndexError(f"batch {index} of {len(self)}")
        step, rank = divmod(index, self.deal.ranks)
        lane, epoch = self.deal.lane(step), self.counter.current
        places = self.deal.batch(step, rank)
        return _batch([self._clip(epoch, lane, place) for place in places])

    def _clip(self, epoch: int, lane: int, place: int) -> Clip:
        size = self.shards.clips[0]
        order = np.random.default_rng((self.seed, epoch))
        shard = int(order.permutation(len(self.shards.clips))[place // size])
        if lane not in self._open or self._open[lane][0] != (epoch, shard):
            self._open[lane] = (epoch, shard), self.shards.read(shard)
        within = np.random.default_rng((self.seed, epoch, shard))
        raw = self._open[lane][1][within.permutation(size)[place % size]]
        return self.shards.decode(raw)


class ShardClips(Dataset):
    """The clips of a small set, as batches of one.

    Arguments
    ---------
    shards : ShardFolder
        Of valid.
    """

    def __init__(self, shards: ShardFolder) -> None:
        self.shards, self.raw = shards, shards.all()

    def __len__(self) -> int:
        return len(self.raw)

    def __getitem__(self, index: int) -> Batch:
        return _batch([self.shards.decode(self.raw[index])])


def _batch(clips: list[Clip]) -> Batch:
    if len({len(clip.clean) for clip in clips}) != 1:
        raise InputError(
            f"{clips[0].name}: expected clips of one length in a batch, found "
            f"{sorted({len(clip.clean) for clip in clips})} samples"
        )
    _, noisy, clean, snr_db, ovrl = zip(*clips, strict=True)
    return Batch(
        torch.from_numpy(np.stack(noisy)),
        torch.from_numpy(np.stack(clean)),
        torch.tensor(snr_db),
        torch.tensor(ovrl),
    )


def _load(shards: ShardFolder, raw: Raw, sample_rate: int = RATE) -> tuple:
    if sample_rate != shards.sample_rate:
        raise InputError(
            f"{shards.folder}: expected {shards.sample_rate} Hz to be asked "
            f"for, found {sample_rate}"
        )
    clip = shards.decode(raw)
    return clip.noisy, clip.clean


class ShardData:
    """Folders of shards, as `dataio.dns_shards` writes them.

    Arguments
    ---------
    data_folder : path
        Holds ``train_shards/``, ``valid_shards/`` and ``test_shards/``.
    batch_size : int
        Clips per batch and rank.
    seed : int
        Of the order.
    lanes : int
        See `Deal`; a multiple of the processes that load.
    """

    def __init__(
        self,
        data_folder: str | Path,
        batch_size: int,
        seed: int,
        lanes: int = 4,
    ) -> None:
        self.root = Path(data_folder)
        self.order = {"batch_size": batch_size, "seed": seed, "lanes": lanes}

    def prepare(self) -> None:
        """Reads what the folders hold; each rank for itself, since nodes may
        have copies of their own."""
        self.shards = {
            split: ShardFolder(self.root / f"{split}_shards", RATE)
            for split in ("train", "valid", "test")
        }
        self.batches_per_epoch = len(self.train(None))

    def train(self, counter: Any) -> ShardBatches:
        """Batches of training clips.

        Arguments
        ---------
        counter : object
            Its ``current`` is the epoch, from 1.

        Returns
        -------
        ShardBatches
            Of :class:`Batch`.
        """
        ranks = 1
        if torch.distributed.is_initialized():
            ranks = torch.distributed.get_world_size()
        return ShardBatches(
            self.shards["train"], counter, ranks=ranks, **self.order
        )

    def valid(self) -> ShardClips:
        """The mixtures to choose by, with their scores.

        Returns
        -------
        ShardClips
            Of :class:`Batch`.
        """
        return ShardClips(self.shards["valid"])

    def test(self) -> list[Pair]:
        """The mixtures to report.

        Returns
        -------
        list of Pair
            Decoded when they are needed.
        """
        shards = self.shards["test"]
        clips = [(raw, shards.decode(raw)) for raw in shards.all()]
        return [
            Pair(clip.name, partial(_load, shards, raw), plain(clip.snr_db))
            for raw, clip in clips
        ]

    def train_ovrl(self) -> np.ndarray:
        """Scores of the training clips, mean of each shard.

        Returns
        -------
        np.ndarray
            ``[shards]``.
        """
        return np.array(self.shards["train"].ovrl)
