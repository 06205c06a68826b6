"""On-the-fly mixing: endless noisy/clean training clips from two folders.

Every clip is a function of (seed, number) alone: no process, worker or
history enters. A run resumes at any batch, and nets that are compared see
the same clips.

Authors
 * The speechbrain_dsn developers 2026
"""

import csv
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from scipy import fft

from speechbrain_dsn.dataio.rooms import (
    reverberation_time,
    shorten,
    simulate,
    split_early,
)
from speechbrain_dsn.dataio.store import AudioStore, read_mono
from speechbrain_dsn.errors import InputError

Source = str | os.PathLike | tuple[str | os.PathLike, str]


class Batch(NamedTuple):
    """A batch of clips: `noisy [B, T]`, `clean [B, T]`, `snr_db [B]`."""

    noisy: torch.Tensor
    clean: torch.Tensor
    snr_db: torch.Tensor


def rms(samples: np.ndarray) -> float:
    """Root mean square of a signal."""
    return float(np.sqrt(np.mean(np.square(samples), dtype=np.float64)))


def active_rms(samples: np.ndarray, sample_rate: int) -> float:
    """RMS over the 20 ms frames within 30 dB of the loudest one, so that
    pauses do not count.

    Arguments
    ---------
    samples : np.ndarray
        `[samples]`, speech.
    sample_rate : int
        In Hz.

    Returns
    -------
    float
        The level, full scale is 1.

    Example
    -------
    >>> burst = np.r_[np.zeros(8000), np.ones(8000)]
    >>> active_rms(burst, 16000)
    1.0
    """
    frame = sample_rate // 50
    usable = samples[: len(samples) // frame * frame].reshape(-1, frame)
    energy = np.einsum("tf,tf->t", usable, usable) / frame
    return float(np.sqrt(energy[energy >= 1e-3 * energy.max()].mean()))


class MixtureSampler:
    """Draws noisy/clean clips of one length from files of speech and noise.

    A clip: speech of one speaker (utterances joined by pauses), resampled
    and equalized; often a room; one or two noises, resampled, equalized,
    sometimes moving in level; an SNR; a level.

    Arguments
    ---------
    speech : sequence of path or (path, speaker)
        Drawn in proportion to their length; the speaker is the name of the
        folder where it is not given.
    noise : sequence of path or (path, class)
        A class (by default the folder) is drawn in proportion to the square
        root of its length, so that long recordings do not crowd out short.
    rirs : sequence of path
        Measured impulse responses. They serve half of the rooms, shortened
        where T60 exceeds 0.7 s; the others are simulated.
    seed : int
        With the number of a clip, it fixes the clip.
    clip_seconds : float
        Length of a clip.
    sample_rate : int
        In Hz.
    snr_db : tuple of float
        Range of the level of active target speech over the RMS of the noise.
    level_dbfs : tuple of float
        Range of the RMS of the mixture, in dB re full scale.
    reverb_probability : float
        Share of clips in a room; the target keeps the early part.
    speech_speeds : sequence of float
        Resampling factors of speech (they change pitch too).
    noise_speeds : tuple of float
        Range of the resampling factor of noise.
    second_noise_probability : float
        Share of clips with another noise, 0 to 12 dB below the first.
    motion_probability : float
        Share of clips whose noise changes its level or pauses.
    gap_probability : float
        Chance that a pause between utterances is long (0.5 to 1.5 s).
    equalizer_db : float
        Largest gain of the random shelves on speech and on noise.
    clean_probability : float
        Share of clips at 25 to 45 dB SNR: the net must leave them alone.
    clipping_probability : float
        Share of mixtures that are hard clipped.
    store : AudioStore, optional
        Where the samples are (read here, if not given).
    cache : path, optional
        Cache file of the store.

    Example
    -------
    >>> import soundfile, tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> noise = np.random.default_rng(0).normal(size=(2, 16000)) / 10
    >>> for name, samples in zip("sn", noise):
    ...     soundfile.write(f"{folder.name}/{name}.wav", samples, 16000)
    >>> sampler = MixtureSampler(
    ...     [folder.name + "/s.wav"], [folder.name + "/n.wav"], seed=1
    ... )
    >>> batch = sampler.batch(0, 3)
    >>> batch.noisy.shape, batch.snr_db.shape
    (torch.Size([3, 64000]), torch.Size([3]))
    >>> torch.equal(batch.noisy[2], sampler.batch(2, 1).noisy[0])
    True
    """

    def __init__(
        self,
        speech: Sequence[Source],
        noise: Sequence[Source],
        rirs: Sequence[str | os.PathLike] = (),
        seed: int = 0,
        clip_seconds: float = 4.0,
        sample_rate: int = 16000,
        snr_db: tuple[float, float] = (-6.0, 22.0),
        level_dbfs: tuple[float, float] = (-38.0, -18.0),
        reverb_probability: float = 0.3,
        speech_speeds: Sequence[float] = (0.9, 0.95, 1.0, 1.05, 1.1),
        noise_speeds: tuple[float, float] = (0.7, 1.4),
        second_noise_probability: float = 0.25,
        motion_probability: float = 0.3,
        gap_probability: float = 0.1,
        equalizer_db: float = 6.0,
        clean_probability: float = 0.05,
        clipping_probability: float = 0.02,
        store: AudioStore | None = None,
        cache: os.PathLike | None = None,
    ) -> None:
        speech, noise = _labelled(speech), _labelled(noise)
        rirs = sorted(os.fspath(path) for path in rirs)
        if store is None:
            paths = [path for path, _ in speech + noise] + rirs
            store = AudioStore(paths, sample_rate, cache)
        self.store = store
        self.seed = seed
        self.sample_rate = sample_rate
        self.length = round(clip_seconds * sample_rate)
        self.snr_db = snr_db
        self.level_dbfs = level_dbfs
        self.reverb_probability = reverb_probability
        self.speech_speeds = tuple(speech_speeds)
        self.noise_speeds = noise_speeds
        self.second_noise_probability = second_noise_probability
        self.motion_probability = motion_probability
        self.gap_probability = gap_probability
        self.equalizer_db = equalizer_db
        self.clean_probability = clean_probability
        self.clipping_probability = clipping_probability
        self._speech = _Pool(speech, store, "speech", power=1.0)
        self._noise = _Pool(noise, store, "noise", power=0.5)
        self._rooms = [
            (response, reverberation_time(response, sample_rate))
            for response in (
                store[path] / 32768 for path in rirs if path in store
            )
        ]

    def batch(self, index: int, batch_size: int) -> Batch:
        """Clips number `index * batch_size` and following.

        Arguments
        ---------
        index : int
            Number of the batch, from 0.
        batch_size : int
            Clips in a batch.

        Returns
        -------
        Batch
            `noisy [B, T]` and `clean [B, T]` in float32, `snr_db [B]`.
        """
        first = index * batch_size
        clips = [self.clip(first + item) for item in range(batch_size)]
        noisy, clean, snr_db = zip(*clips, strict=True)
        return Batch(
            torch.from_numpy(np.stack(noisy)),
            torch.from_numpy(np.stack(clean)),
            torch.tensor(snr_db, dtype=torch.float32),
        )

    def clip(self, number: int) -> tuple[np.ndarray, np.ndarray, float]:
        """One clip, fixed by the seed and its number.

        Arguments
        ---------
        number : int
            From 0.

        Returns
        -------
        noisy : np.ndarray
            `[T]`, float32.
        clean : np.ndarray
            `[T]`, the target at the gain it has in the mixture.
        snr_db : float
            What was asked for.
        """
        rng = np.random.default_rng((self.seed, number))
        clean, wet = self._in_room(rng, self._draw_speech(rng))
        noise = self._draw_noises(rng)
        almost_clean = rng.random() < self.clean_probability
        snr_db = rng.uniform(*((25.0, 45.0) if almost_clean else self.snr_db))
        level = active_rms(clean, self.sample_rate)
        noisy = wet + np.float32(level * 10 ** (-snr_db / 20)) * noise
        if rng.random() < self.clipping_probability:
            limit = rng.uniform(0.3, 0.8) * np.abs(noisy).max()
            noisy = noisy.clip(-limit, limit)
        gain = 10 ** (rng.uniform(*self.level_dbfs) / 20) / rms(noisy)
        peak = max(np.abs(noisy).max(), np.abs(clean).max())
        gain = np.float32(min(gain, 0.99 / peak))
        return noisy * gain, clean * gain, snr_db

    def _draw_speech(self, rng: np.random.Generator) -> np.ndarray:
        """Utterances of one speaker, joined by pauses: `[T]`."""
        speed = rng.choice(self.speech_speeds)
        length = fft.next_fast_len(round(self.length * speed), real=True)
        for _ in range(8):
            dry = self._join_utterances(rng, length)
            if np.abs(dry).max() > 1e-3:
                return self._reshape(rng, dry)
        raise InputError("speech: 8 random clips were silent; expected speech")

    def _join_utterances(
        self, rng: np.random.Generator, length: int
    ) -> np.ndarray:
        """A buffer at the rate of the file, filled to the end."""
        dry = np.zeros(length, np.float32)
        path = self._speech.draw(rng)
        start = self._pause(rng) if rng.random() < 0.5 else 0
        while start < length:
            samples = self.store[path]
            spare = len(samples) - (length - start)
            begin = rng.integers(0, spare + 1) if spare > 0 else 0
            piece = samples[begin : begin + length - start]
            dry[start : start + len(piece)] = piece
            start += len(piece) + self._pause(rng)
            path = self._speech.draw_same(rng, path)
        return dry / np.float32(32768)

    def _pause(self, rng: np.random.Generator) -> int:
        """Samples between two utterances: short, at times long."""
        long = rng.random() < self.gap_probability
        seconds = rng.uniform(*((0.5, 1.5) if long else (0.02, 0.4)))
        return int(seconds * self.sample_rate)

    def _draw_noises(self, rng: np.random.Generator) -> np.ndarray:
        """One or two noises at RMS 1 over the clip: `[T]`."""
        noise = self._draw_noise(rng)
        if rng.random() < self.second_noise_probability:
            gain = np.float32(10 ** (-rng.uniform(0, 12) / 20))
            noise += gain * self._draw_noise(rng)
        if rng.random() < self.motion_probability:
            noise *= self._motion(rng)
        return noise / np.float32(max(rms(noise), 1e-8))

    def _draw_noise(self, rng: np.random.Generator) -> np.ndarray:
        """A stretch of one noise at RMS 1, looped where it is shorter."""
        low, high = np.log(self.noise_speeds)
        speed = np.exp(rng.uniform(low, high))
        length = fft.next_fast_len(round(self.length * speed), real=True)
        for _ in range(8):
            samples = self.store[self._noise.draw(rng)]
            begin = rng.integers(0, max(1, len(samples) - length + 1))
            if len(samples) < length:
                begin = rng.integers(0, len(samples))
            noise = loop(samples, begin, length).astype(np.float32) / 32768
            if rms(noise) > 1e-4:
                noise = self._reshape(rng, noise)
                return noise / np.float32(rms(noise))
        raise InputError("noise: 8 random clips were silent; expected noise")

    def _motion(self, rng: np.random.Generator) -> np.ndarray:
        """A gain that wanders by up to 20 dB, or pauses the noise: `[T]`."""
        time = np.arange(self.length, dtype=np.float32) / self.length
        if rng.random() < 0.5:
            knots = np.sort(rng.random(rng.integers(2, 6)))
            gain_db = rng.uniform(-15, 5, size=len(knots))
        else:
            on, off = np.sort(rng.random(2))
            knots = np.array([on, on + 0.005, off, off + 0.005])
            gain_db = rng.uniform(-60, -10) * np.array([0, 1, 1, 0])
            gain_db = gain_db if rng.random() < 0.5 else gain_db[[1, 0, 0, 1]]
        gain = 10 ** (np.interp(time, knots, gain_db) / 20)
        return gain.astype(np.float32)

    def _reshape(
        self, rng: np.random.Generator, samples: np.ndarray
    ) -> np.ndarray:
        """Resamples a buffer to the clip's length and equalizes it, both in
        one pass through the spectrum."""
        fade = np.linspace(0, 1, self.sample_rate // 500, dtype=np.float32)
        samples[: len(fade)] *= fade
        samples[-len(fade) :] *= fade[::-1]
        spectrum = fft.rfft(samples)[: self.length // 2 + 1]
        top = self.sample_rate / 2 * (len(spectrum) - 1) / (self.length // 2)
        bins = np.linspace(0, top, len(spectrum), dtype=np.float32)
        low_gain, high_gain = rng.uniform(-1, 1, size=2) * self.equalizer_db
        low = np.square(bins / np.float32(rng.uniform(150, 600)))
        high = np.square(bins / np.float32(rng.uniform(1500, 5000)))
        gain_db = low_gain / (1 + low) + high_gain * high / (1 + high)
        spectrum *= np.exp(np.float32(np.log(10) / 20) * gain_db)
        scale = np.float32(self.length / len(samples))
        return fft.irfft(spectrum, self.length) * scale

    def _in_room(
        self, rng: np.random.Generator, dry: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Speech with early reflections (the target) and with all of them."""
        if rng.random() >= self.reverb_probability:
            return dry, dry
        if self._rooms and rng.random() < 0.5:
            response, seconds = self._rooms[rng.integers(len(self._rooms))]
            longest = 0.7 if seconds < 0.7 else rng.uniform(0.2, 0.6)
            response = shorten(response, self.sample_rate, longest)
        else:
            response = simulate(rng, self.sample_rate)
        length = fft.next_fast_len(len(dry) + len(response) - 1, real=True)
        spectrum = fft.rfft(dry, length)
        early, wet = (
            fft.irfft(spectrum * fft.rfft(part, length), length)[: len(dry)]
            for part in split_early(response, self.sample_rate)
        )
        return early, wet


class _Pool:
    """Files of one kind, drawn by group, then by length within a group."""

    def __init__(
        self,
        sources: Sequence[tuple[str, str]],
        store: AudioStore,
        kind: str,
        power: float,
    ) -> None:
        groups: dict[str, list[str]] = {}
        for path, group in sources:
            if path in store:
                groups.setdefault(group, []).append(path)
        if not groups:
            raise InputError(
                f"{kind}: expected at least one readable audio file, "
                f"found none among {len(sources)}"
            )
        self._group_of = {p: g for g, paths in groups.items() for p in paths}
        self._groups = groups
        self._names = list(groups)
        seconds = {g: [store.seconds(p) for p in groups[g]] for g in groups}
        self._within = {g: _cumulative(seconds[g]) for g in groups}
        totals = [sum(seconds[g]) ** power for g in groups]
        self._among = _cumulative(totals)

    def draw(self, rng: np.random.Generator) -> str:
        """A file of any group."""
        return self._draw_of(rng, self._names[_pick(rng, self._among)])

    def draw_same(self, rng: np.random.Generator, path: str) -> str:
        """A file of the group that this file belongs to."""
        return self._draw_of(rng, self._group_of[path])

    def _draw_of(self, rng: np.random.Generator, group: str) -> str:
        return self._groups[group][_pick(rng, self._within[group])]


def _cumulative(weights: Sequence[float]) -> np.ndarray:
    return np.cumsum(weights) / np.sum(weights)


def _pick(rng: np.random.Generator, cumulative: np.ndarray) -> int:
    place = np.searchsorted(cumulative, rng.random(), side="right")
    return int(min(place, len(cumulative) - 1))


def _labelled(sources: Sequence[Source]) -> list[tuple[str, str]]:
    """Sorted (path, group) pairs; the folder's name where none is given."""
    pairs = []
    for source in sources:
        path, group = source if isinstance(source, tuple) else (source, None)
        path = os.fspath(path)
        pairs.append((path, group or os.path.dirname(path)))
    return sorted(pairs)


def loop(samples: np.ndarray, begin: int, length: int) -> np.ndarray:
    """`length` samples from `begin` on, starting over at the end.

    Example
    -------
    >>> loop(np.arange(3), 2, 5).tolist()
    [2, 0, 1, 2, 0]
    """
    if begin + length <= len(samples):
        return samples[begin : begin + length]
    return samples.take(np.arange(begin, begin + length), mode="wrap")


@dataclass(frozen=True)
class FixedMixture:
    """One row of a fixed list: what to mix, and how.

    Arguments
    ---------
    name : str
        The row's `id`.
    speech, noise : Path
        The files.
    noise_offset : float
        Where in the noise the mixture starts, in seconds.
    snr_db : float
        Power of the speech over that of the noise, whole utterance.
    level_dbfs : float
        RMS of the mixture, in dB re full scale.
    """

    name: str
    speech: Path
    noise: Path
    noise_offset: float
    snr_db: float
    level_dbfs: float

    def render(self, sample_rate: int = 16000) -> tuple[np.ndarray, np.ndarray]:
        """Mixes; a noise shorter than the speech is looped.

        Arguments
        ---------
        sample_rate : int
            In Hz; files of another rate are resampled.

        Returns
        -------
        noisy : np.ndarray
            `[T]`, float32.
        clean : np.ndarray
            `[T]`, float32, at the gain it has in the mixture.

        Raises
        ------
        InputError
            A file cannot be read, or is silent where it is used.
        """
        clean = read_mono(self.speech, sample_rate).astype(np.float64)
        noise = read_mono(self.noise, sample_rate)
        begin = round(self.noise_offset * sample_rate) % len(noise)
        noise = loop(noise, begin, len(clean)).astype(np.float64)
        for path, samples in ((self.speech, clean), (self.noise, noise)):
            if rms(samples) == 0:
                raise InputError(f"{path}: expected sound, found silence")
        noise *= rms(clean) / rms(noise) * 10 ** (-self.snr_db / 20)
        noisy = clean + noise
        gain = 10 ** (self.level_dbfs / 20) / rms(noisy)
        return (
            (gain * noisy).astype(np.float32),
            (gain * clean).astype(np.float32),
        )


def load_fixed_list(
    path: os.PathLike, data_folder: os.PathLike
) -> list[FixedMixture]:
    """Reads a list of fixed mixtures.

    Arguments
    ---------
    path : path
        CSV with the columns `id, speech, noise, noise_offset, snr_db,
        level_dbfs`.
    data_folder : path
        What the paths in the list are relative to.

    Returns
    -------
    list of FixedMixture
        In the order of the file.

    Raises
    ------
    InputError
        The list is missing, has no row, lacks a column, holds something
        that is no number where one belongs, or names a file that is missing.
    """
    columns = ("id", "speech", "noise", "noise_offset", "snr_db", "level_dbfs")
    try:
        with open(path, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise InputError(
            f"{path}: no readable list ({error.strerror})"
        ) from None
    if not rows:
        raise InputError(f"{path}: expected fixed mixtures, found no row")
    absent = [column for column in columns if column not in rows[0]]
    if absent:
        raise InputError(f"{path}: lacks column {', '.join(absent)}")
    folder = Path(data_folder)
    mixtures = []
    for line, row in enumerate(rows, start=2):
        try:
            numbers = [float(row[column]) for column in columns[3:]]
        except (TypeError, ValueError):
            raise InputError(
                f"{path}, line {line}: expected numbers in "
                f"{', '.join(columns[3:])}"
            ) from None
        files = [folder / row["speech"], folder / row["noise"]]
        for file in files:
            if not file.is_file():
                raise InputError(f"{path}, line {line}: no file {file}")
        mixtures.append(FixedMixture(row["id"], *files, *numbers))
    return mixtures
