"""On-the-fly mixing: endless noisy/clean training clips from two folders.

Every clip is a function of (seed, number) alone: no process, worker or
history enters. A run resumes at any batch, and nets that are compared see
the same clips.

Authors
 * The speechbrain_dsn developers 2026
"""

import hashlib
import json
import os
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from scipy import fft

from speechbrain_dsn.dataio.fixed import (
    FixedMixture,
    load_fixed_list,
    rms,
)
from speechbrain_dsn.dataio.rooms import (
    reverberation_time,
    shorten,
    simulate,
    split_early,
)
from speechbrain_dsn.dataio.sources import (
    NoiseSource,
    Source,
    SpeechSource,
    labelled,
)
from speechbrain_dsn.dataio.store import AudioStore, FileStore

__all__ = [
    "AudioStore",
    "Batch",
    "FixedMixture",
    "MixtureSampler",
    "load_fixed_list",
]


class Batch(NamedTuple):
    """A batch of clips: `noisy [B, T]`, `clean [B, T]`, `snr_db [B]`, and,
    where it was computed before, `ovrl [B]`: DNSMOS OVRL of `noisy`."""

    noisy: torch.Tensor
    clean: torch.Tensor
    snr_db: torch.Tensor
    ovrl: torch.Tensor | None = None


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
    store : AudioStore or FileStore, optional
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
        store: AudioStore | FileStore | None = None,
        cache: os.PathLike | None = None,
    ) -> None:
        rirs = sorted(os.fspath(path) for path in rirs)
        if store is None:
            sources = labelled([*speech, *noise])
            paths = [path for path, _ in sources] + rirs
            store = AudioStore(paths, sample_rate, cache)
        self.store = store
        self.seed = seed
        self.sample_rate = sample_rate
        self.snr_db = snr_db
        self.level_dbfs = level_dbfs
        self.reverb_probability = reverb_probability
        self.clean_probability = clean_probability
        self.clipping_probability = clipping_probability
        self.length = round(clip_seconds * sample_rate)
        self._speech = self._make_speech(
            speech,
            store,
            self.length,
            speech_speeds,
            gap_probability,
            equalizer_db,
        )
        self._noise = self._make_noise(
            noise,
            store,
            self.length,
            noise_speeds,
            second_noise_probability,
            motion_probability,
            equalizer_db,
        )
        self._rooms = [path for path in rirs if path in store]
        self._t60: dict[str, float] = {}
        self._settings = [
            seed,
            clip_seconds,
            sample_rate,
            snr_db,
            level_dbfs,
            reverb_probability,
            speech_speeds,
            noise_speeds,
            second_noise_probability,
            motion_probability,
            gap_probability,
            equalizer_db,
            clean_probability,
            clipping_probability,
        ]

    # What kinds of clips differ in, see `speakers.TwoSpeakerSampler`.
    _make_speech, _make_noise = SpeechSource, NoiseSource

    def fingerprint(self) -> str:
        """A name for this stream of clips: it changes with the seed, the
        settings, and the groups and lengths of the files, and stays when the
        corpus moves to another folder."""
        pools = [self._speech.pool.lengths(), self._noise.pool.lengths()]
        rooms = [
            round(self.store.seconds(path) * self.sample_rate)
            for path in self._rooms
        ]
        text = json.dumps([self._settings, pools, rooms])
        return hashlib.sha256(text.encode()).hexdigest()[:16]

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
        clean, wet = self._in_room(rng, self._speech.draw(rng))
        noise = self._noise.draw(rng)
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

    def _in_room(
        self, rng: np.random.Generator, dry: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Speech with early reflections (the target) and with all of them."""
        if rng.random() >= self.reverb_probability:
            return dry, dry
        return self._reverberate(rng, dry)

    def _reverberate(
        self, rng: np.random.Generator, dry: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """The same in a room for sure, a measured or a simulated one."""
        if self._rooms and rng.random() < 0.5:
            path = self._rooms[rng.integers(len(self._rooms))]
            response = self.store[path] / 32768
            if path not in self._t60:
                self._t60[path] = reverberation_time(response, self.sample_rate)
            longest = 0.7 if self._t60[path] < 0.7 else rng.uniform(0.2, 0.6)
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
