"""The data of the DNS challenge, mixed to shards.

Speech, noise and impulse responses of Microsoft's Deep Noise Suppression
challenges (see `dns`); mixtures by
:class:`~speechbrain_dsn.dataio.mixing.MixtureSampler` for training and fixed
lists for valid and test, each noisy signal scored by DNSMOS as it is mixed.

Training clip ``n`` is a function of the seed, ``n`` and the files: shards do
not depend on the number of processes that wrote them, and a preparation that
was killed goes on with the shards that are not there.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

import json
import logging
import math
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from speechbrain_dsn.dataio.dns import (
    find_corpus,
    name_speakers,
    synthetic_test,
)
from speechbrain_dsn.dataio.fixed import load_fixed_list
from speechbrain_dsn.dataio.folders import FIELDS, prepare_folders
from speechbrain_dsn.dataio.mixing import MixtureSampler
from speechbrain_dsn.dataio.ovrl import Scorer, dnsmos_ovrl
from speechbrain_dsn.dataio.shards import (
    Clip,
    import_webdataset,
    shard_name,
    write_meta,
    write_shard,
)
from speechbrain_dsn.dataio.splits import SPLITS, select
from speechbrain_dsn.dataio.store import FileStore, read_mono
from speechbrain_dsn.dataio.tables import read_csv, read_done, write_text
from speechbrain_dsn.errors import InputError

RATE = 16000
ATTEMPTS = 8
# Clip numbers of the attempts at one place lie so far apart.
STRIDE = 10**9

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ShardJob:
    """What a process needs to know to write any shard.

    Arguments
    ---------
    out : Path
        Holds a folder of shards per split.
    lists : Path
        With the lists of :func:`~speechbrain_dsn.dataio.prepare_folders`.
    root : Path
        What paths in the lists are relative to.
    clips : int
        In a training shard.
    test_set : path, optional
        See `synthetic_test`; takes the place of the drawn test list.
    sampler : dict
        Arguments of ``MixtureSampler``.
    score : callable, optional
        In place of DNSMOS.
    """

    out: Path
    lists: Path
    root: Path
    clips: int
    test_set: Path | None = None
    sampler: dict[str, Any] = field(default_factory=dict)
    score: Scorer | None = None

    def path(self, item: tuple[str, int]) -> Path:
        """Of the shard (split, number)."""
        split, number = item
        return self.out / f"{split}_shards" / shard_name(number)

    def __call__(self, item: tuple[str, int]) -> str | None:
        """Writes the shard (split, number); gives the reason if it cannot."""
        bad: dict[str, str] = {}
        try:
            if item[0] == "train":
                clips = self.train_clips(item[1], bad)
            else:
                clips = self.listed_clips(item[0], bad)
            write_shard(self.path(item), clips, RATE, bad)
        except (InputError, OSError) as error:
            return str(error)
        return None

    def train_clips(self, number: int, bad: dict[str, str]) -> Iterator[Clip]:
        """The clips of a training shard. A file that cannot be read costs one
        attempt, and is noted."""
        sampler = self.make_sampler(bad)
        score = self.score or dnsmos_ovrl(max_segments=1)
        first = number * self.clips
        for place in range(first, first + self.clips):
            yield self._draw(sampler, score, place)

    def _draw(self, sampler: MixtureSampler, score: Scorer, place: int) -> Clip:
        for attempt in range(ATTEMPTS):
            try:
                drawn = sampler.clip(place + attempt * STRIDE)
                ovrl = score(drawn[0], RATE)
            except InputError as error:
                reason = error
            else:
                return Clip(f"{place:09d}", *drawn, ovrl)
        raise InputError(
            f"clip {place}: expected a mixture, found none in {ATTEMPTS} "
            f"attempts ({reason})"
        )

    def make_sampler(self, bad: dict[str, str]) -> MixtureSampler:
        """Of the training files; what cannot be read is noted in `bad`."""
        rows = read_csv(self.lists / "files.csv", FIELDS)
        kinds, seconds = {}, {}
        for kind in ("speech", "noise", "rir"):
            mine = select(rows, kind, "train")
            paths = [str(self.root / row["path"]) for row in mine]
            groups = [row["speaker_or_class"] for row in mine]
            kinds[kind] = list(zip(paths, groups, strict=True))
            lengths = [float(row["seconds"]) for row in mine]
            seconds.update(zip(paths, lengths, strict=True))
        rirs = [path for path, _ in kinds["rir"]]
        store = FileStore(seconds, RATE, first_channel=rirs)
        store.bad = bad
        return MixtureSampler(
            kinds["speech"], kinds["noise"], rirs, store=store, **self.sampler
        )

    def listed_clips(self, split: str, bad: dict[str, str]) -> Iterator[Clip]:
        """The mixtures of valid or test; one that cannot be made is left
        out, and noted."""
        score, made = self.score or dnsmos_ovrl(), 0
        for name, snr_db, load in self._listed(split):
            try:
                noisy, clean = load()
            except InputError as error:
                bad[name] = str(error)
                continue
            try:
                ovrl = score(noisy, RATE)
            except InputError as error:
                logger.warning("no OVRL of %s: %s", name, error)
                ovrl = math.nan
            made += 1
            yield Clip(name, noisy, clean, snr_db, ovrl)
        if not made:
            reason = next(iter(bad.values()), "none is listed")
            raise InputError(
                f"{split}: expected mixtures, found none that can be made "
                f"({reason})"
            )

    def _listed(self, split: str) -> Iterator[tuple]:
        """(name, SNR, a function that gives noisy and clean) of each."""
        if split == "test" and self.test_set is not None:
            for name, noisy, clean in synthetic_test(self.test_set):
                told = re.search(r"snr(-?\d+)", noisy.stem)
                snr_db = float(told[1]) if told else math.nan
                files = (noisy, clean)
                yield name, snr_db, lambda f=files: _read_pair(*f)
            return
        for mixture in load_fixed_list(self.lists / f"{split}.csv", self.root):
            yield mixture.name, mixture.snr_db, mixture.render


def _read_pair(noisy: Path, clean: Path) -> tuple:
    signals = read_mono(noisy, RATE), read_mono(clean, RATE)
    if len(signals[0]) != len(signals[1]):
        raise InputError(
            f"{noisy}: expected {len(signals[1])} samples as in {clean}, found "
            f"{len(signals[0])}"
        )
    return signals


def prepare_dns(
    data_folder: str | os.PathLike,
    out_folder: str | os.PathLike,
    hours: float = 140.0,
    clip_seconds: float = 4.0,
    clips_per_shard: int = 250,
    speech: Sequence[str] = (),
    test_set: str | os.PathLike | None = None,
    counts: tuple[int, int] = (60, 180),
    seed: int = 1234,
    snr_db: tuple[float, float] = (-5.0, 20.0),
    reverb_probability: float = 0.2,
    workers: int = 1,
    score: Scorer | None = None,
) -> dict[str, dict[str, Any]]:
    """Mixes the folders of a DNS challenge to shards; a second call writes
    what is missing, and with more hours adds to them.

    Arguments
    ---------
    data_folder : path
        See `find_corpus`.
    out_folder : path
        Gets ``train_shards``, ``valid_shards``, ``test_shards`` and
        ``lists``.
    hours : float
        Of training clips, rounded up to whole shards; MGT-DSN was trained on
        about 140 [second-hand], D-GRU on 500.
    clip_seconds : float
        Length of a training clip; 4 as in SpeechBrain's recipe.
    clips_per_shard : int
        All training shards are equally full.
    speech : sequence of str
        Folders below the speech folder, such as ``read_speech``; all by
        default.
    test_set : path, optional
        See `synthetic_test`; by default mixtures of voices and noises kept
        for the test are drawn.
    counts : tuple of int
        Mixtures drawn for valid and test, at -5, 0, .. 20 dB SNR.
    seed : int
        Of the training clips.
    snr_db : tuple of float
        Range of training clips.
    reverb_probability : float
        Share of training clips in a room.
    workers : int
        Processes.
    score : callable, optional
        ``(signal, rate) -> OVRL`` in place of DNSMOS; can be pickled.

    Returns
    -------
    dict
        Split -> contents of its ``meta.json``; ``bad`` in it names files
        that could not be used.

    Raises
    ------
    InputError
        Folders are missing, the out folder holds shards of other settings, or
        some shards could not be written.
    """
    import_webdataset()
    for name, value in (("hours", hours), ("clips_per_shard", clips_per_shard)):
        if value <= 0:
            raise InputError(f"{name}: expected > 0, found {value}")
    corpus, out = find_corpus(data_folder), Path(out_folder).absolute()
    test_set = None if test_set is None else Path(test_set).absolute()
    if test_set is not None:
        synthetic_test(test_set)
    lists = prepare_folders(
        corpus.speech,
        corpus.noise,
        out / "lists",
        corpus.rir,
        counts=counts,
        below=speech,
        name_groups=name_speakers,
    )
    sampler = {
        "seed": seed,
        "clip_seconds": clip_seconds,
        "snr_db": tuple(snr_db),
        "reverb_probability": reverb_probability,
    }
    job = ShardJob(
        out,
        out / "lists",
        lists.data_folder,
        clips_per_shard,
        test_set,
        sampler,
        score,
    )
    _claim(job)
    shards = math.ceil(hours * 3600 / (clip_seconds * clips_per_shard))
    numbers = {"train": shards, "valid": 1, "test": 1}
    _write_missing(job, numbers, workers)
    return {
        split: _finish(job, split, numbers[split], lists.bad)
        for split in SPLITS
    }


def _claim(job: ShardJob) -> None:
    """Notes what the shards are made of, or refuses to mix two sorts."""
    key = {
        "files": read_done(job.lists)["key"],
        "clips_per_shard": job.clips,
        "test_set": job.test_set and str(job.test_set),
        **job.sampler,
    }
    plan, text = job.out / "plan.json", json.dumps(key, indent=1)
    if not plan.is_file():
        for split in SPLITS:
            (job.out / f"{split}_shards").mkdir(parents=True, exist_ok=True)
        write_text(plan, text)
    elif plan.read_text("utf-8") != text:
        raise InputError(
            f"{job.out}: expected no shards, or shards of the same files and "
            f"settings, found others (see {plan.name})"
        )


def _write_missing(
    job: ShardJob, numbers: dict[str, int], workers: int
) -> None:
    from speechbrain_dsn.metrics.pool import map_in_processes

    items = [(split, n) for split in numbers for n in range(numbers[split])]
    due = [item for item in items if not job.path(item).is_file()]
    if workers > 1:
        done = map_in_processes(job, due, workers)
    else:
        done = enumerate(map(job, due))
    failed = []
    for place, problem in tqdm(done, "shards", len(due), disable=not due):
        if problem is not None:
            # A text, or the exception of a process that was killed.
            failed.append(f"{job.path(due[place])}: {problem}")
            logger.error("not written: %s", failed[-1])
    if failed:
        raise InputError(
            f"{len(failed)} of {len(due)} shards could not be written; the "
            f"first: {failed[0]}"
        )


def _finish(
    job: ShardJob, split: str, shards: int, bad: dict[str, str]
) -> dict[str, Any]:
    """Describes a split; tells of files that could not be used."""
    scanned = bad if split == "train" else {}
    meta = write_meta(job.out / f"{split}_shards", shards, RATE, scanned)
    for name, reason in meta["bad"].items():
        if name not in bad:  # those were told of before
            logger.warning("left out of %s: %s (%s)", split, name, reason)
    return meta
